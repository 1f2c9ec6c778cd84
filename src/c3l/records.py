"""The immutable records that travel between stages, and their JSON form.

Ids stand inside every record, and nothing is ever joined by position. No record holds a tensor.
"""

import hashlib
import math
import string
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from pydantic import ConfigDict, TypeAdapter

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
MAX_ROUNDS = 4
"""How often an LVLM may be tuned and write again."""

T = TypeVar("T")
_WITH_NAN = ConfigDict(ser_json_inf_nan="constants")  # what a model going to ruin gives has to come back


@dataclass(frozen=True, slots=True)
class ImageRef:
    """A picture of the run: where it lies and what its bytes are.

    Attributes:
        image_id: Hash of the relative path; the name of the picture everywhere else.
        path: Path relative to the image root, with ``/``.
        sha256: Hash of the file's bytes.
        width: Width in pixels after EXIF orientation.
        height: Height in pixels after EXIF orientation.
    """

    image_id: str
    path: str
    sha256: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Generation:
    """The raw text that the LVLM wrote for one image and one instruction; parsing it needs no model."""

    generation_id: str
    image_id: str
    instruction_id: str
    round: int
    text: str
    finish_reason: Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One question-answer pair about one image.

    Attributes:
        sample_id: Hash of image, instruction, round and index: stable over reruns, order and shard count.
        image_id: The picture that it is about.
        instruction_id: The instruction template that asked for it; ``"data"`` for pairs read from a file.
        question: Text without any image placeholder.
        answer: Text that S(I2C) is measured on.
        round: 0 for the draft, 1 for what the tuned LVLM wrote.
        index: Place of the pair in its generation.
    """

    sample_id: str
    image_id: str
    instruction_id: str
    question: str
    answer: str
    round: int
    index: int

    @property
    def opening(self) -> str:
        """The question's first word, lower case, which tells its kind: is, what, how."""
        return _first_word(self.question)

    @property
    def answer_opening(self) -> str:
        """The answer's first word, lower case: yes, no, the."""
        return _first_word(self.answer)

    @property
    def openings(self) -> str:
        """The first words of question and answer, which tell yes from no as well: ``is ... yes``."""
        return f"{self.opening} ... {self.answer_opening}"


def says_no(answer: str) -> bool:
    """Whether the answer's first word is no."""
    return _first_word(answer) == "no"


