"""A pair as it is read out of a text, and what all forms of text share: marks, bullets, labels, what is around."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

MAX_PAIRS = 1_000  # read from one generation at most; 50 is the most that can be asked for


@dataclass(frozen=True, slots=True)
class ParsedPair:
    """A question and an answer as they were written; either may be empty.

    Attributes:
        question: One line.
        answer: One line or several.
        closed: The form itself shows where the answer ends, so a cut-off after it did not touch it.
    """

    question: str
    answer: str
    closed: bool = False


# What opens an item of a list.
BULLET = re.compile(r"[ \t>*_#•+-]{0,16}(?:[\[(]?\d{1,4}[.):\]][ \t*_]{0,8})?")
# Control characters, and the halves of a character that "\\ud83d" in JSON makes: no file can hold them.
_UNWRITABLE = re.compile("[\x00-\x08\x0e-\x1b\x7f\ud800-\udfff]")
# Lines between two blocks that belong to neither: rules, headings, a lone "2.", "Pair 2:", a code fence.
_BETWEEN = re.compile(
    r"[-*_=~`#]*|#{1,6}\s.*|[*_]{0,2}(?:Q\W?A\s)?(?:pair|set|Q\W?A)?\s?#?\d{1,4}[.):][*_]{0,2}|```\w+",
    re.IGNORECASE,
)


def one_line(text: str) -> str:
    """As ``trim``, with single spaces for all white space."""
    return " ".join(trim(text).split())


def trim(text: str) -> str:
    """A text without markdown around it, and without the lines that separate it from the next block."""
    lines = [line.rstrip() for line in _UNWRITABLE.sub("", text).strip().splitlines()]
    while len(lines) > 1 and len(lines[-1]) <= 80 and _BETWEEN.fullmatch(lines[-1].strip()):
        lines.pop()
    text = "\n".join(lines).strip(" \t\n*_`")
    for opening, closing in ('""', "“”"):
        inner = text[1:-1]
        if len(text) > 1 and text[0] == opening and text[-1] == closing and not {opening, closing} & set(inner):
            return inner.strip()
    return text


MARK = re.compile("[?\uff1f\u061f]")  # a question mark, that of Chinese and Japanese, and of Arabic


def asks(text: str) -> bool:
    """Whether a text ends with a question mark."""
    return MARK.match(text.rstrip()[-1:]) is not None


def split_at_mark(text: str) -> tuple[str, str, str]:
    """The text before its first question mark, the mark, and the text behind it."""
    found = MARK.search(text)
    return (text[: found.start()], found[0], text[found.end() :]) if found else (text, "", "")


# "Pregunta 1: ", "Frage: ", "R\u00e9ponse 1 : ": labels of languages that `_LABEL` does not know
_WORD = re.compile(r"(?P<word>[^\W\d]{1,20})[ \t]?(?P<number>\d{0,4})[ \t]?[:\uff1a][ \t]?")


def without_labels(pairs: Sequence[ParsedPair]) -> list[ParsedPair]:
    """The pairs without a label that all answers begin with, and one that then all questions begin with."""
    whole = [pair for pair in pairs if pair.answer]
    answers, questions = (
        _common_label([pair.answer for pair in whole]),
        _common_label([pair.question for pair in whole]),
    )
    if not answers or answers == questions or answers.lower() in ("yes", "no"):
        return list(pairs)
    found = []
    for pair in pairs:
        question = _WORD.match(pair.question)
        its = question is not None and question["word"] == questions
        if not pair.answer and questions and not its:
            continue  # said after the last pair
        asked = one_line(pair.question[question.end() :]) if its and question is not None else pair.question
        found.append(replace(pair, question=asked, answer=trim(_WORD.sub("", pair.answer, count=1))))
    return found


def _common_label(texts: Sequence[str]) -> str:
    """The word of a label that all texts begin with, several or with a number; empty if there is none."""
    labels = [_WORD.match(text) for text in texts]
    words = {label["word"] if label else "" for label in labels}
    if len(words) != 1 or (len(labels) == 1 and labels[0] is not None and not labels[0]["number"]):
        return ""
    return words.pop()
