"""The vision encoder: every image goes through it once, and its features are then shown to any number of prompts."""

import hashlib
import inspect
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutputWithPooling

from c3l.errors import name_error
from c3l.models.hf.along import ALONG_KEYS
from c3l.models.hf.encoding import ChatEncoder
from c3l.models.hf.features import (
    ImageFeatures,
    change_tensors,
    count_bytes,
    join_outputs,
    keep_read,
    split_features,
    tensors_of,
)
from c3l.models.hf.rounding import allow, distance, shaken
from c3l.models.hf.trials import draw

if TYPE_CHECKING:
    from transformers import PreTrainedModel

logger = logging.getLogger(__name__)

ROOM = 2 * 2**30  # bytes; choice
# bytes of pixels that the encoder takes at once: what a processor's caches hold (docs/speed.md), on a card a choice
TOGETHER, TOGETHER_ON_CARD = 5 * 2**19, 2**25


class VisionEncoder:
    """Encodes images, those of one shape together, and puts their features before the decoder.

    What else is in such a batch changes features by rounding alone, as far as a probe can see.
    """

    def __init__(self, model: "PreTrainedModel", encoder: ChatEncoder) -> None:
        """Wrap a loaded image-text model, and try out whether its features can be shown again."""
        self._model = model
        takes = inspect.signature(model.forward).parameters
        self._across = "cross_attention_states" in takes and hasattr(model.base_model, "multi_modal_projector")
        self._encode = self._encode_across if self._across else getattr(model.base_model, "get_image_features", None)
        takes_features = self._across or "mm_encoder_outputs" in takes
        self.can_share = takes_features and self._encode is not None and self._try_out(encoder)
        """Whether the family takes features that were computed before; if not, images are encoded a row."""
        self.batches = False
        """Whether images of one shape are encoded together: where it was tried out, and gives the same features."""

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
            features = self.encode(prompt.vision)
            self.join([features] * 2)
            list(tensors_of([features]))
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
        """The features of one image from the processor's tensors of it."""
        if self._encode is None:
            raise AttributeError(f"{type(self._model).__name__} has no get_image_features")
        accepted = inspect.signature(self._encode).parameters
        tensors = {key: move(value, self._model) for key, value in vision.items()}
        output = self._encode(**{key: value for key, value in tensors.items() if key in accepted}, return_dict=True)
        shapes = {key: value for key, value in tensors.items() if not _is_pixels(key)}
        return ImageFeatures(keep_read(output), shapes)

    def encode_all(self, visions: Sequence[Mapping[str, Tensor]]) -> list[ImageFeatures]:
        """The features of several images, in order.

        Those of one shape go through the encoder together, as many as ``TOGETHER`` bytes allow, one at least.
        """
        found: dict[int, ImageFeatures] = {}
        for places in self._share_out(visions):
            found |= dict(zip(places, self._encode_alike([visions[place] for place in places]), strict=True))
        return [found[place] for place in range(len(visions))]

    def _share_out(self, visions: Sequence[Mapping[str, Tensor]]) -> Iterator[list[int]]:
        """The places of images that are encoded together."""
        room = TOGETHER if self._model.device.type == "cpu" else TOGETHER_ON_CARD
        alike: dict[Any, list[int]] = {}
        for place, vision in enumerate(visions):
            alike.setdefault(_describe(vision), []).append(place)
        for places in alike.values():
            size = sum(tensor.nbytes for key, tensor in visions[places[0]].items() if _is_pixels(key))
            most = max(1, room // max(1, size)) if self.batches else 1
            yield from (places[start : start + most] for start in range(0, len(places), most))

    def _encode_alike(self, visions: Sequence[Mapping[str, Tensor]]) -> list[ImageFeatures]:
        if len(visions) == 1:
            return [self.encode(visions[0])]
        keys = visions[0].keys() - set(ALONG_KEYS)
        whole = self.encode({key: torch.cat([vision[key] for vision in visions]) for key in keys})
        try:
            return split_features(whole, len(visions))
        except ValueError:  # a number of features that follows from what is in the image
            return [self.encode(vision) for vision in visions]

    @torch.no_grad()
    def try_batches(self, encoder: ChatEncoder) -> None:
        """Find out whether two images that are encoded together have the features that each has by itself."""
        pictures = [picture := draw(96, 64), picture.transpose(Image.Transpose.ROTATE_180)]
        try:
            why = self._compare([encoder.encode_prompt("Is it?", picture).vision for picture in pictures])
        except (torch.OutOfMemoryError, MemoryError):
            raise
        except Exception as error:  # families lay out images of a batch as they like
            why = f"end with {name_error(error)}"
        self.batches = not why
        if why:
            logger.warning("%s encodes one image at a time, since two together %s", type(self._model).__name__, why)

    def _compare(self, visions: Sequence[Mapping[str, Tensor]]) -> str:
        """What speaks against encoding these images of one shape together; empty if nothing does."""
        right = [self.encode(vision) for vision in visions]
        with shaken(self._model):
            allowed = allow(_distance([self.encode(visions[0])], right[:1]), self._model.dtype)
        found = _distance(self._encode_alike(visions), right)
        return "" if found <= allowed else f"have features off by {found:.2g}, where rounding explains {allowed:.2g}"

    def join(self, images: Sequence[ImageFeatures]) -> dict[str, Any]:
        """Keyword arguments of ``forward`` for rows that show these images, one each, in order."""
        outputs = [image.output for image in images]
        if self._across:
            return {"cross_attention_states": torch.cat([output.pooler_output for output in outputs])}
        shapes = {key: torch.cat([image.shapes[key] for image in images]) for key in images[0].shapes}
        return {"mm_encoder_outputs": {"image": join_outputs(outputs)}, **shapes}


class FeatureStore:
    """Encodes an image once and remembers it in the main memory, as long as there is room: for towers that stay.

    Each is encoded by itself: a tuning that was stopped meets other images beside it, and goes on bit for bit.
    Images are told apart by their pixels. What is remembered stays: when a data set with more images than there
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
            if (size := count_bytes(features)) <= self._room:
                self._room -= size
                self._kept[key] = change_tensors(features, Tensor.cpu)
            return features
        return change_tensors(self._kept[key], lambda tensor: tensor.to(self._model.device))


def move(tensor: Tensor, model: "PreTrainedModel") -> Tensor:
    """A tensor on the model's device, and in its dtype where it holds numbers of an image."""
    # as it is, since only pinned memory is fetched beside the work
    there = tensor.to(model.device, non_blocking=model.device.type == "cuda")
    return there.to(model.dtype) if tensor.is_floating_point() else there


def _digest(vision: Mapping[str, Tensor]) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for key in sorted(vision):
        tensor = vision[key].detach().cpu().contiguous()
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.digest()


def _distance(images: Sequence[ImageFeatures], others: Sequence[ImageFeatures]) -> float:
    return distance(zip(tensors_of(images), tensors_of(others), strict=True))


def _describe(vision: Mapping[str, Tensor]) -> Any:
    """What is equal for images that have features of equal size: shapes, and all that is not pixels."""
    given = {key: tensor for key, tensor in vision.items() if key not in ALONG_KEYS}
    shapes = tuple((key, tensor.shape) for key, tensor in given.items())
    return shapes, tuple(
        (key, str(tensor.tolist()))
        for key, tensor in given.items()
        if not _is_pixels(key) and not tensor.is_floating_point()
    )


def _is_pixels(key: str) -> bool:
    return "pixel_" in key or key.startswith("image_patches")
