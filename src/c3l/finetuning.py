"""Instruction-tune an LVLM on a data file: a LLaVA file in, an adapter and a merged model folder out.

``finetune.json`` is written last and says what was done; ``settings.json`` first, so that a killed tuning goes on with
the settings that it was begun with, or says what changed.
"""

import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from c3l.config import ModelConfig, RunConfig
from c3l.data.atomic import atomic_folder, make_folder, remove, write_atomic
from c3l.data.formats import Turn, read_llava
from c3l.data.images import open_image
from c3l.data.lock import exclusive_lock
from c3l.data.stage import plain
from c3l.errors import DataError, StaleStageError
from c3l.models.interface import Conversation, FinetunableModel
from c3l.models.load import load_finetunable, resolve_dtype, weights_hash
from c3l.progress import Progress
from c3l.records import Rejected, to_json

if TYPE_CHECKING:
    from c3l.training.finetuning import FinetuningStep, TextConversation

FINETUNER_VERSION = 1
ADAPTER, MERGED, CHECKPOINTS = "adapter", "merged", "checkpoints"
SUMMARY, SETTINGS, LOG, REJECTED = "finetune.json", "settings.json", "log.jsonl", "rejected.jsonl"
# they change how a tuning runs and what is seen of it, not what comes out
_NO_RESULT = {"enabled", "save_steps", "logging_steps", "report_to", "gradient_checkpointing"}


def finetune_files(data: Path, out: Path, config: RunConfig, progress: Progress) -> dict[str, Any]:
    """Tune the config's model on every conversation of ``data``; returns the summary that ``out`` keeps.

    A row without a picture, or with several, is rejected with its reason, as is one of which nothing would be taught.

    Args:
        data: A LLaVA file, see ``c3l.data.formats``.
        out: The folder to write, or to go on with.
        config: Model, ``finetuning``, image rules and root, seed.
        progress: Who is told how far it is.

    Raises:
        StaleStageError: If ``out`` was begun with other settings.
        RunLockedError: If another process writes to ``out``.
        DataError: If a file cannot be read, or there is nothing to learn.
        BackendError: If the model cannot be loaded or tuned.
    """
    if not config.images.root.is_dir():
        raise DataError(f"got the image root {config.images.root}, expected the folder that picture paths begin in")
    if int(os.environ.get("RANK", "0")) > 0:  # of several processes the first has the folder and writes
        _join(data, out, config)
        return {"out": str(out), "above_max_error_rate": False}
    make_folder(out)
    with exclusive_lock(out):
        config, done = _settle(data, out, config)
        summary = done or _make(data, out, config, progress)
    lost = sum(summary["rejected"].values())
    above = lost > config.max_error_rate * max(summary["rows"], 1)
    return {"out": str(out), **summary, "above_max_error_rate": above}


def _settle(data: Path, out: Path, config: RunConfig) -> tuple[RunConfig, dict[str, Any] | None]:
    """The config with its dtype settled, and the summary if all is done.

    Raises:
        StaleStageError: If it was begun with something else.
    """
    begun = json.loads((out / SETTINGS).read_bytes()) if (out / SETTINGS).exists() else None
    model = config.model
    if model.dtype == "auto":
        model = model.model_copy(update={"dtype": begun["model.dtype"] if begun else resolve_dtype(model)})
    config = config.model_copy(update={"model": model})
    now = _settings(data, config)
    if begun is None:
        write_atomic(out / SETTINGS, json.dumps(now, indent=1) + "\n")
    elif changed := [key for key in now if begun.get(key) != now[key]]:
        changes = ", ".join(f"{key}: {begun.get(key)} -> {now[key]}" for key in changed)
        raise StaleStageError(f"{out} was begun with other settings: {changes}; put them back, or choose another --out")
    if not (out / SUMMARY).exists():
        return config, None
    done: dict[str, Any] = json.loads((out / SUMMARY).read_bytes())
    return config, done


def _settings(data: Path, config: RunConfig) -> dict[str, Any]:
    with data.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    recipe = {f"finetuning.{key}": value for key, value in config.finetuning.model_dump(exclude=_NO_RESULT).items()}
    model = {f"model.{key}": getattr(config.model, key) for key in ("backend", "dtype", "attn_implementation")}
    more = {"seed": config.seed, "data": digest, "finetuner_version": FINETUNER_VERSION}
    return plain({**recipe, **model, **more, "weights": weights_hash(config.model)})


