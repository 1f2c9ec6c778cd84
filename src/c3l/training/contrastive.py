"""The contrastive learning module: tunes an LVLM towards each image's positive pair and away from its negatives.

A ``transformers.Trainer`` does the work, so mixed precision, accumulation, several processes (``torchrun``,
``accelerate launch``) and trackers are its own; the loss and what is logged of it are ours.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from PIL.Image import Image
from torch import nn
from torch.utils.data import DataLoader
from transformers import PrinterCallback, TrainerCallback, TrainingArguments, set_seed

from c3l.errors import DataError
from c3l.models.tunable import TrainableModel
from c3l.records import HeldOut, ImageRef, TuningStep, from_json, to_json
from c3l.settings.tuning import ContrastiveConfig
from c3l.storage.atomic import write_atomic
from c3l.training import arguments
from c3l.training.arguments import SEEDS, TrainingPlace
from c3l.training.checkpoints import (
    Advance,
    ResumableTrainer,
    check_processes,
    choose_cpu,
    count_processes,
    find_checkpoint,
    make_optimizer,
)
from c3l.training.comparison import ContrastiveModel
from c3l.training.groups import GroupCollator, GroupDataset, TextGroup, count_held_out, hold_out

PARTS = ("contrastive", "likelihood", "accuracy")
_BATCHES = "batches"


@dataclass(frozen=True, slots=True)
class Tuning:
    """What a tuning did.

    Attributes:
        trained: Number of groups trained on.
        held_out: Number of groups that only measured.
        steps: Optimiser steps.
        measured: The held-out groups before the first step and after the last; empty where none is held out.
        log: What was logged, step by step.
    """

    trained: int
    held_out: int
    steps: int
    measured: tuple[HeldOut, ...]
    log: tuple[TuningStep, ...]


def tune(
    lvlm: TrainableModel,
    groups: Sequence[TextGroup],
    open_image: Callable[[ImageRef], Image],
    config: ContrastiveConfig,
    place: TrainingPlace,
) -> Tuning:
    """Tune a model in place; after a kill the same call goes on from the last whole checkpoint.

    Args:
        lvlm: The model, with fresh adapters.
        groups: Images with their positive and negatives.
        open_image: Opens an image, in RGB.
        config: The loss and the recipe.
        place: Its seed, of the projection, the order of the groups and dropout; where it keeps itself, and who is told.

    Raises:
        DataError: If there is no group to train on.
    """
    train, held = hold_out(groups, config.held_out, place.seed)
    if not train:
        raise DataError(f"got {len(groups)} groups to tune on, expected at least one; `c3l status` says what was lost")
    set_seed(place.seed % SEEDS)
    model = ContrastiveModel(lvlm, config)
    collate = GroupCollator(lvlm, open_image)
    on_cpu = choose_cpu(next(lvlm.parameters()).device, lvlm.pieces)
    steps = count_steps(len(groups), config, count_processes())
    scaled = scale_loss(config, lvlm.provenance.dtype)
    trainer = ContrastiveTrainer(
        model=model,
        args=make_arguments(scaled, place, steps, on_cpu=on_cpu),
        train_dataset=GroupDataset(train),
        eval_dataset=GroupDataset(held) if held else None,
        data_collator=collate,
        callbacks=[Advance(place.advance)],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.shard_model(lvlm.pieces)
    before = _Before(trainer, place.folder / "before.json", place.seed)
    trainer.add_callback(before)
    check_processes(place.folder, writes=trainer.args.should_save)
    trainer.finish_from(find_checkpoint(place.folder))
    measured = (before.read(), trainer.measure("after")) if held else ()
    trainer.gather_weights()
    log = tuple(_to_step(entry) for entry in trainer.state.log_history if "loss" in entry)
    return Tuning(len(train), len(held), trainer.state.global_step, measured, log)


def count_steps(groups: int, config: ContrastiveConfig, processes: int = 1) -> int:
    """How many optimiser steps so many groups make, of which some are held out."""
    return arguments.count_steps(groups - count_held_out(groups, config.held_out), config, processes)


def scale_loss(config: ContrastiveConfig, dtype: str) -> ContrastiveConfig:
    """The recipe of a model of this dtype: in float16 gradients are too small, unless autocast scales the loss."""
    if dtype != "float16" or config.mixed_precision != "no":
        return config
    return config.model_copy(update={"mixed_precision": "fp16"})


def make_arguments(config: ContrastiveConfig, place: TrainingPlace, steps: int, *, on_cpu: bool) -> TrainingArguments:
    """The recipe in the words of ``Trainer``."""
    recipe = TrainingArguments(
        **arguments.share_arguments(config, place, steps, on_cpu=on_cpu),
        learning_rate=config.learning_rate,
        weight_decay=0.0,
        per_device_eval_batch_size=config.batch_size,
    )
    arguments.use_one_card(recipe)
    return recipe


class ContrastiveTrainer(ResumableTrainer):
    """``Trainer`` that logs the parts of the loss."""

    optimizer: torch.optim.Optimizer | None

    def compute_loss(self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, **_: Any) -> Any:
        """The mean over the groups of this batch; ``Trainer`` divides it by the number of accumulated batches."""
        parts = model(**inputs)
        if not math.isfinite(loss := parts["loss"].item()):
            raise DataError(
                f"the tuning broke down after step {self.state.global_step}: got the loss {loss}, expected a finite "
                "one; lower contrastive.learning_rate, or set model.dtype=float32"
            )
        if model.training:
            for name, value in (*((part, float(parts[part])) for part in PARTS), (_BATCHES, 1.0)):
                self.sums[name] = self.sums.get(name, 0.0) + value
        return (parts["loss"], parts) if return_outputs else parts["loss"]

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """As ``Trainer``, with the means of the parts since the last time."""
        if "loss" in logs and self.sums:
            mine = torch.tensor([self.sums[name] / self.sums[_BATCHES] for name in PARTS], device=self.args.device)
            logs |= dict(zip(PARTS, self.accelerator.reduce(mine, "mean").tolist(), strict=True))
            self.sums = {}
        super().log(logs, *args, **kwargs)

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """AdamW with a rate of its own for the projection, which starts random."""
        if self.optimizer is None:
            config: ContrastiveConfig = self.accelerator.unwrap_model(self.model).recipe
            rates = config.learning_rate, _is_projection, config.projection_learning_rate
            self.optimizer = make_optimizer(self.model if model is None else model, *rates, weight_decay=0.0)
        return self.optimizer

    @torch.no_grad()
    def measure(self, when: Literal["before", "after"]) -> HeldOut:
        """Means of the parts of the loss over the held-out groups; of several processes each measures all of them."""
        self.model.eval()
        sums: dict[str, float] = {}
        count = 0
        size = self.args.per_device_eval_batch_size
        for batch in DataLoader(self.eval_dataset, batch_size=size, collate_fn=self.data_collator):
            groups = len(batch["valid"])
            with self.accelerator.autocast():
                parts = self.model(**self._prepare_inputs(batch))
            for name, value in parts.items():
                sums[name] = sums.get(name, 0.0) + float(value) * groups
            count += groups
        mean = {name: total / count for name, total in sums.items()}
        return HeldOut(
            when=when,
            groups=count,
            contrastive=mean["contrastive"],
            accuracy=mean["accuracy"],
            likelihood=mean["likelihood"],
            negatives_likelihood=mean["negatives_likelihood"],
        )


class _Before(TrainerCallback):  # type: ignore[misc]
    """Measures before the first step and keeps it in a file, since a resumed run no longer has that model."""

    def __init__(self, trainer: ContrastiveTrainer, file: Path, seed: int) -> None:
        self._trainer, self._file, self._seed = trainer, file, seed

    def on_train_begin(self, args: TrainingArguments, *_: Any, **__: Any) -> None:
        """The model lies where it is going to be trained."""
        if self._trainer.eval_dataset is not None and not self._file.exists():
            measured = self._trainer.measure("before")
            if args.should_save:
                write_atomic(self._file, to_json(measured))
        set_seed(self._seed % SEEDS)  # measuring drew numbers, which a resumed run does not

    def read(self) -> HeldOut:
        """What was measured, by this run or the one that it goes on with."""
        return from_json(HeldOut, self._file.read_bytes())


def _is_projection(name: str) -> bool:
    return name.removeprefix("module.").startswith("projection.")


def _to_step(entry: Mapping[str, float]) -> TuningStep:
    return TuningStep(
        step=int(entry["step"]),
        loss=entry["loss"],
        contrastive=entry["contrastive"],
        likelihood=entry["likelihood"],
        accuracy=entry["accuracy"],
        learning_rate=entry["learning_rate"],
        grad_norm=float(entry.get("grad_norm", math.nan)),
    )
