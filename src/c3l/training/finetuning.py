"""Instruction tuning: an LVLM learns the answers of conversations about images, with TRL's ``SFTTrainer``.

The trainer's own collator would write conversations through the chat template anew; ours teaches every answer with
the tokens that scoring and generation see, and the end of each turn. The loss is the mean over the taught tokens of
all batches of a step, on all devices.
"""

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from PIL.Image import Image
from torch import nn
from transformers import PrinterCallback, set_seed
from trl import SFTConfig, SFTTrainer

from c3l.errors import DataError
from c3l.models.tunable import Conversation, FinetunableModel
from c3l.settings.tuning import FinetuningConfig
from c3l.training.arguments import SEEDS, TrainingPlace, count_steps, share_arguments, use_one_card
from c3l.training.checkpoints import (
    Advance,
    ResumableTrainer,
    check_processes,
    choose_cpu,
    count_processes,
    find_checkpoint,
    make_optimizer,
)
from c3l.training.own_loss import read_fused, use_own_logits
from c3l.training.sharing import make_whole

logger = logging.getLogger(__name__)

_AUTOCAST = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}  # by the model's dtype
LEARNING_RATES = {"lora": 2e-4, "full": 2e-5}


@dataclass(frozen=True, slots=True)
class TextConversation:
    """A ``Conversation`` with the path of its image, which is empty where there is none."""

    image: str
    turns: tuple[tuple[str, str], ...]
    system: str = ""
    untaught: frozenset[int] = frozenset()
    skipped: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class FinetuningStep:
    """What was logged after an optimiser step; means since the last such record.

    Attributes:
        step: Number of optimiser steps so far.
        loss: Negative log-likelihood a taught token, nats.
        learning_rate: Of the adapters, or of the whole model, at this step.
        grad_norm: Length of the gradient before it was clipped.
        accuracy: Share of the taught tokens that are the likeliest ones.
    """

    step: int
    loss: float
    learning_rate: float
    grad_norm: float
    accuracy: float


def finetune(
    lvlm: FinetunableModel,
    conversations: Sequence[TextConversation],
    open_image: Callable[[str], Image],
    config: FinetuningConfig,
    place: TrainingPlace,
) -> tuple[FinetuningStep, ...]:
    """Tune a model in place; after a kill the same call goes on from the last whole checkpoint.

    Args:
        lvlm: The model, with fresh adapters or all of its decoder learning.
        conversations: What to learn; each has taught tokens.
        open_image: Gives the RGB image of a path.
        config: The recipe.
        place: Its seed, of the order and of dropout; where it keeps itself, and who is told.

    Raises:
        DataError: If there is nothing to learn, or the loss stops being a number.
    """
    if not conversations:
        raise DataError("got no conversation to learn from, expected at least one; look at rejected.jsonl")
    set_seed(place.seed % SEEDS)
    trainer = make_trainer(lvlm, conversations, open_image, config, place)
    trainer.shard_model(lvlm.pieces)
    check_processes(place.folder, writes=trainer.args.should_save)
    trainer.finish_from(find_checkpoint(place.folder))
    trainer.gather_weights()
    return tuple(_to_step(entry) for entry in trainer.state.log_history if "loss" in entry)


def make_trainer(
    lvlm: FinetunableModel,
    conversations: Sequence[TextConversation],
    open_image: Callable[[str], Image],
    config: FinetuningConfig,
    place: TrainingPlace,
) -> "FinetuningTrainer":
    """What ``finetune`` trains with, before the first step."""
    on_cpu = choose_cpu(next(lvlm.module.parameters()).device, lvlm.pieces)
    if config.mixed_precision == "no":  # what learns is float32, whatever the rest is
        config = config.model_copy(update={"mixed_precision": _AUTOCAST[lvlm.provenance.dtype]})
    mixed = len({bool(one.image) for one in conversations}) > 1
    if config.batch_size > 1 and not lvlm.fits_batches(mixed):  # as many a step, one after the other
        together = config.batch_size * config.gradient_accumulation
        config = config.model_copy(update={"batch_size": 1, "gradient_accumulation": together})
    steps = count_steps(len(conversations), config, count_processes())
    arguments = _make_arguments(config, place, steps, on_cpu=on_cpu)
    # a batch without any image leaves the connector out
    arguments.ddp_find_unused_parameters = any(not one.image for one in conversations)
    with _without_routers_loss(lvlm.module, arguments):
        trainer = FinetuningTrainer(
            model=lvlm.module,
            args=arguments,
            train_dataset=_to_dataset(conversations),
            data_collator=_Collator(lvlm, conversations, open_image),
            processing_class=lvlm.processor,
            callbacks=[Advance(place.advance)],
        )
    # some families say that they cannot count over batches, but it is TRL that counts: a mean over all taught tokens
    trainer.model_accepts_loss_kwargs = True
    trainer.remove_callback(PrinterCallback)
    trainer.is_connector, trainer.recipe = lvlm.is_connector, config
    if gap := lvlm.find_gap(partial(read_fused, lvlm.module)):
        logger.warning("the loss is made of the model's own logits, which takes more memory: TRL's way %s", gap)
        use_own_logits(lvlm.module)
    return trainer


