"""Whether another way of computing what is taught, such as a trainer's own, gives the model's own numbers."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from c3l.errors import name_error
from c3l.models.hf.company import read_taught
from c3l.models.hf.logits import pick
from c3l.models.hf.rounding import allow, distance, shaken, widened
from c3l.models.tunable import IGNORE_INDEX

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_LEAST = 1e-5  # choice, nats; likelihoods are added up in float32, whatever the model's dtype


@torch.no_grad()
def find_gap(
    model: "PreTrainedModel",
    batch: Mapping[str, Tensor],
    read: Callable[[Mapping[str, Tensor]], Tensor],
    dtype: torch.dtype,
) -> str:
    """What speaks against another way of computing the likelihoods of a batch; empty if rounding explains it.

    In float32 where there is room for it, as a gap may hide behind the rounding of 16 bits.

    Args:
        model: The model, which is left in evaluation mode; what of it learns may be wider than the rest.
        batch: As it is collated to be taught, on the model's device.
        read: From the batch to the log-probability of each taught token (N,), nats, the other way.
        dtype: In which the model computes while it is tuned.
    """
    model.eval()
    with widened(model) as exact:
        if exact:
            try:
                return _compare(model, batch, read, torch.float32)
            except Exception:  # some kernels know 16 bits alone, and there may be room for the weights but not for rows
                pass
    return _compare(model, batch, read, dtype)


def _compare(
    model: "PreTrainedModel",
    batch: Mapping[str, Tensor],
    read: Callable[[Mapping[str, Tensor]], Tensor],
    dtype: torch.dtype,
) -> str:
    narrow = torch.finfo(dtype).bits == 16
    with torch.autocast(model.device.type, dtype) if narrow else nullcontext():
        own = _read_own(model, batch)
        with shaken(model):
            allowed = max(allow(distance([(_read_own(model, batch), own)]), dtype), _LEAST)
        try:
            other = read(batch)
        except (torch.OutOfMemoryError, MemoryError):
            raise
        except Exception as error:  # whatever a family trips over: its own forward is known to work
            return f"ends with {name_error(error)}"
    found = distance([(other, own)])
    return f"is off by {found:.2g} nats, where rounding explains {allowed:.2g}" if not found <= allowed else ""


def _read_own(model: "PreTrainedModel", batch: Mapping[str, Tensor]) -> Tensor:
    wanted = batch["labels"][:, 1:]
    return pick(torch.cat(read_taught(model, batch)), wanted[wanted != IGNORE_INDEX])
