"""What the study ranks pairs by: the forms of S(I2C), baselines, and ways of scoring that are tried out."""

from collections.abc import Callable

import numpy as np

from c3l.records import AnswerScores
from studies.picture_world.measure import MEASURES

Measure = Callable[[AnswerScores], float]


def _discount(share: float) -> Measure:
    """Log-likelihood with the image less a share of that without; 0.5 is ``discounted_likelihood``."""
    return lambda scores: float(np.mean(scores.logprobs_with_image) - share * np.mean(scores.logprobs_without_image))


def whole_gain(scores: AnswerScores) -> float:
    """The probability of the whole answer with the image, less that without it."""
    return float(np.exp(np.sum(scores.logprobs_with_image)) - np.exp(np.sum(scores.logprobs_without_image)))


def perplexity_saved(scores: AnswerScores) -> float:
    """By how much the image lowers the answer's perplexity, as VIG (arXiv 2602.17186) selects."""
    return float(np.exp(-np.mean(scores.logprobs_without_image)) - np.exp(-np.mean(scores.logprobs_with_image)))


CANDIDATES: dict[str, Measure] = {
    **MEASURES,
    "p - q of the whole answer": whole_gain,
    "perplexity saved (VIG)": perplexity_saved,
    **{f"likelihood, discounted by {share}": _discount(share) for share in (0.25, 0.75)},
    "likelihood of the first token": lambda scores: scores.logprobs_with_image[0],
    "likelihood of the whole answer": lambda scores: float(np.sum(scores.logprobs_with_image)),
}
"""By name; the higher the better."""

STEPS: dict[str, tuple[Measure, Measure]] = {
    f"{first}, then {second}": (CANDIDATES[first], CANDIDATES[second])
    for first in ("focused_likelihood", "answer likelihood (with image)")
    for second in (
        "probability_gain",
        "focused_gain",
        "lift",
        "weighted_log_ratio",
        "discounted_likelihood",
        "likelihood, discounted by 0.75",
    )
}
"""Rules in two steps: likely enough by the first, then the highest by the second."""
