"""Files that are either whole or not there: a temporary name, fsync, rename, fsync of the folder.

Every step that a crash could come between goes through ``durable``, so that a test can number the steps and
stop the program at each of them.
"""

import errno
import os
import shutil
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import ParamSpec, TypeVar

from c3l.errors import StorageError

TEMPORARY = ".c3l-tmp"
_BLOCK = 2**20

P = ParamSpec("P")
R = TypeVar("R")


def durable(step: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Do one step on the disk: the only door through which c3l writes, renames or removes files of a run."""
    return step(*args, **kwargs)


def write_atomic(path: Path, content: str | bytes | Iterable[str], *, lasting: bool = True) -> None:
    """Write a whole file or none of it; of an iterable, each string becomes a line.

    Args:
        path: The file.
        content: What is written.
        lasting: Whether it has to survive a power cut; a copy that is thrown away is not waited for.

    Raises:
        StorageError: If the disk refuses (full, read-only, broken), or the source of the lines does; the old file
            is still there then.
    """
    with atomic_path(path, lasting=lasting) as temporary:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        try:
            for block in _blocks(content):
                durable(write_all, descriptor, block)
        finally:
            os.close(descriptor)


@contextmanager
def atomic_path(path: Path, *, lasting: bool = True) -> Iterator[Path]:
    """A temporary path to write to; when the block ends well the file becomes ``path``, else it is removed.

    Args:
        path: The file.
        lasting: As of ``write_atomic``.

    Raises:
        StorageError: As ``write_atomic``.
    """
    # of this process alone: several that share a run may say the same in the same file
    temporary = path.with_name(f".{path.name}.{socket.gethostname()}-{os.getpid()}{TEMPORARY}")
    make_folder(path.parent)
    try:
        with _explained(path):
            yield temporary
            if lasting:
                durable(sync_file, temporary)
            durable(os.replace, temporary, path)
            if lasting:
                durable(sync_folder, path.parent)
    finally:
        if temporary.exists():
            with suppress(OSError):  # what a dying disk keeps is removed when the run is next opened
                durable(_discard, temporary)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A temporary folder to fill, flat or deep; when the block ends well it becomes ``path``, else it is removed.

    Raises:
        StorageError: If the disk refuses.
    """
    temporary = path.with_name(f".{path.name}{TEMPORARY}")
    make_folder(path.parent)
    with _explained(path):
        temporary.mkdir()  # one that is there is another's
    try:
        with _explained(path):
            yield temporary
            for inner in sorted(temporary.rglob("*")):
                durable(sync_folder if inner.is_dir() else sync_file, inner)
            durable(sync_folder, temporary)
            durable(os.replace, temporary, path)
            durable(sync_folder, path.parent)
    finally:
        if temporary.exists():
            with suppress(OSError):
                durable(_discard, temporary)


def make_folder(folder: Path) -> None:
    """Create a folder and those above it, so that they survive a crash.

    Raises:
        StorageError: If the disk refuses, or there is a file of that name.
    """
    if folder.is_dir():
        return
    if folder.exists():
        raise StorageError(f"{folder} is a file, expected a folder or nothing there; choose another name")
    make_folder(folder.parent)
    with _explained(folder):
        durable(folder.mkdir, exist_ok=True)
        durable(sync_folder, folder.parent)


def remove(path: Path) -> None:
    """Remove a file or folder; after a crash it is there whole or gone, or has a temporary name."""
    aside = path.with_name(f".{path.name}.old{TEMPORARY}")  # the plain name may be that of what takes its place
    with _explained(path):
        durable(os.replace, path, aside)
        durable(sync_folder, path.parent)
        durable(_discard, aside)


def discard_leftover(path: Path) -> None:
    """Remove a temporary file or folder that a killed process left; after a crash it may be there in part."""
    with _explained(path):
        durable(_discard, path)


def write_all(descriptor: int, block: bytes) -> None:
    """Write every byte: a nearly full disk takes a part and says so only when asked again."""
    view = memoryview(block)
    while view:
        view = view[os.write(descriptor, view) :]


def sync_file(path: Path) -> None:
    """Wait until the file's bytes are on the disk."""
    _sync(path, os.O_RDONLY)


def sync_folder(path: Path) -> None:
    """Wait until the folder's names are on the disk, where the file system can say so."""
    try:
        _sync(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems sync no folders
            raise


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _discard(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _blocks(content: str | bytes | Iterable[str]) -> Iterator[bytes]:
    if isinstance(content, (str, bytes)):
        yield content.encode() if isinstance(content, str) else content
        return
    buffer = bytearray()
    for text in chain.from_iterable((line, "\n") for line in _lines(content)):
        buffer += text.encode()
        if len(buffer) >= _BLOCK:
            yield bytes(buffer)
            buffer.clear()
    if buffer:
        yield bytes(buffer)


def _lines(source: Iterable[str]) -> Iterator[str]:
    """The lines; a file that cannot be read while they are made is not one that cannot be written."""
    try:
        yield from source
    except OSError as error:
        raise StorageError(
            f"cannot read what is to be written: {error}; look at that file, then start again"
        ) from error


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = "free some space" if full else "look at the disk and its permissions"
        raise StorageError(
            f"cannot write {path}: {error.strerror}; {remedy}, then start again, nothing finished is lost"
        ) from error
