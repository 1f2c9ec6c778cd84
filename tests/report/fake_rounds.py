"""A made-up run that went the whole loop: the draft, tunings, and what the tuned model wrote."""

import math
import random
from collections.abc import Sequence
from dataclasses import replace

from tests.report.fake_run import MAKER, make_contents, make_scores, select

from c3l.method.i2c import compute_i2c
from c3l.records import HeldOut, ScoredPair, TuningStep, name_round, name_step
from c3l.report.contents import ReportContents, StageCounts, TuningCurves


def make_rounds(images: int = 20, rounds: int = 1, gallery_limit: int = 200, steps: int = 60) -> ReportContents:
    """A run of ``rounds`` rounds after the draft; picture 1 has no draft pair, picture 2 no pair of the last round."""
    contents = make_contents(images, gallery_limit=gallery_limit)
    refs = list(contents.images)
    written = [move(contents.scored, round) for round in range(rounds + 1)]
    written[0] = [one for one in written[0] if one.sample.image_id not in refs[1:2]]
    written[-1] = [one for one in written[-1] if one.sample.image_id not in refs[2:3]]
    *earlier, scored = written
    selected = select(scored)
    return replace(
        contents,
        provenance={f"{name_round(round)}/scored": MAKER for round in range(rounds + 1)},
        stages=[*contents.stages, StageCounts("tuned", "groups", "groups", 18, 18, {}, 300.0)],
        scored=scored,
        decisions=selected,
        exported=sum(decision.kept for decision in selected),
        earlier=[one for of_round in earlier for one in of_round],
        tunings=[make_tuning(name_step("tuned", round), steps) for round in range(1, rounds + 1)],
    )


def move(scored: Sequence[ScoredPair], round: int) -> list[ScoredPair]:
    """The same pairs as if written in another round: other ids, and scores that rise with the round."""
    rng = random.Random(round)
    moved = []
    for one in scored:
        sample = replace(one.sample, sample_id=f"{round}{one.sample.sample_id[1:]}", round=round)
        scores = make_scores(rng, sample.answer, look=rng.gauss(0.5 + 0.5 * round, 0.7))
        moved.append(replace(one, sample=sample, scores=scores, i2c=compute_i2c(scores, "log_ratio")))
    return moved


def make_tuning(name: str, steps: int) -> TuningCurves:
    """A tuning that learns, as noisily as small batches do."""
    rng = random.Random(name)
    log = [make_step(rng, number, steps) for number in range(1, steps + 1)]
    held_out = [HeldOut("before", 9, 1.58, 2 / 9, 2.1, 2.2), HeldOut("after", 9, 1.21, 5 / 9, 2.0, 2.5)]
    return TuningCurves(name, 4 * steps, log, held_out)


def make_step(rng: random.Random, number: int, steps: int) -> TuningStep:
    done = number / steps
    contrastive = 0.6 + math.exp(-3 * done) + rng.gauss(0, 0.15)
    likelihood = 1.8 + 0.5 * math.exp(-4 * done) + rng.gauss(0, 0.1)
    accuracy = sum(rng.random() < 0.2 + 0.5 * done for _ in range(4)) / 4
    return TuningStep(number, contrastive + likelihood, contrastive, likelihood, accuracy, 1e-4, 1.0)
