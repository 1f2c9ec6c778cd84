"""Rows of a table in a text file, each with as many cells as the header; a quote that never closes loses none.

Tables are written in two ways: with cells quoted where they hold quotes, tabs or line breaks, quotes in them doubled;
or with nothing quoted at all, a row a line. A file says by itself which: read the first way, it has to keep the rules
of quoting to its end, and no cell may hold a row; read the second way, every line has to have the header's cells.
"""

import csv
import io
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from c3l.errors import DataError
from c3l.evaluation.opening import read_utf8

_DELIMITERS = ("\t", ",", ";")
_LINE_BREAK = re.compile(r"\r\n|\r|\n")  # str.splitlines knows more, such as U+2028, which stand within a line here

TableRow = Mapping[str, str]


class _BrokenError(Exception):
    """The table does not keep the rules of the way in which it is read."""


def read_table(path: Path, needed: Sequence[str], number: str, expected: str) -> list[TableRow]:
    """The rows of a table, by the names of its columns; tabs, commas or semicolons stand between its cells.

    Args:
        path: The file, packed or plain.
        needed: Columns that it must have.
        number: One of them, in which only numbers stand: what tells a row from a piece of one.
        expected: What the file should be, for errors.

    Raises:
        DataError: If a column is missing or there twice, or a row has more or fewer cells than the header.
    """
    content = read_utf8(path, expected)
    delimiter, content = _find_delimiter(content, needed)
    names = _read_names(path, content, delimiter, needed, expected)
    with _large_cells():
        try:
            return list(_read_quoted(content, delimiter, names, names.index(number)))
        except _BrokenError as error:
            plain = _read_plain(content, delimiter, names, names.index(number))
            if plain is None:
                raise DataError(f"{path}: {error}") from None
            return plain


def _find_delimiter(content: bytes, needed: Sequence[str]) -> tuple[str, bytes]:
    """What stands between the cells, and the content without a first line that only says so (Excel's ``sep=;``)."""
    first, _, rest = content.partition(b"\n")
    told = first.decode().strip().strip('"')
    if told.lower().startswith("sep="):
        return told[4:] or "\t", rest
    head = next(_lines(content), "")
    found = {one: len(set(needed) & {name.strip(' "\r\n') for name in head.split(one)}) for one in _DELIMITERS}
    return max(_DELIMITERS, key=lambda one: found[one]), content


def _lines(content: bytes) -> io.TextIOWrapper:
    """The content as text, whose lines end in any way; never whole in memory."""
    return io.TextIOWrapper(io.BytesIO(content), encoding="utf-8", newline="")


def _read_names(path: Path, content: bytes, delimiter: str, needed: Sequence[str], expected: str) -> list[str]:
    try:
        with _large_cells():
            names = [name.strip() for name in next(csv.reader(_lines(content), delimiter=delimiter))]
    except (csv.Error, StopIteration, TypeError) as error:  # TypeError: no single character stands between cells
        raise DataError(f"{path} has no line of column names ({error}), expected {expected}") from None
    if missing := [name for name in needed if name not in names]:
        raise DataError(f"{path} has no column {', '.join(missing)}; expected {expected}")
    if twice := [name for name, count in Counter(names).items() if count > 1 and name]:
        raise DataError(f"{path} has the column {twice[0]} twice, expected each once; remove one")
    return names


def _read_quoted(content: bytes, delimiter: str, names: Sequence[str], place: int) -> Iterator[TableRow]:
    reader = csv.reader(_lines(content), delimiter=delimiter, strict=True)
    number = 0
    try:
        for number, cells in _number_rows(reader):
            if any(_holds_row(cell, delimiter, len(names), place) for cell in cells):
                raise _BrokenError(f"row {number} has whole rows in one cell: is there a quote that never closes?")
            yield _to_row(cells, names, number)
    except csv.Error as error:
        raise _BrokenError(
            f"row {number + 1}, before line {reader.line_num + 1}, breaks the rules of quoting ({error}): a quote that "
            "never closes, or one in a cell that is not quoted; double it, or quote nothing and keep each row on a line"
        ) from None


def _number_rows(reader: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    """The rows below the header, from 1; lines without text are none."""
    next(reader)
    yield from enumerate((cells for cells in reader if any(map(str.strip, cells))), 1)


def _holds_row(cell: str, delimiter: str, width: int, place: int) -> bool:
    """Whether a cell goes on into the next rows: it has a row's delimiters, and its last line begins as one."""
    if not _LINE_BREAK.search(cell):
        return False
    last = _LINE_BREAK.split(cell.rstrip("\r\n"))[-1].split(delimiter)
    return cell.count(delimiter) >= width - 1 and (len(last) <= place or is_whole(last[place]))


def _read_plain(content: bytes, delimiter: str, names: Sequence[str], place: int) -> list[TableRow] | None:
    """The rows where nothing is quoted; None if a line is no row."""
    reader = csv.reader(_lines(content), delimiter=delimiter, quoting=csv.QUOTE_NONE)
    try:
        rows = [_to_row(cells, names, number) for number, cells in _number_rows(reader)]
    except (csv.Error, _BrokenError):
        return None
    return rows if rows and all(is_whole(row[names[place]]) for row in rows) else None


def _to_row(cells: Sequence[str], names: Sequence[str], number: int) -> TableRow:
    if len(cells) != len(names):
        raise _BrokenError(
            f"row {number} has {len(cells)} cells, the header {len(names)}; is there a delimiter in a cell that is not "
            "quoted, or one missing?"
        )
    return dict(zip(names, cells, strict=True))


def is_whole(text: str) -> bool:
    """Whether a cell is a whole number, perhaps written as 12.0."""
    head, point, tail = text.strip().partition(".")
    return head.isascii() and head.isdecimal() and not tail.strip("0") and (not point or tail != "")


@contextmanager
def _large_cells() -> Iterator[None]:
    limit = csv.field_size_limit(sys.maxsize)  # images stand in the cells
    try:
        yield
    finally:
        csv.field_size_limit(limit)
