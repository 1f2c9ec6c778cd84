"""What the oracle says of every pair of a run, and the statistics made of it."""

import math
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from c3l.method.filtering import filter_samples
from c3l.method.selection import rank_pairs, to_ranked
from c3l.records import AnswerScores, ImageRef, Role, Sample, ScoredPair, name_round
from c3l.run.run_folder import Run
from c3l.run.shards import read_scored
from c3l.settings.schema import FilteringConfig, FilterRule, RunConfig
from studies.picture_world.measure import interval
from studies.picture_world.oracle import Graded, Oracle
from studies.picture_world.scenes import Scene

DRAWS = 400  # of pictures, for an interval
COMMON = 0.2  # what is true of so many other scenes is not specific to its own


@dataclass(frozen=True)
class GradedPair:
    """A scored pair with its grade.

    Attributes:
        scored: The pair.
        picture: Its picture's file, the same in every arm and seed.
        graded: What the oracle says of it there.
        nouns: The things that its question names.
        elsewhere: The share of the study's other scenes of which it would be true as well.
    """

    scored: ScoredPair
    picture: str
    graded: Graded
    nouns: tuple[str, ...]
    elsewhere: float

    @property
    def is_true(self) -> bool:
        """Whether it holds for its own picture."""
        return self.graded.grade == "true"

    @property
    def is_specific(self) -> bool:
        """Whether it holds for its own picture and for few others."""
        return self.is_true and self.elsewhere < COMMON

    @property
    def lift(self) -> float:
        """Its truth, 1 or 0, less the share of the other pictures of which it would be true: from -1 to 1."""
        return self.is_true - self.elsewhere


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
    pairs = grade_pairs(read_scored(scored, config.scoring.form), paths, oracle, scenes)
    return GradedRun(arm, config.seed, pairs, written.info.out.get("generation", 0))


def grade_pairs(
    scored: Iterable[ScoredPair], paths: Mapping[str, str], oracle: Oracle, scenes: Mapping[str, Scene]
) -> tuple[GradedPair, ...]:
    """Grade pairs against the scenes of their pictures, which ``paths`` names by image id, and against all others."""
    holds = TrueOf(oracle, scenes)
    pairs = []
    for one in scored:
        picture, sample = paths[one.sample.image_id], one.sample
        graded = _tell_yes_from_no(oracle.grade(scenes[picture], sample.question, sample.answer), sample)
        nouns, elsewhere = (
            tuple(oracle.mentions(sample.question)),
            holds.elsewhere(sample.question, sample.answer, picture),
        )
        pairs.append(GradedPair(one, picture, graded, nouns, elsewhere))
    return tuple(pairs)


class TrueOf:
    """Of how many scenes a pair is true; many pictures get the same pair, so each is graded once."""

    def __init__(self, oracle: Oracle, scenes: Mapping[str, Scene]) -> None:
        """Against these scenes, by the files of their pictures."""
        self._oracle, self._scenes = oracle, scenes
        self._known: dict[tuple[str, str], frozenset[str]] = {}

    def elsewhere(self, question: str, answer: str, picture: str) -> float:
        """The share of the other scenes of which it is true; 0 where there is no other."""
        pair = question, answer
        if pair not in self._known:
            grades = {name: self._oracle.grade(scene, *pair).grade for name, scene in self._scenes.items()}
            self._known[pair] = frozenset(name for name, grade in grades.items() if grade == "true")
        return len(self._known[pair] - {picture}) / max(1, len(self._scenes) - 1)


def _tell_yes_from_no(graded: Graded, sample: Sample) -> Graded:
    """A question for yes or no as two kinds, by its answer: most things are absent, so nearly every no is true."""
    if graded.kind != "yesno":
        return graded
    return replace(graded, kind="no" if sample.answer.lower().lstrip().startswith("no") else "yes")


