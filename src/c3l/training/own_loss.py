"""The loss of TRL's trainer out of the model's own logits, where those that TRL makes itself are others.

TRL multiplies the last hidden states by the output layer, with the scale that the language model's config names. Some
families scale otherwise than their language model would by itself (Aya Vision: not at all), or rule tokens out
(Chameleon: those of images), and would be taught another distribution than the one that they write by.
"""

from functools import wraps
from types import MethodType
from typing import Any

import torch
from torch import Tensor
from trl.trainer.utils import FusedCausalLMOutput

from c3l.models.tunable import IGNORE_INDEX


def read_fused(module: Any, batch: Any) -> Tensor:
    """The log-probability of each taught token of a batch (N,), nats, as TRL's loss has it."""
    output = module(**batch, use_cache=False, fused_lm_head=True)
    likelihoods: Tensor = output.log_probs[output.label_mask]
    return likelihoods


def use_own_logits(module: Any) -> None:
    """Make a model that TRL's trainer has taken answer its loss out of its own logits; ``module`` may have adapters."""
    model = module.get_base_model() if hasattr(module, "peft_config") else module
    forward = model.forward

    @wraps(forward)
    def answer(self: Any, *args: Any, fused_lm_head: bool = False, labels: Tensor | None = None, **kwargs: Any) -> Any:
        if not fused_lm_head or labels is None:
            return forward(*args, labels=labels, **kwargs)
        return _weigh(forward(*args, **kwargs).logits[:, :-1], labels[:, 1:])

    model.forward = MethodType(answer, model)


def _weigh(logits: Tensor, labels: Tensor) -> FusedCausalLMOutput:
    """What TRL makes its loss and its figures of.

    Args:
        logits: (B, T, V).
        labels: (B, T) int64, what comes after each.
    """
    taught = labels != IGNORE_INDEX
    rows = logits[taught]
    table = rows.to(torch.promote_types(rows.dtype, torch.float32)).log_softmax(dim=-1)  # (N, V)
    picked = table.gather(-1, labels[taught].unsqueeze(-1)).squeeze(-1)  # (N,)
    with torch.no_grad():
        entropy = torch.special.entr(table.exp()).sum(dim=-1)
        best = table.argmax(dim=-1) == labels[taught]

    def spread(values: Tensor) -> Tensor:
        return values.new_zeros(taught.shape).masked_scatter(taught, values)

    return FusedCausalLMOutput(
        log_probs=spread(picked), entropy=spread(entropy), is_top1=spread(best), label_mask=taught
    )
