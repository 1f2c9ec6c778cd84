"""A disk that fails at a chosen step, and the search over every step of a small run.

The model of a crash: what ``durable`` has done so far is on the disk; after a power cut, bytes that were not
synced are torn, and names that were not synced may be gone.
"""

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from c3l.errors import StorageError
from c3l.storage import atomic

MODES = (
    "exit_before",
    "exit_after",
    "short_write",
    "no_space",
    "io_error",
    "power_torn",
    "power_undone",
    "power_mixed",
)


class Killed(BaseException):
    """The process is gone: nothing may catch this."""


class FailingDisk:
    """Stands in for ``atomic.durable``: counts the steps and fails at step ``at`` in one of ``MODES``."""

    def __init__(self, root: Path, at: int = 0, mode: str = "exit_before") -> None:
        self.root, self.at, self.mode = root, at, mode
        self.steps = 0
        self.fired = False
        self.dead = False
        self.unsynced_files: dict[int, int] = {}  # inode -> how many of its bytes are safe
        self.unsynced_names: list[tuple[Path, Path, bytes | None]] = []

    def __call__(self, step: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if self.dead:
            raise Killed
        self.steps += 1
        if self.steps == self.at:
            self._fail(step, args)
        self._do(step, args, kwargs)
        if self.steps == self.at and self.mode == "exit_after":
            self._die()

    def _do(self, step: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if step is atomic.write_all:
            file = os.fstat(args[0])
            self.unsynced_files.setdefault(file.st_ino, file.st_size)
        elif step is os.replace:
            old = args[1].read_bytes() if args[1].is_file() else None
            self.unsynced_names.append((args[0], args[1], old))
        elif step is atomic.sync_file:
            self.unsynced_files.pop(args[0].stat().st_ino, None)
            return  # the model replaces the real fsync
        elif step is atomic.sync_folder:
            self.unsynced_names = [entry for entry in self.unsynced_names if entry[1].parent != args[0]]
            return
        step(*args, **kwargs)

    def _fail(self, step: Callable[..., Any], args: tuple[Any, ...]) -> None:
        if self._is_an_exit(step):
            self.dead = True  # and not fired: that mode has shown it
            raise Killed
        if step is atomic.write_all and self.mode in ("short_write", "no_space", "io_error"):
            self._do(step, (args[0], args[1][: len(args[1]) // 2]), {})
        if self.mode == "no_space" and step is not atomic.sync_file:
            self.fired = True
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if self.mode == "io_error":
            self.fired = True
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if self.mode.startswith("power"):
            self.cut_the_power()
        if self.mode != "exit_after":
            self._die()

    def _is_an_exit(self, step: Callable[..., Any]) -> bool:
        """Whether this is ``exit_before`` and no more: only writes can be short, and what is synced survives."""
        if self.mode.startswith("power"):
            return not (self.unsynced_files or self.unsynced_names)
        return self.mode == "short_write" and step is not atomic.write_all

    def _die(self) -> None:
        self.fired = self.dead = True
        raise Killed

    def cut_the_power(self) -> None:
        """Tear what was not synced, and forget the names that were not."""
        for path in self.root.rglob("*"):
            if path.is_file() and path.stat().st_ino in self.unsynced_files:
                safe = self.unsynced_files[path.stat().st_ino]
                os.truncate(path, safe + (path.stat().st_size - safe) // 2)
        every = {"power_torn": 0, "power_undone": 1, "power_mixed": 2}[self.mode]
        for _, path, old in self.unsynced_names[::-every] if every else []:
            if old is not None:
                path.write_bytes(old)
            elif path.is_file():
                path.unlink()


Work = Callable[[Path], None]
Judge = Callable[[Path], list[str]]
UseDisk = Callable[[Callable[..., Any]], None]


def crash_everywhere(
    work: Work, judge: Judge, folder: Path, use_disk: UseDisk, modes: Sequence[str] = MODES
) -> Iterator[list[str]]:
    """Fail at every step in every mode, then resume without failure: the violations of each crash point."""
    for mode in modes:
        yield from _crash(work, judge, folder, use_disk, ((at, mode) for at in count(1)))


def crash_here_and_there(work: Work, judge: Judge, folder: Path, use_disk: UseDisk, every: int) -> Iterator[list[str]]:
    """As ``crash_everywhere``, at each so many steps of a longer work, the modes in turn."""
    points = ((1 + number * every, MODES[number % len(MODES)]) for number in count())
    return _crash(work, judge, folder, use_disk, points)


def _crash(
    work: Work, judge: Judge, folder: Path, use_disk: UseDisk, points: Iterable[tuple[int, str]]
) -> Iterator[list[str]]:
    """At these steps in these modes, until there is no such step any more."""
    for at, mode in points:
        root = folder / f"{mode}_{at}"
        disk = FailingDisk(root, at, mode)
        use_disk(disk)
        with suppress(Killed, StorageError, OSError):
            work(root)
        if disk.steps < at:
            return
        if disk.fired:
            use_disk(FailingDisk(root))
            yield [f"{mode} at step {at}: {what}" for what in _resume(work, judge, root)]


def _resume(work: Work, judge: Judge, root: Path) -> list[str]:
    try:
        work(root)
    except Exception as error:
        return [f"the resumed run stopped: {type(error).__name__}: {error}"]
    return judge(root)
