"""Rows of a JSON list, of JSON lines, of a table or of a tar archive: one at a time, from files of any size."""

import bz2
import gzip
import io
import json
import lzma
import re
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from c3l.data.magic import HEAD, TAR, Kind, tell_kind
from c3l.data.rejection import BadRow
from c3l.data.tables import find_table, iterate_table
from c3l.data.webdataset import iterate_samples
from c3l.errors import DataError, one_line

MAX_ROW = 2**24  # characters; a longer row is no instruction data, and could fill the memory
_BLOCK = 2**20
_SPACE = " \t\r\n"
_OUTSIDE = re.compile(r'[][{},"]')
_NESTED = re.compile(r'[][{}"]')
_STRING = re.compile(r'(?:[^"\\]|\\.)*+', re.DOTALL)  # up to its end, or that of what was read


def iterate_rows(path: Path) -> Iterator[Any]:
    """The rows as JSON values, and a ``BadRow`` for each line that is not JSON; blank lines are no rows.

    A parquet or Arrow file is read row by row as well, whatever its name, and a tar archive sample by sample.

    The first character decides: ``[`` begins a list, anything else is read line by line. A byte order mark is
    skipped. What is packed (gzip, bzip2, xz, zstd) is told by its bytes, whatever its name. Of a row of more than
    ``MAX_ROW`` characters nothing is kept but a ``BadRow``; an item of a list may have up to twice as many.

    Raises:
        DataError: If the file cannot be opened or unpacked, is of another kind, is not UTF-8, or is a list that
            breaks off or breaks the rules of JSON.
    """
    if kind := _find_table(path):
        yield from iterate_table(path, kind)
        return
    try:
        with _open(path) as file:
            if _is_tar(file):
                yield from iterate_samples(file, path)
                return
            with io.TextIOWrapper(file, encoding="utf-8-sig", newline="\n") as text:
                head = _first_character(text)
                yield from _list_items(text, path) if head == "[" else _lines(head, text)
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 ({error.reason}); save it as UTF-8") from None
    except (OSError, EOFError, zlib.error, lzma.LZMAError, tarfile.TarError) as error:
        raise DataError(f"cannot read {path}: {error}; is it whole?") from None


def iterate_list(path: Path) -> Iterator[Any]:
    """The items of a file that holds a JSON list, unpacked, and nothing else; one at a time, as ``iterate_rows``.

    Raises:
        DataError: If it holds anything else, or the list breaks off or breaks the rules of JSON.
    """
    with path.open(encoding="utf-8-sig", newline="\n") as text:
        if (head := _first_character(text)) != "[":
            raise DataError(f"got {path} that begins with {head!a}, expected a JSON list")
        yield from _list_items(text, path)


def begins_list(path: Path) -> bool:
    """Whether a file that ``iterate_rows`` can read holds a JSON list, or is a table or archive."""
    if _find_table(path):
        return True
    with _open(path) as file:
        if _is_tar(file):
            return True
        with io.TextIOWrapper(file, encoding="utf-8-sig") as text:
            return _first_character(text) == "["


def _is_tar(file: io.BufferedReader) -> bool:
    return tell_kind(file.peek(HEAD)[:HEAD]) == TAR


