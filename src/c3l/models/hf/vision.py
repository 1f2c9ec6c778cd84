"""The vision encoder, run once a picture; its output is then shown to any number of prompts."""

import hashlib
import inspect
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutputWithPooling

from c3l.models.hf.encoding import ChatEncoder

if TYPE_CHECKING:
    from transformers import PreTrainedModel

logger = logging.getLogger(__name__)

ROOM = 2 * 2**30  # bytes; choice
_OF_ALL = "visual_indicator_features"  # Ovis2: of its own tokens around a picture, the same for every one


@dataclass(frozen=True, slots=True)
class ImageFeatures:
    """What a model's ``get_image_features`` returned for one picture, and what the decoder needs beside it.

    Attributes:
        output: The family's own output, with what the decoder reads alone; ``pooler_output`` holds the features,
            projected for the decoder.
        shapes: The processor's tensors that are not pixels, such as ``image_grid_thw``.
    """

    output: Any
    shapes: Mapping[str, Tensor]


class VisionEncoder:
    """Encodes pictures one at a time, so that a picture's features never depend on its batch."""

    def __init__(self, model: "PreTrainedModel", encoder: ChatEncoder) -> None:
        """Wrap a loaded image-text model, and try out whether its features can be shown again."""
        self._model = model
        takes = inspect.signature(model.forward).parameters
        self._across = "cross_attention_states" in takes and hasattr(model.base_model, "multi_modal_projector")
        self._encode = self._encode_across if self._across else getattr(model.base_model, "get_image_features", None)
        takes_features = self._across or "mm_encoder_outputs" in takes
        self.can_share = takes_features and self._encode is not None and self._try_out(encoder)
        """Whether the family takes features that were computed before; if not, pictures are encoded a row."""

    @property
    def can_begin(self) -> bool:
        """Whether ``generate`` takes them too; across layers of their own it would take them anew at every token."""
        return self.can_share and not self._across

    def give_up(self, why: str) -> None:
        """Share no features from here on, and say so."""
        self.can_share = False
        logger.warning("%s encodes its image for each pair, more slowly: %s", type(self._model).__name__, why)

    @torch.no_grad()
    def _try_out(self, encoder: ChatEncoder) -> bool:
        prompt = encoder.encode_prompt("Is it?", Image.new("RGB", (64, 64)))
        try:
            self.join([self.encode(prompt.vision)] * 2)
        except (AttributeError, TypeError, ValueError):  # Granite 4 Vision: features of a form of its own
            return False
        return True

    def _encode_across(
        self, pixel_values: Tensor, aspect_ratio_ids: Tensor, aspect_ratio_mask: Tensor, return_dict: bool
    ) -> BaseModelOutputWithPooling:
        """As Llama 3.2 Vision does on its way: tiles in the width of the text, for layers that look across."""
        base = self._model.base_model
        seen = base.vision_model(pixel_values, aspect_ratio_ids, aspect_ratio_mask).last_hidden_state
        projected = base.multi_modal_projector(seen)
        return BaseModelOutputWithPooling(pooler_output=projected.reshape(-1, *projected.shape[-2:]))

    def encode(self, vision: Mapping[str, Tensor]) -> ImageFeatures:
        """The features of one picture from the processor's tensors of it."""
        if self._encode is None:
            raise AttributeError(f"{type(self._model).__name__} has no get_image_features")
        accepted = inspect.signature(self._encode).parameters
        tensors = {key: move(value, self._model) for key, value in vision.items()}
        output = self._encode(**{key: value for key, value in tensors.items() if key in accepted}, return_dict=True)
        shapes = {key: value for key, value in tensors.items() if not _is_pixels(key)}
        return ImageFeatures(_rebuild(output, _read(output)), shapes)

    def join(self, images: Sequence[ImageFeatures]) -> dict[str, Any]:
        """Keyword arguments of ``forward`` for rows that show these pictures, one each, in order."""
        outputs = [image.output for image in images]
        if self._across:
            return {"cross_attention_states": torch.cat([output.pooler_output for output in outputs])}
        joined = {"pooler_output": _concatenate([output.pooler_output for output in outputs])}
        if getattr(outputs[0], "deepstack_features", None) is not None:
            layers = zip(*(output.deepstack_features for output in outputs), strict=True)
            joined["deepstack_features"] = [_concatenate(layer) for layer in layers]
        if getattr(outputs[0], _OF_ALL, None) is not None:
            joined[_OF_ALL] = getattr(outputs[0], _OF_ALL)
        shapes = {key: torch.cat([image.shapes[key] for image in images]) for key in images[0].shapes}
        return {"mm_encoder_outputs": {"image": _rebuild(outputs[0], joined)}, **shapes}


