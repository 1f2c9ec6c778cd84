"""What pairs are ranked by, and statistics of it: ranking quality, rank correlation, bootstrap intervals."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from scipy.stats import rankdata, spearmanr

from c3l.method.i2c import FORMS, compute_i2c
from c3l.records import AnswerScores

MEASURES: dict[str, Callable[[AnswerScores], float]] = {
    **{form: partial(compute_i2c, form=form) for form in FORMS},
    "answer likelihood (with image)": lambda scores: float(np.mean(scores.logprobs_with_image)),
    "answer length": lambda scores: float(len(scores.token_ids)),
}
"""Every form of S(I2C), and the baselines beside it."""


def auroc(positive: Sequence[float] | np.ndarray, negative: Sequence[float] | np.ndarray) -> float:
    """Chance that a positive scores above a negative, ties counting half; NaN where one side is empty."""
    if not len(positive) or not len(negative):
        return float("nan")
    order = rankdata([*positive, *negative])
    n, m = len(positive), len(negative)
    return float((order[:n].sum() - n * (n + 1) / 2) / (n * m))


def spearman(a: Sequence[float], b: Sequence[float]) -> float:
    """Rank correlation; NaN where one side is constant."""
    if len(set(a)) < 2 or len(set(b)) < 2:
        return float("nan")
    return float(spearmanr(a, b).statistic)


def interval(statistic: Callable[[np.ndarray], float], n: int, draws: int = 1000, seed: int = 0) -> tuple[float, float]:
    """95% bootstrap interval of a statistic of row numbers 0..n-1; draws that give NaN are left out."""
    rng = np.random.default_rng(seed)
    values = [v for v in (statistic(rng.integers(0, n, n)) for _ in range(draws)) if v == v]
    low, high = np.quantile(values, (0.025, 0.975)) if values else (float("nan"),) * 2
    return float(low), float(high)


def interval_over(statistic: Callable[[np.ndarray], float], groups: Sequence[object]) -> tuple[float, float]:
    """``interval`` where the rows of one group, such as the pairs of one picture, are drawn together; NaN of no rows.

    Args:
        statistic: Of row numbers.
        groups: The group of each row.
    """
    rows: dict[object, list[int]] = {}
    for row, group in enumerate(groups):
        rows.setdefault(group, []).append(row)
    if not rows:
        return float("nan"), float("nan")
    clusters = [np.array(cluster) for cluster in rows.values()]
    return interval(lambda drawn: statistic(np.concatenate([clusters[n] for n in drawn])), len(clusters))
