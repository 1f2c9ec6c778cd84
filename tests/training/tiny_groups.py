"""Groups of texts about small pictures, and tuning tiny llava on them."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from c3l.models.hf.trainable import TrainableHfModel
from c3l.records import ImageRef
from c3l.settings.tuning import ContrastiveConfig
from c3l.training.arguments import TrainingPlace
from c3l.training.contrastive import Tuning, tune
from c3l.training.groups import TextGroup
from tiny_models import Tiny, describe_tried, make_picture

SHORT = {"similarity": "hidden", "lora_r": 4, "lora_alpha": 8, "batch_size": 2, "save_steps": 2, "held_out": 0.0}


def make_group(number: int, negatives: int = 2) -> TextGroup:
    """One picture with a positive that names it, and so many negatives that do not."""
    image = ImageRef(str(number), f"{number}.png", "", 40, 30)
    others = [f"{word} no." for word in ("oh", "it is", "so", "well")[:negatives]]
    return TextGroup(image, "What?", (f"Yes {number}.", *others))


def make_groups(count: int) -> list[TextGroup]:
    """Groups with 1, 2, 3, 1, 2, ... negatives."""
    return [make_group(number, 1 + number % 3) for number in range(count)]


def open_item_image(image: ImageRef) -> Image.Image:
    """The picture of a group, always the same."""
    return make_picture(int(image.image_id))


def make_lvlm(tiny: Tiny, config: ContrastiveConfig, dtype: torch.dtype = torch.float32) -> TrainableHfModel:
    """A copy of the tiny model with fresh adapters, the same each time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        copy = replace(tiny, model=deepcopy(tiny.model).to(dtype))
        return TrainableHfModel(copy.model, copy.processor, describe_tried(copy), config)


def tune_tiny(
    tiny: Tiny,
    folder: Path,
    count: int = 6,
    advance: Callable[[int], None] = lambda steps: None,
    dtype: torch.dtype = torch.float32,
    open_image: Callable[[ImageRef], Image.Image] = open_item_image,
    groups: Sequence[TextGroup] | None = None,
    **settings: Any,
) -> tuple[Tuning, dict[str, torch.Tensor]]:
    """What the tuning of tiny llava did, and the adapters that it left."""
    config = ContrastiveConfig(**SHORT | settings)
    lvlm = make_lvlm(tiny, config, dtype)
    tuning = tune(lvlm, groups or make_groups(count), open_image, config, TrainingPlace(0, folder, advance))
    return tuning, {name: p.detach().clone() for name, p in lvlm.named_parameters() if p.requires_grad}
