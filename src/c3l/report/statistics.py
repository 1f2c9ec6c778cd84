"""The few statistics that the report states: Spearman correlation, bins and round axis ticks."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def compute_ranks(values: Sequence[float]) -> NDArray[np.float64]:
    """Ranks 1..n as a (n,) float64 array, ties sharing the mean of the ranks that they cover."""
    _, inverse, counts = np.unique(np.asarray(values, dtype=np.float64), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean_rank = last - (counts - 1) / 2
    ranks: NDArray[np.float64] = mean_rank[inverse.reshape(-1)]
    return ranks


def compute_spearman(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Spearman's rank correlation in [-1, 1]; None for fewer than 3 pairs or a constant side."""
    if len(first) != len(second):
        raise ValueError(f"Spearman needs equal lengths, got {len(first)} and {len(second)}")
    if len(first) < 3:
        return None
    a, b = (ranks - ranks.mean() for ranks in (compute_ranks(first), compute_ranks(second)))
    scale = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / scale if scale else None


def find_quantiles(values: Sequence[float], fractions: Sequence[float]) -> tuple[float, ...]:
    """Quantiles by linear interpolation; ``values`` must not be empty."""
    return tuple(float(value) for value in np.quantile(np.asarray(values, dtype=np.float64), fractions))


def find_median(values: Sequence[float]) -> float | None:
    """The median, or None when there is nothing to take it of."""
    return find_quantiles(values, (0.5,))[0] if values else None


def round_step(span: float, pieces: int) -> float:
    """The 1, 2 or 5 times a power of ten that cuts ``span`` into at most ``pieces`` pieces, or nearly so."""
    raw = span / pieces
    if not raw > 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(raw))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)


def find_ticks(low: float, high: float, pieces: int) -> tuple[float, ...]:
    """Round numbers within [low, high], about ``pieces`` steps apart."""
    step = round_step(high - low, pieces)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return tuple(index * step for index in range(first, last + 1))


def find_bin_edges(values: Sequence[float], pieces: int = 28) -> tuple[float, ...]:
    """Edges of equal bins with round borders that hold all ``values``; 0 is always on a border."""
    low, high = min(values), max(values)
    step = round_step(high - low, pieces)
    first = math.floor(low / step)
    last = max(math.ceil(high / step), first + 1)
    return tuple(index * step for index in range(first, last + 1))


def count_bins(values: Sequence[float], edges: Sequence[float]) -> tuple[int, ...]:
    """How many ``values`` lie in each bin; the last bin includes its upper edge."""
    # an edge is a multiple of a step, and rounding may put it just inside the outermost value
    inside = np.clip(np.asarray(values, dtype=np.float64), edges[0], edges[-1])
    return tuple(int(count) for count in np.histogram(inside, edges)[0])
