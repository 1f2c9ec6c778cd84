"""What all tunings say to ``Trainer`` alike."""

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments
from transformers.integrations import get_reporting_integration_callbacks

from c3l.errors import ConfigError, one_line
from c3l.settings.tuning import TrainerSettings

SEEDS = 2**32  # numpy takes no larger one
TRACKING = "tracking"
"""Beside the checkpoints: what trackers write into the trainer's folder by themselves."""


@dataclass(frozen=True, slots=True)
class TrainingPlace:
    """What a tuning is besides its model, its data and its recipe.

    Attributes:
        seed: Of all that it draws.
        folder: Where checkpoints lie meanwhile; the caller removes it.
        advance: Told of every step.
    """

    seed: int
    folder: Path
    advance: Callable[[int], None] = lambda steps: None


def check_integrations(section: str, names: Sequence[str]) -> None:
    """Look before a tuning whether each of its trackers can be told, as ``Trainer`` will make them.

    Raises:
        ConfigError: If there is none of that name, or it is not installed.
    """
    if tuple(names) in (("all",), ("none",)):  # words of ``Trainer``'s own
        return
    for name in names:
        try:
            [make] = get_reporting_integration_callbacks([name])
            make()
        except (ValueError, RuntimeError, ImportError) as error:  # each says what it expects
            raise ConfigError(f"got {section}.report_to={name}: {one_line(error)}") from None


def share_arguments(config: TrainerSettings, place: TrainingPlace, steps: int, *, on_cpu: bool) -> dict[str, Any]:
    """The recipe in the words of ``Trainer``; so few steps that the warm-up is less than one have none."""
    os.environ["ACCELERATE_MIXED_PRECISION"] = config.mixed_precision  # a launcher's own would win over the settings
    return {
        "output_dir": str(place.folder),
        "use_cpu": on_cpu,  # else a card that is not to be used is taken
        "num_train_epochs": config.epochs,
        "max_steps": config.max_steps or -1,
        "lr_scheduler_type": "cosine",
        "warmup_steps": int(config.warmup_share * steps),
        "max_grad_norm": config.max_grad_norm,
        "per_device_train_batch_size": config.batch_size,
        "gradient_accumulation_steps": config.gradient_accumulation,
        "save_steps": config.save_steps,
        "save_total_limit": 2,
        "logging_steps": config.logging_steps,
        "logging_first_step": True,
        "report_to": list(config.report_to) or "none",
        "remove_unused_columns": False,
        "disable_tqdm": True,
        "seed": place.seed % SEEDS,
        "bf16": config.mixed_precision == "bf16",
        "fp16": config.mixed_precision == "fp16",
        "ddp_find_unused_parameters": False,
        "dataloader_pin_memory": torch.cuda.is_available(),
    }


def count_steps(rows: int, config: TrainerSettings, processes: int = 1) -> int:
    """How many optimiser steps so many rows to train on make."""
    if config.max_steps is not None:
        return config.max_steps
    batches = math.ceil(rows / (config.batch_size * processes))
    return math.ceil(config.epochs * math.ceil(batches / config.gradient_accumulation))


def use_one_card(arguments: TrainingArguments) -> None:
    """Several cards in one process would be DataParallel, which deals out rows without their groups."""
    arguments._n_gpu = min(arguments.n_gpu, 1)
