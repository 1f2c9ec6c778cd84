"""What a vision encoder makes of images: taken apart image by image, and put together as a decoder reads it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

_BY_LAYER = "deepstack_features"  # of each layer that reads features of its own
_OF_ALL = "visual_indicator_features"  # Ovis2: of its own tokens around an image, the same for every one


@dataclass(frozen=True, slots=True)
class ImageFeatures:
    """What a model's ``get_image_features`` returned for one image, and what the decoder needs beside it.

    Attributes:
        output: The family's own output, with what the decoder reads alone; ``pooler_output`` holds the features,
            projected for the decoder.
        shapes: The processor's tensors that are not pixels, such as ``image_grid_thw``.
    """

    output: Any
    shapes: Mapping[str, Tensor]


def keep_read(output: Any) -> Any:
    """A family's output with what a decoder reads alone: hidden states of the encoder take room, and are not read."""
    return _rebuild(output, _read(output))


def join_outputs(outputs: Sequence[Any]) -> Any:
    """Outputs for several images, one behind the other, as the family would give them for all."""
    fields = [_read(output) for output in outputs]
    return _rebuild(outputs[0], {name: _join(name, [one[name] for one in fields]) for name in fields[0]})


def split_features(together: ImageFeatures, count: int) -> list[ImageFeatures]:
    """The features of each of so many images of one shape that were encoded together.

    Raises:
        ValueError: If they cannot be shared out evenly.
    """
    fields = {name: _split(name, value, count) for name, value in _read(together.output).items()}
    shapes = {key: tensor.chunk(count) for key, tensor in together.shapes.items()}
    parts = (
        ImageFeatures(
            _rebuild(together.output, {name: parts[place] for name, parts in fields.items()}),
            {key: parts[place] for key, parts in shapes.items()},
        )
        for place in range(count)
    )
    # copies: who keeps one image's features would keep those of all
    return [change_tensors(part, Tensor.clone) for part in parts]


def _join(name: str, parts: Sequence[Any]) -> Any:
    """A field, image after image: one tensor, or a list of one an image."""
    if name == _OF_ALL:
        return parts[0]
    if name == _BY_LAYER:
        return [_join("", layer) for layer in zip(*parts, strict=True)]
    return torch.cat(list(parts)) if isinstance(parts[0], Tensor) else [one for part in parts for one in part]


def _split(name: str, value: Any, count: int) -> list[Any]:
    """A field's part for each image: what ``_join`` would put together again."""
    if name == _OF_ALL:
        return [value] * count
    if name == _BY_LAYER:
        return [list(parts) for parts in zip(*(_split("", layer, count) for layer in value), strict=True)]
    size, rest = divmod(len(value), count)
    if rest:
        raise ValueError(f"got {len(value)} parts of features for {count} pictures of one shape")
    return [value[place * size : (place + 1) * size] for place in range(count)]


def tensors_of(images: Sequence[ImageFeatures]) -> Iterator[Tensor]:
    """All tensors of features that a decoder reads."""
    for image in images:
        yield from _tensors(list(_read(image.output).values()))


def change_tensors(features: ImageFeatures, change: Callable[[Tensor], Tensor]) -> ImageFeatures:
    """The same features with every tensor changed, such as moved."""
    changed = {name: _change(value, change) for name, value in _read(features.output).items()}
    shapes = {key: change(value) for key, value in features.shapes.items()}
    return ImageFeatures(_rebuild(features.output, changed), shapes)


def _change(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    return change(value) if isinstance(value, Tensor) else [_change(part, change) for part in value]


def count_bytes(features: ImageFeatures) -> int:
    """What they take in memory."""
    return sum(tensor.nbytes for tensor in _tensors([*_read(features.output).values(), *features.shapes.values()]))


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    else:
        for part in value:
            yield from _tensors(part)


def _read(output: Any) -> dict[str, Any]:
    """The fields that a decoder reads: a tensor each, or tensors in lists and tuples, as the family gives them."""
    fields = {name: getattr(output, name, None) for name in ("pooler_output", _BY_LAYER, _OF_ALL)}
    return {name: value for name, value in fields.items() if value is not None}


def _rebuild(output: Any, values: dict[str, Any]) -> Any:
    names = [name for name in output.__dataclass_fields__ if name not in values]
    return replace(output, **dict.fromkeys(names), **values)
