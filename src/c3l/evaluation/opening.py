"""Opens the files of benchmarks: packed or plain, and says what a file is that is something else."""

import bz2
import codecs
import gzip
import io
import lzma
import zlib
from pathlib import Path
from typing import IO

from c3l.data.magic import HEAD, tell_kind
from c3l.errors import DataError


def read_utf8(path: Path, expected: str) -> bytes:
    """The bytes of a text file, unpacked if it is packed, known to be UTF-8, without a byte order mark.

    Args:
        path: The file.
        expected: What it should be, for the error.

    Raises:
        DataError: If it is empty, of another kind, or not UTF-8.
    """
    content = _read(path, expected)
    if not content.strip():
        raise DataError(f"{path} is empty, expected {expected}; get it anew")
    if (kind := tell_kind(content[:HEAD])) is not None:
        raise DataError(f"{path} is {kind.what}, expected {expected}; {kind.remedy}")
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path} is not UTF-8 (line {line}: {error.reason}); save it as UTF-8") from None
    if b"\0" in content:
        line = content.count(b"\n", 0, content.index(b"\0")) + 1
        raise DataError(f"{path} has a NUL character in line {line}, expected {expected}; get it anew")
    return content.removeprefix(codecs.BOM_UTF8)


def _read(path: Path, expected: str) -> bytes:
    """The bytes of a file, unpacked."""
    try:
        with path.open("rb") as file:
            kind = tell_kind(file.read(HEAD))
        if kind is None or not kind.packing:
            return path.read_bytes()
        with _open_packed(path, kind.packing) as unpacked:
            return unpacked.read()
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise DataError(f"cannot read {path}: {error}; expected {expected}, is it whole?") from None


def _open_packed(path: Path, packing: str) -> IO[bytes]:
    if packing == "gzip":
        return io.BufferedReader(gzip.GzipFile(path))
    if packing != "zstd":
        return bz2.open(path) if packing == "bz2" else lzma.open(path)
    try:
        import pyarrow
    except ImportError:
        raise DataError(f"{path} needs pyarrow to unpack: pip install 'c3l[export]', or run zstd -d") from None
    return io.BufferedReader(pyarrow.input_stream(str(path), compression="zstd"))
