"""Checks a parsed question-answer pair by its text alone: a reason to reject it, or None."""

import re
import unicodedata

from c3l.markup.placeholders import find_special
from c3l.markup.thoughts import find_mark
from c3l.method.parsed import ParsedPair

MAX_QUESTION_CHARS = 1_000
MAX_ANSWER_CHARS = 4_000

_REFUSAL = re.compile(
    r"""(?:unfortunately,?\s)?(?:
      i(?:'m|\sam)\s(?:(?:so|very|really)\s)?sorry\b | sorry,?\s(?:but\s)?i\b | i\sapologi[sz]e\b
      | (?:i(?:'m|\sam)|as)\s(?:just\s|only\s)?an?\s(?:ai\b|(?:large\s|text-based\s)?(?:ai\s)?language\smodel)
      | i\s(?:cannot|can't|can\snot|do\snot|don't|am\s(?:not\sable|unable)\sto|could\snot|couldn't)
        \s(?:(?:directly|actually|physically)\s)?
        (?:(?:see|view|access|process|analy[sz]e|open|display|have\saccess\sto|interpret)
          \s(?:the\s|this\s|that\s|an?\s|any\s|your\s)?(?:image|picture|photo)
        |help\swith|assist|provide\sassistance|fulfil)
      | i'm\s(?:not\sable|unable)\sto\s(?:see|view|access|process|analy[sz]e|help|assist)
      | (?:there\sis\s)?no\s(?:image|picture|photo)\s(?:was\s|is\s|has\sbeen\s)?(?:provided|attached|given)
      )""",
    re.IGNORECASE | re.VERBOSE,
)


_SIGNS_ALONE = frozenset("#@%&!")
"""What can be all of an answer: dots and dashes stand for one that a model did not have, stars are bare markdown, and
what is repeated is either markdown or what a model writes whose numbers are not finite."""

_AROUND = "\"'`\u201c\u201d\u2018\u2019\u00ab\u00bb()[]{}.,:;*_"
_EDGES = re.compile(r"\A[\W_]*?#+\s*(?=[^\W_])|(?:(?<=[.?!\"'*_])\s*#+|\s##+)\s*\Z")
"""Marks of a heading, before and behind it."""
_DASHES = {code: "-" for code in (*range(0x2010, 0x2016), 0x2212)}
_SIGNS = re.compile(
    r"(?<=[^\W_])[#@%&]|[#@%&](?=[^\W_])|(?<=\s)[#@%&](?=\W?\Z)"
    r"|(?<![^\W\d_])-(?=\d)|(?<=\d)[.:/](?=\d)"
)
"""Punctuation with which a text says something else: C#, 5%, R&D; -5 and 5-6, not COVID-19; 3.5, 10:30, 1/2."""

_TITLE_ALONE = re.compile(
    r"[\s*_#]*(?:(?:questions?|answers?)[\s*_]*:|</?(?:question|answer|q|a)>)[\s*_]*", re.IGNORECASE
)


def check_pair(pair: ParsedPair) -> tuple[str, str] | None:
    """The reason to reject a pair and one line for a person, or None if nothing speaks against it.

    Reasons: ``too_long``, ``empty_question``, ``empty_answer``, ``special_token``, ``refusal`` and
    ``echoed_answer``.
    """
    if len(pair.question) > MAX_QUESTION_CHARS:
        return "too_long", f"question of {len(pair.question)} characters, at most {MAX_QUESTION_CHARS}"
    if len(pair.answer) > MAX_ANSWER_CHARS:
        return "too_long", f"answer of {len(pair.answer)} characters, at most {MAX_ANSWER_CHARS}"
    if _is_punctuation(pair.question):
        return "empty_question", f"answer without a question: {excerpt(pair.answer)}"
    if _is_punctuation(pair.answer) and pair.answer.strip(_AROUND + " \n\t") not in _SIGNS_ALONE:
        return "empty_answer", f"question without an answer: {excerpt(pair.question)}"
    if _TITLE_ALONE.fullmatch(pair.answer):
        return "empty_answer", f"only the title of one: {excerpt(pair.answer)}"
    if found := find_special(pair.question) or find_special(pair.answer):
        return "special_token", f"the text holds {excerpt(found)}"
    if mark := find_mark(pair.question) or find_mark(pair.answer):
        return "special_token", f"the text holds {excerpt(mark)}, the mark of a thought"
    if is_refusal(pair.answer) or is_refusal(pair.question):
        return "refusal", excerpt(pair.answer)
    question, answer = fold(pair.question), fold(pair.answer)
    if answer == question or (pair.answer.endswith("?") and answer in question):
        return "echoed_answer", f"the answer repeats the question: {excerpt(pair.answer)}"
    return None


def is_refusal(text: str) -> bool:
    """Whether a text opens as a model does that will not or cannot look at the image."""
    return _REFUSAL.match(text.lstrip(" \t\n\"'*").replace("\u2019", "'")) is not None


def fold(text: str) -> str:
    """A text without case, whitespace, and punctuation that says nothing; one fold, one question."""
    plain = _EDGES.sub("", unicodedata.normalize("NFKC", text).casefold().translate(_DASHES))
    signs = {found.start() for found in _SIGNS.finditer(plain)}
    return "".join(one for place, one in enumerate(plain) if place in signs or not _is_punctuation(one))


def _is_punctuation(text: str) -> bool:
    """Whether there is no letter, number or symbol in it."""
    return all(unicodedata.category(one)[0] in "PZC" for one in text)


def excerpt(text: str, limit: int = 100) -> str:
    """The beginning of a text, on one line, in quotes."""
    line = " ".join(text[: 2 * limit].split())
    return f'"{line}"' if len(line) <= limit else f'"{line[:limit]}..."'
