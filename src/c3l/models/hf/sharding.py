"""Which weights of a model several processes may share out: each holds a piece of a layer until that computes."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import Module, ModuleList

from c3l.errors import BackendError
from c3l.models.tunable import Pieces

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def is_sharded() -> bool:
    """Whether ``accelerate launch`` said that the processes share one model (FSDP).

    Raises:
        BackendError: If by its older version.
    """
    if os.environ.get("ACCELERATE_USE_FSDP", "").lower() != "true" or "LOCAL_RANK" not in os.environ:
        return False
    if (version := os.environ.get("FSDP_VERSION", "1")) != "2":
        raise BackendError(f"got a launch with FSDP version {version}, expected 2: set fsdp_version: 2 in its settings")
    return True


def find_pieces(model: "PreTrainedModel") -> Pieces | None:
    """How an image-text-to-text model lies in pieces; None where each process has all of it.

    An image's features are computed once, so the processes compute a frozen tower unlike often; were it in pieces,
    they would wait for each other for ever.
    """
    if not is_sharded():
        return None
    decoder = model.get_decoder()
    lists = [part for part in decoder.children() if isinstance(part, ModuleList)]
    beside = [part for part in model.base_model.children() if part is not decoder]
    return Pieces(
        layers=frozenset(type(layer).__name__ for layers in lists for layer in layers),
        whole=tuple(part for part in beside if not any(weight.requires_grad for weight in part.parameters())),
    )


def touch(model: "PreTrainedModel", parts: Sequence[str]) -> None:
    """Let these parts of a model have gradients in every step, if only zeros.

    The processes add up the gradients of what lies in pieces, and each must bring the same ones: of a batch without
    an image the connector would have none. Where no process has an image, its momentum alone moves it.
    """

    def add_nothing(module: Module, inputs: Any, output: Tensor) -> Tensor:
        weights = [
            weight for part in parts for weight in model.get_submodule(part).parameters() if weight.requires_grad
        ]
        return output + 0 * torch.stack([weight.sum() for weight in weights]).sum().to(output.dtype)

    if parts and is_sharded():
        model.get_input_embeddings().register_forward_hook(add_nothing)
