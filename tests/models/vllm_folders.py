"""Small model folders that vLLM loads: heads of a size that it computes with, and tensors under older names."""

import json
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

from safetensors.torch import load_file, save_file

import tiny_models

# heads of 32 numbers, the smallest that vLLM's attention knows on a CPU
ONE_HEAD = {"num_attention_heads": 1, "num_key_value_heads": 1}
SECTIONS = {"mrope_section": [4, 4, 8]}


def write_for_vllm(
    family: str, folder: Path, text: Mapping[str, Any] = ONE_HEAD, image_size: int = 32, std: float = tiny_models.STD
) -> Path:
    """The folder of a tiny model with random weights; ``llava`` or ``qwen2_vl``.

    Args:
        family: Which.
        folder: Where it is written.
        text: What its decoder has otherwise than the tiny models of other tests.
        image_size: Of LLaVA's pictures, in pixels; 8 of them become a token.
        std: Standard deviation of the weights; what suits a hidden size of 32 blows rounding up in a wider model.
    """
    with ExitStack() as stack:
        stack.enter_context(patch.dict(tiny_models.TEXT, text))
        stack.enter_context(patch.dict(tiny_models.MROPE, SECTIONS))
        stack.enter_context(patch.dict(tiny_models.VISION, image_size=image_size))
        stack.enter_context(patch.object(tiny_models, "STD", std))
        tiny_models.load_tiny(family, folder)
    file = folder / "processor_config.json"
    settings = json.loads(file.read_text())
    if family == "llava":
        sizes = {"size": {"shortest_edge": image_size}, "crop_size": {"height": image_size, "width": image_size}}
        settings["image_processor"] |= sizes
        file.write_text(json.dumps(settings))
    if family == "qwen2_vl":  # vLLM reads what is said of videos, as it stands in every folder of the family
        videos = settings["image_processor"] | {"video_processor_type": "Qwen2VLVideoProcessor"}
        (folder / "video_preprocessor_config.json").write_text(json.dumps(videos))
    return rename_weights(folder)


def script_for_vllm(folder: Path, *pieces: str) -> Path:
    """The folder of a tiny LLaVA that always writes the same."""
    with patch.dict(tiny_models.TEXT, ONE_HEAD):
        tiny_models.write_scripted(folder, *pieces)
    return rename_weights(folder)


def rename_weights(folder: Path) -> Path:
    """Give the vision tower's tensors the names that they had before transformers 5."""
    weights = load_file(folder / "model.safetensors")
    older = {name.replace("vision_tower.", "vision_tower.vision_model."): one for name, one in weights.items()}
    save_file(older, folder / "model.safetensors", metadata={"format": "pt"})
    return folder
