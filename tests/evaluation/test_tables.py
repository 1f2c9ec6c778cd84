"""Tables as people have them: no row is lost to a quote, and what is no whole table is one line."""

import csv
import gzip
import io
from pathlib import Path

import pytest

from c3l.errors import DataError
from c3l.evaluation.tables import read_table

NAMES = ["index", "text", "more", "note"]


def read(folder: Path, content: str | bytes, name: str = "table.tsv") -> list[dict[str, str]]:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_table(path, ["index", "text"], "index", "a table")


def lines(*rows: tuple[str, ...], names: list[str] = NAMES, delimiter: str = "\t", end: str = "\n") -> str:
    return end.join(delimiter.join(cells) for cells in (names, *rows)) + end


PLAIN = [("1", "a", "x", ""), ("2", "b", "y", ""), ("3", "c", "z", "")]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("delimiter", ["\t", ",", ";"])
@pytest.mark.parametrize("mark", ["", "\ufeff", "sep"])
def test_every_dialect_gives_the_same_rows(end, delimiter, mark, tmp_path):
    if mark == "sep" and end == "\r":
        pytest.skip("nothing writes this")
    head = f"sep={delimiter}{end}" if mark == "sep" else mark
    found = read(tmp_path, head + lines(*PLAIN, delimiter=delimiter, end=end))
    assert [tuple(row.values()) for row in found] == PLAIN


def test_cells_that_are_quoted_hold_anything(tmp_path):
    rows = [("1", 'Which "sign"?', "a\tb", "one\ntwo\r\n\nthree"), ("2", '"', "", "")]
    text = io.StringIO()
    csv.writer(text, delimiter="\t").writerows([NAMES, *rows])
    assert [tuple(row.values()) for row in read(tmp_path, text.getvalue())] == rows


@pytest.mark.parametrize("broken", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c"])
def test_what_only_python_takes_for_a_line_break_hides_no_open_quote(broken, tmp_path):
    rows = [("1", "a", "x", '"open'), ("2", "b", "y", ""), ("3", "c", f"one{broken}two", 'end"')]
    assert [tuple(row.values()) for row in read(tmp_path, lines(*rows))] == rows


@pytest.mark.parametrize(
    "notes",
    [
        ['"open', "", ""],
        ['"open', 'end"', ""],
        ['"open', '6"', ""],
        ['"one" and more', "", '"two'],
        ["", "", '"open'],
    ],
)
def test_a_quote_that_never_closes_loses_no_row(notes, tmp_path):
    rows = [(number, text, more, note) for (number, text, more, _), note in zip(PLAIN, notes, strict=True)]
    assert [tuple(row.values()) for row in read(tmp_path, lines(*rows))] == rows


def test_where_a_row_goes_over_lines_such_a_quote_is_an_error_with_its_row(tmp_path):
    whole = '1\t"two\nlines"\tx\t\n'
    assert len(read(tmp_path, "\t".join(NAMES) + "\n" + whole)) == 1
    for broken in ('2\tb\ty\t"open\n3\tc\tz\t\n', '2\tb\ty\t"open\n3\tc\tz\t6"\n'):
        with pytest.raises(DataError, match=r"row 2\b.*quote that never closes"):
            read(tmp_path, "\t".join(NAMES) + "\n" + whole + broken)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is empty, expected a table"),
        ("\n\n", "is empty"),
        (lines(("1", "a", "x")), "row 1 has 3 cells, the header 4"),
        (lines(("1", "a", "x", ""), ("2", "a", "b", "x", "")), "row 2 has 5 cells, the header 4"),
        (lines(names=["index", "text", "text"]), "has the column text twice"),
        (lines(names=["index", "other"]), "has no column text; expected a table"),
        ('{"index": 1}', "has no column index, text"),
        (lines(("1", "a\0", "", "")), "NUL character in line 2"),
        (lines(*PLAIN).encode("utf-16"), "is text in UTF-16, expected a table"),
        (lines(("1", "图中是什么颜色", "", "")).encode("gbk"), r"is not UTF-8 \(line 2"),
        ("<!DOCTYPE html><html>", "is a web page, expected a table"),
        (b"PK\x03\x04rest", "is a zip archive"),
        (b"PAR1rest", "is a parquet file"),
        ("version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (gzip.compress(lines(*PLAIN).encode(), mtime=0)[:40], "is it whole"),
    ],
)
def test_what_is_no_whole_table_is_one_line(content, said, tmp_path):
    with pytest.raises(DataError, match=said) as caught:
        read(tmp_path, content)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["table.tsv", "table.tsv.gz"])
def test_a_packed_table_is_unpacked_whatever_its_name(name, tmp_path):
    assert len(read(tmp_path, gzip.compress(lines(*PLAIN).encode()), name)) == 3


def test_lines_without_text_are_no_rows(tmp_path):
    assert len(read(tmp_path, lines(*PLAIN) + "\n  \n\t\t\t\n")) == 3
