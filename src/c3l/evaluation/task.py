"""What every benchmark is made of: items that are asked, predictions, and tallies that every figure follows from.

A figure is a function of sums over units, so its bootstrap interval needs no second look at the answers:

    tally     one row a unit (what is drawn together: a question, or all questions about an image), one column a count
    sums      the column sums of the units, or of units drawn with replacement
    figures   accuracy, F1, ... of the sums
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from c3l.errors import DataError

FloatArray = NDArray[np.float64]
Sums = Mapping[str, FloatArray]


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that a model is asked.

    Attributes:
        item_id: Unique in its benchmark.
        image: Path under the image root with ``/``, or a data URL (``data:image/png;base64,...``).
        prompt: The user's turn, without any image placeholder.
        choices: Texts whose likelihood is compared; empty where the model writes.
    """

    item_id: str
    image: str
    prompt: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model made of an item.

    Attributes:
        item_id: The item.
        text: What it wrote; empty where choices were compared.
        likelihoods: Of each choice the mean log-probability of its tokens, nats; empty where the model wrote.
        failed: Why there is no answer, such as an image that cannot be opened; empty where there is one.
        blind_text: As ``text``, without the image; None where it was not asked.
        blind_likelihoods: As ``likelihoods``, without the image.
        picture: Which image it saw, as ``sign_item_image`` says; empty where there is no answer.
        raw: All that it wrote, where ``text`` is without the thoughts before it; else empty.
        blind_raw: As ``raw``, without the image.
        respelled: A token that steers the model's chats and that its prompt spells: it was asked with a space in it.
        blind_failed: Why it has no answer without the image; empty where it has one, or was not asked.
    """

    item_id: str
    text: str = ""
    likelihoods: tuple[float, ...] = ()
    failed: str = ""
    blind_text: str | None = None
    blind_likelihoods: tuple[float, ...] = ()
    picture: str = ""
    raw: str = ""
    blind_raw: str = ""
    respelled: str = ""
    blind_failed: str = ""

    def without_image(self) -> "Prediction":
        """The blind answer as an answer of its own."""
        return Prediction(self.item_id, self.blind_text or "", self.blind_likelihoods, self.failed or self.blind_failed)


@dataclass(frozen=True, slots=True)
class Tally:
    """What was counted, unit by unit.

    Attributes:
        units: (U,) names, each once.
        columns: (C,) names.
        values: (U, C) float64.
        items: Number of items that were asked.
        unparsed: How many of them have an answer that the rule cannot read.
        failed: How many have no answer, or no review; the rule says what they count as.
    """

    units: tuple[str, ...]
    columns: tuple[str, ...]
    values: FloatArray
    items: int
    unparsed: int
    failed: int


class Benchmark(Protocol):
    """A benchmark as read from its files."""

    @property
    def name(self) -> str:
        """Such as ``pope``."""
        ...

    @property
    def items(self) -> Sequence[Item]:
        """What is asked, in the order of the files."""
        ...

    @property
    def rules(self) -> tuple[str, ...]:
        """The ways of reading an answer, the one to be compared with others' figures first."""
        ...

    @property
    def max_new_tokens(self) -> int:
        """How long an answer may be, in tokens."""
        ...

    def take(self, count: int) -> "Benchmark":
        """The benchmark of its first ``count`` questions alone."""
        ...

    def tally(self, predictions: Mapping[str, Prediction], rule: str) -> Tally:
        """Read every answer by a rule and count; an item without a prediction is an error of the caller's."""
        ...

    def figures(self, sums: Sums) -> dict[str, FloatArray]:
        """The figures, the headline first; each (R,) float64 for column sums of shape (R,).

        A figure that is not defined (nothing to divide by) is NaN.
        """
        ...


class TallyBuilder:
    """Adds up counts by unit; columns appear in the order of ``columns``, units as they come."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = tuple(columns)
        self._place = {name: place for place, name in enumerate(self._columns)}
        self._rows: dict[str, FloatArray] = {}

    def add(self, unit: str, **counts: float) -> None:
        """Add to the counts of a unit; without counts, the unit is only made known.

        Raises:
            KeyError: If there is no such column.
        """
        row = self._rows.setdefault(unit, np.zeros(len(self._columns)))
        for name, count in counts.items():
            row[self._place[name]] += count

    def build(self, *, items: int, unparsed: int, failed: int) -> Tally:
        """The tally of what was added.

        Raises:
            DataError: If nothing was.
        """
        if not self._rows:
            raise DataError("got a benchmark without a question, expected at least one; look at its files")
        values = np.stack(list(self._rows.values()))
        return Tally(tuple(self._rows), self._columns, values, items, unparsed, failed)


def divide(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Elementwise quotient, NaN where the denominator is 0."""
    out: FloatArray = np.full(np.broadcast(numerator, denominator).shape, np.nan)
    np.divide(numerator, denominator, out=out, where=denominator != 0)
    return out
