"""What the models of ``benefit`` are tuned on, and how: equal amounts of the study's pairs, chosen in many ways."""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from studies.picture_world.candidates import CANDIDATES, Measure
from studies.picture_world.grading import GradedPair, GradedRun

Pairs = Sequence[GradedPair]
Choose = Callable[[Pairs, int], Pairs]


@dataclass(frozen=True)
class Arm:
    """One way of choosing what a model is tuned on, and of tuning it.

    Attributes:
        name: Its folder.
        phrase: What it is, for the tables.
        source: The study's arm whose pairs are chosen from.
        choose: Takes that many.
        only: Which pairs may be chosen; None for all.
        recipe: ``section.key=value``, over those that all arms share.
    """

    name: str
    phrase: str
    source: str
    choose: Choose
    only: Callable[[GradedPair], bool] | None = None
    recipe: tuple[str, ...] = ()

    def take(self, pairs: Pairs, count: int) -> Pairs:
        """So many of the pairs."""
        return self.choose(pairs if self.only is None else [pair for pair in pairs if self.only(pair)], count)


def _highest(pairs: Pairs, count: int) -> Pairs:
    return sorted(pairs, key=lambda pair: -pair.scored.i2c)[:count]


def _lowest(pairs: Pairs, count: int) -> Pairs:
    return sorted(pairs, key=lambda pair: pair.scored.i2c)[:count]


def _longest(pairs: Pairs, count: int) -> Pairs:
    return sorted(pairs, key=lambda pair: -len(pair.scored.scores.token_ids))[:count]


def _any(pairs: Pairs, count: int) -> Pairs:
    return random.Random("any").sample(list(pairs), count)


def _highest_by(measure: Measure) -> Choose:
    return lambda pairs, count: sorted(pairs, key=lambda pair: -measure(pair.scored.scores))[:count]


def _in_steps(first: Measure, second: Measure) -> Choose:
    """The highest by one measure, of these the highest by another; each step keeps the same part."""

    def choose(pairs: Pairs, count: int) -> Pairs:
        between = round(math.sqrt(len(pairs) * count))
        return _highest_by(second)(_highest_by(first)(pairs, between), count)

    return choose


OTHERS = "no_image_others"  # the draft, its pairs scored against other pictures
ARMS = (
    Arm("draft_any", "draft, any", "draft", _any),
    Arm("draft_i2c", "draft, highest S(I2C)", "draft", _highest),
    Arm(
        "draft_i2c_tokens",
        "draft, highest S(I2C), of each the half of the tokens that the picture decides",
        "draft",
        _highest,
        recipe=("finetuning.taught_share=0.5",),
    ),
    Arm("draft_lowest", "draft, lowest S(I2C)", "draft", _lowest),
    Arm("draft_longest", "draft, longest answers", "draft", _longest),
    *(
        Arm(f"others_{form}", f"draft, highest {form} over other pictures", OTHERS, _highest_by(CANDIDATES[form]))
        for form in ("lift", "probability_gain")
    ),
    Arm(
        "others_steps",
        "draft, highest focused_likelihood, of these highest probability_gain, over other pictures",
        OTHERS,
        _in_steps(CANDIDATES["focused_likelihood"], CANDIDATES["probability_gain"]),
    ),
    Arm("refined_any", "refined, any", "c3l", _any),
    Arm("c3l", "C3L: refined, highest S(I2C)", "c3l", _highest),
    Arm("likelihood", "likelihood on positives only: refined, highest S(I2C)", "likelihood", _highest),
    Arm("hidden", "C3L over hidden states: refined, highest S(I2C)", "hidden", _highest),
    Arm("true", "draft, true by the oracle (a ceiling)", "draft", _any, lambda pair: pair.is_true),
    Arm("specific", "draft, specific by the oracle (a ceiling)", "draft", _any, lambda pair: pair.is_specific),
)


def count_pairs(runs: Mapping[str, GradedRun], arms: Sequence[Arm], most: int) -> int:
    """As many pairs as half of every run has, and as every arm may choose where not all may be chosen."""
    counts = [len(run.pairs) // 2 for run in runs.values()]
    counts += [sum(map(arm.only, runs[arm.source].pairs)) for arm in arms if arm.only is not None]
    return min(most, *counts)
