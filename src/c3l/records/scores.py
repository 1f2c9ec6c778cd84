"""What is measured of pairs, and what is decided by it."""

import math
from dataclasses import dataclass
from typing import Literal

from c3l.records.samples import Sample

Form = Literal[
    "log_ratio",
    "discounted_likelihood",
    "focused_likelihood",
    "vocabulary_kl",
    "answer_kl",
    "weighted_log_ratio",
    "lift",
    "probability_gain",
    "focused_gain",
]
KL_FORMS: frozenset[Form] = frozenset({"vocabulary_kl", "focused_likelihood", "focused_gain"})
"""Those that need ``AnswerScores.token_kl``."""
PROBABILITY_FORMS: frozenset[Form] = frozenset({"lift", "probability_gain", "focused_gain"})
"""Those that compare probabilities, between -1 and 1; all others are in nats."""
NoImageMode = Literal["drop", "blank", "noise", "mask", "others"]
Role = Literal["positive", "negative", "only"]


@dataclass(frozen=True, slots=True)
class AnswerScores:
    """Per-token numbers of one teacher-forced answer a_1..a_N; all tuples have length N.

    Attributes:
        token_ids: The answer's tokens.
        tokens: Each token's own text, for display.
        logprobs_with_image: log p_t(a_t), natural logarithm (nats).
        logprobs_without_image: log q_t(a_t), nats.
        token_kl: KL(p_t || q_t) over the vocabulary, nats; None where the backend cannot tell.
    """

    token_ids: tuple[int, ...]
    tokens: tuple[str, ...]
    logprobs_with_image: tuple[float, ...]
    logprobs_without_image: tuple[float, ...]
    token_kl: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse tuples of different lengths."""
        lengths = {len(self.token_ids), len(self.tokens), len(self.logprobs_with_image)}
        lengths |= {
            len(self.logprobs_without_image),
            len(self.token_ids if self.token_kl is None else self.token_kl),
        }
        if len(lengths) != 1:
            raise ValueError(f"AnswerScores needs equal lengths, got {sorted(lengths)}")

    def is_finite(self) -> bool:
        """Whether every number is finite; one that is not makes the sample a rejection."""
        numbers = self.logprobs_with_image + self.logprobs_without_image + (self.token_kl or ())
        return all(math.isfinite(number) for number in numbers)


@dataclass(frozen=True, slots=True)
class ScoredSample:
    """A sample with its per-token numbers, as a run stores it: S(I2C) is computed of them in the form of now."""

    sample: Sample
    scores: AnswerScores
    no_image: NoImageMode


@dataclass(frozen=True, slots=True)
class ScoredPair:
    """A sample with its per-token numbers and S(I2C) in one form; another form is a re-sum, without a model."""

    sample: Sample
    scores: AnswerScores
    i2c: float
    form: Form
    no_image: NoImageMode


@dataclass(frozen=True, slots=True)
class Preference:
    """Two completions of one prompt about an image, of which the one with the higher S(I2C) is preferred.

    Attributes:
        prompt: Text without any image placeholder.
        chosen: The preferred completion.
        rejected: The other; never the same text.
        better: The pair that ``chosen`` comes from.
        worse: The pair that ``rejected`` comes from; of the same image, with a lower S(I2C) in the same form.
    """

    prompt: str
    chosen: str
    rejected: str
    better: ScoredPair
    worse: ScoredPair


@dataclass(frozen=True, slots=True)
class FilterDecision:
    """What the filter decided about one scored sample: the rows of ``decisions.jsonl``.

    Attributes:
        sample_id: The sample.
        image_id: Its image.
        i2c: S(I2C), in the unit of its form.
        rank: 1 for the highest S(I2C) among the pairs of the image.
        role: positive = rank 1; negative = another pair of the image; only = the image has one pair.
        kept: Whether the filter kept it.
        reason: The rule that decided, in words.
    """

    sample_id: str
    image_id: str
    i2c: float
    rank: int
    role: Role
    kept: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Specificity:
    """How much of some pairs is specific to their images, by the numbers of the model that scored them.

    Attributes:
        pairs: How many pairs.
        pictures: How many images they are about.
        specific: How many of the pairs have a lift of at least ``least_lift``.
        low: Lower end of the 95% interval of their share; None without a pair, as are ``high`` and the median.
        high: Upper end.
        says_no: How many of the pairs are answered no.
        median_lift: Of the pairs, in probability.
        least_lift: That from which on a pair counts as specific.
        over: What the image is compared with, such as ``4 other images``.
        of_this: Whether that is other images, so that lift tells this image from any.
    """

    pairs: int
    pictures: int
    specific: int
    low: float | None
    high: float | None
    says_no: int
    median_lift: float | None
    least_lift: float
    over: str
    of_this: bool


@dataclass(frozen=True, slots=True)
class ContrastiveGroup:
    """The pairs of one image, split into the positive pseudo-label and its negatives (sample ids)."""

    image_id: str
    positive: str
    negatives: tuple[str, ...]
