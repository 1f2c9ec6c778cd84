"""An image processor that looks at an image once, however many prompts show it, and in advance where it is told to."""

from collections.abc import Mapping
from threading import RLock
from typing import TYPE_CHECKING, Any
from weakref import ref

import torch
from torch import Tensor

if TYPE_CHECKING:
    from PIL.Image import Image
    from transformers import BaseImageProcessor

_ROOM = 512 * 2**20  # bytes of images that were looked at in advance; choice


class ProcessedImages:
    """An image processor that works once an image while it ``keeps``, however many prompts are shown with it.

    How one is called is the family's own affair. So other threads can look at images in advance from when one alone
    was looked at: they are looked at in the same way.
    """

    def __init__(self, image_processor: "BaseImageProcessor") -> None:
        self._image_processor = image_processor
        self.keeps = False
        self._outputs: dict[Any, tuple[Any, Any]] = {}
        self._how: tuple[int, Any] | None = None  # lists around an image alone, and the options
        self._ahead: dict[Any, tuple[Any, Any, Any]] = {}
        self._room, self._lock = _ROOM, RLock()

    def __call__(self, images: Any, *args: Any, **kwargs: Any) -> Any:
        """Its output for these images, as if it had just been made."""
        if not self.keeps:
            return self._image_processor(images, *args, **kwargs)
        key, options = _name(images), (args, kwargs)
        if key not in self._outputs:
            # the images are kept beside their output, so that no other one can take over an id
            self._outputs[key] = images, self._take(key, options) or self._image_processor(images, *args, **kwargs)
        depth, alone = _unwrap(images)
        self._how = (depth, options) if alone else self._how
        output = self._outputs[key][1]
        return type(output)(dict(output.items()))  # processors take keys out of what they are given

    def __getattr__(self, name: str) -> Any:
        return getattr(self._image_processor, name)

    def prepare(self, image: "Image") -> None:
        """Look at an image that will soon be shown alone, in the thread that calls this."""
        if self._how is None:
            return
        depth, options = self._how
        images: Any = image
        for _ in range(depth):
            images = [images]
        try:
            output = _pinned(self._image_processor(images, *options[0], **options[1]))
        except Exception:  # it is met again where the image is shown, and told there
            return
        key = _name(images)
        with self._lock:
            self._forget(key)
            while self._ahead and _count_bytes(output) > self._room:
                self._forget(next(iter(self._ahead)))  # nobody came for it
            self._room -= _count_bytes(output)
            # an image that nobody holds any more will not be shown, and another one may take over its id
            self._ahead[key] = ref(image, lambda _: self._forget(key)), options, output

    def _take(self, key: Any, options: Any) -> Any:
        """What was made in advance in this way; None where nothing was."""
        with self._lock:
            _, how, output = self._ahead.get(key, (None, None, None))
            self._forget(key)
        return output if how == options else None

    def _forget(self, key: Any) -> None:
        with self._lock:
            if (kept := self._ahead.pop(key, None)) is not None:
                self._room += _count_bytes(kept[2])

    def clear(self) -> None:
        """Forget all that was asked for; what was made in advance waits on."""
        self._outputs.clear()


def _pinned(output: Any) -> Any:
    """The same where a card can fetch it while the processor goes on, if there is a card."""
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # that of a process that computes elsewhere is left alone
        for key, value in output.items():
            if isinstance(value, Tensor):
                output[key] = value.pin_memory()
    return output


def _name(images: Any) -> Any:
    """What tells images apart, and which of them are one row's."""
    return tuple(map(_name, images)) if isinstance(images, list | tuple) else id(images)


def _unwrap(images: Any) -> tuple[int, bool]:
    """In how many lists an image lies, and whether it lies there alone."""
    depth = 0
    while isinstance(images, list | tuple) and len(images) == 1:
        images, depth = images[0], depth + 1
    return depth, not isinstance(images, list | tuple)


def _count_bytes(output: Mapping[str, Any]) -> int:
    return sum(value.nbytes for value in output.values() if isinstance(value, Tensor))
