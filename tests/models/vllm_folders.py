"""Tiny model folders that vLLM loads: one head, of the size that it computes with, and tensors under older names."""

import json
from pathlib import Path
from unittest.mock import patch

from safetensors.torch import load_file, save_file

import tiny_models

# heads of 32 numbers, the smallest that vLLM's attention knows on a CPU
ONE_HEAD = {"num_attention_heads": 1, "num_key_value_heads": 1}
SECTIONS = {"mrope_section": [4, 4, 8]}


def write_for_vllm(family: str, folder: Path) -> Path:
    """The folder of a tiny model; ``llava`` or ``qwen2_vl``."""
    with patch.dict(tiny_models.TEXT, ONE_HEAD), patch.dict(tiny_models.MROPE, SECTIONS):
        tiny_models.load_tiny(family, folder)
    if family == "qwen2_vl":  # vLLM reads what is said of videos, as it stands in every folder of the family
        settings = json.loads((folder / "processor_config.json").read_text())["image_processor"]
        settings["video_processor_type"] = "Qwen2VLVideoProcessor"
        (folder / "video_preprocessor_config.json").write_text(json.dumps(settings))
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
