"""Instruction-tune an LVLM on data files: LLaVA files in, an adapter and a merged model folder out.

``finetune.json`` is written last and says what was done; ``settings.json`` as soon as the rows were looked through, so
that a killed tuning goes on with the settings that it was begun with, or says what changed.
"""

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from c3l.data.dataset_info import name_entries
from c3l.data.formats import NOT_TAUGHT, READER_VERSION, ConversationRow
from c3l.data.noted import tell_noted
from c3l.data.recognise import recognise
from c3l.data.roots import has_root
from c3l.data.sources import check_files, hash_files, list_files
from c3l.errors import ConfigError, DataError, StaleStageError, TooManyRejectedError, tell_rejected, tell_too_many
from c3l.jobs.learnable import iterate_rows, make_opener, mark_cut, note_unused, read_learnable, to_texts
from c3l.jobs.taught_tokens import TokenChoice, count_tokens, tell_tokens, weigh_tokens
from c3l.models.load import check_precision, choose_dtype, load_finetunable, weights_hash
from c3l.models.tunable import FinetunableModel
from c3l.progress import Progress, SilentProgress
from c3l.records import Rejected, from_json, to_json
from c3l.settings.base import results_of
from c3l.settings.columns import name_columns
from c3l.settings.schema import ModelConfig, RunConfig
from c3l.settings.tuning import TrainerSettings
from c3l.storage.atomic import atomic_folder, make_folder, remove, write_atomic
from c3l.storage.job import Job, plain, refuse_changes

if TYPE_CHECKING:
    from c3l.training.finetuning import FinetuningStep

FINETUNER_VERSION = 4
ADAPTER, MERGED, CHECKPOINTS = "adapter", "merged", "checkpoints"
SUMMARY, LOG, REJECTED = "finetune.json", "log.jsonl", "rejected.jsonl"
# beside the checkpoints: the rows that were found fit to learn from, and which of their tokens are taught
_LOOKED, _WEIGHED = "looked.json", "weighed.jsonl"


def check_finetuning(config: RunConfig) -> None:
    """Look whether it can be tuned as it is asked for, before anything is loaded.

    Raises:
        ConfigError: If a package or a tracker is missing, or the precision is none for the device.
    """
    missing = [name for name in ("trl", "datasets") if find_spec(name) is None]
    if missing:
        raise ConfigError(f"finetuning needs {' and '.join(missing)}: pip install 'c3l[train]'")
    check_recipe(config.model, "finetuning", config.finetuning)


def check_recipe(model: ModelConfig, section: str, recipe: TrainerSettings) -> None:
    """Look whether a tuning, this one or the contrastive, can be computed and told as its section of the settings asks.

    Raises:
        ConfigError: If a tracker is missing, or the precision is none for the device.
    """
    check_precision(model, section, recipe)
    if recipe.report_to:
        from c3l.training.arguments import check_integrations

        check_integrations(section, recipe.report_to)