def keep(
    run: GradedRun, rule: FilterRule, fraction: float = 0.5, stratify: Literal["none", "openings"] = "none"
) -> GradedRun:
    """The run with only the share of its pairs that a filter keeps."""
    config = FilteringConfig(rule=rule, fraction=fraction, stratify=stratify, first=None)
    kept = {one.sample_id for one in filter_samples([p.scored for p in run.pairs], config, run.seed) if one.kept}
    pairs = tuple(pair for pair in run.pairs if pair.scored.sample.sample_id in kept)
    return GradedRun(f"{run.arm}:{rule}", run.seed, pairs, run.texts)


def remeasure(run: GradedRun, measure: Callable[[AnswerScores], float]) -> GradedRun:
    """The run with another number in the place of S(I2C)."""
    pairs = (replace(pair, scored=replace(pair.scored, i2c=measure(pair.scored.scores))) for pair in run.pairs)
    return replace(run, pairs=tuple(pairs))


def split_positives(run: GradedRun) -> tuple[GradedRun, GradedRun]:
    """The pair with the highest number of each picture that has two or more, and its other pairs."""
    roles = {name: role for name, (_, role) in rank_pairs(to_ranked(pair.scored) for pair in run.pairs).items()}

    def of(role: Role) -> GradedRun:
        return replace(run, pairs=tuple(p for p in run.pairs if roles[p.scored.sample.sample_id] == role))

    return of("positive"), of("negative")


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
    low, high = interval(of_rows, len(clusters), draws=DRAWS) if clusters else (float("nan"),) * 2
    return Share(statistic(every), low, high, len(every))


def qualities(runs: Sequence[GradedRun], others: Sequence[GradedRun] = ()) -> dict[str, Share]:
    """``true``, ``specific`` and ``lift`` of the runs, with intervals over pictures; less those of the others if given.

    As ``bootstrap`` and ``difference`` of the three, all draws at once.
    """
    sides = [_sums(side) for side in ((runs, others) if others else (runs,))]
    pictures = sorted(set().union(*sides))
    empty = np.zeros(1 + len(QUALITIES))
    tables = [np.array([side.get(picture, empty) for picture in pictures]) for side in sides]
    rng = np.random.default_rng(0)
    rows = np.array([np.bincount(rng.integers(0, len(pictures), len(pictures)), minlength=len(pictures))
                     for _ in range(DRAWS)]) if pictures else np.zeros((1, 0))  # fmt: skip
    drawn, whole = _ratios(tables, rows), _ratios(tables, np.ones((1, len(pictures))))[0]
    low, high = np.nanquantile(drawn, (0.025, 0.975), axis=0) if np.isfinite(drawn).any() else (whole, whole)
    count = len(pictures) if others else int(sum(len(run.pairs) for run in runs))
    return {
        name: Share(float(whole[place]), float(low[place]), float(high[place]), count)
        for place, name in enumerate(QUALITIES)
    }


def _sums(runs: Sequence[GradedRun]) -> dict[str, np.ndarray]:
    """Of every picture the number of its pairs that the truth decides, and the sum of each quality over them."""
    sums: dict[str, np.ndarray] = {}
    for run in runs:
        for pair in run.pairs:
            row = sums.setdefault(pair.picture, np.zeros(1 + len(QUALITIES)))
            if pair.graded.grade != "ungradable":
                row += (1.0, pair.is_true, pair.is_specific, pair.lift)
    return sums


def _ratios(tables: Sequence[np.ndarray], rows: np.ndarray) -> np.ndarray:
    """(draws, 3): the means of the first table, less those of the second if there is one."""
    with np.errstate(invalid="ignore"):
        means = [(drawn := rows @ table)[:, 1:] / drawn[:, :1] for table in tables]
    found: np.ndarray = means[0] - means[1] if len(means) == 2 else means[0]
    return found


def true_share(pairs: Sequence[GradedPair]) -> float:
    """Share of true pairs among those that the truth decides; NaN if there is none."""
    return _mean(pair.is_true for pair in _gradable(pairs))


