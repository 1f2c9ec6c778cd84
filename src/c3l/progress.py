"""How far a run is, told on stderr: bars on a terminal, else a plain line now and then."""

import os
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TextIO

PLAIN_SECONDS = 10.0
PREFIX = "c3l: "  # of every line

Advance = Callable[[int], None]


class Progress(Protocol):
    """What is told about work that is going on."""

    def track(self, what: str, unit: str, total: int, done: int = 0) -> Any:
        """A context manager around one piece of work; it gives a function that is told each step's size."""
        ...

    def note(self, line: str) -> None:
        """One line that stays."""
        ...


class SilentProgress:
    """Says nothing."""

    @contextmanager
    def track(self, what: str, unit: str, total: int, done: int = 0) -> Iterator[Advance]:
        """Take the steps and say nothing."""
        yield lambda count: None

    def note(self, line: str) -> None:
        """Say nothing."""


class PlainProgress:
    """A line every ten seconds, for log files."""

    def __init__(self, stream: TextIO, every: float = PLAIN_SECONDS) -> None:
        self._stream, self._every = stream, every

    @contextmanager
    def track(self, what: str, unit: str, total: int, done: int = 0) -> Iterator[Advance]:
        """Print the count, the rate and the time left every now and then, and once at the end."""
        start = told = time.monotonic()
        count = done

        def advance(step: int) -> None:
            nonlocal count, told
            count += step
            now = time.monotonic()
            if now - told >= self._every:
                told = now
                self.note(_line(what, unit, count, total, (count - done) / (now - start)))

        yield advance
        seconds = time.monotonic() - start
        self.note(f"{what}: {count} {unit} in {format_seconds(seconds)}")

    def note(self, line: str) -> None:
        """Print the line."""
        print(printable(PREFIX + line), file=self._stream, flush=True)


class BarProgress:
    """A bar a piece of work, with its rate and the time left."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console

        self._console = Console(file=stream)

    @contextmanager
    def track(self, what: str, unit: str, total: int, done: int = 0) -> Iterator[Advance]:
        """Draw the bar until the work ends."""
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description:<16}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}  {task.fields[rate]}"),
            TimeRemainingColumn(elapsed_when_finished=True),
        )
        start = time.monotonic()
        with Progress(*columns, console=self._console) as bars:
            task = bars.add_task(what, total=total, completed=done, unit=unit, rate="")
            made = 0

            def advance(step: int) -> None:
                nonlocal made
                made += step
                rate = format_rate(made / max(time.monotonic() - start, 1e-9))
                bars.update(task, advance=step, rate=rate)

            yield advance

    def note(self, line: str) -> None:
        """Print the line above the bar."""
        self._console.print(printable(PREFIX + line), markup=False, highlight=False)


def make_progress(stream: TextIO | None = None) -> Progress:
    """Bars where ``stream`` (stderr) is a terminal, else plain lines."""
    stream = stream or sys.stderr
    return BarProgress(stream) if stream.isatty() else PlainProgress(stream)


def printable(text: str) -> str:
    """The text as one line without control characters, so that it cannot steer the terminal."""
    line = text.replace("\n", " ").replace("\t", " ")
    return "".join(letter for letter in line if unicodedata.category(letter)[0] != "C")


def cut_line(text: str, width: int) -> str:
    """The text as ``printable`` has it, cut to so many columns of a terminal, with an ellipsis where it is."""
    line = printable(text)
    if sum(map(_count_columns, line)) <= width:
        return line
    room = width - 1
    for place, letter in enumerate(line):
        room -= _count_columns(letter)
        if room < 0:
            return line[:place] + "\N{HORIZONTAL ELLIPSIS}"
    return line


def _count_columns(letter: str) -> int:
    if unicodedata.combining(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def find_width(stream: TextIO | None = None, otherwise: int = 120) -> int:
    """How many columns a line of ``make_progress`` has for its text; a file is given enough for a person."""
    try:
        # a terminal of nobody has 0
        columns = os.get_terminal_size((stream or sys.stderr).fileno()).columns or otherwise
    except (OSError, ValueError):  # no terminal; nothing with a number
        columns = otherwise
    return columns - len(PREFIX)


def format_seconds(seconds: float) -> str:
    """A duration as a person says it: ``4.1 s``, ``3 min 20 s``, ``2 h 05 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def format_rate(a_second: float) -> str:
    """A rate with about two digits that mean something."""
    return f"{a_second:.1f}/s" if a_second >= 1 else f"{60 * a_second:.1f}/min"


def _line(what: str, unit: str, count: int, total: int, rate: float) -> str:
    left = f", {format_seconds((total - count) / rate)} left" if rate > 0 and total > count else ""
    return f"{what}: {count} of {total} {unit}, {format_rate(rate)}{left}"
