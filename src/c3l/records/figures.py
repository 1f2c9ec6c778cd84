"""What is measured of models: while they are tuned, and on benchmarks."""

from dataclasses import dataclass
from typing import Literal

from pydantic import ConfigDict

from c3l.records.samples import Provenance

_WITH_NAN = ConfigDict(ser_json_inf_nan="constants")  # what a model going to ruin gives has to come back


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
        seen: With the image.
        blind: The same questions without any image; None where they were not asked so.
        by_image: ``seen`` minus ``blind``, over the same units: what the image is worth.
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
        blind_unparsed: As ``unparsed``, of the answers without the image; None where none were asked for.
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
