"""One model over several processes (FSDP): who holds what, and how it comes together again."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy
from torch.distributed.fsdp.wrap import transformer_auto_wrap_policy
from torch.distributed.tensor import DTensor, distribute_tensor

from c3l.models.tunable import Pieces


def shard_model(plugin: Any, pieces: Pieces, device: torch.device) -> None:
    """Tell accelerate's plugin what lies in pieces: the launch's own rule would have to know the family."""
    for module in pieces.whole:
        module.to(device)
    plugin.ignored_modules = pieces.whole
    plugin.auto_wrap_policy = transformer_auto_wrap_policy
    plugin.transformer_cls_names_to_wrap = sorted(pieces.layers)
    if plugin.mixed_precision_policy is not None:  # accelerate would add gradients up, and give losses, in 16 bits
        computed = plugin.mixed_precision_policy.param_dtype
        plugin.mixed_precision_policy = MixedPrecisionPolicy(param_dtype=computed, reduce_dtype=torch.float32)


def gather(weight: Tensor) -> Tensor:
    """A weight as a whole, on the CPU if it lay in pieces; then all processes have to ask for it together."""
    if not isinstance(weight, DTensor):
        return weight.detach()
    whole: Tensor = weight.full_tensor()
    return whole.detach().cpu()


def make_whole(module: nn.Module) -> None:
    """Put a module's pieces together until the next backward has gone through."""
    if isinstance(module, FSDPModule):
        module.unshard()


def put(whole: Tensor, weight: Tensor) -> None:
    """Copy a whole weight into one that may lie in pieces."""
    with torch.no_grad():
        if isinstance(weight, DTensor):
            whole = distribute_tensor(
                whole.to(weight.device), weight.device_mesh, weight.placements, src_data_rank=None
            )
        weight.copy_(whole)


def gather_weights(module: nn.Module, keep: bool) -> None:
    """Put the whole weights in the place of the pieces; all processes take part, those that do not keep get nothing."""
    found: dict[int, nn.Parameter] = {}
    for part in module.modules():
        if isinstance(part, FSDPModule):
            part.reshard()  # some are whole since the last forward
            part.__class__ = type(part).__bases__[1]  # its own again
    for part in module.modules():
        for name, weight in list(part.named_parameters(recurse=False, remove_duplicate=False)):
            if not isinstance(weight, DTensor):
                continue
            if id(weight) not in found:
                whole = gather(weight)
                found[id(weight)] = nn.Parameter(whole if keep else whole[:0], weight.requires_grad)
            setattr(part, name, found[id(weight)])
