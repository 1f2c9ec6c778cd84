"""Claims that the truth decides, True or False, or does not, None; and what several of them amount to."""

from collections.abc import Sequence
from typing import Literal

Grade = Literal["true", "false", "ungradable"]


def every(claims: Sequence[bool | None]) -> bool | None:
    """Whether all hold."""
    return False if False in claims else None if None in claims else True


def some(claims: Sequence[bool | None]) -> bool | None:
    """Whether one holds."""
    return True if True in claims else None if None in claims else False


def turn(claim: bool | None, denied: bool) -> bool | None:
    """The claim, or the contrary of it."""
    return None if claim is None else claim != denied


def verdict(claims: Sequence[bool | None]) -> Grade:
    """Of a pair by all that it claims: what the truth does not decide says neither for it nor against it."""
    if False in claims:
        return "false"
    return "true" if True in claims else "ungradable"
