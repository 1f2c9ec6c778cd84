"""Run one stage of a run: its shards if they are missing, through an executor or here."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from c3l.data.images import open_image, open_image_again
from c3l.data.roots import check_root
from c3l.errors import DataError, StaleStageError
from c3l.executors.interface import ShardTask, Work
from c3l.method.generation import OpenImage, Origin, generate
from c3l.method.other_images import ImageSource, draw_pool
from c3l.method.prompts import choose_templates
from c3l.method.scoring import rescore, score_samples
from c3l.models.interface import InferenceModel
from c3l.records import Form, ImageRef, Sample, ScoredPair, ScoredSample
from c3l.run.context import Context, save_settings
from c3l.run.run_folder import STAGES, Run, explain_stage, spell_overrides, spell_path
from c3l.settings.schema import ModelConfig, RunConfig
from c3l.storage.atomic import make_folder, remove
from c3l.storage.job import plain
from c3l.storage.lock import PATIENCE, waiting_lock
from c3l.storage.stage import Stage

VERBS = {
    "images": "generate",
    "draft/generated": "generate",
    "draft/parsed": "generate",
    "draft/scored": "score",
    "groups": "select",
    "tuned": "tune",
    "filtered": "filter",
    "export": "export",
    "report": "report",
}


def image_opener(config: RunConfig) -> OpenImage:
    """A function that opens the run's images, or raises DataError."""
    return lambda image: open_image(config.images.root, image, config.images)


def need(context: Context, name: str) -> Stage:
    """A stage that has to be done already.

    Raises:
        DataError: If it is not; names the command that makes it.
        StaleStageError: If it was made with other settings; names them, and the command that makes it.
    """
    run, stage, plan = context.run, context.run.stored(name), context.plan[name]
    where = spell_path(run.path)
    command = f"c3l {VERBS[name]} {where}" if name in VERBS else f"c3l run --run {where}"
    if stage is None or not stage.is_done():
        raise DataError(f"stage {name} in {run.path} is not done; make it first with `{command}`")
    if stage.info.fingerprint != plan.fingerprint:
        old, now = stage.info.settings, plain(plan.settings)
        command = f"{command} {spell_overrides(old, now)}".rstrip()
        raise StaleStageError(
            f"stage {name} in {run.path} was made with other settings: {explain_stage(old, now)}; "
            f"put them back, or make it again first, with `{command}`"
        )
    return stage


def begin(context: Context, name: str, shards: int, shard_size: int | None = None) -> Stage:
    """The stage as it lies there, or a new one; what was made cheaply with other settings is removed.

    Raises:
        StaleStageError: If a costly stage was made, or begun, with other settings.
    """
    plan = context.plan[name]
    stored = context.run.stored(name)
    if stored is not None and not plan.costly and stored.info.fingerprint != plan.fingerprint:
        discard(context.run, name)
        context.progress.note(f"{name}: made again, {explain_stage(stored.info.settings, plain(plan.settings))}")
    return context.run.stage(
        name, fingerprint=plan.fingerprint, settings=plan.settings, shards=shards, shard_size=shard_size
    )


def mark_begun(context: Context, stage: Stage) -> None:
    """Say what a stage is made with before its first file, and make the settings of now those of the run.

    Raises:
        StaleStageError: If another process that shares the run has begun it with other settings meanwhile.
    """
    info = stage.info
    make_folder(stage.folder)
    with waiting_lock(stage.folder, PATIENCE) if context.part is not None else nullcontext():
        context.run.stage(
            info.stage,
            fingerprint=info.fingerprint,
            settings=info.settings,
            shards=info.shards,
            shard_size=info.shard_size,
        )
        save_settings(context.run, context.config)
        stage.mark_begun()


def discard(run: Run, name: str) -> None:
    """Remove one stage, and none of those after it."""
    for path in STAGES[name]:
        if (run.path / path).exists():
            remove(run.path / path)


@dataclass(frozen=True, slots=True)
class ModelStage:
    """A stage whose shards a model makes.

    Attributes:
        name: Such as ``draft/scored``.
        source: The stage that it reads; it is cut as that is.
        read: What the work on a shard of this number reads.
        work: Makes the records of a shard.
        round: In which it is made.
        model: Who makes them.
        inputs: How many there are to make them of.
        unit: What these are called, for the progress.
        recorded: What else ``stage.json`` is to say.
    """

    name: str
    source: Stage
    read: Callable[[int], Any]
    work: Work
    round: int
    model: ModelConfig
    inputs: int
    unit: str
    recorded: Mapping[str, Any]


