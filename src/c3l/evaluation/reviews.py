"""The two marks of a review: what the original reads, and the same marks in another wrapping.

    8 6                          the first line, as the original reads it: two numbers from 1 to 10 and nothing else
    **8/10**, **6/10**           the same unwrapped: markup, fences, scales, a heading
    Assistant 2: 6, then 1: 8    marks that are named go to whom they name, in whatever order
    Scores: 8 6, at the end      after an explanation, if nothing else in the review says otherwise

What can be read in two ways is not read at all: a range (7-8), another scale (4/5), two marks for one side, a number
with something counted behind it.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from c3l.evaluation.choices import WIDE
from c3l.markup.thoughts import cut_thoughts

Marks = tuple[float, float]
How = Literal["first line", "unwrapped"]

_PLAIN = re.compile(r"[0-9]+(\.[0-9]+)?")
_SIGNS = WIDE | {0x3000: " ", 0x3001: ",", 0x3002: "."}
_SIDES = {"1": 0, "one": 0, "A": 0, "2": 1, "two": 1, "B": 1}
_LONGEST = 400  # characters of a line in which marks are looked for as a pair

_NUMBER = r"(?:10(?:\.0+)?|[1-9](?:\.\d+)?)"
_MARK = (
    rf"(?<![\w.,/+\u2013-])(?P<mark{{n}}>{_NUMBER})(?P<scale{{n}}>\s*(?:/|out\s+of|of)\s*10(?:\.0+)?)?"
    r"(?:\s*(?:points?\b|pts\b|\u5206))?(?![\w/%]|[.,]\d)"
)
_FIRST, _SECOND = _MARK.format(n=1), _MARK.format(n=2)
_BETWEEN = r"(?:\s*(?:[,;|&]|\band\b|\bvs\b\.?)\s*|\s+)"
_TWO = (
    rf"\(?\s*{_FIRST}{_BETWEEN}{_SECOND}\s*\)?\s*"
    r"(?P<rest>[.,;:!]?|(?:[.;:(\u2013\u2014]|-\s)\s*\D.*|,\s*[A-Za-z ]+:.*)"
)
_PAIR = re.compile(_TWO)
_HEADED = re.compile(rf"(?P<head>.*?)(?:[:=]|\bare\b)\s*{_TWO}")
_WORTH = re.compile(r"\b(?:scores?|scoring|ratings?|marks?|grades?|points)\b", re.I)
_LETTER = re.compile(r"[^\W\d_]")
_LAST = re.compile(r"\b(?:final|overall|total)\b", re.I)
_ALONE = re.compile(r"(?:my |the |final )*(?:answers?|output|results?|verdict|evaluation|assessment)", re.I)
_TELLS = re.compile(r"\b(?:answer|response)\s+(?:is|was|of)\s*$", re.I)
_SCALE = re.compile(r"\(?\s*(?:\b(?:from|between|out of|of)\s+|/\s*)?(?:\b1\s*(?:-|\u2013|to|and)\s*)?\b10\b\s*\)?")
_TWO_LINES = re.compile(rf"{_FIRST}\n+{_SECOND}(?:\n(?!\s*{_NUMBER}\s*(?:\n|$))[\s\S]*)?")
_NUMBERED = re.compile(rf"1\s*[:.)]\s*{_FIRST}[\s,;]+2\s*[:.)]\s*{_SECOND}[\s.]*")


@dataclass(frozen=True, slots=True)
class Review:
    """What was read of a review.

    Attributes:
        marks: Of the first place and of the second, each 1 to 10.
        how: ``first line``: as the original reads it; ``unwrapped``: the original would not have read it.
    """

    marks: Marks
    how: How


def read_review(text: str, role: str = "Assistant") -> Review | None:
    """The marks in what a judge wrote, its thoughts left out; None if it is not clear what they are.

    Args:
        text: All that it wrote.
        role: What the prompt calls the two sides.
    """
    answer = cut_thoughts(text)
    if answer is None:
        return None
    if (marks := parse_review(answer)) is not None:
        return Review(marks, "first line")
    unwrapped = _unwrap(answer, role)
    return None if unwrapped is None else Review(unwrapped, "unwrapped")


def parse_review(text: str) -> Marks | None:
    """The marks on the first line that has text: two numbers from 1 to 10 and nothing else; None if it is not so."""
    line = text.strip().partition("\n")[0]
    words = line.replace(",", " ").split()
    if len(words) != 2 or not all(_PLAIN.fullmatch(word) for word in words):
        return None
    first, second = map(float, words)
    return (first, second) if 1 <= first <= 10 and 1 <= second <= 10 else None


def _unwrap(text: str, role: str) -> Marks | None:
    words = list(dict.fromkeys((role.lower(), "assistant", "answer", "response", "model", "score", "rating", "mark")))
    lines = list(_clean(text, words))
    if not lines:
        return None
    if (marks := parse_review(lines[0]) or _bare_pair(lines[0])) is not None:
        return marks  # as in the original, what comes behind the first line changes nothing
    return _only(_find(lines, words)) or _only(_find(list(_last(lines)), words))


def _find(lines: Sequence[str], words: Sequence[str]) -> Iterator[Marks | None]:
    """Every pair of marks that some lines hold."""
    whole = "\n".join(lines)
    yield from _pairs(lines)
    yield from _named(whole, words)
    yield from _listed(whole)


def _last(lines: Sequence[str]) -> Iterator[str]:
    """What is called final: lines that say so, and the marks below them."""
    for before, line in zip(("", *lines), lines, strict=False):
        if _LAST.search(line) or (_LAST.search(before) and _bare_pair(line)):
            yield line


def _only(pairs: Iterable[Marks | None]) -> Marks | None:
    found = set(pairs)
    return found.pop() if len(found) == 1 else None


def _clean(text: str, words: Sequence[str]) -> Iterator[str]:
    """The lines that have text, without markup; ``first assistant`` becomes ``assistant 1``."""
    text = text.translate(_SIGNS)
    text = re.sub(r"<\|[^|\n]{0,40}\|>|</?s>", " ", text)
    text = re.sub(r"</[A-Za-z][\w -]{0,40}>", "\n", text)
    text = re.sub(r"<([A-Za-z][\w -]{0,40})>", r"\n\1: ", text)
    text = re.sub(r"^[^\S\n]*```\w*[^\S\n]*$", "", text, flags=re.M)
    text = re.sub(r"\\(?:boxed|text\w*|mathbf|[()\[\]])", " ", text)
    text = re.sub(r"[*`\"\u201c\u201d$\[\]{}_]", " ", text)
    named = "|".join(map(re.escape, words))
    for number, ordinal in (("1", "first"), ("2", "second")):
        text = re.sub(rf"\b{ordinal}\s+({named})\b", rf"\1 {number}", text, flags=re.I)
        text = re.sub(rf"\b{ordinal}\s*(?=:)", f"assistant {number}", text, flags=re.I)
    for line in text.splitlines():
        line = re.sub(r"^\s*(?:(?:[-+\u2022]|#+|>+)\s+)*", "", line).strip(" \t|'")
        if line.strip("-=: |"):
            yield re.sub(r"\s+", " ", line)


def _pairs(lines: Sequence[str]) -> Iterator[Marks]:
    """Lines that hold two marks side by side, below or behind a heading that speaks of marks; the last needs none."""
    for before, line in zip(("", *lines), lines, strict=False):
        bare = _bare_pair(line)
        found = _HEADED.fullmatch(line[:_LONGEST])
        ends = line is lines[-1] and not _LETTER.search(_SCALE.sub("", line))
        if bare and (_is_heading(before) or ends):
            yield from _in_order(bare, before if _is_heading(before) else "")
        elif found and _is_heading(found["head"]) and (marks := _to_marks(found)):
            yield from _in_order(marks, found["head"])


def _bare_pair(line: str) -> Marks | None:
    found = _PAIR.fullmatch(line[:_LONGEST])
    return _to_marks(found) if found else None


def _to_marks(found: re.Match[str]) -> Marks | None:
    """None if only one of them has a scale."""
    return (float(found["mark1"]), float(found["mark2"])) if bool(found["scale1"]) == bool(found["scale2"]) else None


def _in_order(marks: Marks, head: str) -> Iterator[Marks]:
    if order := _order(head):
        yield marks[order[0]], marks[order[1]]


def _is_heading(text: str) -> bool:
    """Whether marks are announced: a few words about scores, or the names of both sides."""
    plain = _SCALE.sub("", text)
    if len(plain.split()) > 12 or re.search(r"\d", re.sub(r"\b[12]\b", "", plain)):
        return False
    return bool(_WORTH.search(plain) or _ALONE.fullmatch(plain.strip(" :")) or _order(plain, empty=None))


def _order(head: str, empty: tuple[int, int] | None = (0, 1)) -> tuple[int, int] | None:
    """Which of two marks is whose, by the sides that a heading names; None if it names them otherwise."""
    named = re.findall(r"\b[12]\b", _SCALE.sub("", head))
    return {(): empty, ("1", "2"): (0, 1), ("2", "1"): (1, 0)}.get(tuple(named))


def _named(text: str, words: Sequence[str]) -> set[Marks | None]:
    """The marks that follow, or go to, a name of each side; None is among them if a side has several."""
    pairs: set[Marks | None] = set()
    for word in words:
        sides: tuple[set[float], set[float]] = (set(), set())
        for which, mark in _named_by(text, word):
            sides[_SIDES[which if len(which) == 1 else which.lower()]].add(mark)
        if all(sides):
            pairs.add((*sides[0], *sides[1]) if len(sides[0]) == len(sides[1]) == 1 else None)  # type: ignore[arg-type]
    return pairs


def _named_by(text: str, word: str) -> Iterator[tuple[str, float]]:
    label = rf"\b{re.escape(word)}\s*[#:]?\s*(?P<which>1|2|one\b|two\b|(?-i:[AB])\b)(?!\d|[.,/]\d)"
    other = label.replace("?P<which>", "?:")
    link = (
        r"(?:['\u2019]s\b|[\s:=|(>'-]|,\s*(?=(?:the\s+)?(?:score|rating|mark)\b)|\b(?:scores?|ratings?|marks?|grade|"
        r"answer|response|gets?|got|receive[sd]?|earn(?:s|ed)?|deserve[sd]?|scored|would|be|is|an?|the|of|with)\b){0,12}?"
    )
    ends = (
        r"(?=\s*(?:$|[|)(<]|[.;,!](?:\s+(?!\d)|$)|[\u2013\u2014-]\s+(?!\d)"
        rf"|(?:and|while|but|vs\.?)\s+(?:an?\s+\d|(?:the\s+)?{other})|{other}))"
    )
    sure = _FIRST.replace("(?:/|out\\s+of|of)\\s*10(?:\\.0+)?)?", "(?:/|out\\s+of)\\s*10(?:\\.0+)?)")
    for found in re.finditer(rf"{label}{link}(?:{sure}|{_SECOND}{ends})", text, re.I | re.M):
        mark = found["mark1"] or found["mark2"]
        between = text[found.end("which") : found.start("mark1" if found["mark1"] else "mark2")]
        if _TELLS.search(between) and not (found["scale1"] or found["scale2"]):
            continue  # what the assistant answered to "How many ...?"
        if not (mark == "1" and re.match(r"\.\s+\S", text[found.end() :])):  # "Assistant 1: 1. It" begins a list
            yield found["which"], float(mark)
    for found in re.finditer(rf"{_FIRST}\s+(?:for|to)\s+(?:the\s+)?{label}", text, re.I):
        yield found["which"], float(found["mark1"])


def _listed(text: str) -> Iterator[Marks]:
    """Marks one below the other, bare or numbered, where that is all there is."""
    found = _NUMBERED.fullmatch(text) or _TWO_LINES.fullmatch(text)
    if found and (marks := _to_marks(found)):
        yield marks
