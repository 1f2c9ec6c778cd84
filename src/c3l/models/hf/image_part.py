"""What a chat template writes for an image, and a chat from which that alone is taken out.

The likelihoods with and without an image are compared, so the two chats must differ by it and by nothing else. Most
templates see to that. Some write another chat where no image is shown: Llama 3.2 Vision's a whole system turn. There
the chat with the image is written, and what stands for the image is taken out of it.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from c3l.errors import BackendError

Render = Callable[[Sequence[Mapping[str, Any]]], str]

_QUESTION = "THEQUESTION"


@dataclass(frozen=True, slots=True)
class ImagePart:
    """How a chat without its image is written.

    Attributes:
        text: What stands for one image, to be taken out of the chat that shows it; empty where the template's own chat
            without an image is that chat already.
        obstacle: Why there is no such chat; empty if there is.
    """

    text: str = ""
    obstacle: str = ""

    @property
    def note(self) -> str:
        """One line for a person; empty where nothing is to be said."""
        if self.obstacle:
            return f"{self.obstacle}: no_image=drop is not offered"
        if not self.text:
            return ""
        return (
            "the chat template writes another chat where no image is shown: a chat without its image is the one with "
            f"it, from which {self.text!r} is taken"
        )

    def take_out(self, chat: str, count: int) -> str:
        """A chat that shows so many images, without them.

        Raises:
            BackendError: If it does not write as many of them.
        """
        if chat.count(self.text) != count:
            raise BackendError(
                f"the chat template writes {self.text!r} {chat.count(self.text)} times for {count} images, so they "
                "cannot be left out: set scoring.no_image to another mode"
            )
        return chat.replace(self.text, "")


def find_image_part(render: Render) -> ImagePart:
    """Look at what the template writes with an image, with two, and without.

    Args:
        render: A list of messages becomes a text that ends where the model goes on.
    """
    try:
        shown, blind = render(_ask(1)), render(_ask(0))
    except Exception:  # a template of some family's own; where such a chat is needed, its error is told
        return ImagePart()
    part = _find_part(render, shown)
    if _squeeze(shown.replace(part, "")) == _squeeze(blind) if part else _is_cut_from(_squeeze(shown), _squeeze(blind)):
        return ImagePart()
    if part:
        return ImagePart(part)
    return ImagePart(obstacle="the chat template writes another chat where no image is shown than where one is")


def _ask(images: int) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [*[{"type": "image"}] * images, {"type": "text", "text": _QUESTION}]}]


def _find_part(render: Render, shown: str) -> str:
    """What a second image adds to a chat that shows one, if it is what stands for the first; else empty."""
    try:
        two = render(_ask(2))
    except Exception:  # as above
        return ""
    start, length = _count_alike(shown, two), len(two) - len(shown)
    part = two[start : start + length] if length > 0 else ""
    is_added = two[:start] + two[start + length :] == shown
    return part if part.strip() and is_added and shown.count(part) == 1 else ""


def _squeeze(text: str) -> str:
    """Without white space."""
    return re.sub(r"\s+", "", text)


def _is_cut_from(whole: str, rest: str) -> bool:
    """Whether a text is left of another one if a single piece is cut out."""
    before = _count_alike(whole, rest)
    return len(rest) < len(whole) and whole.endswith(rest[before:])


def _count_alike(one: str, other: str) -> int:
    """How many characters two texts begin with alike."""
    return next(
        (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )
