"""A pair as it is read out of a text, and what all forms of text share: marks, bullets, what is around."""

import re
from dataclasses import dataclass

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


# What opens an item of a list. A bold word behind it keeps its marks, "-5" its sign, "3.5" its whole part.
BULLET = re.compile(
    r"(?:[ \t>#•+]|-(?!\d)|\*(?=[ \t])){0,16}"
    r"(?:[*_]{0,3}[\[(]?\d{1,4}[.):\]](?!\d)(?:[*_]{1,3}(?=[ \t]))?[ \t]{0,8}(?=\S))?"
)
# Control characters, and the halves of a character that "\\ud83d" in JSON makes: no file can hold them.
_UNWRITABLE = re.compile("[\x00-\x08\x0e-\x1b\x7f\ud800-\udfff]")
_RULE = re.compile(r"[-*_=~#]*")
_FENCE = re.compile(r"`{3,}\w*")
# What opens the next block on a line of its own: a heading, a lone "2.", "Pair 2:", "**Pair 2**".
_OPENS_NEXT = re.compile(
    r"#{1,6}\s.*|[*_]{0,2}(?P<word>(?:Q\W?A\s)?(?:pair|set|Q\W?A)?)\s?#?(?P<number>\d{1,4})"
    r"(?:[.):][*_]{0,2}|(?P<open>[*_]{0,2}):?)",
    re.IGNORECASE,
)
_EMPHASIS = re.compile(r"\*+|_+|`+")
_NAME_OF_CODE = re.compile(r"__[a-z0-9_]+__")


def one_line(text: str, following: int | None = None) -> str:
    """As ``trim``, with single spaces for all white space."""
    return " ".join(trim(text, following).split())


def trim(text: str, following: int | None = None) -> str:
    """A text without markdown that wraps it whole, and without the lines that separate it from the next block.

    A mark inside the text keeps its partner at the text's edge; one whose partner was cut off is left out.

    Args:
        text: What stands between two labels, or in a cell, or in a string.
        following: The number of the block behind it; None where none is, and so no line can open it.
    """
    lines = [line.rstrip() for line in _UNWRITABLE.sub("", text).strip().splitlines()]
    fences = sum(_FENCE.fullmatch(line.strip()) is not None for line in lines) if "```" in text else 0
    while lines:
        last = lines[-1].strip()
        if fences % 2 and _FENCE.fullmatch(last):
            fences -= 1
        elif len(lines) == 1 or not (
            _RULE.fullmatch(last) or (following is not None and _opens_next(lines, following))
        ):
            break
        lines.pop()
    text = "\n".join(lines).strip()
    for _ in range(4):  # layers: a bold text in quotes
        inner = _unwrapped(_without_emphasis(text))
        if inner == text:
            break
        text = inner
    return text


def _opens_next(lines: list[str], following: int) -> bool:
    """Whether the last line is of the next block: a bare number may also be what the text ends with."""
    found = _OPENS_NEXT.fullmatch(lines[-1].strip())
    if not found or found["number"] is None:
        return found is not None
    if found["open"] is not None:
        return bool(found["word"]) and int(found["number"]) == following
    return bool(found["word"]) or int(found["number"]) == following or not lines[-2].strip()


def _without_emphasis(text: str) -> str:
    """A text without the marks around all of it, and without one at an edge whose partner was cut off."""
    several = "\n" in text
    if not several and text.startswith("* "):
        text = text[2:].lstrip()
    for mark in "*_`":
        if mark not in (text[:1], text[-1:]) or (mark == "_" and _NAME_OF_CODE.fullmatch(text)):
            continue
        runs = [run for run in _EMPHASIS.finditer(text) if run[0][0] == mark and _emphasises(run, several)]
        opens, closes = bool(runs) and runs[0].start() == 0, bool(runs) and runs[-1].end() == len(text)
        if len(runs) == 2 and opens and closes:
            text = text[runs[0].end() : runs[1].start()].strip()
        elif len(runs) % 2 and (mark != "_" or " " in text):  # else a name, as "_count"
            if closes:
                text = text[: runs[-1].start()].rstrip()
            elif opens:
                text = text[runs[0].end() :].lstrip()
    return text


def _emphasises(run: re.Match[str], several_lines: bool) -> bool:
    """Whether marks may be of emphasis or code, rather than a bullet, a product, a name or a fence."""
    text, mark = run.string, run[0]
    before, behind = text[max(0, run.start() - 1) : run.start()], text[run.end() : run.end() + 1]
    if several_lines and (mark.startswith("```") or (mark == "*" and behind == " " and before in ("", "\n"))):
        return False
    if before.isspace() and behind.isspace():
        return False
    return mark[0] != "_" or not (before.isalnum() and behind.isalnum())


def _unwrapped(text: str) -> str:
    """A text without the quotation marks around all of it."""
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