class FeatureStore:
    """Encodes a picture once and remembers it in the main memory, as long as there is room: for towers that stay.

    Pictures are told apart by their pixels. What is remembered stays: when a data set with more pictures than there
    is room for is gone through again, those that are remembered are met again.
    """

    def __init__(self, encoder: VisionEncoder, model: "PreTrainedModel", room: int = ROOM) -> None:
        """Remember at most ``room`` bytes."""
        self._encoder, self._model, self._room = encoder, model, room
        self._kept: dict[bytes, ImageFeatures] = {}

    def encode(self, vision: Mapping[str, Tensor]) -> ImageFeatures:
        """As ``VisionEncoder.encode``, without gradients."""
        key = _digest(vision)
        if key not in self._kept:
            with torch.no_grad():
                features = self._encoder.encode(vision)
            if (size := _count_bytes(features)) <= self._room:
                self._room -= size
                self._kept[key] = _map(features, Tensor.cpu)
            return features
        return _map(self._kept[key], lambda tensor: tensor.to(self._model.device))


def move(tensor: Tensor, model: "PreTrainedModel") -> Tensor:
    """A tensor on the model's device, and in its dtype where it holds numbers of a picture."""
    return tensor.to(model.device, model.dtype if tensor.is_floating_point() else tensor.dtype)


def _digest(vision: Mapping[str, Tensor]) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for key in sorted(vision):
        tensor = vision[key].detach().cpu().contiguous()
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.digest()


def _map(features: ImageFeatures, change: Callable[[Tensor], Tensor]) -> ImageFeatures:
    changed = {name: _change(value, change) for name, value in _read(features.output).items()}
    shapes = {key: change(value) for key, value in features.shapes.items()}
    return ImageFeatures(_rebuild(features.output, changed), shapes)


def _change(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    return change(value) if isinstance(value, Tensor) else [_change(part, change) for part in value]


def _count_bytes(features: ImageFeatures) -> int:
    return sum(tensor.nbytes for tensor in _tensors([*_read(features.output).values(), *features.shapes.values()]))


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    else:
        for part in value:
            yield from _tensors(part)


def _read(output: Any) -> dict[str, Any]:
    """The fields that a decoder reads: a tensor each, or tensors in lists and tuples, as the family gives them."""
    fields = {name: getattr(output, name, None) for name in ("pooler_output", "deepstack_features", _OF_ALL)}
    return {name: value for name, value in fields.items() if value is not None}


def _is_pixels(key: str) -> bool:
    return key.startswith(("pixel_", "image_patches"))


def _concatenate(features: Sequence[Any]) -> Any:
    """Features of several pictures as the family would give them: one tensor, or a list of one a picture."""
    if isinstance(features[0], Tensor):
        return torch.cat(list(features), dim=0)
    return [part for feature in features for part in feature]


def _rebuild(output: Any, values: dict[str, Any]) -> Any:
    # other fields, such as the encoder's hidden states, are of one picture only and not read by the decoder
    names = [name for name in output.__dataclass_fields__ if name not in values]
    return replace(output, **dict.fromkeys(names), **values)
