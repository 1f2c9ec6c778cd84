"""Some rows at loading, to find out which ways of computing them give a model's own numbers.

The measure is a row by itself, fed with what the model's own processor makes of it. Another way is right where it
differs from that by no more than rounding explains.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from c3l.models.hf.encoded import EncodedPrompt
from c3l.models.hf.encoding import ChatEncoder
from c3l.models.hf.logits import log_probs
from c3l.models.hf.rounding import allow, distance, shaken
from c3l.models.hf.rows import ForcingRow

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PROMPTS = ("Is it?", "Is it so, or not?", "Is it so?")  # of several lengths: one needs padding beside another


class Trial:
    """Two prompts about one image and one about another, the same without any, and what each gives by itself."""

    def __init__(
        self, model: "PreTrainedModel", encoder: ChatEncoder, alone: Callable[[EncodedPrompt, tuple[int, ...]], Tensor]
    ) -> None:
        """Compute every row by itself, and one again with more rounding.

        Args:
            model: The model.
            encoder: Its chats.
            alone: Logits (N, V) of one row, the plain way.
        """

        def predict(row: ForcingRow) -> Tensor:
            return log_probs(alone(encoder.encode_prompt(row.prompt, row.image), row.completion))

        ids = encoder.encode_completion("yes, it is") or (0,)
        wide, square = draw(96, 64), draw(64, 64)  # wider than high: positions may follow the image's grid
        asked = zip((wide, wide, square), PROMPTS, (0, 0, 1), strict=True)
        shown = [ForcingRow(image, prompt, ids, request) for image, prompt, request in asked]
        bare = [replace(row, image=None) for row in shown] if has_bare_chats(encoder) else []
        self.lists = [rows for rows in (shown, bare) if rows]
        self._right = [[predict(row) for row in rows] for rows in self.lists]
        with shaken(model):
            again = [predict(rows[0]) for rows in self.lists]
        moved = distance((one, right[0]) for one, right in zip(again, self._right, strict=True))
        self.allowed = allow(moved, model.dtype)

    def pick(self, places: Sequence[int]) -> list[list[ForcingRow]]:
        """These rows of every list."""
        return [[rows[place] for place in places] for rows in self.lists]

    def compare_logits(self, found: Sequence[Tensor], places: Sequence[int] = (0, 1, 2)) -> str:
        """By how much logits are off; empty if rounding explains it.

        Args:
            found: For each list the logits (A, V) of these rows, one after the other.
            places: Which rows.
        """
        right = (torch.cat([of_list[place] for place in places]) for of_list in self._right)
        return compare_logits(((log_probs(one), two) for one, two in zip(found, right, strict=True)), self.allowed)


def compare_logits(pairs: Iterable[tuple[Tensor, Tensor]], allowed: float) -> str:
    """By how much two ways of computing the same differ; empty if rounding explains it.

    Args:
        pairs: Log-probabilities, (N, V) each.
        allowed: Root of the mean square that rounding explains, nats.
    """
    found = distance(pairs)
    return f"{found:.2g} nats, where rounding explains {allowed:.2g}" if not found <= allowed else ""


def draw(width: int, height: int) -> Image.Image:
    """An image in which no two places are alike, nor two images of different sizes."""
    row, column = np.mgrid[:height, :width]
    channels = (column * 255 // width, row * 255 // height, (row * column + width) % 256)
    return Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))


def has_bare_chats(encoder: ChatEncoder) -> bool:
    """Whether the family has chats without an image."""
    try:
        encoder.encode_prompt(PROMPTS[0], None)
    except Exception:  # a template of some family's own; where such a chat is needed, its error is told
        return False
    return True
