"""Two ways of tuning an LVLM on groups of answers: c3l's own, by InfoNCE or likelihood, and DPO by TRL's trainer.

Both train LoRA of the same rank on the same groups, held-out ones left aside, for as many steps. As each does it at
home, DPO learns the end of an answer too, and c3l's tuning does not.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import PrinterCallback
from trl import DPOConfig, DPOTrainer

from c3l.errors import BackendError, DataError
from c3l.method.generation import OpenImage
from c3l.models.load import load_finetunable, load_trainable
from c3l.models.tunable import IGNORE_INDEX, Conversation, FinetunableModel, TrainableModel
from c3l.progress import Progress
from c3l.records import ImageRef, to_json
from c3l.settings.schema import RunConfig
from c3l.settings.tuning import ContrastiveConfig, FinetuningConfig
from c3l.storage.atomic import atomic_folder, remove, write_atomic
from c3l.training import arguments
from c3l.training.checkpoints import Advance, choose_cpu
from c3l.training.contrastive import count_steps, tune
from c3l.training.groups import TextGroup, hold_out, sort_out

ADAPTER, SUMMARY, LOG, CHECKPOINTS = "adapter", "tuning.json", "log.jsonl", "checkpoints"


@dataclass(frozen=True, slots=True)
class Tuned:
    """What was trained on: groups, those held out, optimiser steps."""

    groups: int
    held_out: int
    steps: int


def contrast(
    groups: Sequence[TextGroup], config: RunConfig, open_image: OpenImage, folder: Path, progress: Progress
) -> None:
    """Tune by ``config.contrastive``; leaves an adapter, a log and, written last, a summary."""
    lvlm = load_trainable(config.model, config.contrastive, config.seed)
    fit, _ = sort_out(lvlm, groups, open_image)
    steps = count_steps(len(fit), config.contrastive)
    with progress.track("tuned", "steps", steps) as advance:
        place = arguments.TrainingPlace(config.seed, folder / CHECKPOINTS, advance)
        tuning = tune(lvlm, fit, open_image, config.contrastive, place)
    lines = [to_json(one) for one in (*tuning.log, *tuning.measured)]
    _save(lvlm, folder, Tuned(tuning.trained, tuning.held_out, tuning.steps), lines)


def prefer(
    groups: Sequence[TextGroup], config: RunConfig, open_image: OpenImage, folder: Path, progress: Progress
) -> None:
    """Tune by DPO on the first completion of each group against its last; leaves the same as ``contrast``.

    The recipe is that of ``config.contrastive``; beta is TRL's default. The reference is the model without adapters.

    Raises:
        BackendError: If rows of a batch change each other's numbers with this model, since DPO compares two in one.
        DataError: If there is no group to train on, or the loss stops being a number.
    """
    recipe = config.contrastive
    lora = {key: getattr(recipe, key) for key in ("lora_r", "lora_alpha", "lora_dropout")}
    lvlm = load_finetunable(config.model, FinetuningConfig(tune_connector=False, **lora), config.seed)
    if not lvlm.fits_batches(False):
        raise BackendError(f"got {config.model.name}, expected a model that can learn several rows at once")
    train, held = hold_out([one for one in groups if _fits(lvlm, one, open_image)], recipe.held_out, config.seed)
    if not train:
        raise DataError(f"got {len(groups)} groups to tune on, expected at least one that the model can be shown")
    steps = arguments.count_steps(len(train), recipe)
    with progress.track("tuned by DPO", "steps", steps) as advance:
        place = arguments.TrainingPlace(config.seed, folder / CHECKPOINTS, advance)
        trainer = make_trainer(lvlm, train, open_image, recipe, place)
        trainer.train()
    log = [entry for entry in trainer.state.log_history if "loss" in entry]
    if not all(math.isfinite(entry["loss"]) for entry in log):
        raise DataError("DPO broke down: its loss is no number; lower contrastive.learning_rate")
    lvlm.module.delete_adapter("ref")  # TRL's copy of the fresh adapter, which it compares with
    _save(lvlm, folder, Tuned(len(train), len(held), trainer.state.global_step), [json.dumps(entry) for entry in log])


def make_trainer(
    lvlm: FinetunableModel,
    groups: Sequence[TextGroup],
    open_image: OpenImage,
    recipe: ContrastiveConfig,
    place: arguments.TrainingPlace,
) -> DPOTrainer:
    """TRL's trainer over the model and batches that instruction tuning uses."""
    on_cpu = choose_cpu(next(lvlm.module.parameters()).device, lvlm.pieces)
    steps = arguments.count_steps(len(groups), recipe)
    told = DPOConfig(
        **arguments.share_arguments(recipe, place, steps, on_cpu=on_cpu),
        learning_rate=recipe.learning_rate,
        weight_decay=0.0,
        max_length=None,
        activation_checkpointing=False,  # TRL's default is the opposite
        save_strategy="no",  # a minute's work
    )
    arguments.use_one_card(told)
    trainer = DPOTrainer(
        model=lvlm.module,
        args=told,
        train_dataset=_to_dataset(groups),
        data_collator=PreferenceCollator(lvlm, {one.image.image_id: one.image for one in groups}, open_image),
        processing_class=lvlm.processor,
        callbacks=[Advance(place.advance)],
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


class PreferenceCollator:
    """Batches as ``DPOTrainer`` takes them: all chosen answers, then all rejected ones, each after its question."""

    def __init__(self, lvlm: FinetunableModel, images: Mapping[str, ImageRef], open_image: OpenImage) -> None:
        self._lvlm, self._images, self._open_image = lvlm, images, open_image

    def __call__(self, rows: Sequence[Mapping[str, str]]) -> dict[str, Any]:
        """The model's own inputs of twice as many rows, and ``completion_mask`` (2R, T) int64, 1 at the answers."""
        pictures = [self._open_image(self._images[row["image"]]) for row in rows]
        batch = self._lvlm.collate(
            [
                Conversation(picture, ((row["prompt"], row[side]),))
                for side in ("chosen", "rejected")
                for row, picture in zip(rows, pictures, strict=True)
            ]
        )
        labels = batch.pop("labels")
        return {**batch, "completion_mask": (labels != IGNORE_INDEX).long()}


def _fits(lvlm: FinetunableModel, group: TextGroup, open_image: OpenImage) -> bool:
    picture = open_image(group.image)
    return all(lvlm.find_fault(Conversation(picture, ((group.prompt, text),))) is None for text in group.completions)


def _to_dataset(groups: Sequence[TextGroup]) -> Dataset:
    """Ids and texts alone; ``image`` tells TRL that there are pictures."""
    return Dataset.from_dict(
        {
            "image": [one.image.image_id for one in groups],
            "prompt": [one.prompt for one in groups],
            "chosen": [one.completions[0] for one in groups],
            "rejected": [one.completions[-1] for one in groups],
        }
    )


def _save(lvlm: TrainableModel | FinetunableModel, folder: Path, tuned: Tuned, log: Sequence[str]) -> None:
    with atomic_folder(folder / ADAPTER) as temporary:
        lvlm.save_adapter(temporary)
    write_atomic(folder / LOG, log)
    write_atomic(folder / SUMMARY, json.dumps(asdict(tuned)) + "\n")
    if (folder / CHECKPOINTS).exists():
        remove(folder / CHECKPOINTS)