def _make(data: Path, out: Path, config: RunConfig, progress: Progress) -> dict[str, Any]:
    from c3l.training.checkpoints import count_processes, find_checkpoint
    from c3l.training.finetuning import count_steps, finetune

    start = time.monotonic()
    lvlm = load_finetunable(config.model, config.finetuning, config.seed)
    with progress.track("look through", "rows", _count_rows(data)) as looked:
        learned, rejected, rows = _read(data, config, lvlm, looked)
    write_atomic(out / REJECTED, map(to_json, rejected))
    steps = count_steps(len(learned), config.finetuning, count_processes())
    done = find_checkpoint(out / CHECKPOINTS)
    opener = _opener(config)
    with progress.track("finetune", "steps", steps, done.step if done else 0) as advance:
        log = finetune(lvlm, learned, opener, config.finetuning, config.seed, out / CHECKPOINTS, advance)
    write_atomic(out / LOG, map(to_json, log))
    provenance = json.loads(to_json(lvlm.provenance))
    _save(lvlm, out, config.model)
    summary = {
        "rows": rows,
        "trained": len(learned),
        "rejected": dict(Counter(one.reason for one in rejected)),
        "steps": steps,
        "seconds": round(time.monotonic() - start, 3),
        "loss_first": log[0].loss,
        "loss_last": _mean_loss(log[-10:]),
        "base": provenance,
    }
    write_atomic(out / SUMMARY, json.dumps(summary, indent=1) + "\n")
    if (out / CHECKPOINTS).exists():
        remove(out / CHECKPOINTS)
    return summary


def _mean_loss(steps: "tuple[FinetuningStep, ...]") -> float:
    return sum(step.loss for step in steps) / len(steps)


def _join(data: Path, out: Path, config: RunConfig) -> None:
    """Take part in a tuning as one of several processes."""
    from c3l.training.finetuning import finetune

    begun = out / SETTINGS
    if config.model.dtype == "auto" and begun.exists():
        dtype = json.loads(begun.read_bytes())["model.dtype"]
        config = config.model_copy(update={"model": config.model.model_copy(update={"dtype": dtype})})
    lvlm = load_finetunable(config.model, config.finetuning, config.seed)
    learned, _, _ = _read(data, config, lvlm, lambda count: None)
    finetune(lvlm, learned, _opener(config), config.finetuning, config.seed, out / CHECKPOINTS, lambda step: None)


def _save(lvlm: FinetunableModel, out: Path, model: ModelConfig) -> None:
    if model.name and not (out / ADAPTER).exists():
        with atomic_folder(out / ADAPTER) as temporary:
            lvlm.save_adapter(temporary)
    if not (out / MERGED).exists():
        with atomic_folder(out / MERGED) as temporary:
            lvlm.save_merged(temporary)


def _count_rows(data: Path) -> int:
    return sum(1 for _ in _conversations(data))


def _conversations(data: Path) -> "Iterator[TextConversation | Rejected]":
    """The rows of a data file; of a row with a bad turn only the bad turn is lost."""
    from c3l.training.finetuning import TextConversation

    def row_of(item: Turn | Rejected) -> object:
        return item.row if isinstance(item, Turn) else id(item)

    for _, group in groupby(read_llava(data), key=row_of):
        items = list(group)
        turns = tuple((item.question, item.answer) for item in items if isinstance(item, Turn))
        if isinstance(first := items[0], Turn):
            yield TextConversation(first.image, turns)
        else:
            yield first


def _read(
    data: Path, config: RunConfig, lvlm: FinetunableModel, advance: Callable[[int], None]
) -> "tuple[list[TextConversation], list[Rejected], int]":
    """What can be learned, what was rejected, and the number of rows and bad turns that were looked at."""
    learned: list[TextConversation] = []
    rejected: list[Rejected] = []
    opener = _opener(config)
    rows = 0
    for item in _conversations(data):
        rows += 1
        if isinstance(item, Rejected):
            rejected.append(item)
        elif verdict := _judge(item, lvlm, opener):
            rejected.append(Rejected(f"row-{rows}", item.image, "finetuning", *verdict))
        else:
            learned.append(item)
        advance(1)
    return learned, rejected, rows


def _judge(item: "TextConversation", lvlm: FinetunableModel, opener: Callable[[str], Any]) -> tuple[str, str] | None:
    """Why a conversation cannot be learned, as a reason and its detail; None if it can."""
    try:
        picture = opener(item.image)
    except DataError as error:
        return "unreadable_image", str(error)
    if not lvlm.count_taught(Conversation(picture, item.turns)):
        return "no_supervised_token", "its picture and question fill finetuning.max_length: nothing would be learned"
    return None


def _opener(config: RunConfig) -> Callable[[str], Any]:
    return lambda image: open_image(config.images.root, image, config.images)
