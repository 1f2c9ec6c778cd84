"""The figures of one model on one benchmark by one rule: with the image, blind, and against a baseline."""

from collections.abc import Mapping
from dataclasses import dataclass

from c3l.evaluation.statistics import Resampled, pair, reorder, resample, subtract, summarise
from c3l.evaluation.task import Benchmark, Prediction, Tally
from c3l.records import Figure

Predictions = Mapping[str, Prediction]


@dataclass(frozen=True, slots=True)
class Scores:
    """What was counted and computed.

    Attributes:
        items: Number of questions asked.
        unparsed: How many answers the rule could not read.
        failed: How many questions have no answer, or no review.
        figures: The headline first.
        blind_counts: As the last two of ``counts``, of the answers without the image; empty where there are none.
    """

    items: int
    unparsed: int
    failed: int
    figures: tuple[Figure, ...]
    blind_counts: tuple[int, ...] = ()

    @property
    def counts(self) -> tuple[int, int, int, tuple[Figure, ...]]:
        """What a report says of them, in its order."""
        return self.items, self.unparsed, self.failed, self.figures


def score(benchmark: Benchmark, rule: str, seen: Predictions, baseline: Predictions | None, seed: int) -> Scores:
    """Every figure with its interval.

    Args:
        benchmark: What was asked.
        rule: How answers are read.
        seen: The answers, by item; their blind answers count where every answered item has one.
        baseline: Another model's answers to the same items, or None.
        seed: Of the bootstrap.
    """
    tally = benchmark.tally(seen, rule)
    whole = _draw(benchmark, tally, seed)

    def compare(other: Tally) -> tuple[Resampled, Resampled]:
        """The figures of other answers, and ours minus theirs over the units that count in both."""
        theirs = reorder(other, tally)
        alone, (ours_paired, theirs_paired) = _draw(benchmark, theirs, seed), pair(tally, theirs)
        ours = whole if ours_paired is tally else _draw(benchmark, ours_paired, seed)
        return alone, subtract(ours, alone if theirs_paired is theirs else _draw(benchmark, theirs_paired, seed))

    unseen = benchmark.tally(without_images(seen), rule) if was_blind(seen) else None
    blind, by_image = map(summarise, compare(unseen)) if unseen is not None else ({}, {})
    difference = summarise(compare(benchmark.tally(baseline, rule))[1]) if baseline is not None else {}
    figures = tuple(
        Figure(name, value, blind.get(name), by_image.get(name), difference.get(name))
        for name, value in summarise(whole).items()
    )
    lost = (unseen.unparsed, unseen.failed) if unseen is not None else ()
    return Scores(tally.items, tally.unparsed, tally.failed, figures, lost)


def _draw(benchmark: Benchmark, tally: Tally, seed: int) -> Resampled:
    return resample(tally, benchmark.figures, seed)


def was_blind(predictions: Predictions) -> bool:
    """Whether every item that has an answer has a blind one too."""
    answered = [one for one in predictions.values() if not one.failed]
    return bool(answered) and all(
        one.blind_text is not None or one.blind_likelihoods or one.blind_failed for one in answered
    )


def without_images(predictions: Predictions) -> dict[str, Prediction]:
    """The blind answers as answers of their own."""
    return {name: one.without_image() for name, one in predictions.items()}