def learning_rate(config: FinetuningConfig) -> float:
    """The rate that is set, or that of the method."""
    return config.learning_rate or LEARNING_RATES[config.method]


class FinetuningTrainer(ResumableTrainer, SFTTrainer):  # type: ignore[misc]
    """``SFTTrainer`` with a rate of its own for the connector, and an error where the loss is no number."""

    is_connector: Callable[[str], bool]
    recipe: FinetuningConfig
    optimizer: torch.optim.Optimizer | None

    def _send_telemetry(self) -> None:
        """Nothing: what is trained here is nobody else's affair."""

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """AdamW over what learns."""
        if self.optimizer is None:
            rates = learning_rate(self.recipe), self._is_slow, self.recipe.connector_learning_rate
            whole = self.model if model is None else model
            self.optimizer = make_optimizer(whole, *rates, weight_decay=self.recipe.weight_decay)
        return self.optimizer

    def _is_slow(self, name: str) -> bool:
        return self.is_connector(name) and "lora_" not in name

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        """As TRL.

        Raises:
            DataError: If it is not a number.
        """
        # TRL multiplies by its weight, past the module: what it gathers itself would learn of one process alone
        make_whole(self.model.get_output_embeddings())
        loss = super().compute_loss(*args, **kwargs)
        if not math.isfinite(value := float(loss.detach())):
            raise DataError(
                f"the tuning broke down after step {self.state.global_step}: got the loss {value}, expected a finite "
                "one; lower finetuning.learning_rate, or set model.dtype=float32"
            )
        return loss

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: a checkpoint lives for as long as the tuning."""


class _Collator:
    """Opens the images of some conversations, which are named by their places, and makes one batch of them."""

    def __init__(
        self, lvlm: FinetunableModel, conversations: Sequence[TextConversation], open_image: Callable[[str], Image]
    ) -> None:
        self._lvlm, self._conversations, self._open_image = lvlm, conversations, open_image

    def __call__(self, rows: Sequence[Mapping[str, int]]) -> dict[str, Any]:
        return self._lvlm.collate([self._open(self._conversations[row["image"]]) for row in rows])

    def _open(self, one: TextConversation) -> Conversation:
        picture = self._open_image(one.image) if one.image else None
        return Conversation(picture, one.turns, one.system, one.untaught, one.skipped)


def _to_dataset(conversations: Sequence[TextConversation]) -> Dataset:
    """The places of the conversations alone; the name of their column tells TRL that there are images."""
    return Dataset.from_dict({"image": np.arange(len(conversations))})


def _make_arguments(config: FinetuningConfig, place: TrainingPlace, steps: int, *, on_cpu: bool) -> SFTConfig:
    arguments = SFTConfig(
        **share_arguments(config, place, steps, on_cpu=on_cpu),
        learning_rate=learning_rate(config),
        weight_decay=config.weight_decay,
        activation_checkpointing=False,  # the model was prepared for it, if wanted
        max_length=None,  # the collator cuts
    )
    use_one_card(arguments)  # TRL refuses several
    return arguments


@contextmanager
def _without_routers_loss(module: nn.Module, arguments: SFTConfig) -> Iterator[None]:
    """A block in which TRL is told to balance no experts; afterwards the model's config is as it was."""
    whole: Any = module.config
    config = whole.get_text_config()
    names = [name for name in ("router_aux_loss_coef", "output_router_logits") if hasattr(config, name)]
    before = {name: getattr(config, name) for name in names}
    if names:
        arguments.router_aux_loss_coef = 0.0
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(config, name, value)


def _to_step(entry: Mapping[str, float]) -> FinetuningStep:
    return FinetuningStep(
        step=int(entry["step"]),
        loss=entry["loss"],
        learning_rate=entry["learning_rate"],
        grad_norm=float(entry.get("grad_norm", math.nan)),
        accuracy=float(entry.get("mean_token_accuracy", math.nan)),
    )
