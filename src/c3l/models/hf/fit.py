"""Makes a processor fit its model, and looks whether it does: what one lacks, the other's config often says.

Folders of older times, and those that trainers write, lack a pad or end token, a chat template that knows images, or
the numbers by which a processor counts an image's tokens.
"""

import inspect
from typing import TYPE_CHECKING

import torch

from c3l.errors import BackendError, one_line
from c3l.models.hf.encoding import ChatEncoder
from c3l.models.hf.layout import image_token_id
from c3l.models.hf.processors import names_given
from c3l.models.hf.templates import fit_template, sample_image
from c3l.models.hf.trials import has_bare_chats
from c3l.models.hf.vision import VisionEncoder, move

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, ProcessorMixin

_COUNTED_BY = ("patch_size", "num_additional_image_tokens", "vision_feature_select_strategy", "image_seq_len")


def fit_processor(name: str, processor: "ProcessorMixin", model: "PreTrainedModel") -> None:
    """Complete a processor by what the config of its model says, and see that the model reads its images.

    Args:
        name: The model's name, for the messages.
        processor: It is changed.
        model: Where the images are to be encoded.

    Raises:
        BackendError: If something that is missing is not told there either, or an image's tokens and features differ
            in number.
    """
    complete_processor(name, processor, model)
    _fit_images(name, processor, model)


def complete_processor(name: str, processor: "ProcessorMixin", model: "PreTrainedModel") -> None:
    """The same without computing anything, so that the model need have no weights.

    Raises:
        BackendError: If something that is missing is not told there either.
    """
    _complete_tokens(name, processor.tokenizer, model)
    _complete_sizes(name, processor, model)

    def accepts(processor: "ProcessorMixin") -> None:
        encoder = ChatEncoder(processor)
        shown = encoder.encode_prompt("Is it?", sample_image()).ids
        if has_bare_chats(encoder) and shown == encoder.encode_prompt("Is it?", None).ids:
            raise ValueError("the image becomes no token")

    fit_template(name, processor, _find_markers(processor, model), accepts)


def _complete_tokens(name: str, tokenizer: "PreTrainedTokenizerBase", model: "PreTrainedModel") -> None:
    """An end token as the config names it, and the end as pad token where there is none."""
    if tokenizer.eos_token_id is None:
        ends = [token for token in _list_ends(model) if token in tokenizer.added_tokens_decoder]
        if len(ends) != 1:
            raise BackendError(
                f"the tokenizer of {name} names no eos_token, and the configs of its model do not name just one "
                f"special token that ends a text either (found {len(ends)}): add eos_token to tokenizer_config.json"
            )
        tokenizer.eos_token = tokenizer.convert_ids_to_tokens(ends[0])
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token  # masked wherever it stands; padding needs some token


def _list_ends(model: "PreTrainedModel") -> list[int]:
    """The tokens that end a text, as the generation config or else the config says."""
    for config in (model.generation_config, model.config.get_text_config(), model.config):
        listed = getattr(config, "eos_token_id", None)
        if listed is not None:
            return [int(token) for token in (listed if isinstance(listed, list | tuple) else [listed])]
    return []


def _complete_sizes(name: str, processor: "ProcessorMixin", model: "PreTrainedModel") -> None:
    """What a processor counts an image's tokens by, as the config has it."""
    if getattr(processor, "patch_size", 0) is None:
        vision = getattr(model.config, "vision_config", None)
        processor.patch_size = getattr(vision, "patch_size", None)
        if processor.patch_size is None:
            raise BackendError(
                f"the processor of {name} has no patch_size, and its config.json says none either: add it to "
                "processor_config.json"
            )
    if getattr(processor, "vision_feature_select_strategy", "") is None:
        processor.vision_feature_select_strategy = getattr(model.config, "vision_feature_select_strategy", None)


def _find_markers(processor: "ProcessorMixin", model: "PreTrainedModel") -> list[str]:
    """What may stand for an image in a text of this family, the likeliest first."""
    image = getattr(processor, "image_token", None)
    names = [getattr(model.config, f"vision_{side}_token_id", None) for side in ("start", "end")]
    around = [processor.tokenizer.convert_ids_to_tokens(token) for token in names if token is not None]
    found = []
    if image and len(around) == 2:
        found.append(f"{around[0]}{image}{around[1]}")
    for token in (getattr(processor, "boi_token", None), image):
        if token:
            found.append(f"{token}\n")
    return found


def _fit_images(name: str, processor: "ProcessorMixin", model: "PreTrainedModel") -> None:
    """See that the model reads an image as the processor prepares it, with as many tokens as it has features."""
    try:
        counted = _count(processor, model)
    except torch.OutOfMemoryError:
        raise
    except (AttributeError, TypeError, ValueError, RuntimeError) as error:
        if _takes(processor, model):
            return  # the features have a form of their own
        why = f" ({one_line(error)})" if isinstance(error, ValueError) else ""  # others are about sizes of tensors
        raise BackendError(
            f"the vision tower of {name} cannot read an image as its processor prepares it{why}: "
            "preprocessor_config.json, or image_processor in processor_config.json, lacks settings or is of another "
            "model; copy the file from the model that it was made from"
        ) from None
    if counted is None or counted[0] == counted[1] or _correct(processor, model, counted) or _takes(processor, model):
        return
    tokens, features = counted
    settings = [setting for setting in _COUNTED_BY if hasattr(processor, setting)]
    raise BackendError(
        f"the processor of {name} writes {tokens} image tokens for an image of which the model makes {features} "
        f"features: {', '.join(settings) or 'the settings'} in processor_config.json, or the size in "
        "preprocessor_config.json, are not those of this model; copy the files from the model that it was made from"
    )


def _correct(processor: "ProcessorMixin", model: "PreTrainedModel", counted: tuple[int, int]) -> bool:
    """Count the token of the tower's own that old processors do not tell of, where that makes both numbers equal."""
    setting = "num_additional_image_tokens"
    if not hasattr(processor, setting) or setting in names_given(processor) or counted[1] != counted[0] + 1:
        return False
    before = getattr(processor, setting)
    setattr(processor, setting, before + 1)
    again = _count(processor, model)
    if again and again[0] == again[1]:
        return True
    setattr(processor, setting, before)
    return False


@torch.inference_mode()
def _count(processor: "ProcessorMixin", model: "PreTrainedModel") -> tuple[int, int] | None:
    """Tokens and features of an image; None where the family has no features that stand apart."""
    encoder = ChatEncoder(processor)
    token = image_token_id(model)
    if token is None or not hasattr(model.base_model, "get_image_features"):
        return None
    prompt = encoder.encode_prompt("Is it?", sample_image())
    found = VisionEncoder(model, encoder).encode(prompt.vision).output.pooler_output
    parts = [found] if isinstance(found, torch.Tensor) else list(found)
    return prompt.ids.count(token), sum(part.shape[:-1].numel() for part in parts)


@torch.inference_mode()
def _takes(processor: "ProcessorMixin", model: "PreTrainedModel") -> bool:
    """Whether the model reads a prompt with an image as the processor gives it."""
    inputs = ChatEncoder(processor).encode_for_generation(["Is it?"], [sample_image()])
    accepted = inspect.signature(model.forward).parameters
    try:
        model(**{key: move(value, model) for key, value in inputs.items() if key in accepted}, use_cache=False)
    except torch.OutOfMemoryError:
        raise
    except (ValueError, RuntimeError, TypeError, AttributeError):
        return False
    return True
