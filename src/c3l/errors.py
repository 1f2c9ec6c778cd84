"""Every error that c3l raises on purpose; each message says what was got, what was expected, what to do."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence


class C3LError(Exception):
    """Base of all deliberate errors; the command line prints its message as one line, without a traceback."""


class ConfigError(C3LError):
    """A setting is unknown, missing or out of range."""


class DataError(C3LError):
    """A file or row that the user supplied cannot be used as it is."""


class BadImageError(DataError):
    """An image, or the path to one, that is refused.

    Attributes:
        reason: A fixed word, the one that the ``Rejected`` record carries.
        detail: One line for a person.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class TooManyRejectedError(DataError):
    """So much of what the user supplied cannot be used that going on would be for nothing."""


class BackendError(C3LError):
    """A model cannot be loaded, or its backend cannot do what was asked."""


class OutOfMemoryError(BackendError):
    """A batch did not fit; the caller may try again with a smaller one."""


class StaleStageError(C3LError):
    """A stage's files were made with other settings than the ones asked for now."""


class RunLockedError(C3LError):
    """Another process is writing to the same run folder."""


class StorageError(C3LError):
    """A file of the run folder cannot be written, or holds something that c3l did not write."""


class HubError(C3LError):
    """A model or dataset hub refuses, or cannot be reached."""


_FULL_DISK = re.compile(r"no space left on device|os error 28\b|disk quota exceeded", re.IGNORECASE)
_FULL_MEMORY = re.compile(r"out of memory|not enough memory|can(no|')t allocate memory|std::bad_alloc", re.IGNORECASE)


def find_remedy(error: BaseException) -> str:
    """What to do about another library's error, where the disk or the memory is full; else empty."""
    if _FULL_DISK.search(str(error)):
        return "free some space on the disk, then start the same command again"
    if isinstance(error, MemoryError) or _FULL_MEMORY.search(str(error)):
        return "set a smaller batch_size or model.dtype=bfloat16, or take a smaller model"
    return ""


def one_line(error: BaseException, most: int = 300) -> str:
    """What an error of another library says, on one line, cut off beyond so many characters."""
    text = " ".join(str(error).split())
    return text[:most] + ("..." if len(text) > most else "")


def name_error(error: BaseException, most: int = 300) -> str:
    """The same after its class."""
    return f"{type(error).__name__}: {one_line(error, most)}"


def tell_too_many(reasons: Sequence[str], of_all: str, most: float) -> str:
    """One line about more than ``most`` of all being lost, and the commonest reason.

    Args:
        reasons: Of each that is lost ``reason: detail``.
        of_all: Such as ``of 10 rows cannot be learned``.
        most: ``max_error_rate``.
    """
    [(commonest, _)] = Counter(one.partition(":")[0] for one in reasons).most_common(1)
    detailed = next(one for one in reasons if one.partition(":")[0] == commonest)
    return f"{len(reasons)} {of_all}, above max_error_rate {most:.0%}; the commonest reason: {detailed}"


def tell_rejected(reasons: Mapping[str, int], of_all: str, where: str, example: str = "") -> str:
    """One line about how many were rejected, and for which reasons.

    Args:
        reasons: How many, by reason.
        of_all: Such as ``of 10 rows``.
        where: What a person reads to know more.
        example: Why one of them was, as ``reason: detail``.
    """
    such = f", such as {example}" if example else ""
    counts = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
    return f"{sum(reasons.values())} {of_all} rejected: {counts}{such}; {where} says more"
