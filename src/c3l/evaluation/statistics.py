"""Figures with their bootstrap intervals, and paired differences on the same units."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from c3l.errors import DataError
from c3l.evaluation.task import FloatArray, Sums, Tally
from c3l.records import Estimate

DRAWS = 2000
_BLOCK = 100  # draws at once: a matrix of draws by units is never whole in memory

Figures = Callable[[Sums], dict[str, FloatArray]]
Resampled = Mapping[str, FloatArray]
"""Of each figure (1 + draws,): its value over all units, then over every draw of them."""


def estimate(tally: Tally, figures: Figures, seed: int = 0, draws: int = DRAWS) -> dict[str, Estimate]:
    """Every figure with the interval of drawing the units again with replacement."""
    return summarise(resample(tally, figures, seed, draws))


def compare(tally: Tally, other: Tally, figures: Figures, seed: int = 0, draws: int = DRAWS) -> dict[str, Estimate]:
    """The difference of every figure, ``tally`` minus ``other``, both over the same drawn units that count in both.

    Raises:
        DataError: If the two are not about the same units.
    """
    ours, theirs = (resample(one, figures, seed, draws) for one in pair(tally, reorder(other, tally)))
    return summarise(subtract(ours, theirs))


def resample(tally: Tally, figures: Figures, seed: int = 0, draws: int = DRAWS) -> Resampled:
    """The figures of all units, then of ``draws`` resamples; equal seeds draw equal units."""
    rng = np.random.default_rng(seed)
    count = len(tally.units)
    sums = [tally.values.sum(axis=0, keepdims=True)]
    for start in range(0, draws, _BLOCK):
        weights = rng.multinomial(count, np.full(count, 1 / count), size=min(_BLOCK, draws - start))
        sums.append(weights @ tally.values)
    table = np.concatenate(sums)
    return figures({name: table[:, place] for place, name in enumerate(tally.columns)})


def subtract(values: Resampled, others: Resampled) -> Resampled:
    """The differences, draw by draw."""
    return {name: value - others[name] for name, value in values.items()}


def summarise(values: Resampled) -> dict[str, Estimate]:
    """Each figure with the interval of its resamples."""
    return {name: _interval(float(value[0]), value[1:]) for name, value in values.items()}


def _interval(value: float, drawn: FloatArray) -> Estimate:
    defined = drawn[~np.isnan(drawn)]
    if math.isnan(value) or not len(defined):
        return Estimate(None, None, None)
    low, high = np.quantile(defined, (0.025, 0.975))
    return Estimate(value, float(low), float(high))


def pair(tally: Tally, other: Tally) -> tuple[Tally, Tally]:
    """Both without what only one of them counts: a row that is all zeros in one becomes so in the other.

    Such a unit has no answer, or no review, and no part in its own side's figures. A tally in which nothing changes is
    returned as it is. Both have the same units in the same order.
    """
    both = tally.values.any(axis=1, keepdims=True) & other.values.any(axis=1, keepdims=True)

    def restrict(one: Tally) -> Tally:
        values = np.where(both, one.values, 0.0)
        return one if (values == one.values).all() else replace(one, values=values)

    return restrict(tally), restrict(other)


def reorder(tally: Tally, like: Tally) -> Tally:
    """A tally with its units in the order of another's.

    Raises:
        DataError: If the two are not about the same units.
    """
    place = {unit: row for row, unit in enumerate(tally.units)}
    if place.keys() != set(like.units) or tally.columns != like.columns:
        raise DataError(
            f"got results over {len(tally.units)} units to compare with, expected the same {len(like.units)}: "
            "use the same files and rule for both"
        )
    values = tally.values[[place[unit] for unit in like.units]]
    return Tally(like.units, tally.columns, values, tally.items, tally.unparsed, tally.failed)
