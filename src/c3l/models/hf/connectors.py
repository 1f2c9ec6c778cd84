"""What stands between an LVLM's vision tower and its language model, and which of it takes part in reading an image."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from torch import nn

from c3l.models.hf.trainable import is_tower

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def find_connectors(model: "PreTrainedModel") -> list[str]:
    """Names of the modules beside vision tower and language model; empty where they are part of the tower."""
    base, decoder = model.base_model, model.get_decoder()
    if decoder is base:  # images become words of one vocabulary, as Chameleon's: nothing stands between
        return []
    whole = {id(module): name for name, module in model.named_modules()}
    return [
        whole[id(part)]
        for name, module in base.named_children()
        if module is not decoder and not is_tower(name) and any(True for _ in module.parameters())
        for part in (module if isinstance(module, nn.ModuleList) else [module])  # peft keeps no list as a whole
    ]


def find_towers(model: "PreTrainedModel") -> list[Any]:
    """The vision towers: what stands beside the language model and connects nothing."""
    return [module for name, module in model.base_model.named_children() if is_tower(name)]


@contextmanager
def watch(model: "PreTrainedModel", names: Sequence[str]) -> Iterator[set[str]]:
    """A block in which images are shown; gives the names of the modules that computed something.

    What Janus draws images with stands beside its connector, and would never get a gradient.
    """
    seen: set[str] = set()
    hooks = [
        part.register_forward_hook(lambda *_, name=name: seen.add(name))
        for name in names
        for part in model.get_submodule(name).modules()
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def shorten(name: str, names: Sequence[str]) -> str:
    """The shortest end of a module's name that no other one's has: peft takes all modules that end so."""
    parts = name.split(".")
    ends = (".".join(parts[-count:]) for count in range(1, len(parts) + 1))
    return next((end for end in ends if sum(other.endswith(end) for other in names) == 1), name)
