"""How far rounding alone moves a model's numbers, to tell another way of computing them from a wrong one.

Two right ways of computing a row, alone or beside others, add in another order: what a layer hands on differs in its
last bit. Just that is done to the model on purpose, at random, and what becomes of it at the end is the measure. It
grows with depth and dtype by itself, so that no constant has to know them.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

SLACK = (
    4.0  # choice; right ways differ by up to 1.2 times what the shaking does, in any dtype, wrong ones by 8 and more
)
_LAYERS = (nn.Linear, nn.Embedding, nn.Conv2d, nn.Conv3d)


@contextmanager
def shaken(model: Any, seed: int = 0) -> Iterator[None]:
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
