"""A file that is something else than its name says is called by what it is."""

import bz2
import gzip
import io
import lzma
import pickle
import sqlite3
import zipfile
from pathlib import Path

import pyarrow
import pytest
from PIL import Image
from pyarrow import feather, ipc, parquet

from c3l.data.jsonrows import iterate_rows
from c3l.data.magic import tell_kind
from c3l.errors import DataError

ROWS = b'[{"id": 1}]'
TABLE = pyarrow.Table.from_pylist([{"id": 1}])


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("x.json", "[]")
    return buffer.getvalue()


def table(kind: str) -> bytes:
    sink = pyarrow.BufferOutputStream()
    if kind == "parquet":
        parquet.write_table(TABLE, sink)
    elif kind == "feather":
        feather.write_feather(TABLE, sink)
    else:
        with (ipc.new_file if kind == "file" else ipc.new_stream)(sink, TABLE.schema) as writer:
            writer.write_table(TABLE)
    return sink.getvalue().to_pybytes()


def picture(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (9, 9)).save(buffer, kind)
    return buffer.getvalue()


OTHERS = {
    "a zip archive": archive(),
    "packed by gzip, and inside a web page": gzip.compress(b"<html>"),
    "packed by gzip, and inside a parquet file": gzip.compress(table("parquet")),
    "packed by gzip, and inside an Arrow file": gzip.compress(table("file")),
    "packed by gzip, and inside an Arrow stream": gzip.compress(table("stream")),
    "a PNG image": picture("PNG"),
    "a JPEG image": picture("JPEG"),
    "a WebP image": picture("WEBP"),
    "an AVIF image": picture("AVIF"),
    "a PDF document": b"%PDF-1.7",
    "text in UTF-16": "[{}]".encode("utf-16"),
    "text in UTF-32": "[{}]".encode("utf-32"),
    "a pickle": pickle.dumps([1]),
    "an HDF5 file": b"\x89HDF\r\n\x1a\n",
    "a NumPy array": b"\x93NUMPY\x01\x00",
    "a pointer of Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n",
    "a web page; the server may want you to log in": b"\n<!DOCTYPE HTML><title>Log in</title>",
    "an XML document": b'<?xml version="1.0"?>',
    "nothing but zero bytes": bytes(5000),
    "a film": b"\0\0\0\x18ftypisom",
    "a safetensors file": (40).to_bytes(8, "little") + b'{"a":',
}


@pytest.mark.parametrize("what", OTHERS)
def test_what_a_file_is_under_the_name_of_json(what: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(OTHERS[what])
    named, _, remedy = what.partition("; ")
    with pytest.raises(DataError, match=rf"x.json is {named}.*, expected a JSON list or JSON lines; {remedy}"):
        list(iterate_rows(tmp_path / "x.json"))


def test_a_database_is_one(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "x.json") as base:
        base.execute("create table rows(id)")
    base.close()
    with pytest.raises(DataError, match="is an SQLite database"):
        list(iterate_rows(tmp_path / "x.json"))


@pytest.mark.parametrize(
    "pack", [gzip.compress, bz2.compress, lzma.compress, lambda rows: pyarrow.compress(rows, "zstd", True)]
)
@pytest.mark.parametrize("name", ["x.json", "x.jsonl", "x.json.gz", "x"])
def test_a_packed_file_is_read_whatever_its_name(name: str, pack: object, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(pack(ROWS))  # type: ignore[operator]
    assert list(iterate_rows(tmp_path / name)) == [{"id": 1}]


@pytest.mark.parametrize(
    "text", ["[{}]", '{"id": 1}', "\ufeff[]", " \n[", "", "id,image", "null", "Entry not found", "図"]
)
def test_what_may_be_json_or_other_text_is_nothing_else(text: str) -> None:
    assert tell_kind(text.encode()) is None
