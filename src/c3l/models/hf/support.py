"""What c3l asks of a family of LVLMs; one that lacks it is refused at loading, by what it lacks."""

import inspect
from typing import TYPE_CHECKING

from c3l.errors import BackendError
from c3l.models.hf.along import ALONG_KEYS
from c3l.models.hf.encoding import ChatEncoder
from c3l.models.hf.trials import PROMPTS, draw

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_IMAGES = ("pixel_values", "image_patches", "pixel_values_images")


def check_family(name: str, model: "PreTrainedModel") -> None:
    """Refuse what does not answer by going on after a prompt about an image.

    Raises:
        BackendError: With what the family is instead.
    """
    kind = type(model).__name__
    if getattr(model.config, "is_encoder_decoder", False) or getattr(
        model.config.get_text_config(), "is_encoder_decoder", False
    ):
        raise BackendError(
            f"{name} is a {kind}, an encoder with a decoder apart; c3l compares answers that go on after their prompt, "
            "in one decoder: take a family of that kind"
        )
    if not inspect.signature(model.forward).parameters.keys() & set(_IMAGES):
        raise BackendError(f"{name} is a {kind}, which takes no images: take an LVLM that does")
    if not model.can_generate():
        raise BackendError(f"{name} is a {kind}, which writes no text token by token: take an LVLM that does")


def check_inputs(name: str, encoder: ChatEncoder, model: "PreTrainedModel") -> None:
    """Refuse inputs that c3l would not bring to the model: such as are no tensors, or go along the text.

    How those along the text go on over an answer, only each family knows.

    Raises:
        BackendError: With their names.
    """
    accepted = inspect.signature(model.forward).parameters
    if lost := [key for key in encoder.name_untaken(PROMPTS[0], draw(96, 64)) if key in accepted]:
        raise BackendError(
            f"the processor of {name} gives {', '.join(lost)} as lists, which its model reads beside the image, and "
            "c3l hands on tensors alone: take another family"
        )
    shapes = [encoder.image_shapes(prompt, draw(96, 64)) for prompt in PROMPTS[:2]]
    unknown = sorted(key for key in shapes[0] if shapes[0][key] != shapes[1].get(key) and key not in ALONG_KEYS)
    if unknown:
        raise BackendError(
            f"the processor of {name} gives {', '.join(unknown)} for every token of the text, and c3l does not know "
            "how an answer goes on with it: take another family"
        )
