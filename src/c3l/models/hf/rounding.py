"""How far rounding alone moves a model's numbers, to tell another way of computing them from a wrong one.

Two right ways of computing a row, alone or beside others, add in another order: what a layer hands on differs in its
last bit. Just that is done to the model on purpose, at random, and what becomes of it at the end is the measure. It
grows with depth and dtype by itself, so that no constant has to know them.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# choice; right ways of 40 families differ by up to 1.8 times what the shaking does, in 16 bits by less than 1, wrong
# ones by thousands, in 16 bits by 2 and more
_SLACK, _SLACK_16 = 16.0, 3.0
_ROOM = 1.5  # choice: of the weights' bytes so much must be free: they double, and rows take some too
_LAYERS = (nn.Linear, nn.Embedding, nn.Conv2d, nn.Conv3d)


@contextmanager
def shaken(model: "PreTrainedModel", seed: int = 0) -> Iterator[None]:
    """Every linear layer of the model rounds once more, at random, for as long as this lasts."""
    generators: dict[torch.device, torch.Generator] = {}

    def shake(module: nn.Module, given: Any, output: Any) -> Any:
        if not isinstance(output, Tensor) or not output.is_floating_point():
            return output
        if output.device not in generators:
            generators[output.device] = torch.Generator(output.device).manual_seed(seed)
        wide = torch.promote_types(output.dtype, torch.float32)
        noise = torch.rand(output.shape, generator=generators[output.device], device=output.device, dtype=wide)
        # from half a last place below to half of one above
        moved = output.to(wide) * (1 + (2 * noise - 1) * (torch.finfo(output.dtype).eps / 2))
        return moved.to(output.dtype)

    hooks = [layer.register_forward_hook(shake) for layer in model.modules() if isinstance(layer, _LAYERS)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def widened(model: "PreTrainedModel") -> Iterator[bool]:
    """A model of 16 bits computes in float32 for as long as this lasts, with the very same weights.

    In 16 bits a mistake may hide behind the rounding; here it shows.

    Yields:
        Whether it does: not if it has more bits anyway, or if there is no room.
    """
    tensors = {id(one): one for one in (*model.parameters(), *model.buffers())}
    narrow = [(one, one.dtype) for one in tensors.values() if one.is_floating_point() and one.itemsize == 2]
    if not narrow or sum(one.nbytes for one, _ in narrow) * _ROOM > _find_room(model.device):
        yield False
        return
    try:
        _cast([(one, torch.float32) for one, _ in narrow])
        yield True
    finally:
        _cast(narrow)


def _cast(tensors: Iterable[tuple[Tensor, torch.dtype]]) -> None:
    with torch.inference_mode(False):  # weights made inside could never learn
        for one, dtype in tensors:
            one.data = one.data.to(dtype)


def _find_room(device: torch.device) -> int:
    """Free bytes of a device's memory."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free) + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if device.type == "cpu" else 0


def allow(measured: float, dtype: torch.dtype) -> float:
    """How far a right way may be off, nats, where more rounding moves a model of this dtype so far."""
    return measured * (_SLACK_16 if torch.finfo(dtype).bits == 16 else _SLACK)


def distance(pairs: Iterable[tuple[Tensor, Tensor]]) -> float:
    """The root of the mean square by which log-probabilities differ, nats; infinite where one is not a number.

    Args:
        pairs: (N, V) each; what both rule out counts as equal.
    """
    total, count = 0.0, 0
    for one, other in pairs:
        gap = (one.double() - other.double()).masked_fill(one == other, 0.0)
        total, count = total + float(gap.square().sum()), count + gap.numel()
    found = (total / max(count, 1)) ** 0.5
    return found if found == found else float("inf")
