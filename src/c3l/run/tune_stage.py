"""The stage that tunes the LVLM, and which model writes in which round."""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from c3l.data.roots import check_root
from c3l.errors import DataError, StorageError, tell_rejected
from c3l.jobs.finetune import check_recipe
from c3l.method.prompts import load_templates
from c3l.records import ContrastiveGroup, HeldOut, ImageRef, Rejected, Sample, TuningStep, name_round, name_step
from c3l.run.context import Context
from c3l.run.run_folder import Run, spell_path
from c3l.run.shards import begin, image_opener, mark_begun
from c3l.settings.schema import ModelConfig, RunConfig
from c3l.storage.atomic import atomic_folder, remove
from c3l.storage.lock import remove_leftovers, waiting_lock
from c3l.storage.stage import Stage

if TYPE_CHECKING:
    from c3l.models.tunable import TrainableModel
    from c3l.training.contrastive import Tuning
    from c3l.training.groups import TextGroup

ADAPTER, MERGED, CHECKPOINTS = "adapter", "merged", "checkpoints"


_PATIENCE = 3600  # seconds for the first of several processes to merge a model


def writer_of(run: Run, config: RunConfig, round: int) -> ModelConfig:
    """The model that writes in a round: that of the config, or the tuned one as an ordinary model folder."""
    if round == 0:
        return config.model
    folder = run.path / name_step("tuned", round) / MERGED
    return config.model.model_copy(update={"name": str(folder), "revision": None})


def tune_stage(context: Context, images: Stage, parsed: Stage, groups: Stage, *, round: int) -> Stage:
    """Tune whoever wrote the round before; leaves an adapter, a merged model folder, and what was measured.

    Args:
        context: The run.
        images: Its images.
        parsed: The pairs of the round before.
        groups: Which of them are contrasted.
        round: The round that the tuned LVLM writes.

    Raises:
        DataError: If there is no group, or none that can be shown to the model.
    """
    stage = begin(context, name_step("tuned", round), 1)
    if not stage.is_done():
        _make(context, stage, read_groups(context.config, images, parsed, groups), round)
    if (stage.folder / CHECKPOINTS).exists():
        remove(stage.folder / CHECKPOINTS)
    return stage


def _make(context: Context, stage: Stage, texts: "list[TextGroup]", round: int) -> None:
    from c3l.training.checkpoints import count_processes

    check_root(context.config.images.root)
    context.executor.forget_model()
    mark_begun(context, stage)
    start = time.monotonic()
    tuning, rejected, provenance = _tune(context, stage.folder, texts, round)
    if stage.missing():  # a kill may have come just after it was written
        stage.write_shard(0, [*rejected, *_to_records(tuning)])
    stage.finish(
        provenance,
        time.monotonic() - start,
        inputs=len(texts),
        recorded={
            "groups_trained_on": tuning.trained,
            "groups_held_out": tuning.held_out,
            "steps": tuning.steps,
            "processes": count_processes(),
        },
    )


def ensure_writer(run: Run, config: RunConfig, round: int) -> None:
    """Merge the adapter of a round again where its merged folder, which takes much room, was removed.

    Raises:
        RunLockedError: If another process has been at it for too long.
    """
    folder = run.path / name_step("tuned", round)
    if round == 0 or (folder / MERGED).exists() or not (folder / ADAPTER).exists():
        return
    from c3l.models.load import merge_adapter

    with waiting_lock(folder, _PATIENCE):  # several that share the run's shards come here together
        if (folder / MERGED).exists():
            return
        remove_leftovers(folder)  # of one that was killed
        ensure_writer(run, config, round - 1)
        with atomic_folder(folder / MERGED) as temporary:
            merge_adapter(writer_of(run, config, round - 1), folder / ADAPTER, temporary)


def join_tuning(config: RunConfig, round: int) -> None:
    """Take part in a tuning as one of several processes; the first of them has the run and writes.

    Raises:
        DataError: If there are no groups to tune on.
    """
    run = Run.reader(config.run)
    images, parsed = run.stored("images"), run.stored(f"{name_round(round - 1)}/parsed")
    groups, tuned = run.stored(name_step("groups", round)), run.stored(name_step("tuned", round))
    if tuned is not None and tuned.is_done():
        return
    if images is None or parsed is None or groups is None or not groups.is_done():
        command = f"c3l select {spell_path(config.run)}"
        raise DataError(f"there are no groups in {config.run}; make them first with `{command}`")
    draft = run.stored("draft/generated")
    assert draft is not None, "groups were selected from what was written"
    dtype = draft.info.settings["model.dtype"]  # as the process that has the run resolves it
    config = config.with_dtype(dtype)
    lvlm, fit, _ = _prepare(run, config, read_groups(config, images, parsed, groups), round)
    _run_tuning(run, config, lvlm, fit, round, lambda step: None)


