"""The trained part of the built-in LVLM: connector and low-rank update, taken out, stored and put back."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import FastVlmForConditionalGeneration

from c3l.errors import BackendError

if TYPE_CHECKING:
    from peft import PeftModel

FORMAT_VERSION = "1"

_PREFIX = "base_model.model."
_LOW_RANK = re.compile(r"^base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])(?:\.default)?\.weight$")
_CONNECTOR = re.compile(r"(?:^|\.)multi_modal_projector\.(?:modules_to_save\.default\.)?(?P<name>linear_[12]\.\w+)$")


@dataclass(frozen=True, slots=True)
class Trained:
    """What training adds to the parts.

    Attributes:
        connector: Tensors of the connector, by name inside it (`linear_1.weight`, ...).
        low_rank: Module path in the LVLM -> (A, B) of shapes (rank, in) and (out, rank).
        rank: Rank of the update.
        alpha: Its scale: the update is alpha / rank * B @ A.
    """

    connector: dict[str, Tensor]
    low_rank: dict[str, tuple[Tensor, Tensor]]
    rank: int
    alpha: float


def extract_trained(model: PeftModel) -> Trained:
    """Take connector and low-rank update out of a model that peft wrapped.

    Raises:
        BackendError: Something was trained that connector and `alpha / rank * B @ A` do not describe.
    """
    adapter = model.peft_config["default"]
    for option in ("use_rslora", "use_dora", "rank_pattern", "alpha_pattern", "lora_bias"):
        if getattr(adapter, option, None):
            raise BackendError(f"the adapter uses {option}; only one plain rank and alpha can be stored")
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and not _LOW_RANK.match(name) and not _CONNECTOR.search(name):
            raise BackendError(f"{name} was trained; only the connector and low-rank updates can be stored")
    return _sort_tensors(model.state_dict(), rank=adapter.r, alpha=float(adapter.lora_alpha))


def save_trained(model: PeftModel, path: Path) -> Trained:
    """Write connector and low-rank update of a peft-wrapped model to `path`."""
    trained = extract_trained(model)
    write_trained(trained, path)
    return trained


def write_trained(trained: Trained, path: Path) -> None:
    """Write connector and low-rank update to `path`, bfloat16, in peft's naming."""
    tensors = {f"{_PREFIX}model.multi_modal_projector.{name}": t for name, t in trained.connector.items()}
    for module, (a, b) in trained.low_rank.items():
        tensors[f"{_PREFIX}{module}.lora_A.weight"] = a
        tensors[f"{_PREFIX}{module}.lora_B.weight"] = b
    metadata = {"version": FORMAT_VERSION, "rank": str(trained.rank), "alpha": str(trained.alpha)}
    stored = {name: value.detach().to("cpu", torch.bfloat16).contiguous() for name, value in tensors.items()}
    save_file(stored, path, metadata=metadata)


def read_trained(path: Path) -> Trained:
    """Read what `write_trained` wrote.

    Raises:
        BackendError: The file is of another version.
    """
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        if metadata.get("version") != FORMAT_VERSION:
            raise BackendError(
                f"{path.name} has version {metadata.get('version')}, expected {FORMAT_VERSION}: "
                "train the built-in LVLM again, or install the c3l that made the file"
            )
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it has no iterator
    return _sort_tensors(tensors, rank=int(metadata["rank"]), alpha=float(metadata["alpha"]))


@torch.no_grad()
def apply_trained(model: FastVlmForConditionalGeneration, trained: Trained) -> None:
    """Load the connector, merge the low-rank update: W += alpha / rank * B @ A, worked out in float32."""
    model.model.multi_modal_projector.load_state_dict(trained.connector)
    for module, (a, b) in trained.low_rank.items():
        weight = model.get_submodule(module).get_parameter("weight")
        update = b.float() @ a.float() * (trained.alpha / trained.rank)
        weight.copy_(weight.float() + update)


def _sort_tensors(tensors: dict[str, Tensor], rank: int, alpha: float) -> Trained:
    connector: dict[str, Tensor] = {}
    sides: dict[str, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if low_rank := _LOW_RANK.match(name):
            sides.setdefault(low_rank["module"], {})[low_rank["side"]] = value
        elif linear := _CONNECTOR.search(name):
            connector[linear["name"]] = value
    pairs = {module: (pair["A"], pair["B"]) for module, pair in sorted(sides.items())}
    return Trained(connector=connector, low_rank=pairs, rank=rank, alpha=alpha)
