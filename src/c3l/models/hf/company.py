"""Whether conversations change each other's numbers when they are learned as one batch; tried out at loading."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from c3l.errors import BackendError, name_error
from c3l.models.hf.encoding import ChatEncoder
from c3l.models.hf.logits import log_probs
from c3l.models.hf.rounding import allow, distance, shaken, widened
from c3l.models.hf.trials import PROMPTS, compare_logits, draw, has_bare_chats
from c3l.models.hf.vision import move
from c3l.models.tunable import IGNORE_INDEX, Conversation

if TYPE_CHECKING:
    from transformers import PreTrainedModel

logger = logging.getLogger(__name__)

Collate = Callable[[Sequence[Conversation]], dict[str, Any]]
_ANSWERS = ("It is.", "No, it is not so.", "Yes")  # of several lengths: one needs padding beside another


class Company:
    """What a model makes of conversations in a batch, held against what it makes of each by itself."""

    @torch.no_grad()
    def __init__(self, model: "PreTrainedModel", collate: Collate, encoder: ChatEncoder) -> None:
        """Compute a few conversations by themselves, with more rounding, and together.

        Raises:
            BackendError: If one by itself cannot be computed.
        """
        self._model, self._collate = model, collate
        images = (draw(96, 64), draw(64, 64), None)[: 3 if has_bare_chats(encoder) else 2]
        asked = [
            Conversation(image, ((prompt, answer),))
            for image, prompt, answer in zip(images, PROMPTS, _ANSWERS, strict=False)
        ]
        self._obstacles = self._find_obstacles(asked)
        hidden = self._find_hidden(asked)
        self._obstacles = {mixed: found or hidden.get(mixed, "") for mixed, found in self._obstacles.items()}

    def _find_hidden(self, asked: Sequence[Conversation]) -> dict[bool, str]:
        """The obstacles that 16 bits hide."""
        with widened(self._model) as exact:
            try:
                return self._find_obstacles(asked) if exact else {}
            except Exception:  # some kernels know 16 bits alone, and there may be room for the weights but not for rows
                return {}

    def _find_obstacles(self, asked: Sequence[Conversation]) -> dict[bool, str]:
        """What speaks against batches of these conversations; of all, and of those with an image alone."""
        try:
            alone = [self._predict([one])[0] for one in asked]
        except (torch.OutOfMemoryError, MemoryError):
            raise
        except Exception as error:  # a family raises what it likes
            raise BackendError(
                f"{type(self._model).__name__} cannot be taught a conversation about an image: {name_error(error)}"
            ) from None
        with shaken(self._model):
            [again] = self._predict(asked[:1])
        allowed = allow(distance([(again, alone[0])]), self._model.dtype)
        return {False: self._try(asked[:2], alone[:2], allowed), True: self._try(asked, alone, allowed)}

    def fits(self, mixed: bool) -> bool:
        """Whether a batch may hold several; says why not. ``mixed`` where only some conversations have an image."""
        if obstacle := self._obstacles[mixed]:
            logger.warning(
                "%s learns one conversation at a time, as many of them a step, since in a batch %s",
                type(self._model).__name__,
                obstacle,
            )
        return not obstacle

    def _try(self, asked: Sequence[Conversation], alone: Sequence[Tensor], allowed: float) -> str:
        if not all(map(len, alone)):
            return "it cannot be tried out: finetuning.max_length leaves no room for an answer about a small image"
        try:
            together = self._predict(asked)
        except (torch.OutOfMemoryError, MemoryError):
            raise
        except Exception as error:  # whatever a family trips over: one by itself is computed as it wants it
            return f"it ends with {name_error(error)}"
        gap = compare_logits(zip(together, alone, strict=True), allowed)
        return f"its numbers are off by {gap}" if gap else ""

    def _predict(self, asked: Sequence[Conversation]) -> list[Tensor]:
        """Of each conversation the log-probabilities (N, V) at the places that predict what is taught."""
        return read_taught(self._model, {key: move(value, self._model) for key, value in self._collate(asked).items()})


def read_taught(model: "PreTrainedModel", batch: Mapping[str, Tensor]) -> list[Tensor]:
    """Of each conversation of a batch the log-probabilities (N, V) at the places that predict what is taught.

    Args:
        model: The model.
        batch: As it is collated to be taught, on the model's device.
    """
    inputs = dict(batch)
    taught = inputs.pop("labels")[:, 1:] != IGNORE_INDEX
    logits = model(**inputs, use_cache=False).logits[:, :-1]
    return [log_probs(row[wanted]) for row, wanted in zip(logits, taught, strict=True)]
