"""A file that grows by whole lines; what a kill leaves of a last one is cut off."""

import os
from collections.abc import Iterable
from pathlib import Path

from c3l.errors import StorageError
from c3l.storage.atomic import durable, make_folder, sync_file, sync_folder, write_all


def append_lines(path: Path, lines: Iterable[str]) -> None:
    """Add lines, which are on the disk when this returns; the file and its folder are made if need be.

    Raises:
        StorageError: If the disk refuses.
    """
    make_folder(path.parent)
    block = "".join(line + "\n" for line in lines).encode()
    try:
        is_new = not path.exists()
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        try:
            durable(write_all, file, block)
        finally:
            os.close(file)
        durable(sync_file, path)
        if is_new:
            durable(sync_folder, path.parent)
    except OSError as error:
        raise StorageError(
            f"cannot write {path}: {error.strerror}; look at the disk, then start again, earlier lines are kept"
        ) from error


def read_lines(path: Path) -> list[bytes]:
    """The whole lines; what stands after the last of them is cut off the file, so that the next begins a line."""
    if not path.exists():
        return []
    content = path.read_bytes()
    whole = _cut(content)
    if len(whole) < len(content):
        durable(os.truncate, path, len(whole))
    return whole.splitlines()


def peek_lines(path: Path) -> list[bytes]:
    """The whole lines of a file that another process may be writing."""
    return _cut(path.read_bytes()).splitlines() if path.exists() else []


def _cut(content: bytes) -> bytes:
    return content[: content.rfind(b"\n") + 1]
