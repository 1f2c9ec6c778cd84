"""Figures with their bootstrap intervals, and paired differences on the same units."""

import math
from collections.abc import Callable

import numpy as np

from c3l.errors import DataError
from c3l.evaluation.task import FloatArray, Sums, Tally
from c3l.records import Estimate

DRAWS = 2000
_BLOCK = 100  # draws at once: a matrix of draws by units is never whole in memory

Figures = Callable[[Sums], dict[str, FloatArray]]


def estimate(tally: Tally, figures: Figures, seed: int = 0, draws: int = DRAWS) -> dict[str, Estimate]:
    """Every figure with the interval of drawing the units again with replacement."""
    return _summarise(_all(tally, figures), _drawn(tally, figures, seed, draws))


def compare(tally: Tally, other: Tally, figures: Figures, seed: int = 0, draws: int = DRAWS) -> dict[str, Estimate]:
    """The difference of every figure, ``tally`` minus ``other``, both over the same drawn units.

    Raises:
        DataError: If the two are not about the same units.
    """
    other = _reordered(other, tally)
    whole, whole_other = _all(tally, figures), _all(other, figures)
    drawn, drawn_other = _drawn(tally, figures, seed, draws), _drawn(other, figures, seed, draws)
    differences = {name: whole[name] - whole_other[name] for name in whole}
    return _summarise(differences, {name: drawn[name] - drawn_other[name] for name in drawn})


def _all(tally: Tally, figures: Figures) -> dict[str, FloatArray]:
    return figures(_named(tally, tally.values.sum(axis=0, keepdims=True)))


def _drawn(tally: Tally, figures: Figures, seed: int, draws: int) -> dict[str, FloatArray]:
    """The figures of ``draws`` resamples, (draws,) each; equal seeds draw equal units."""
    rng = np.random.default_rng(seed)
    count = len(tally.units)
    sums = []
    for start in range(0, draws, _BLOCK):
        weights = rng.multinomial(count, np.full(count, 1 / count), size=min(_BLOCK, draws - start))
        sums.append(weights @ tally.values)
    return figures(_named(tally, np.concatenate(sums)))


def _named(tally: Tally, sums: FloatArray) -> Sums:
    return {name: sums[:, place] for place, name in enumerate(tally.columns)}


def _summarise(whole: dict[str, FloatArray], drawn: dict[str, FloatArray]) -> dict[str, Estimate]:
    return {name: _interval(float(value[0]), drawn[name]) for name, value in whole.items()}


def _interval(value: float, drawn: FloatArray) -> Estimate:
    defined = drawn[~np.isnan(drawn)]
    if math.isnan(value) or not len(defined):
        return Estimate(None, None, None)
    low, high = np.quantile(defined, (0.025, 0.975))
    return Estimate(value, float(low), float(high))


def _reordered(tally: Tally, like: Tally) -> Tally:
    place = {unit: row for row, unit in enumerate(tally.units)}
    if place.keys() != set(like.units) or tally.columns != like.columns:
        raise DataError(
            f"got results over {len(tally.units)} units to compare with, expected the same {len(like.units)}: "
            "use the same files and rule for both"
        )
    values = tally.values[[place[unit] for unit in like.units]]
    return Tally(like.units, tally.columns, values, tally.items, tally.unparsed, tally.failed)