def finetune_files(
    data: Sequence[Path],
    out: Path,
    config: RunConfig,
    progress: Progress,
    begin: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Tune the config's model on every conversation of ``data``; returns the summary that ``out`` keeps.

    A row without an image is learned as text. One with several, or with a bad image or turn, is rejected with its
    reason, as is one of which nothing would be taught; where its own data marks it so, that counts as no error.

    Args:
        data: LLaVA files, see ``c3l.data.formats``, one after the other.
        out: The folder to write, or to go on with.
        config: Model, ``finetuning``, image rules and root, seed.
        progress: Who is told how far it is, and how many rows were rejected for which reason.
        begin: Called before the first step: the model is loaded, and enough of the rows can be learned.

    Raises:
        StaleStageError: If ``out`` was begun with other settings.
        RunLockedError: If another process writes to ``out``.
        DataError: If a file cannot be read, ``out`` holds other work, or there is nothing to learn.
        ConfigError: If a package is missing.
        TooManyRejectedError: If more rows than ``max_error_rate`` were rejected; nothing is trained then.
        BackendError: If the model cannot be loaded or tuned.
    """
    data = list_files(data)
    check_files(data)
    if config.images.unpack_root:
        make_folder(config.images.unpack_root)
    if not has_root(config.images.root):
        raise DataError(f"got the image root {config.images.root}, expected the folder that image paths begin in")
    job = Job(out, "finetune", "finetuner_version")
    if int(os.environ.get("RANK", "0")) > 0:  # of several processes the first has the folder and writes
        if not (out / SUMMARY).exists():
            _join(data, job, config)
        return {"out": str(out), "above_max_error_rate": False}
    with job.open():
        config, settings = _resume(data, job, config)
        summary = _read_summary(out) or _make(data, job, config, settings, progress, begin)
        if (out / CHECKPOINTS).exists():
            remove(out / CHECKPOINTS)
    if summary["rejected"]:
        progress.note(tell_rejected(summary["rejected"], f"of {summary['rows']} rows", str(out / REJECTED)))
    for told in tell_noted(summary["noted"], "taught", f"{summary['trained']} rows"):
        progress.note(told)
    if "tokens" in summary:
        progress.note(tell_tokens(summary["tokens"]))
    lost = sum(summary["rejected"].values()) - (untaught := summary["rejected"].get(NOT_TAUGHT, 0))
    above = lost > config.max_error_rate * max(summary["rows"] - untaught, 1)
    short = {key: value for key, value in summary.items() if key != "settings"}
    return {"out": str(out), **short, "above_max_error_rate": above}


def _resume(data: Sequence[Path], job: Job, config: RunConfig) -> tuple[RunConfig, dict[str, Any]]:
    """The config with its dtype resolved, and the settings; what was begun with others is forgotten if it is little.

    Raises:
        StaleStageError: If something was learned with others.
        DataError: If the folder holds other work.
    """
    begun = job.read()
    resolved = choose_dtype(config, begun["settings"] if begun else None)
    now = _settings(data, resolved)
    if begun is None:
        return resolved, now
    try:
        refuse_changes(job.folder, begun["settings"], now)
    except StaleStageError:
        if _has_learned(job.folder):
            raise
        from c3l.training.arguments import TRACKING

        for name in (CHECKPOINTS, REJECTED, TRACKING):
            if (job.folder / name).exists():
                remove(job.folder / name)
        job.forget()
        return _resume(data, job, config)
    return resolved, begun["settings"]


def _read_summary(out: Path) -> dict[str, Any] | None:
    """The summary of a finished tuning; None if it is not there or no JSON."""
    try:
        summary: dict[str, Any] = json.loads((out / SUMMARY).read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return summary


def _has_learned(out: Path) -> bool:
    return (out / SUMMARY).exists() or any((out / CHECKPOINTS).glob("checkpoint-*"))


def _settings(data: Sequence[Path], config: RunConfig) -> dict[str, Any]:
    return plain(
        {
            **results_of("finetuning", config.finetuning),
            **results_of("model", config.model),
            **results_of("images", config.images, {"limit"}),
            **name_columns(config.columns),
            **({} if config.columns.named else name_entries(data)),
            "seed": config.seed,
            "data": hash_files(data),
            "finetuner_version": FINETUNER_VERSION,
            "reader_version": READER_VERSION,
            "weights": weights_hash(config.model),
        }
    )


def _make(
    data: Sequence[Path],
    job: Job,
    config: RunConfig,
    settings: dict[str, Any],
    progress: Progress,
    begin: Callable[[], None],
) -> dict[str, Any]:
    """Read the rows, then train on those that can be learned; returns the summary, which lies there from then on."""
    check_finetuning(config)
    if layout := recognise(data, config.columns.named):
        progress.note(layout)
    start = time.monotonic()
    lvlm = load_finetunable(config.model, config.finetuning, config.seed)
    fit, rejected = _look_through(data, job, config, settings, lvlm, progress)
    begin()
    base = json.loads(to_json(lvlm.provenance))
    chosen = weigh_tokens(fit, job.folder / CHECKPOINTS / _WEIGHED, config, lvlm, progress)
    steps, log = _train(job.folder, config, lvlm, fit, chosen, progress)
    summary = {
        "rows": len(fit) + len(rejected),
        "trained": len(fit),
        "rejected": dict(Counter(one.reason for one in rejected)),
        "noted": dict(Counter(note_unused([*fit.values()], lvlm))),
        **count_tokens(chosen),
        "steps": steps,
        "seconds": round(time.monotonic() - start, 3),
        "loss_first": log[0].loss,
        "loss_last": sum(step.loss for step in log[-10:]) / len(log[-10:]),
        "base": base,
        "settings": settings,
    }
    write_atomic(job.folder / SUMMARY, json.dumps(summary, indent=1) + "\n")
    return summary


def _train(
    out: Path,
    config: RunConfig,
    lvlm: FinetunableModel,
    fit: Mapping[int, ConversationRow],
    chosen: Mapping[int, TokenChoice],
    progress: Progress,
) -> "tuple[int, tuple[FinetuningStep, ...]]":
    """The steps of the tuning, and its log; leaves the adapter and the merged model."""
    from c3l.training.arguments import TrainingPlace, count_steps
    from c3l.training.checkpoints import count_processes, find_checkpoint
    from c3l.training.finetuning import finetune

    texts = to_texts(fit, lvlm, {place: one.skipped for place, one in chosen.items()})
    steps = count_steps(len(texts), config.finetuning, count_processes())
    done = find_checkpoint(out / CHECKPOINTS)
    with progress.track("finetune", "steps", steps, done.step if done else 0) as advance:
        place = TrainingPlace(config.seed, out / CHECKPOINTS, advance)
        log = finetune(lvlm, texts, make_opener(config), config.finetuning, place)
    write_atomic(out / LOG, map(to_json, log))
    _save(lvlm, out, config.finetuning.method)
    return steps, log


def _join(data: Sequence[Path], job: Job, config: RunConfig) -> None:
    """Take part in a tuning as one of several processes."""
    check_finetuning(config)
    from c3l.training.arguments import TrainingPlace
    from c3l.training.finetuning import finetune

    out, begun = job.folder, job.read()
    config = choose_dtype(config, begun["settings"] if begun else None)
    lvlm = load_finetunable(config.model, config.finetuning, config.seed)
    goes_on = begun is not None and begun["settings"] == _settings(data, config)
    # of a tuning that goes on, what the first process found: images may be gone or mended since
    known = _recall(data, config, out) if goes_on else None
    learned, rejected = known or read_learnable(data, config, lvlm, lambda count: None)
    _check_share(learned, rejected, config, out)
    # a file that is there is the first process's
    chosen = weigh_tokens(learned, out / CHECKPOINTS / _WEIGHED, config, lvlm, SilentProgress(), writes=False)
    texts = to_texts(learned, lvlm, {place: one.skipped for place, one in chosen.items()})
    finetune(lvlm, texts, make_opener(config), config.finetuning, TrainingPlace(config.seed, out / CHECKPOINTS))


def _save(lvlm: FinetunableModel, out: Path, method: str) -> None:
    if method == "lora" and not (out / ADAPTER).exists():
        with atomic_folder(out / ADAPTER) as temporary:
            lvlm.save_adapter(temporary)
    if not (out / MERGED).exists():
        with atomic_folder(out / MERGED) as temporary:
            lvlm.save_merged(temporary)


def _look_through(
    data: Sequence[Path],
    job: Job,
    config: RunConfig,
    settings: dict[str, Any],
    lvlm: FinetunableModel,
    progress: Progress,
) -> tuple[dict[int, ConversationRow], list[Rejected]]:
    """What can be learned, and what was rejected; a tuning that goes on opens no image anew to know it.

    Raises:
        TooManyRejectedError: If it is not enough; next time all is looked through again, as it may be mended by then.
    """
    out = job.folder
    if known := _recall(data, config, out):
        _check_share(*known, config, out)
        return known
    with progress.track("look through", "rows", sum(1 for _ in iterate_rows(data, config))) as advance:
        learned, rejected = read_learnable(data, config, lvlm, advance)
    job.begin(settings)
    write_atomic(out / REJECTED, map(to_json, rejected))
    _check_share(learned, rejected, config, out)
    write_atomic(out / CHECKPOINTS / _LOOKED, json.dumps({place: "cut" in row.noted for place, row in learned.items()}))
    return learned, rejected


def _recall(
    data: Sequence[Path], config: RunConfig, out: Path
) -> tuple[dict[int, ConversationRow], list[Rejected]] | None:
    """What was found when all was looked through; None where that is still to be done."""
    looked = out / CHECKPOINTS / _LOOKED
    if not looked.exists():
        return None
    cut = {int(place): is_cut for place, is_cut in json.loads(looked.read_bytes()).items()}
    read = ((place, row) for place, row in enumerate(iterate_rows(data, config)) if place in cut)
    learned = {place: mark_cut(row, cut=cut[place]) for place, row in read if isinstance(row, ConversationRow)}
    rejected = [from_json(Rejected, line) for line in (out / REJECTED).read_bytes().splitlines()]
    return learned, rejected


def _check_share(
    learned: Mapping[int, ConversationRow], rejected: Sequence[Rejected], config: RunConfig, out: Path
) -> None:
    """Look whether enough can be learned.

    Raises:
        TooManyRejectedError: If not.
    """
    reasons = [f"{one.reason}: {one.detail}" for one in rejected if one.reason != NOT_TAUGHT]
    rows = len(learned) + len(reasons)
    if len(reasons) <= config.max_error_rate * rows:
        return
    told = tell_too_many(reasons, f"of {rows} rows cannot be learned", config.max_error_rate)
    raise TooManyRejectedError(f"{told}; nothing was trained, and {out / REJECTED} has all of them")
