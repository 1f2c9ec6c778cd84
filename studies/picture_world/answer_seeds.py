"""One seed of the study of answers: what is asked of which model, kept in files as soon as it is there."""

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from c3l.executors.local import KeptModel, LocalExecutor
from c3l.method.generation import OpenImage
from c3l.models.interface import Sampling
from c3l.models.load import merge_adapter
from c3l.progress import Progress
from c3l.records import ImageRef, Sample, ScoredPair, from_json, to_json
from c3l.run.context import open_context
from c3l.run.pipeline import run_generate
from c3l.run.run_folder import Run
from c3l.run.shards import image_opener
from c3l.settings.load import load_config
from c3l.settings.schema import ModelConfig, RunConfig
from c3l.storage.atomic import atomic_folder, write_atomic
from c3l.storage.lock import remove_leftovers
from c3l.training.groups import TextGroup
from studies.picture_world.answer_tuning import ADAPTER, SUMMARY, contrast, prefer
from studies.picture_world.answering import (
    Answer,
    ask,
    choose_questions,
    contrast_answers,
    drop_equal,
    measure_all,
    score,
)
from studies.picture_world.candidates import CANDIDATES

Tune = Callable[[Sequence[TextGroup], RunConfig, OpenImage, Path, Progress], None]


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
    def scored(self) -> list[ScoredPair]:
        """The different ones among them with their numbers; ``i2c`` is the plan's measure."""
        path = self._out / "own" / "scored.jsonl"
        if not path.exists():
            samples, model = drop_equal(self.own_answers), self._models(self.config.model, self.config.seed)
            found = score(samples, self.images, model, self._open, self.config.scoring, self.config.seed)
            _write(path, self._track("own: scored", found, len(samples)))
        scored = [from_json(ScoredPair, line) for line in path.read_bytes().splitlines()]
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
