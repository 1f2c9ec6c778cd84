"""The built-in LVLM before training, assembled once into the user's cache and loaded as anybody would."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from c3l.models.builtin.assemble import assemble


@pytest.fixture(scope="session")
def untrained_folder() -> Path:
    return assemble(trained=False)


@pytest.fixture(scope="session")
def model(untrained_folder: Path) -> Any:
    return AutoModelForImageTextToText.from_pretrained(untrained_folder).eval()


@pytest.fixture(scope="session")
def processor(untrained_folder: Path) -> Any:
    return AutoProcessor.from_pretrained(untrained_folder)


@pytest.fixture(scope="session")
def picture() -> Callable[[int], Image.Image]:
    """Make a picture of 3:2 with coarse coloured patches; another seed, another picture."""

    def make(seed: int) -> Image.Image:
        pixels = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), dtype=np.uint8)
        return Image.fromarray(pixels).resize((300, 200), Image.Resampling.BICUBIC)

    return make