def _first_word(text: str) -> str:
    return text.lstrip().partition(" ")[0].lower().strip(string.punctuation)


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
        image_id: Its picture.
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
    """How much of some pairs is specific to their pictures, by the numbers of the model that scored them.

    Attributes:
        pairs: How many pairs.
        pictures: How many pictures they are about.
        specific: How many of the pairs have a lift of at least ``least_lift``.
        low: Lower end of the 95% interval of their share; None without a pair, as are ``high`` and the median.
        high: Upper end.
        says_no: How many of the pairs are answered no.
        median_lift: Of the pairs, in probability.
        least_lift: That from which on a pair counts as specific.
        over: What the picture is compared with, such as ``4 other pictures``.
        of_this: Whether that is other pictures, so that lift tells this picture from any.
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


@dataclass(frozen=True, slots=True)
class TuningStep:
    """What was logged of the tuning after an optimiser step; means since the last such record.

    Attributes:
        step: Number of optimiser steps so far.
        loss: The whole loss, weighted, nats.
        contrastive: InfoNCE, nats.
        likelihood: Negative log-likelihood a token of the positives, nats.
        accuracy: Share of the groups whose positive is the most similar candidate.
        learning_rate: Of the adapters, at this step.
        grad_norm: Length of the gradient before it was clipped.
    """

    __pydantic_config__ = _WITH_NAN

    step: int
    loss: float
    contrastive: float
    likelihood: float
    accuracy: float
    learning_rate: float
    grad_norm: float


@dataclass(frozen=True, slots=True)
class HeldOut:
    """What the tuned model, before or after its tuning, makes of groups that it is not tuned on.

    Attributes:
        when: before or after.
        groups: How many.
        contrastive: InfoNCE, nats.
        accuracy: Share of the groups whose positive is the most similar candidate.
        likelihood: Negative log-likelihood a token of the positives, nats. Both this and the next rising far
            above what they were before means that the model is going to ruin.
        negatives_likelihood: The same of the negatives.
    """

    __pydantic_config__ = _WITH_NAN

    when: Literal["before", "after"]
    groups: int
    contrastive: float
    accuracy: float
    likelihood: float
    negatives_likelihood: float


@dataclass(frozen=True, slots=True)
class Rejected:
    """Something that went into a stage and did not come out.

    Attributes:
        id: The image, generation or sample.
        image_id: The picture that it belongs to.
        stage: Where it was rejected.
        reason: A short fixed word, such as ``truncated_image`` or ``empty_answer``.
        detail: One line for a person.
    """

    id: str
    image_id: str
    stage: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Provenance:
    """Which model, in what arithmetic, made a stage's records.

    Attributes:
        notes: What is done otherwise with this model than with most, a line each.
    """

    model: str
    weights: str
    backend: str
    dtype: str
    device: str
    seed: int
    versions: dict[str, str]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its 95% bootstrap interval; all None where the figure is not defined."""

    value: float | None
    low: float | None
    high: float | None

    def signed(self, digits: int = 2) -> str:
        """As a difference, its interval with so many digits; ``-`` where it is not defined."""
        if self.value is None or self.low is None or self.high is None:
            return "-"
        return f"{self.value:+.3f} ({self.low:+.{digits}f} to {self.high:+.{digits}f})"


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of a benchmark.

    Attributes:
        name: Such as ``mean_f1`` or ``circular``.
        seen: With the picture.
        blind: The same questions without any picture; None where they were not asked so.
        by_image: ``seen`` minus ``blind``, over the same units: what the picture is worth.
        difference: ``seen`` minus that of the baseline, over the units that count in both; None without a baseline.
    """

    name: str
    seen: Estimate
    blind: Estimate | None = None
    by_image: Estimate | None = None
    difference: Estimate | None = None


@dataclass(frozen=True, slots=True)
class EvalReport:
    """A model on a benchmark, its answers read by one rule.

    Attributes:
        benchmark: Such as ``pope``.
        rule: How answers were read.
        items: Number of questions asked.
        unparsed: How many answers the rule could not read.
        failed: How many questions have no answer, or no review.
        figures: The headline first.
        model: Whose answers they are.
        baseline: Whose answers ``difference`` is against.
        data: SHA-256 of each file of the benchmark, by its name.
        settings: Prompt of the first question, decoding, judge and whatever else the figures depend on.
        blind_unparsed: As ``unparsed``, of the answers without the picture; None where none were asked for.
        blind_failed: As ``failed``, of those.
    """

    benchmark: str
    rule: str
    items: int
    unparsed: int
    failed: int
    figures: tuple[Figure, ...]
    model: Provenance
    baseline: Provenance | None
    data: dict[str, str]
    settings: dict[str, str]
    blind_unparsed: int | None = None
    blind_failed: int | None = None


_ADAPTERS: dict[type[Any], TypeAdapter[Any]] = {}


def _adapter(cls: type[Any]) -> TypeAdapter[Any]:
    if cls not in _ADAPTERS:
        _ADAPTERS[cls] = TypeAdapter(cls)
    return _ADAPTERS[cls]


def to_json(record: Any) -> str:
    """One record as one line of JSON, keys in the order of its fields."""
    return _adapter(type(record)).dump_json(record).decode()


def from_json(cls: type[T], line: str | bytes) -> T:
    """The record of class ``cls`` that a line of JSON holds.

    Raises:
        pydantic.ValidationError: If the line is not such a record.
    """
    record: T = _adapter(cls).validate_json(line)
    return record


def name_round(round: int) -> str:
    """The folder of what is written in a round: draft, refined, refined-2, ..."""
    return "draft" if round == 0 else _numbered("refined", round)


def name_step(step: Literal["groups", "tuned"], round: int) -> str:
    """The folder of a step that leads to a round from 1 on: tuned, tuned-2, ..."""
    return _numbered(step, round)


def _numbered(name: str, round: int) -> str:
    return name if round == 1 else f"{name}-{round}"


def make_id(*parts: str | int) -> str:
    """A stable 16-digit hexadecimal id of where something came from."""
    text = "\x1f".join(str(part) for part in parts)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
