"""Why a row of a data file is refused, while it is being read."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that is not JSON, too long to be read, or a sample that makes none.

    Attributes:
        detail: One line for a person.
        reason: A fixed word, the one that the rejection carries.
    """

    detail: str
    reason: str = "bad_json"


class BadRowError(Exception):
    """A row, or a turn of it, that cannot be used.

    Attributes:
        reason: A fixed word, the one that the rejection carries.
        detail: One line for a person.
    """

    def __init__(self, reason: str, detail: str) -> None:
        detail = writable(detail)  # it quotes keys and words of the row
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def check_text(text: str, what: str) -> str:
    """The text, if a file can hold it.

    Raises:
        BadRowError: ``bad_text``.
    """
    if not is_utf8(text):
        raise BadRowError("bad_text", f"the {what} holds half a character (a lone surrogate)")
    return text


def writable(text: str) -> str:
    """The text with half characters (lone surrogates) spelled out, so that every file can hold it."""
    return text.encode(errors="backslashreplace").decode()


def is_utf8(text: str) -> bool:
    """Whether a text holds whole characters alone."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
