"""From the files of a model to it and its processor, through the Auto classes of transformers."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import torch
from transformers import AutoConfig, AutoModelForImageTextToText, GenerationConfig

from c3l.errors import BackendError, C3LError, find_remedy, one_line
from c3l.models.hf.allocation import keep_freed_memory
from c3l.models.hf.encoding import ChatEncoder
from c3l.models.hf.fit import complete_processor, fit_processor
from c3l.models.hf.layout import FLEX, read_by_flex
from c3l.models.hf.processors import load_processor
from c3l.models.hf.support import check_family, check_inputs
from c3l.models.hf.weights import check_finite, check_loaded, untold
from c3l.models.places import WHOLE
from c3l.settings.schema import ModelConfig

if TYPE_CHECKING:
    from transformers import PreTrainedModel, ProcessorMixin

logger = logging.getLogger(__name__)

# where transformers goes on with what does not help here: long lists, and what its own callers could do
_NO_HELP = re.compile(
    r" (Model type should be one of|If you were trying to load it from|Can't instantiate a processor|"
    r"Please do not set `use_safetensors|You can update Transformers with) .*"
)


def read_model(
    config: ModelConfig, source: tuple[str, str], dtype: torch.dtype, device: str
) -> tuple["PreTrainedModel", "ProcessorMixin"]:
    """The model on its device and its processor: whole, and such as fit each other.

    Args:
        config: Its name for messages, attention, whether code of its own may run.
        source: Folder or hub id, and the revision.
        dtype: Of the weights.
        device: Where they go.

    Raises:
        BackendError: If it cannot be loaded, or c3l cannot use it.
    """
    torch.backends.cudnn.allow_tf32 = False  # float32 means float32: a card's convolutions would round to 10 bits
    if device == "cpu":
        keep_freed_memory()
    model, processor = _read_files(config, source, dtype)
    try:
        model = model.to(device)
        check_finite(config.name, model)
        check_family(config.name, model)
        fit_processor(config.name, processor, model)
        check_inputs(config.name, ChatEncoder(processor), model)
    except C3LError:
        raise
    except Exception as error:  # drivers and strange models raise what they like
        remedy = f"; {found}" if (found := find_remedy(error)) else ""
        raise BackendError(f"cannot use the model {config.name} on {device}: {one_line(error)}{remedy}") from None
    return model, processor


def read_outline(config: ModelConfig, source: tuple[str, str]) -> tuple["PreTrainedModel", "ProcessorMixin"]:
    """A model without weights and its processor, for who prepares its inputs while another engine computes.

    Args:
        config: Its name for messages, whether code of its own may run.
        source: Folder or hub id, and the revision.

    Raises:
        BackendError: As ``read_model``, but for what only the weights tell.
    """
    location, revision = source
    options = {"revision": revision, "trust_remote_code": config.trust_remote_code}
    with _explained(config):
        processor = load_processor(location, revision, config.trust_remote_code)
        shape = AutoConfig.from_pretrained(location, **options)
        with torch.device("meta"):
            model = AutoModelForImageTextToText.from_config(shape, trust_remote_code=config.trust_remote_code)
        with suppress(OSError):  # without such a file the model's config says where a turn ends
            model.generation_config = GenerationConfig.from_pretrained(location, revision=revision)
        check_family(config.name, model)
        complete_processor(config.name, processor, model)
        check_inputs(config.name, ChatEncoder(processor), model)
    return model, processor


def _read_files(
    config: ModelConfig, source: tuple[str, str], dtype: torch.dtype
) -> tuple["PreTrainedModel", "ProcessorMixin"]:
    location, revision = source
    chosen = config.attn_implementation
    attention = {} if chosen in (None, FLEX) else {"attn_implementation": chosen}
    with _explained(config):
        processor = load_processor(location, revision, config.trust_remote_code)
        model, info = AutoModelForImageTextToText.from_pretrained(
            location,
            dtype=dtype,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are refused below, by their names
            revision=revision,
            trust_remote_code=config.trust_remote_code,
            **attention,
        )
        if chosen == FLEX:
            read_by_flex(model)
    if note := check_loaded(config.name, model, info):
        logger.warning(note)
    return model, processor


@contextmanager
def _explained(config: ModelConfig) -> Iterator[None]:
    """What transformers says while it reads a model, as one line."""
    try:
        with untold():
            yield
    except C3LError:
        raise
    except Exception as error:  # there is no end to what a strange folder makes transformers raise
        why = _NO_HELP.sub("", one_line(error)).rstrip(".")
        raise BackendError(
            f"cannot load the model {config.name}: {why}; expected an LVLM that transformers knows "
            f"(AutoModelForImageTextToText), whole: {WHOLE}"
        ) from None