def run_sharded(context: Context, wanted: ModelStage, prepare: Callable[[], None]) -> Stage:
    """Make the missing shards of a stage, which open images, and finish it.

    ``prepare`` is called before the first shard, only where one is missing: it sees to it that the model is there.

    Raises:
        DataError: If a shard is missing and the image root is gone.
    """
    source, inputs = wanted.source.info, wanted.inputs
    stage = begin(context, wanted.name, source.shards, source.shard_size)
    if stage.is_done():
        return stage
    missing = [shard for shard in stage.missing() if context.part is None or context.part.takes(shard)]
    config = context.config.model_copy(update={"model": wanted.model})
    tasks = (ShardTask(wanted.name, shard, wanted.round, config, wanted.read(shard)) for shard in missing)
    if missing:
        check_root(config.images.root)  # before a model is loaded for nothing
        prepare()
    start, loading = time.monotonic(), context.executor.loading_seconds
    used: Counter[str] = Counter()
    done = inputs * (stage.info.shards - len(missing)) // max(stage.info.shards, 1)
    with context.progress.track(wanted.name, wanted.unit, inputs, done) as advance:
        for result in context.executor.run(wanted.work, tasks, advance):
            if result.provenance is not None:  # begun.json keeps it, should the last step be interrupted
                stage.info = replace(stage.info, provenance=result.provenance)
            mark_begun(context, stage)
            if context.part is None or not stage.shard_path(result.shard).exists():  # made by another of the same part
                stage.write_shard(result.shard, result.records)
            used.update(result.usage)
    if context.part is not None:
        there = stage.info.shards - len(stage.missing())
        context.progress.note(
            f"{wanted.name}: the shards of --shard {context.part} are made, {there} of {stage.info.shards} are there; "
            f"when all are, `c3l {VERBS.get(wanted.name, 'run')} {spell_path(context.run.path)}` goes on"
        )
        return stage
    if used:
        context.progress.note(f"{wanted.name}: {used['tokens_in']} tokens read and {used['tokens_out']} written")
    loading = context.executor.loading_seconds - loading
    timed = {"executor": context.executor.name, "shards_timed": len(missing), "loading_seconds": loading}
    seconds = time.monotonic() - start - loading
    stage.finish(stage.info.provenance, seconds, inputs=inputs, recorded={**wanted.recorded, **timed, **used})
    return stage


def run_here(
    context: Context,
    name: str,
    work: Callable[[int], Iterable[Any]],
    *,
    inputs: int,
    shards: int = 1,
    shard_size: int | None = None,
) -> Stage:
    """Make the missing shards of a stage that needs no model, and finish it."""
    stage = begin(context, name, shards, shard_size)
    if stage.is_done():
        return stage
    start = time.monotonic()
    for shard in stage.missing():
        mark_begun(context, stage)
        stage.write_shard(shard, work(shard))
    stage.finish(None, time.monotonic() - start, inputs=inputs)
    return stage


def write_drafts(task: ShardTask, load: Callable[[], InferenceModel]) -> Iterator[Any]:
    """The texts that the model writes about the images of one shard, which are the inputs."""
    if task.inputs:
        config = task.config
        templates = choose_templates(config.generation)
        opener = image_opener(config)
        origin = Origin(config.seed, task.round)
        yield from generate(task.inputs, load(), opener, templates, config.generation, origin)


@dataclass(frozen=True, slots=True)
class PairInputs:
    """What the pairs of a shard are scored with.

    Attributes:
        samples: The pairs.
        images: Those that they are about, and those that may stand for no image, by ``image_id``.
        pool: Ids of the latter.
    """

    samples: tuple[Sample, ...]
    images: Mapping[str, ImageRef]
    pool: tuple[str, ...]


def read_pairs(config: RunConfig, images: Stage, parsed: Stage) -> Callable[[int], PairInputs]:
    """A function from the number of a shard to what its pairs are scored with; the images are read once."""
    if config.scoring.no_image != "others":
        return lambda shard: PairInputs(
            tuple(parsed.read_shard(shard, Sample)),
            {image.image_id: image for image in images.read_shard(shard, ImageRef)},
            (),
        )

    @cache
    def read_all() -> tuple[dict[str, ImageRef], tuple[str, ...]]:
        every = {image.image_id: image for image in images.read(ImageRef)}
        return every, tuple(draw_pool(every, config.scoring, config.seed))

    def read(shard: int) -> PairInputs:
        every, pool = read_all()
        samples = tuple(parsed.read_shard(shard, Sample))
        wanted = {sample.image_id for sample in samples if sample.image_id in every}
        return PairInputs(samples, {name: every[name] for name in sorted(wanted | set(pool))}, pool)

    return read


def score_pairs(task: ShardTask, load: Callable[[], InferenceModel]) -> Iterator[Any]:
    """The scores of the pairs of one shard; the inputs are ``PairInputs``."""
    config, given = task.config, task.inputs
    if not given.samples:
        return
    rules = config.images
    images = ImageSource(
        given.images,
        image_opener(config),
        given.pool,
        open_other=lambda image: open_image_again(rules.root, image, rules),
    )
    outcomes = score_samples(given.samples, images, load(), config.scoring, config.seed)
    for one in outcomes:
        yield ScoredSample(one.sample, one.scores, one.no_image) if isinstance(one, ScoredPair) else one


def read_scored(scored: Stage, form: Form) -> Iterator[ScoredPair]:
    """The scored pairs, with S(I2C) in this form."""
    return (rescore(one, form) for one in scored.read(ScoredSample))