def read_groups(config: RunConfig, images: Stage, parsed: Stage, groups: Stage) -> "list[TextGroup]":
    """The groups that a round is tuned on, as texts.

    Raises:
        DataError: If there is none: no image has two scored pairs.
    """
    from c3l.training.groups import write_groups

    found = list(groups.read(ContrastiveGroup))
    if not found:
        raise DataError(_tell_no_groups(config, parsed))
    wanted = {sample_id for group in found for sample_id in (group.positive, *group.negatives)}
    samples = {one.sample_id: one for one in parsed.read(Sample) if one.sample_id in wanted}
    pictures = {image.image_id: image for image in images.read(ImageRef)}
    templates = load_templates(config.generation.templates)
    return write_groups(found, samples, pictures, templates, config.generation.pairs_per_image)


def _tell_no_groups(config: RunConfig, parsed: Stage) -> str:
    """One line about a run that has nothing to tune on, and about what it lacks."""
    if parsed.info.out.get("sample", 0):
        return (
            f"no image of {config.run} has two scored pairs, so there is nothing to compare and to tune on; raise "
            "generation.pairs_per_image or generation.max_new_tokens, or set rounds=0"
        )
    reasons = Counter(one.reason for one in parsed.rejected())
    why = f" ({reasons.most_common(1)[0][0]})" if reasons else ""
    return (
        f"no text that the model wrote in {config.run} has a question and an answer that can be read{why}; look at the "
        f"texts with `c3l preview {spell_path(config.run)}`, then raise generation.max_new_tokens, or take another "
        "model or other generation.instructions"
    )


def _tune(context: Context, folder: Path, texts: "list[TextGroup]", round: int) -> "tuple[Tuning, list[Rejected], Any]":
    from c3l.training.checkpoints import count_processes, find_checkpoint
    from c3l.training.contrastive import count_steps

    config = context.config
    lvlm, fit, rejected = _prepare(context.run, config, texts, round)
    if rejected:
        reasons = Counter(one.reason for one in rejected)
        look = f"`c3l status {spell_path(context.run.path)}`"
        context.progress.note(tell_rejected(reasons, f"of {len(texts)} groups", look))
    steps = count_steps(len(fit), config.contrastive, count_processes())
    done = find_checkpoint(folder / CHECKPOINTS)
    with context.progress.track(name_step("tuned", round), "steps", steps, done.step if done else 0) as advance:
        tuning = _run_tuning(context.run, config, lvlm, fit, round, advance)
    if not (folder / ADAPTER).exists():
        with atomic_folder(folder / ADAPTER) as temporary:
            lvlm.save_adapter(temporary)
    if not (folder / MERGED).exists():
        with atomic_folder(folder / MERGED) as temporary:
            lvlm.save_merged(temporary)
    return tuning, rejected, lvlm.provenance


def _prepare(
    run: Run, config: RunConfig, texts: "list[TextGroup]", round: int
) -> "tuple[TrainableModel, list[TextGroup], list[Rejected]]":
    """The model to be tuned, and the groups that it can and cannot be shown.

    Raises:
        ConfigError: If it cannot be tuned as it is asked for.
        DataError: If it can be shown none.
    """
    from c3l.models.load import load_trainable
    from c3l.training.groups import sort_out

    check_recipe(config.model, "contrastive", config.contrastive)
    writer = writer_of(run, config, round - 1)
    if int(os.environ.get("RANK", "0")) == 0:  # of several processes the first
        ensure_writer(run, config, round - 1)
    elif round > 1:
        _wait_for(Path(writer.name))
    lvlm = load_trainable(writer, config.contrastive, config.seed)
    fit, rejected = sort_out(lvlm, texts, image_opener(config))
    if not fit:
        first = rejected[0]
        raise DataError(
            f"none of {len(texts)} groups can be shown to the model ({first.reason}: {first.detail}); "
            "take another model, or set rounds=0"
        )
    return lvlm, fit, rejected


def _wait_for(folder: Path) -> None:
    """Until another process has made a folder, which appears whole.

    Raises:
        StorageError: If it does not.
    """
    end = time.monotonic() + _PATIENCE
    while not folder.exists():
        if time.monotonic() >= end:
            raise StorageError(
                f"waited {_PATIENCE:,} s for {folder}, which the first process makes; look at its errors"
            )
        time.sleep(0.5)


def _run_tuning(
    run: Run,
    config: RunConfig,
    lvlm: "TrainableModel",
    groups: "list[TextGroup]",
    round: int,
    advance: Callable[[int], None],
) -> "Tuning":
    from c3l.training.arguments import TrainingPlace
    from c3l.training.contrastive import tune

    place = TrainingPlace(config.seed, run.path / name_step("tuned", round) / CHECKPOINTS, advance)
    return tune(lvlm, groups, image_opener(config), config.contrastive, place)


def _to_records(tuning: "Tuning") -> Iterator[TuningStep | HeldOut]:
    yield from tuning.log
    yield from tuning.measured
