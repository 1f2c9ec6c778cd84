"""Tunings that two processors, or two ways of adding, end alike.

AdamW divides a gradient by its own size: one that is rounding and nothing else becomes a whole step, to the side that
the order of adding gives it. Here all is float64 that can be (norms, angles and the loss of transformers are float32
whatever the dtype), and the optimiser's epsilon so large that a gradient of rounding size moves nothing.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

EPSILON = 1e-3  # AdamW's own is 1e-8; the gradients of the tiny models are 1e-3 to 1


@contextmanager
def double_precision() -> Iterator[None]:
    """Whatever is made in here is float64: models that are loaded to be tuned, adapters, projections, sums."""
    from c3l.jobs import finetune as finetuning
    from c3l.models import load
    from c3l.training import contrastive
    from c3l.training import finetuning as teaching

    before = torch.get_default_dtype()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(load, "load_trainable", _wide(load.load_trainable))
        patch.setattr(finetuning, "load_finetunable", _wide(load.load_finetunable))
        for module in (contrastive, teaching):
            patch.setattr(module, "make_optimizer", _blunt(module.make_optimizer))
        torch.set_default_dtype(torch.float64)
        try:
            yield
        finally:
            torch.set_default_dtype(before)


def widen(lvlm: Any) -> Any:
    """A model to be tuned with all its weights in float64; it keeps them so when it is saved."""
    getattr(lvlm, "module", lvlm).double()
    if hasattr(lvlm, "module"):  # one that is to be taught conversations
        lvlm._dtype = torch.float64
        lvlm._dtypes.clear()
        collate = lvlm.collate
        lvlm.collate = lambda rows: {name: _as_double(tensor) for name, tensor in collate(rows).items()}
    return lvlm


def _wide(load: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *arguments: widen(load(*arguments))


def _blunt(make: Callable[..., torch.optim.Optimizer]) -> Callable[..., torch.optim.Optimizer]:
    def make_blunt(*arguments: Any, **named: Any) -> torch.optim.Optimizer:
        optimizer = make(*arguments, **named)
        for group in optimizer.param_groups:
            group["eps"] = EPSILON
        return optimizer

    return make_blunt


def _as_double(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor
