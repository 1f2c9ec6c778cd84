"""Tiny model folders that vLLM loads: heads of the size that it computes with, and tensors under their older names."""

from pathlib import Path
from typing import Any
from unittest.mock import patch

from safetensors.torch import load_file, save_file

import tiny_models

HEAD = 32  # the smallest that vLLM's attention knows on a CPU


def write_for_vllm(family: str, folder: Path) -> Path:
    """The folder of a tiny model; ``llava`` or ``qwen2_vl``."""
    changed: dict[str, Any] = {"head_dim": HEAD}
    if family == "qwen2_vl":  # it has heads of its hidden size alone
        changed = {"hidden_size": HEAD * tiny_models.TEXT["num_attention_heads"]}
    rope = tiny_models.MROPE | {"mrope_section": [4, 4, 8]}
    with patch.dict(tiny_models.TEXT, changed), patch.dict(tiny_models.MROPE, rope):
        tiny_models.load_tiny(family, folder)
    weights = load_file(folder / "model.safetensors")
    older = {name.replace("vision_tower.", "vision_tower.vision_model."): one for name, one in weights.items()}
    save_file(older, folder / "model.safetensors", metadata={"format": "pt"})
    return folder
