"""One writer at a time in a folder, or several that share it, across processes; a killed holder lets go by itself."""

import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from c3l.errors import RunLockedError, StorageError
from c3l.storage.atomic import TEMPORARY, discard_leftover, durable, make_folder

PATIENCE = 30.0  # seconds for those who share a folder to do what one of them does first


@contextmanager
def exclusive_lock(folder: Path) -> Iterator[None]:
    """Hold the folder's ``.lock`` for as long as the block runs.

    Args:
        folder: Where it lies.

    Raises:
        RunLockedError: If another process holds it; names the process and says what to do.
        StorageError: If the file system has no locks.
    """
    with _hold(folder, fcntl.LOCK_EX | fcntl.LOCK_NB) as descriptor:
        _sign(descriptor, _this_process())
        yield


@contextmanager
def shared_lock(folder: Path) -> Iterator[None]:
    """Hold the folder's ``.lock`` beside others that share it, each of whom writes files that no other one does.

    Raises:
        RunLockedError: If a process holds it for itself, and goes on doing so.
        StorageError: If the file system has no locks.
    """
    with _wait(folder, fcntl.LOCK_SH, PATIENCE) as descriptor:
        _sign(descriptor, {"shared": True})  # else who held it alone before would be named
        yield


@contextmanager
def waiting_lock(folder: Path, patience: float) -> Iterator[None]:
    """Hold the folder's ``.lock`` for what several need and one of them does: the others wait, and look again.

    Args:
        folder: Where it lies.
        patience: Seconds to wait at most.

    Raises:
        RunLockedError: If another process holds it for longer.
        StorageError: If the file system has no locks.
    """
    with _wait(folder, fcntl.LOCK_EX, patience) as descriptor:
        _sign(descriptor, _this_process())
        yield


@contextmanager
def _wait(folder: Path, how: int, patience: float) -> Iterator[int]:
    end = time.monotonic() + patience
    with ExitStack() as stack:
        while True:
            try:
                descriptor = stack.enter_context(_hold(folder, how | fcntl.LOCK_NB))
                break
            except RunLockedError:
                if time.monotonic() >= end:
                    raise
                time.sleep(0.1)
        yield descriptor


def _this_process() -> dict[str, Any]:
    return {"pid": os.getpid(), "host": socket.gethostname()}


def _sign(descriptor: int, holder: Mapping[str, Any]) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(holder).encode(), 0)


@contextmanager
def _hold(folder: Path, how: int) -> Iterator[int]:
    path = folder / ".lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise StorageError(f"cannot write to {folder}: {error.strerror}; name another folder") from error
    try:
        _take(descriptor, path, how)
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def own_folder(folder: Path, has_content: Callable[[], bool]) -> Iterator[None]:
    """Be the one writer to a folder, made if need be; where nothing came of it, it is left as it was found.

    Args:
        folder: Where the lock lies.
        has_content: Whether the folder is ours for good: something was written. Asked at the end.

    Raises:
        RunLockedError: If another process writes to it.
        StorageError: If the disk refuses, or the file system has no locks.
    """
    new = [one for one in (folder, *folder.parents) if not one.exists()]
    make_folder(folder)
    with exclusive_lock(folder):
        try:
            yield
        finally:
            if not has_content():
                with suppress(OSError):  # somebody else has put something in
                    for remove in ((folder / ".lock").unlink, *(one.rmdir for one in new)):
                        durable(remove)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files and folders that killed processes left under a folder that is locked.

    A folder below it that is locked by itself (that of another run or job) is left alone: another process may be at
    work there, and who opens it next removes what is left in it.
    """
    for place, folders, files in os.walk(folder):
        left = sorted(name for name in (*folders, *files) if name.startswith(".") and name.endswith(TEMPORARY))
        for name in left:
            discard_leftover(Path(place, name))
        folders[:] = [name for name in sorted({*folders} - {*left}) if not Path(place, name, ".lock").exists()]


def _take(descriptor: int, path: Path, how: int) -> None:
    try:
        fcntl.flock(descriptor, how)
        if not _is_there(descriptor, path):
            raise BlockingIOError
    except BlockingIOError:
        raise RunLockedError(
            f"{path.parent} is being written by {_holder(path)}; wait for it, stop it, or name another folder"
        ) from None
    except OSError as error:
        raise StorageError(f"cannot lock {path}: {error.strerror}; put the run on a local disk") from error


def _is_there(descriptor: int, path: Path) -> bool:
    """Whether the locked file still has its name: a holder that left nothing behind has removed it."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _holder(path: Path) -> str:
    try:
        holder = json.loads(path.read_bytes())
        if "shared" in holder:
            return "others that make parts of it (--shard)"
        return f"process {int(holder['pid'])} on {holder['host']!s}"
    except (OSError, ValueError, TypeError, KeyError):
        return "another process"