def specific_share(pairs: Sequence[GradedPair]) -> float:
    """Share of specific pairs among those that the truth decides; NaN if there is none."""
    return _mean(pair.is_specific for pair in _gradable(pairs))


def mean_lift(pairs: Sequence[GradedPair]) -> float:
    """Mean lift of the pairs that the truth decides; NaN if there is none."""
    return _mean(pair.lift for pair in _gradable(pairs))


def _mean(values: Iterable[float]) -> float:
    known = list(values)
    return math.fsum(known) / len(known) if known else float("nan")


QUALITIES: dict[str, Callable[[Sequence[GradedPair]], float]] = {
    "true": true_share,
    "specific": specific_share,
    "lift": mean_lift,
}
"""What is asked of data: that it is true, that it belongs to its own picture, and both at once."""


def same_kinds(
    runs: Sequence[GradedRun],
    others: Sequence[GradedRun],
    of_kind: Callable[[Sequence[GradedPair]], float] = true_share,
) -> Callable[[Sequence[GradedPair]], float]:
    """A statistic in which every kind of question weighs as among the others, of the kinds that both sides have.

    What is left of a difference when the mixture of kinds is the same. A kind counts where each side has ten gradable
    pairs of it.
    """
    counts = [Counter(p.graded.kind for run in side for p in _gradable(run.pairs)) for side in (runs, others)]
    weights = {kind: count for kind, count in counts[1].items() if min(count, counts[0][kind]) >= 10}

    def statistic(pairs: Sequence[GradedPair]) -> float:
        by_kind: dict[str, list[GradedPair]] = defaultdict(list)
        for pair in _gradable(pairs):
            by_kind[pair.graded.kind].append(pair)
        present = {kind: weight for kind, weight in weights.items() if by_kind[kind]}
        if not present:
            return float("nan")
        return sum(w * of_kind(by_kind[kind]) for kind, w in present.items()) / sum(present.values())

    return statistic


def _gradable(pairs: Sequence[GradedPair]) -> list[GradedPair]:
    return [pair for pair in pairs if pair.graded.grade != "ungradable"]


def difference(
    runs: Sequence[GradedRun],
    others: Sequence[GradedRun],
    statistic: Callable[[Sequence[GradedPair]], float] = true_share,
) -> Share:
    """A statistic of the runs minus that of the others, with an interval over pictures that both are drawn with.

    The interval is about the pictures; how much a tuning varies from seed to seed is not in it.
    """
    sides: tuple[dict[str, list[GradedPair]], dict[str, list[GradedPair]]] = (defaultdict(list), defaultdict(list))
    for side, of_side in zip(sides, (runs, others), strict=True):
        for run in of_side:
            for pair in run.pairs:
                side[pair.picture].append(pair)
    pictures = sorted({*sides[0], *sides[1]})

    def of_rows(rows: np.ndarray) -> float:
        drawn = ([pair for row in rows for pair in side.get(pictures[row], [])] for side in sides)
        first, second = (statistic(pairs) for pairs in drawn)
        return first - second

    low, high = interval(of_rows, len(pictures), draws=DRAWS)
    return Share(of_rows(np.arange(len(pictures))), low, high, len(pictures))


def diversity(runs: Sequence[GradedRun], size: int = 100, draws: int = 20) -> tuple[float, float]:
    """Different questions, and different things asked about, among ``size`` pairs drawn from a run; mean of draws."""
    rng = random.Random(0)
    found = []
    for run in runs:
        for _ in range(draws):
            drawn = rng.sample(run.pairs, min(size, len(run.pairs)))
            questions = {pair.scored.sample.question.lower() for pair in drawn}
            found.append((len(questions), len({noun for pair in drawn for noun in pair.nouns})))
    means = np.mean(found, axis=0) if found else (float("nan"), float("nan"))
    return float(means[0]), float(means[1])


def kind_counts(runs: Sequence[GradedRun]) -> dict[str, int]:
    """How many gradable pairs there are of each kind of question."""
    return dict(Counter(pair.graded.kind for run in runs for pair in _gradable(run.pairs)))
