"""Some rows about two images, when the first such row comes, to find out whether a model can be shown several.

A chat template may keep the first image alone, a processor may refuse two, and a model may look at one of them. What
is scored must hang on each; what does not is refused with the reason.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from PIL import ImageOps
from torch import Tensor

from c3l.errors import name_error
from c3l.models.hf.encoding import ChatEncoder
from c3l.models.hf.logits import log_probs
from c3l.models.hf.rounding import distance, widened
from c3l.models.hf.rows import ForcingRow
from c3l.models.hf.trials import compare_logits, draw, has_bare_chats

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from c3l.models.hf.forcing import TeacherForcing

logger = logging.getLogger(__name__)

_WORDS = ("FIRSTWORDS", "SECONDWORDS", "THIRDWORDS")
PLACED = "{} <image> {} <image> {}".format(*_WORDS)


@dataclass(frozen=True, slots=True)
class SeveralImages:
    """How a model is shown several images.

    Attributes:
        obstacle: Why it is not; empty if it is.
        packed: Whether rows that begin alike share that, as those about one image do; else each is computed whole.
    """

    obstacle: str
    packed: bool


@torch.no_grad()
def try_several(forcing: "TeacherForcing", model: "PreTrainedModel", encoder: ChatEncoder) -> SeveralImages:
    """Find out; what is not packed though single images are is told."""
    allowed, packs = forcing.ways().allowed, forcing.packs()
    rows = _make_rows(encoder)
    try:
        obstacle = _find_obstacle(forcing, rows, allowed)
    except (torch.OutOfMemoryError, MemoryError):
        raise
    except Exception as error:  # templates and processors raise what they like
        obstacle = f"a chat about two ends with {name_error(error)}"
    if obstacle or not packs:
        return SeveralImages(obstacle, packed=False)
    gap = _try_packed(forcing, encoder, rows, allowed)
    if not gap:
        with widened(model) as exact:  # what 16 bits hide
            gap = _try_packed(forcing, encoder, rows, allowed) if exact else ""
    if gap:
        name = type(model).__name__
        logger.warning("%s computes every row about several images whole, more slowly: packed ones %s", name, gap)
    return SeveralImages("", packed=not gap)


def _make_rows(encoder: ChatEncoder) -> list[ForcingRow]:
    """A prompt about two images, with another first one, and with another second one; and others about them."""
    ids = encoder.encode_completion("yes, it is") or (0,)
    wide, high = draw(96, 64), draw(64, 96)
    both = (wide, high)
    first = ForcingRow(None, PLACED, ids, images=both)
    changed = [(ImageOps.invert(wide), high), (wide, ImageOps.invert(high))]
    return [
        first,
        *(replace(first, images=images, request=1) for images in changed),
        replace(first, prompt="Is it?"),
        replace(first, prompt=PLACED.replace(_WORDS[1], "IS IT")),
    ]


def _find_obstacle(forcing: "TeacherForcing", rows: Sequence[ForcingRow], allowed: float) -> str:
    text = "".join(forcing.sets.write([PLACED], 2, ""))
    if lost := [words for words in _WORDS if text.count(words) != 1]:
        return f"the chat template leaves out text between images ({len(lost)} of {len(_WORDS)} texts)"
    seen, *changed = _predict(forcing, rows)[:3]
    for which, other in zip(("first", "second"), changed, strict=True):
        if not distance([(seen, other)]) > allowed:
            return f"another {which} image of two changes no log-probability"
    return ""


def _predict(forcing: "TeacherForcing", rows: Sequence[ForcingRow]) -> list[Tensor]:
    """Log-probabilities (N, V) of each row by itself."""
    return [log_probs(forcing.predict_alone(forcing.encode(row), row.completion)) for row in rows]


def _try_packed(forcing: "TeacherForcing", encoder: ChatEncoder, rows: Sequence[ForcingRow], allowed: float) -> str:
    """What speaks against packed rows; empty if nothing does."""
    bare = [replace(row, images=()) for row in rows] if has_bare_chats(encoder) else []
    lists = [of_list for of_list in (rows, bare) if of_list]
    try:
        right = [torch.cat(_predict(forcing, of_list)) for of_list in lists]
        found = list(map(log_probs, forcing.predict_packed(lists, {})))
    except (torch.OutOfMemoryError, MemoryError):
        raise
    except Exception as error:  # whatever a family trips over: plain rows are computed as it wants them
        return f"end with {name_error(error)}"
    gap = compare_logits(zip(found, right, strict=True), allowed)
    return f"are off by {gap}" if gap else ""
