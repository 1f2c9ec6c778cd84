"""An image processor that looks at an image once, however many prompts show it."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import BaseImageProcessor


class ProcessedImages:
    """An image processor that works once an image while it ``keeps``, however many prompts are shown with it."""

    def __init__(self, image_processor: "BaseImageProcessor") -> None:
        self._image_processor = image_processor
        self.keeps = False
        self._outputs: dict[Any, tuple[Any, Any]] = {}

    def __call__(self, images: Any, *args: Any, **kwargs: Any) -> Any:
        """Its output for these images, as if it had just been made."""
        if not self.keeps:
            return self._image_processor(images, *args, **kwargs)
        key = _name(images)
        if key not in self._outputs:
            # the images are kept beside their output, so that no other one can take over an id
            self._outputs[key] = (images, self._image_processor(images, *args, **kwargs))
        output = self._outputs[key][1]
        return type(output)(dict(output.items()))  # processors take keys out of what they are given

    def __getattr__(self, name: str) -> Any:
        return getattr(self._image_processor, name)

    def clear(self) -> None:
        """Forget all of them."""
        self._outputs.clear()


def _name(images: Any) -> Any:
    """What tells images apart, and which of them are one row's."""
    return tuple(map(_name, images)) if isinstance(images, list | tuple) else id(images)
