"""Keys and values of the tokens so far, in buffers with room to grow.

``DynamicCache`` copies all of them at every token; here a new token is written behind the others, and all are copied
only when the room is used up or rows leave.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ROOM = 64  # tokens of room; choice


class GrowingLayer(DynamicLayer):  # type: ignore[misc]
    """One layer's keys and values, (B, H, T, D) each, as views of longer buffers."""

    keys: Tensor
    values: Tensor
    is_initialized: bool

    def __init__(self) -> None:
        super().__init__()
        self._buffers: dict[str, Tensor] = {}

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Append new tokens; all keys and all values."""
        if not self.is_initialized:
            self.hold(key_states[:, :, :0], value_states[:, :, :0])
        self.keys = self._append("keys", self.keys, key_states)
        self.values = self._append("values", self.values, value_states)
        return self.keys, self.values

    def hold(self, keys: Tensor, values: Tensor) -> None:
        """Take these for all tokens so far."""
        self.dtype, self.device = keys.dtype, keys.device
        self.keys, self.values = keys, values
        self._buffers.clear()
        self.is_initialized = True

    def select(self, rows: Tensor, skip: int) -> None:
        """Keep these rows of the batch, without the first ``skip`` tokens."""
        self.hold(self.keys[:, :, skip:].index_select(0, rows), self.values[:, :, skip:].index_select(0, rows))

    def _append(self, name: str, held: Tensor, new: Tensor) -> Tensor:
        start, end = held.shape[-2], held.shape[-2] + new.shape[-2]
        buffer = self._buffers.get(name)
        # another tensor was put in place of the view, or nothing more fits
        if buffer is None or buffer.data_ptr() != held.data_ptr() or end > buffer.shape[-2]:
            buffer = self._buffers[name] = new.new_empty(*new.shape[:2], end + ROOM, new.shape[-1])
            buffer[:, :, :start] = held
        buffer[:, :, start:end] = new
        return buffer[:, :, :end]


def make_growing(model: "PreTrainedModel") -> DynamicCache | None:
    """An empty cache for a model, which may hold rows with padding.

    None if its layers keep other things than keys and values, or if its ``generate`` counts positions by the length of
    the cache: padding would shift them. Layers with a sliding window keep all too; their mask hides what is behind it.
    """
    cache = DynamicCache(config=model.config.get_text_config(decoder=True))
    known = (DynamicLayer, DynamicSlidingWindowLayer)
    if not cache.layers or any(type(layer) not in known for layer in cache.layers) or not _hands_on(model):
        return None
    cache.layers = [GrowingLayer() for _ in cache.layers]
    return cache


def _hands_on(model: "PreTrainedModel") -> bool:
    """Whether the positions that ``generate`` finds reach the model: HyperCLOVAX-Vision and EXAONE 4.5 drop them."""
    positions = torch.tensor([[3, 4]])
    inputs = model.prepare_inputs_for_generation(
        torch.zeros_like(positions),
        position_ids=positions,
        attention_mask=torch.ones_like(positions),
        use_cache=True,
    )
    found = inputs.get("position_ids")
    return found is not None and found.tolist() == positions.tolist()
