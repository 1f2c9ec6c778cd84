"""What the oracle says of every pair of a run, and the statistics made of it."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from c3l.config import FilteringConfig, FilterRule, RunConfig
from c3l.data.store import Run
from c3l.method.filtering import filter_samples
from c3l.records import ImageRef, ScoredSample, name_round
from c3l.stages import read_scored
from studies.picture_world.measure import interval
from studies.picture_world.oracle import Graded, Oracle
from studies.picture_world.scenes import Scene


@dataclass(frozen=True)
class GradedPair:
    """A scored pair with its grade; ``picture`` is the same file in every arm and seed."""

    scored: ScoredSample
    picture: str
    graded: Graded
    nouns: tuple[str, ...]


@dataclass(frozen=True)
class GradedRun:
    """One arm with one seed: the pairs of its last round, and how many texts they were read from."""

    arm: str
    seed: int
    pairs: tuple[GradedPair, ...]
    texts: int


@dataclass(frozen=True)
class Share:
    """A share with its 95% interval, bootstrapped over pictures, and what it is a share of."""

    value: float
    low: float
    high: float
    count: int


def grade_run(run: Run, config: RunConfig, arm: str, oracle: Oracle, scenes: Mapping[str, Scene]) -> GradedRun:
    """Grade every scored pair of the last round."""
    name = name_round(config.rounds)
    images, scored, written = (run.stored(n) for n in ("images", f"{name}/scored", f"{name}/generated"))
    assert images is not None and scored is not None and written is not None, "the run is done"
    paths = {image.image_id: image.path for image in images.read(ImageRef)}
    pairs = []
    for one in read_scored(scored, config.scoring.form):
        picture = paths[one.sample.image_id]
        graded = oracle.grade(scenes[picture], one.sample.question, one.sample.answer)
        pairs.append(GradedPair(one, picture, graded, tuple(oracle.mentions(one.sample.question))))
    return GradedRun(arm, config.seed, tuple(pairs), written.info.out.get("generation", 0))


def keep(run: GradedRun, rule: FilterRule, fraction: float = 0.5) -> GradedRun:
    """The run with only the pairs that a filter keeps."""
    config = FilteringConfig(rule=rule, fraction=fraction)
    kept = {one.sample_id for one in filter_samples([p.scored for p in run.pairs], config, run.seed) if one.kept}
    pairs = tuple(pair for pair in run.pairs if pair.scored.sample.sample_id in kept)
    return GradedRun(f"{run.arm}:{rule}", run.seed, pairs, run.texts)


def bootstrap(runs: Sequence[GradedRun], statistic: Callable[[Sequence[GradedPair]], float]) -> Share:
    """A statistic of all pairs of the runs, with an interval over pictures: a picture is drawn with all its pairs."""
    by_picture: dict[str, list[GradedPair]] = defaultdict(list)
    for run in runs:
        for pair in run.pairs:
            by_picture[pair.picture].append(pair)
    clusters = list(by_picture.values())

    def of_rows(rows: np.ndarray) -> float:
        return statistic([pair for row in rows for pair in clusters[row]])

    every = [pair for cluster in clusters for pair in cluster]
    low, high = interval(of_rows, len(clusters), draws=400) if clusters else (float("nan"),) * 2
    return Share(statistic(every), low, high, len(every))


def true_share(pairs: Sequence[GradedPair]) -> float:
    """Share of true pairs among those that the truth decides; NaN if there is none."""
    grades = [pair.graded.grade for pair in pairs if pair.graded.grade != "ungradable"]
    return grades.count("true") / len(grades) if grades else float("nan")


def standardised_share(weights: Mapping[str, float]) -> Callable[[Sequence[GradedPair]], float]:
    """The true share if kinds of question were as frequent as in ``weights``: what is left when the mixture is even.

    Kinds of which the pairs have fewer than five gradable ones are left out on both sides.
    """

    def statistic(pairs: Sequence[GradedPair]) -> float:
        by_kind: dict[str, list[GradedPair]] = defaultdict(list)
        for pair in pairs:
            if pair.graded.grade != "ungradable":
                by_kind[pair.graded.kind].append(pair)
        usable = {kind: group for kind, group in by_kind.items() if len(group) >= 5 and weights.get(kind)}
        if not usable:
            return float("nan")
        total = sum(weights[kind] for kind in usable)
        return sum(weights[kind] * true_share(group) for kind, group in usable.items()) / total

    return statistic


def kind_weights(runs: Sequence[GradedRun]) -> dict[str, float]:
    """How frequent each kind of question is among the gradable pairs."""
    counts = Counter(p.graded.kind for run in runs for p in run.pairs if p.graded.grade != "ungradable")
    return {kind: count / counts.total() for kind, count in counts.items()}


def difference(runs: Sequence[GradedRun], others: Sequence[GradedRun]) -> Share:
    """True share of the runs minus that of the others, with an interval over pictures that both are drawn with."""
    sides: tuple[dict[str, list[GradedPair]], dict[str, list[GradedPair]]] = (defaultdict(list), defaultdict(list))
    for side, of_side in zip(sides, (runs, others), strict=True):
        for run in of_side:
            for pair in run.pairs:
                side[pair.picture].append(pair)
    pictures = sorted({*sides[0], *sides[1]})

    def of_rows(rows: np.ndarray) -> float:
        drawn = ([pair for row in rows for pair in side.get(pictures[row], [])] for side in sides)
        first, second = (true_share(pairs) for pairs in drawn)
        return first - second

    low, high = interval(of_rows, len(pictures), draws=400)
    return Share(of_rows(np.arange(len(pictures))), low, high, len(pictures))


def distinct_questions(pairs: Sequence[GradedPair]) -> float:
    """Different questions among all, of equal numbers of pairs only to be compared."""
    return len({pair.scored.sample.question.lower() for pair in pairs}) / len(pairs) if pairs else float("nan")


def distinct_nouns(pairs: Sequence[GradedPair]) -> float:
    """Different things asked about, a hundred pairs."""
    return 100 * len({noun for pair in pairs for noun in pair.nouns}) / len(pairs) if pairs else float("nan")
