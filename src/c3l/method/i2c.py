"""The image-instruction correspondence score S(I2C), in every reading that has a name.

Each form is written as one contribution a token, and S(I2C) is their mean: in nats, or, of the forms that compare
probabilities, in points of probability. Inputs are natural logarithms that the model computed in float32; the sums
here are Python floats (float64). No model is needed.
"""

import math
from collections.abc import Callable, Sequence

from c3l.records import KL_FORMS, PROBABILITY_FORMS, AnswerScores, Form

DISCOUNT = 0.5
"""How much of log q ``discounted_likelihood`` takes away; ours, studies/LOG.md.

The idea is that of Lin et al. (ICML 2024, arXiv 2306.01879), who divide P(text | image) by a power of P(text).
"""


def compute_i2c(scores: AnswerScores, form: Form) -> float:
    """S(I2C) of one answer, in the unit of its form (``unit_of``).

    Raises:
        ValueError: If the answer has no token, or the form needs the KL divergences and they were not measured.
    """
    contributions = token_contributions(scores, form)
    return sum(contributions) / len(contributions)


def token_contributions(scores: AnswerScores, form: Form) -> tuple[float, ...]:
    """What each answer token adds to S(I2C): N numbers whose mean is the score, in its unit.

    Raises:
        ValueError: As ``compute_i2c``.
    """
    if not scores.token_ids:
        raise ValueError("got an answer of 0 tokens, expected at least 1: reject empty answers before scoring")
    return FORMS[form](scores)


def _log_ratio(scores: AnswerScores) -> tuple[float, ...]:
    """The ratio log p_t(a_t) - log q_t(a_t): negative where the image speaks against the token."""
    pairs = zip(scores.logprobs_with_image, scores.logprobs_without_image, strict=True)
    return tuple(with_image - without for with_image, without in pairs)


def _discounted_likelihood(scores: AnswerScores) -> tuple[float, ...]:
    """The difference log p_t(a_t) - 0.5 log q_t(a_t): likely with the image, and not already without it."""
    pairs = zip(scores.logprobs_with_image, scores.logprobs_without_image, strict=True)
    return tuple(with_image - DISCOUNT * without for with_image, without in pairs)


def _focused_likelihood(scores: AnswerScores) -> tuple[float, ...]:
    """N w_t log p_t(a_t), w_t being KL(p_t || q_t) squared, made to sum to 1: how likely, where the image matters."""
    return tuple(w * p for w, p in zip(_focus(scores), scores.logprobs_with_image, strict=True))


def _focused_gain(scores: AnswerScores) -> tuple[float, ...]:
    """N w_t (p_t(a_t) - q_t(a_t)), w_t as in ``focused_likelihood``: what the image adds, where it matters."""
    return tuple(w * gain for w, gain in zip(_focus(scores), _probability_gain(scores), strict=True))


def _focus(scores: AnswerScores) -> tuple[float, ...]:
    """N w_t, w_t being KL(p_t || q_t) squared and made to sum to 1; all 1 where the image matters nowhere."""
    squares = [kl * kl for kl in _vocabulary_kl(scores)]
    total = sum(squares)
    return tuple(len(squares) * square / total for square in squares) if total else (1.0,) * len(squares)


def _vocabulary_kl(scores: AnswerScores) -> tuple[float, ...]:
    """KL(p_t || q_t) over the vocabulary, as the backend measured it."""
    if scores.token_kl is None:
        raise ValueError("this form needs token_kl, which this backend did not measure; take another form")
    return scores.token_kl


def _answer_kl(scores: AnswerScores) -> tuple[float, ...]:
    """N P_t (log P_t - log Q_t), P and Q being the token probabilities made to sum to 1 over the answer."""
    log_p = _normalise(scores.logprobs_with_image)
    log_q = _normalise(scores.logprobs_without_image)
    return tuple(len(log_p) * math.exp(p) * (p - q) for p, q in zip(log_p, log_q, strict=True))


def _weighted_log_ratio(scores: AnswerScores) -> tuple[float, ...]:
    """p_t(a_t) (log p_t(a_t) - log q_t(a_t))."""
    weights = (math.exp(with_image) for with_image in scores.logprobs_with_image)
    return tuple(weight * ratio for weight, ratio in zip(weights, _log_ratio(scores), strict=True))


def _lift(scores: AnswerScores) -> tuple[float, ...]:
    """Shares of P - Q in proportion to log p_t(a_t) - log q_t(a_t); P and Q are exp of the mean log-probability.

    The mean is P - Q: how much likelier, a token, the image makes the answer. Read as probabilities that the answer is
    right, of this image and of others, it is the model's own estimate of how much more it holds here than elsewhere.
    """
    ratios = _log_ratio(scores)
    log_p, log_q = (sum(one) / len(one) for one in (scores.logprobs_with_image, scores.logprobs_without_image))
    # the logarithmic mean of P and Q, which is P where they are equal; expm1, as they may be nearly so
    apart = abs(log_p - log_q)
    mean = math.exp(max(log_p, log_q)) * (-math.expm1(-apart) / apart if apart else 1)
    return tuple(mean * ratio for ratio in ratios)


def _probability_gain(scores: AnswerScores) -> tuple[float, ...]:
    """The difference p_t(a_t) - q_t(a_t)."""
    pairs = zip(scores.logprobs_with_image, scores.logprobs_without_image, strict=True)
    return tuple(math.exp(with_image) - math.exp(without) for with_image, without in pairs)


def _normalise(logprobs: Sequence[float]) -> tuple[float, ...]:
    largest = max(logprobs)
    total = largest + math.log(sum(math.exp(logprob - largest) for logprob in logprobs))
    return tuple(logprob - total for logprob in logprobs)


FORMS: dict[Form, Callable[[AnswerScores], tuple[float, ...]]] = {
    "log_ratio": _log_ratio,
    "discounted_likelihood": _discounted_likelihood,
    "focused_likelihood": _focused_likelihood,
    "vocabulary_kl": _vocabulary_kl,
    "answer_kl": _answer_kl,
    "weighted_log_ratio": _weighted_log_ratio,
    "lift": _lift,
    "probability_gain": _probability_gain,
    "focused_gain": _focused_gain,
}


def compute_forms(scores: AnswerScores) -> dict[str, float]:
    """The score in every form that the stored numbers allow, in the order of ``FORMS``."""
    known = scores.token_kl is not None
    return {form: compute_i2c(scores, form) for form in FORMS if known or form not in KL_FORMS}


def unit_of(form: Form) -> str:
    """The unit of S(I2C) in this form, as it stands behind a number."""
    return "in probability" if form in PROBABILITY_FORMS else "nats"
