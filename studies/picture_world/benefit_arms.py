"""What the models of ``benefit`` are tuned on, and how: equal amounts of the study's pairs, chosen in many ways."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from studies.picture_world.candidates import CANDIDATES
from studies.picture_world.grading import GradedPair, GradedRun

Pairs = Sequence[GradedPair]
Choose = Callable[[Pairs, int], Pairs]


@dataclass(frozen=True)
class Arm:
    """One way of choosing what a model is tuned on, and of tuning it.

    Attributes:
        name: Its folder.
        phrase: What it is, for the tables.
        sources: The study's arms whose pairs are chosen from.
        choose: Takes that many.
        only: Which pairs may be chosen; None for all.
        recipe: ``section.key=value``, over those that all arms share.
    """

    name: str
    phrase: str
    sources: tuple[str, ...]
    choose: Choose
    only: Callable[[GradedPair], bool] | None = None
    recipe: tuple[str, ...] = ()

    def allowed(self, runs: Mapping[str, GradedRun]) -> Pairs:
        """The pairs of its sources that it may choose."""
        pairs = [pair for source in self.sources for pair in runs[source].pairs]
        return pairs if self.only is None else [pair for pair in pairs if self.only(pair)]

    def take(self, runs: Mapping[str, GradedRun], count: int) -> Pairs:
        """So many of them."""
        return self.choose(self.allowed(runs), count)


def _any(pairs: Pairs, count: int) -> Pairs:
    return random.Random("any").sample(list(pairs), count)


def _highest(form: str, sign: int = 1) -> Choose:
    measure = CANDIDATES[form]
    return lambda pairs, count: sorted(pairs, key=lambda pair: -sign * measure(pair.scored.scores))[:count]


OTHERS = "no_image_others"  # the draft, its pairs scored against other pictures
WRITTEN = ("draft", "gain", "cooler")  # all that was written, for the ceilings
BEST = _highest("focused_gain")  # the default score
ARMS = (
    Arm("draft_any", "draft, any", ("draft",), _any),
    Arm("draft_best", "draft, highest focused_gain over other pictures (default)", (OTHERS,), BEST),
    Arm(
        "draft_best_tokens",
        "the same, of each the half of the tokens that the picture decides",
        (OTHERS,),
        BEST,
        recipe=("finetuning.taught_share=0.5",),
    ),
    Arm("draft_worst", "draft, lowest focused_gain over other pictures", (OTHERS,), _highest("focused_gain", -1)),
    Arm("draft_likely", "draft, highest likelihood", ("draft",), _highest("answer likelihood (with image)")),
    Arm("draft_kl", "draft, highest vocabulary_kl without a picture", ("draft",), _highest("vocabulary_kl")),
    Arm(
        "draft_drop",
        "draft, highest discounted_likelihood without a picture",
        ("draft",),
        _highest("discounted_likelihood"),
    ),
    Arm("tuned_any", "written after C3L's tuning, any", ("gain",), _any),
    Arm("c3l", "C3L: written after its tuning, highest focused_gain over other pictures", ("gain",), BEST),
    Arm("cooler_any", "written at temperature 0.5, any", ("cooler",), _any),
    Arm("true", "true by the oracle (a ceiling)", WRITTEN, _any, lambda pair: pair.is_true),
    Arm("specific", "specific by the oracle (a ceiling)", WRITTEN, _any, lambda pair: pair.is_specific),
)


def count_pairs(runs: Mapping[str, GradedRun], arms: Sequence[Arm], most: int) -> int:
    """As many pairs as half of every run has, and as every arm may choose where not all may be chosen."""
    counts = [len(run.pairs) // 2 for run in runs.values()]
    counts += [len(arm.allowed(runs)) for arm in arms if arm.only is not None]
    return min(most, *counts)
