"""Reads bare lines: one pair a line, or a question with its answer below."""

import re
from collections.abc import Iterator
from itertools import islice

from c3l.method.parsed import BULLET, MARK, MAX_PAIRS, ParsedPair, one_line, split_at_mark, trim, without_labels

# `{"`, `[[`, `"key": "`: of JSON that `read_json` found no pair in.
_JSON = re.compile(r"""^(?:[\[{]\s{0,8}){1,4}["\[{]|^"[^"]{1,80}"\s{0,8}:\s{0,8}["\[{]|\{\s{0,8}"[^"]{1,80}"\s{0,8}:""")


def read_lines(text: str) -> Iterator[ParsedPair]:
    """``What ...? Answer``, ``question<tab>answer``, ``question | answer``, or the answer on the next line.

    A line whose first sentence is no question holds no pair: prose is not taken apart, nor JSON of another form.
    """
    yield from without_labels(list(islice(_read_bare(text), MAX_PAIRS)))


def _read_bare(text: str) -> Iterator[ParsedPair]:
    waiting = ""
    for line in text.splitlines():
        if cells := _cells(line.strip()):
            if waiting:
                yield ParsedPair(waiting, "")
            waiting, answer = cells
        elif waiting:
            answer = trim(BULLET.sub("", line, count=1))
        else:
            continue
        if answer:
            yield ParsedPair(waiting, answer)
            waiting = ""
    if waiting:
        yield ParsedPair(waiting, "")


def _cells(line: str) -> tuple[str, str] | None:
    if len(line) < 3 or _JSON.search(line) or not (MARK.search(line) or "\t" in line or " | " in line):
        return None
    line = BULLET.sub("", line, count=1)
    for separator in ("\t", " | "):
        if separator in line:
            cells = [cell for cell in line.strip(" \t|").split(separator) if cell.strip(" \t-:")]
            if cells and cells[0].strip().rstrip(".)").isdecimal():
                del cells[0]
            if len(cells) < 2 or cells[0].strip().lower() == "question":
                return None
            return one_line(cells[0]), trim(" ".join(cells[1:]))
    question, mark, answer = split_at_mark(line)
    if not mark or not question.strip() or re.search(r"[.!]\s", question):
        return None
    return _unquoted(one_line(question + mark)), _unquoted(trim(answer.lstrip(' \t*_:-\u2013\u2014|"”')))


def _unquoted(text: str) -> str:
    """A text without a quotation mark whose other one was cut off."""
    if text.count('"') % 2 == 0:
        return text
    if text.startswith('"'):
        return text[1:].lstrip()
    return text[:-1].rstrip() if text.endswith('"') and not text[-2:-1].isdigit() else text  # 12" are inches
