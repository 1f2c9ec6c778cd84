"""The vision tower: EfficientNet-Lite0's published weights inside transformers' EfficientNetModel."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import EfficientNetConfig, EfficientNetModel

IMAGE_SIZE = 224
GRID = 7
HIDDEN = 1280

# sigmoid(40) is exactly 1.0 in float32 and in bfloat16.
_OPEN_GATE = 40.0

_TOP = {
    "_conv_stem": "embeddings.convolution",
    "_bn0": "embeddings.batchnorm",
    "_conv_head": "encoder.top_conv",
    "_bn1": "encoder.top_bn",
}
_BLOCK = {
    "_expand_conv": "expansion.expand_conv",
    "_bn0": "expansion.expand_bn",
    "_depthwise_conv": "depthwise_conv.depthwise_conv",
    "_bn1": "depthwise_conv.depthwise_norm",
    "_project_conv": "projection.project_conv",
    "_bn2": "projection.project_bn",
}


def tower_config() -> EfficientNetConfig:
    """Return the configuration that makes EfficientNetModel an EfficientNet-Lite0 (B0's shape, relu6)."""
    return EfficientNetConfig(
        image_size=IMAGE_SIZE,
        width_coefficient=1.0,
        depth_coefficient=1.0,
        hidden_act="relu6",
        hidden_dim=HIDDEN,
        hidden_size=HIDDEN,
        drop_connect_rate=0.0,
    )


def load_tower(path: Path) -> EfficientNetModel:
    """Load the tower in evaluation mode, float32; (B, 3, 224, 224) -> last_hidden_state (B, 1280, 7, 7)."""
    published = _read(path)
    tower = EfficientNetModel(tower_config())
    state = dict(tower.state_dict())
    renamed = {_rename(name): value for name, value in published.items() if not name.startswith("_fc.")}
    renamed.update(_neutral_gates(state))
    tower.load_state_dict(renamed, strict=True)
    return tower.eval()


def load_class_head(path: Path) -> nn.Linear:
    """Load the ImageNet head, 1280 -> 1000; no part of the LVLM, but each row is a prototype of its class."""
    published = _read(path)
    head = nn.Linear(HIDDEN, published["_fc.weight"].shape[0])
    head.load_state_dict({"weight": published["_fc.weight"], "bias": published["_fc.bias"]})
    return head.eval().requires_grad_(False)


def _read(path: Path) -> dict[str, Tensor]:
    state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def _rename(name: str) -> str:
    parts = name.split(".")
    if parts[0] == "_blocks":
        _, index, module, leaf = parts
        return f"encoder.blocks.{index}.{_BLOCK[module]}.{leaf}"
    module, leaf = parts
    return f"{_TOP[module]}.{leaf}"


def _neutral_gates(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Make squeeze-and-excite weights that multiply by one: EfficientNetModel has them, Lite0 does not."""
    gates = {name: torch.zeros_like(value) for name, value in state.items() if ".squeeze_excite." in name}
    for name, value in gates.items():
        if name.endswith(".expand.bias"):
            value.fill_(_OPEN_GATE)
    return gates
