"""Reads question-answer pairs out of what an LVLM wrote.

Three forms are known: labelled blocks (``Question 1: ... Answer 1: ...``), JSON, one pair a line. A parser
tries the form that was asked for first and the others after it. Text is untrusted: nothing is evaluated, and
every form is read in one forward pass, so that time is linear in its length.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, zip_longest
from typing import Any, TypeAlias

# Raise it when the same text is read into, or judged as, other pairs: what was parsed before is then read again.
PARSER_VERSION = 2

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


ReadPairs: TypeAlias = Callable[[str], Iterator[ParsedPair]]


def find_pairs(text: str, parser: str) -> list[ParsedPair]:
    """The pairs in a generation, in the order of the text; none if no form fits.

    Args:
        text: What the model wrote.
        parser: A key of ``PARSERS``.
    """
    for form in PARSERS[parser]:
        if pairs := list(islice(form(text), MAX_PAIRS)):
            return pairs
    return []


# --- labelled blocks -------------------------------------------------------------------------------------

# A label opens a line: bullets and markdown, perhaps "1.", the word, perhaps its number, and what closes it.
# Inside a line it stands after the sentence before it ("Q: What is it? A: A dog."). A word without a number
# needs a colon, or "A. red" of a multiple choice and "A dog" would be labels. Every repetition is bounded, so
# that a label costs constant time.
_LABEL = re.compile(
    r"""(?:^[ \t>*_#•+`-]{0,16}(?:\(?\d{1,4}[.):\]][ \t*_]{0,8})?
      |(?<=[.?!])[ \t*_|,;/-]{1,8}(?=Q|A[a-z]{0,5}[ \t]?\d)
      |(?<=\?)[ \t*_|,;/-]{1,8}(?=A))
    [\[(]?(?:(?P<question>Q(?:uestion|ues)?)|A(?:nswer|ns)?)
    (?:[ \t]{0,4}[#(]?(?P<number>\d{1,4})\)?(?:[ ]\([^()\n]{1,40}\))?
        (?:[ \t*_\]]{0,8}(?:[:\uff1a]|[.)\u2013\u2014-](?=\s))|[ \t*_\]]{0,8}$)
      |[ \t*_\])]{0,8}[:\uff1a])
    [ \t*_]{0,8}""",
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)


def read_labelled(text: str) -> Iterator[ParsedPair]:
    """``Question 1: ... / Answer 1: ...`` and its variants, over one line or several.

    Strict first: where the numbered labels alone count Q1 A1 Q2 A2 ..., a label without a number is part of a
    text ("Answer: see below" inside an answer). Otherwise every label counts.
    """
    labels = list(islice(_LABEL.finditer(text), 4 * MAX_PAIRS))
    if _count_up(numbered := [label for label in labels if label["number"]], labels):
        labels = numbered
    question: str | None = None
    if labels and labels[0]["question"] is None:
        _, question = _split_off_question(text[: labels[0].start()])
    for label, following in zip_longest(labels, labels[1:]):
        content = text[label.end() : following.start() if following else len(text)]
        if label["question"] is None:
            unlabelled = None
            if following and following["question"] is None:
                content, unlabelled = _split_off_question(content)
            yield ParsedPair(_one_line(question or ""), _trim(content))
            question = unlabelled
            continue
        if question is not None:
            yield _without_label(question)
        question = content
    if question is not None:
        yield _without_label(question)


def _count_up(numbered: list[re.Match[str]], labels: list[re.Match[str]]) -> bool:
    if not numbered or (len(numbered) % 2 and numbered[-1] is not labels[-1]):
        return False  # the last numbered question has an answer without a number
    return all(
        int(label["number"]) == place // 2 + 1 and (label["question"] is None) == bool(place % 2)
        for place, label in enumerate(numbered)
    )


def _split_off_question(content: str) -> tuple[str, str]:
    """The text without a last line that asks, and that line: "2. Why?" before "Answer: ..."."""
    rest, _, last = content.rstrip().rpartition("\n")
    question = _one_line(_BULLET.sub("", last, count=1))
    return (rest, question) if question.endswith("?") else (content, "")


def _without_label(content: str) -> ParsedPair:
    """A question whose answer has no label: what follows the question mark, unless that asks on."""
    question, mark, answer = content.partition("?")
    if mark and "?" not in answer:
        return ParsedPair(_one_line(question + mark), _trim(answer))
    return ParsedPair(_one_line(content), "")


# --- JSON ------------------------------------------------------------------------------------------------

_QUESTION_KEYS = {"question", "q", "query", "prompt", "instruction", "human", "user"}
_ANSWER_KEYS = {"answer", "a", "response", "reply", "output", "gpt", "assistant"}
# A string runs to a quote before punctuation or a line's end, as other quotes are ones that the model did not
# escape, or to the end of the text. Possessive: a string is read once, whatever follows it.
_TOKEN = re.compile(
    r"""(?P<brace>[{}])
    |"(?P<string>(?:[^"\\]++|\\.|"(?![ \t]{0,8}(?:[,}\]:\r\n]|\Z)))*+)(?P<end>"?)(?P<colon>\s{0,8}:)?
    |(?P<bare>[\w.+-]++)""",
    re.DOTALL | re.VERBOSE,
)
_Item: TypeAlias = tuple[str, str, bool]  # key, value, closed


class _Object(tuple[tuple[str, Any], ...]):
    """A JSON object as it was written, with keys that stand in it twice."""


def read_json(text: str) -> Iterator[ParsedPair]:
    """Objects with a question and an answer: a list of them, one a line, in a code fence, before other text.

    Strict first (the whole text is one JSON value), then object by object, which survives text around them, a
    missing comma, an unescaped quote and a cut-off end.
    """
    try:
        value = json.loads(_strip_fence(text), object_pairs_hook=_Object)
    except (ValueError, RecursionError):
        for items in _scan_objects(text):
            yield from _pairs_of(items)
    else:
        yield from _walk(value)


def _strip_fence(text: str) -> str:
    text = text.strip()
    return text.removesuffix("```").partition("\n")[2] if text.startswith("```") else text


def _walk(value: Any) -> Iterator[ParsedPair]:
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, _Object):
            yield from _pairs_of([(key, _as_text(inner), True) for key, inner in value])
            value = [inner for _, inner in value]
        if isinstance(value, list):
            waiting.extend(reversed(value))


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value) if isinstance(value, bool | int | float) else ""


def _scan_objects(text: str) -> Iterator[list[_Item]]:
    """The items behind every brace that opens, up to the next brace; each character is looked at once."""
    position = text.find("{")
    while position >= 0:
        items, position = _scan_items(text, position + 1)
        if items:
            yield items
        position = text.find("{", position)


def _scan_items(text: str, position: int) -> tuple[list[_Item], int]:
    items: list[_Item] = []
    key = None
    while token := _TOKEN.search(text, position):
        brace, string, end, colon, bare = token.groups()
        if brace and (items or brace == "}"):
            return items, token.start()
        position = token.end()
        if brace:
            key = None
        elif colon:
            key = string
        elif key is not None:
            items.append((_unescape(key), _unescape(string or bare or ""), bool(end) or token.end() < len(text)))
            key = None
    return items, len(text)


def _pairs_of(items: Iterable[_Item]) -> Iterator[ParsedPair]:
    questions: list[str] = []
    answers: list[tuple[str, bool]] = []
    for key, value, closed in items:
        name = key.strip().rstrip("0123456789").rstrip(" _-#").lower()
        if name in _QUESTION_KEYS:
            questions.append(_one_line(value))
        elif name in _ANSWER_KEYS:
            answers.append((_trim(value), closed))
    for question, answer in zip_longest(questions, answers):
        yield ParsedPair(question or "", *(answer or ("",)))


def _unescape(text: str) -> str:
    try:
        return str(json.loads(f'"{text}"', strict=False))
    except ValueError:
        return text.replace('\\"', '"').replace("\\n", "\n")


# --- one pair a line -------------------------------------------------------------------------------------


def read_lines(text: str) -> Iterator[ParsedPair]:
    """``What ...? Answer``, ``question<tab>answer``, ``question | answer``, or the answer on the next line.

    A line whose first sentence is no question holds no pair: prose is not taken apart.
    """
    waiting = ""
    for line in text.splitlines():
        if cells := _cells(line.strip()):
            if waiting:
                yield ParsedPair(waiting, "")
            waiting, answer = cells
        elif waiting:
            answer = _trim(_BULLET.sub("", line, count=1))
        else:
            continue
        if answer:
            yield ParsedPair(waiting, answer)
            waiting = ""
    if waiting:
        yield ParsedPair(waiting, "")


def _cells(line: str) -> tuple[str, str] | None:
    if len(line) < 3 or ("?" not in line and "\t" not in line and " | " not in line):
        return None
    line = _BULLET.sub("", line, count=1)
    for separator in ("\t", " | "):
        if separator in line:
            cells = [cell for cell in line.strip(" \t|").split(separator) if cell.strip(" \t-:")]
            if cells and cells[0].strip().rstrip(".)").isdecimal():
                del cells[0]
            if len(cells) < 2 or cells[0].strip().lower() == "question":
                return None
            return _one_line(cells[0]), _trim(" ".join(cells[1:]))
    question, mark, answer = line.partition("?")
    if not mark or not question.strip() or re.search(r"[.!]\s", question):
        return None
    return _one_line(question + mark), _trim(answer.lstrip(' \t*_:-\u2013\u2014|"”'))


# --- texts -----------------------------------------------------------------------------------------------

# What opens an item of a list.
_BULLET = re.compile(r"[ \t>*_#•+-]{0,16}(?:\(?\d{1,4}[.):\]][ \t*_]{0,8})?")
# Control characters, and the halves of a character that "\\ud83d" in JSON makes: no file can hold them.
_UNWRITABLE = re.compile("[\x00-\x08\x0e-\x1b\x7f\ud800-\udfff]")
# Lines between two blocks that belong to neither: rules, headings, a lone "2.", "Pair 2:", a code fence.
_BETWEEN = re.compile(
    r"[-*_=~`#]*|#{1,6}\s.*|[*_]{0,2}(?:Q\W?A\s)?(?:pair|set|Q\W?A)?\s?#?\d{1,4}[.):][*_]{0,2}|```\w+",
    re.IGNORECASE,
)


def _one_line(text: str) -> str:
    return " ".join(_trim(text).split())


def _trim(text: str) -> str:
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


# Labels and JSON are marks that prose does not carry by chance, so either is looked for before bare lines.
PARSERS: dict[str, tuple[ReadPairs, ...]] = {
    "numbered": (read_labelled, read_json, read_lines),
    "json": (read_json, read_labelled, read_lines),
    "lines": (read_labelled, read_json, read_lines),
}
