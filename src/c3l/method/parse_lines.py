"""Reads bare lines: one pair a line, or a question with its answer below."""

import csv
import re
from collections.abc import Iterator, Sequence
from itertools import islice, zip_longest
from textwrap import dedent

from c3l.method.label_words import KNOWN_QUESTIONS
from c3l.method.parsed import BULLET, MARK, MAX_PAIRS, ParsedPair, asks, one_line, split_at_mark, trim
from c3l.method.remarks import end_before_remark

# `{"`, `[[`, `"key": "`: of JSON that `read_json` found no pair in.
_JSON = re.compile(r"""^(?:[\[{]\s{0,8}){1,4}["\[{]|^"[^"]{1,80}"\s{0,8}:\s{0,8}["\[{]|\{\s{0,8}"[^"]{1,80}"\s{0,8}:""")
_TABLE_RULE = re.compile(r"\|?(?:\s{0,8}:?-{1,80}:?\s{0,8}\|){1,16}(?:\s{0,8}:?-{1,80}:?\s{0,8})?")
_NUMBERED = re.compile(r"[ \t>*_#]{0,16}[\[(]?\d{1,4}[.):\]][ \t*_]{0,8}\S")
_AFTER_MARK = re.compile(r"""[*_"”]*(?:[:|,;]+|[-\u2013\u2014]+(?!\d)|\s+)*+""")  # "-5" is a number
_HEAD = ("", "")  # of a table: no pair
_BULLET_ALONE = re.compile(r"(?:[ \t>•+]|[*-](?=[ \t])){0,16}")  # "12." may be an answer
_MAY_ASK = re.compile(r"[?\uff1f\u061f.!:]|^\|")
_HEADING = re.compile(r"\s{0,8}#{1,6}\s")
# "**Location**", "Location:" above a question.
_TITLE = re.compile(r"(?:\*\*[^*\n]{1,60}\*\*|__[^_\n]{1,60}__|[^\W\d][^:\n]{0,60}(?=:)):?")


def read_lines(text: str) -> Iterator[ParsedPair]:
    """``What ...? Answer``, ``question<tab>answer``, ``question | answer``, or the answer on the lines below.

    A line whose first sentence is no question holds no pair: prose is not taken apart, nor JSON of another form. An
    answer goes on to the next question or the heading above it, or to the next number if its question has one.
    """
    yield from islice(_read_bare(text), MAX_PAIRS)


def _read_bare(text: str) -> Iterator[ParsedPair]:
    lines = text.splitlines()
    lines = lines[: end_before_remark(lines)]
    question: str | None = None
    answer: list[str] = []
    ends_at = 0  # a number that is indented less ends the answer
    for line, following in zip_longest(lines, lines[1:], fillvalue=""):
        row: tuple[str, str] | None = None
        cells: tuple[str, str] | None = None
        stripped = line.strip()
        is_json = _JSON.search(stripped) is not None
        if len(stripped) > 2 and not is_json:
            row = _read_row(stripped, following)
            cells = row or _read_question(stripped)
        if cells is None and question is None:
            continue
        is_number = _NUMBERED.match(line) is not None
        indent = len(line) - len(line.lstrip(" \t"))
        if question is not None and (cells or (is_number and indent < ends_at) or _HEADING.match(line)):
            yield _pair(question, _without_title(answer) if cells else answer)
            question = None
        if row:
            if row != _HEAD:
                yield ParsedPair(*row)
        elif cells:
            question, answer = cells[0], [cells[1]]
            ends_at = indent + 1 if is_number else 0
        elif question is not None and not is_json:
            answer.append(line)
    if question is not None:
        yield _pair(question, answer)


def _without_title(lines: Sequence[str]) -> Sequence[str]:
    """The lines of an answer without a title of the question behind it, unless a line before it quotes it."""
    written = [place for place, line in enumerate(lines) if line.strip()]
    if len(written) < 2 or not _TITLE.fullmatch(lines[written[-1]].strip()):
        return lines
    return lines if lines[written[-2]].rstrip().endswith(":") else lines[: written[-1]]


def _pair(question: str, lines: Sequence[str]) -> ParsedPair:
    first, *below = lines
    text = dedent("\n".join(below)).strip("\n")
    if not first and "\n" not in text:
        text = _BULLET_ALONE.sub("", text, count=1)
    return ParsedPair(question, _unquoted(trim(f"{first}\n{text}")))


def _read_row(line: str, following: str) -> tuple[str, str] | None:
    """Question and answer of a line of cells, which may begin with a number or the like."""
    separator = "\t" if "\t" in line else "|" if " | " in line or line.startswith("|") else ""
    if separator:
        if _TABLE_RULE.fullmatch(line) or _TABLE_RULE.fullmatch(following.strip()):
            return _HEAD
        if not _MAY_ASK.search(line):
            return None
        cells = line.removeprefix(separator).removesuffix(separator).split(separator)
    elif '",' in line and MARK.search(line):
        cells = _read_csv(line)
    else:
        return None
    if len(cells) < 2:
        return None
    if len(cells) > 2 and not asks(trim(cells[0])) and (asks(trim(cells[1])) or _is_number(cells[0])):
        del cells[0]
    question = one_line(BULLET.sub("", cells[0], count=1))
    answer = trim(" ".join(cell.strip() for cell in cells[1:]))
    if KNOWN_QUESTIONS & {trim(cell).casefold() for cell in cells[:2]}:
        return _HEAD
    is_asked = asks(question) or (separator and answer and (line.startswith("|") or question.endswith((".", "!", ":"))))
    return (question, answer) if question and is_asked else None


def _is_number(cell: str) -> bool:
    return cell.strip(" .)#").isdecimal() or not cell.strip()


def _read_csv(line: str) -> list[str]:
    try:
        return next(csv.reader([line], skipinitialspace=True), [])
    except csv.Error:
        return []


def _read_question(line: str) -> tuple[str, str] | None:
    """A question at the beginning of a line, and what stands behind it."""
    if not MARK.search(line):
        return None
    question, mark, answer = split_at_mark(BULLET.sub("", line, count=1))
    if not question.strip() or re.search(r"[.!]\s", question):
        return None
    return _unquoted(one_line(question + mark)), _AFTER_MARK.sub("", answer, count=1)


def _unquoted(text: str) -> str:
    """A text without a quotation mark whose other one was cut off."""
    if text.count('"') % 2 == 0:
        return text
    if text.startswith('"'):
        return text[1:].lstrip()
    return text[:-1].rstrip() if text.endswith('"') and not text[-2:-1].isdigit() else text  # 12" are inches