def _find_table(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return find_table(file.read(HEAD))
    except OSError:  # told where the file is read
        return None


def _open(path: Path) -> io.BufferedReader:
    file = path.open("rb")
    kind = tell_kind(file.peek(HEAD)[:HEAD])
    if kind is None or not kind.packing:
        return _refuse_others(file, path, kind)
    file.close()
    unpacked = _unpack(path, kind)
    return _refuse_others(unpacked, path, tell_kind(unpacked.peek(HEAD)[:HEAD]), f"{kind.what}, and inside ")


def _refuse_others(file: io.BufferedReader, path: Path, kind: Kind | None, packed: str = "") -> io.BufferedReader:
    if kind is not None and kind != TAR:
        file.close()
        raise DataError(f"{path} is {packed}{kind.what}, expected a JSON list or JSON lines; {kind.remedy}")
    return file


def _unpack(path: Path, kind: Kind) -> io.BufferedReader:
    if kind.packing != "zstd":
        raw = {"gzip": gzip.GzipFile, "bz2": bz2.BZ2File, "xz": lzma.LZMAFile}[kind.packing](path)
        return io.BufferedReader(cast(io.RawIOBase, raw))
    try:
        import pyarrow
    except ImportError:
        raise DataError(f"{path} needs pyarrow to unpack: pip install 'c3l[export]', or run zstd -d") from None
    return io.BufferedReader(pyarrow.input_stream(str(path), compression="zstd"))


def _first_character(text: IO[str]) -> str:
    while letter := text.read(1):
        if letter not in _SPACE:
            return letter
    return ""


def _lines(head: str, text: IO[str]) -> Iterator[Any]:
    number = 0
    while line := head + text.readline(MAX_ROW):
        head, number = "", number + 1
        if len(line) >= MAX_ROW and not line.endswith("\n"):
            while (rest := text.readline(_BLOCK)) and not rest.endswith("\n"):
                pass
            yield BadRow(f"line {number} with text has more than {MAX_ROW:,} characters", "row_too_long")
        elif line.strip(_SPACE):
            yield _parse_line(line, number)


def _parse_line(line: str, number: int) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:  # ValueError also for whole numbers of absurd length
        problem = one_line(error, 200)
        return BadRow(f"line {number} with text is not JSON: {problem}; it begins {line[:40]!a}")


def _list_items(text: IO[str], path: Path) -> Iterator[Any]:
    """Items after the ``[`` that was read already."""
    buffer = _Buffer(text, path)
    mark = buffer.take() if buffer.peek() == "]" else ","
    while mark == ",":
        yield buffer.item()
        mark = buffer.take()
    if mark != "]":
        raise buffer.error(f"got {mark!a} after an item, expected a comma or ]")
    buffer.expect_end()


class _Buffer:
    """Text read so far; ``at`` is the place of what comes next."""

    def __init__(self, text: IO[str], path: Path) -> None:
        self.text, self.path = text, path
        self.held, self.at, self.before = "", 0, 1
        self.decoder = json.JSONDecoder()

    def more(self) -> bool:
        """Read on; whether there was anything."""
        self.before += self.at
        wanted = max(_BLOCK, len(self.held) - self.at)  # doubling, so that a long item costs linear time
        block = self.text.read(wanted)
        self.held, self.at = self.held[self.at :] + block, 0
        return bool(block)

    def peek(self) -> str:
        """The next character that is not white space."""
        while True:
            while self.at < len(self.held) and self.held[self.at] in _SPACE:
                self.at += 1
            if self.at < len(self.held):
                return self.held[self.at]
            if not self.more():
                raise self.error("the list breaks off")

    def take(self) -> str:
        """As ``peek``, and go past it."""
        letter = self.peek()
        self.at += 1
        return letter

    def expect_end(self) -> None:
        """Refuse anything after the list: it would be lost without a word."""
        while not self.held[self.at :].strip(_SPACE):
            self.at = len(self.held)
            if not self.more():
                return
        raise self.error("the list has ended, but the file goes on; is it several files in one?")

    def item(self) -> Any:
        """The next value; a value that touches the end of what was read may go on, so is read again."""
        self.peek()
        while True:
            try:
                value, end = self.decoder.raw_decode(self.held, self.at)
                if end < len(self.held):
                    self.at = end
                    return value
                problem = "the list breaks off"
            except (ValueError, RecursionError) as error:
                problem = f"not JSON: {one_line(error, 200)}"
            if len(self.held) - self.at > MAX_ROW:
                return self._pass_item(problem)
            if not self.more():
                raise self.error(problem)

    def _pass_item(self, problem: str) -> BadRow:
        """Go on to the comma or bracket after a value that is too long to be held.

        Raises:
            DataError: If it is not too long, but not JSON.
        """
        start, depth = self.before + self.at, 0
        while True:
            mark = (_NESTED if depth else _OUTSIDE).search(self.held, self.at)
            if mark is None:
                self.at = len(self.held)
                self._go_on(problem)
            elif mark[0] in ",]" and not depth:
                self.at = mark.start()
                break
            else:
                self.at = mark.end()
                depth += (mark[0] in "[{") - (mark[0] in "]}")
                if mark[0] == '"':
                    self._pass_string(problem)
        if self.before + self.at - start <= MAX_ROW:
            raise self.error(problem)
        return BadRow(f"the item at character {start:,} has more than {MAX_ROW:,} characters", "row_too_long")

    def _pass_string(self, problem: str) -> None:
        while True:
            self.at = _STRING.match(self.held, self.at).end()  # type: ignore[union-attr]  # matches nothing too
            if self.held[self.at : self.at + 1] == '"':
                self.at += 1
                return
            self._go_on(problem)

    def _go_on(self, problem: str) -> None:
        if not self.more():
            raise self.error(f"no item ends within {MAX_ROW:,} characters: {problem}")

    def error(self, problem: str) -> DataError:
        """The error, with the place in the file."""
        remedy = "" if problem.endswith("?") else "; is the file whole? if not, copy or download it again"
        return DataError(f"{self.path}: in the item at character {self.before + self.at:,}: {problem}{remedy}")
