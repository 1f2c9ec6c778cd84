"""Adapters of peft: fresh ones put onto a model, and those of a folder merged into it."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors import safe_open

from c3l.errors import BackendError, one_line
from c3l.models.hf.weights import show_names

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def add_adapters(model: "PreTrainedModel", config: LoraConfig) -> Any:
    """The model with fresh adapters."""
    with _untroubled():
        return get_peft_model(model, config)


def merge_folder(model: "PreTrainedModel", adapter: Path) -> Any:
    """The model with an adapter folder of peft's merged in.

    Raises:
        BackendError: If the adapter cannot be read, or is not of this model.
    """
    family = type(model).__name__
    try:
        with _untroubled():
            adapted = PeftModel.from_pretrained(model, str(adapter))
        with safe_open(adapter / "adapter_model.safetensors", framework="numpy") as file:
            found = set(file.keys())
    except Exception as error:  # as many kinds as peft and its file formats have
        raise BackendError(f"cannot read the adapter {adapter} for a {family}: {one_line(error)}") from None
    expected = set(get_peft_model_state_dict(adapted, save_embedding_layers=False))
    strange = sorted(key for key in found - expected if "lora_" in key)
    if missing := sorted(expected - found):
        raise BackendError(
            f"got the adapter {adapter} without {len(missing)} of the {len(expected)} tensors that its "
            f"adapter_config.json asks for in a {family} ({show_names(missing)}), expected all: tune again"
        )
    if strange:
        raise BackendError(
            f"the adapter {adapter} holds {len(strange)} tensors that have no place in a {family} "
            f"({show_names(strange)}): it is of another model"
        )
    return adapted.merge_and_unload()


@contextmanager
def _untroubled() -> Iterator[None]:
    """Without what peft says of itself, and of missing tensors, which are told in a line of ours."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        warnings.filterwarnings("ignore", "Found missing adapter keys", UserWarning)
        yield
