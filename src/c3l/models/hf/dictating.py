"""Which ways of writing write as a model does by itself: the same words dictated in each, what it expects compared."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from c3l.errors import BackendError, name_error
from c3l.models.hf.cache import make_growing
from c3l.models.hf.encoding import ChatEncoder
from c3l.models.hf.forcing import TeacherForcing
from c3l.models.hf.layout import find_unpaddable
from c3l.models.hf.logits import log_probs
from c3l.models.hf.rounding import allow, distance, shaken, widened
from c3l.models.hf.sampling import Dictation, Text
from c3l.models.hf.trials import PROMPTS, compare_logits, draw, has_bare_chats
from c3l.models.interface import GenerateRequest

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from c3l.models.hf.writing import Writing

logger = logging.getLogger(__name__)

_TOKENS = 4  # are dictated


@dataclass(frozen=True, slots=True)
class WritingWays:
    """What a model writes by with its own numbers.

    Attributes:
        shared: Prompts share what they begin with, and rows leave when they have ended.
        side_by_side: Whole prompts as one batch, padded to one length.
        as_it_reads: A prompt by itself is written on as the model reads it, by transformers' general ``generate``.
    """

    shared: bool
    side_by_side: bool
    as_it_reads: bool = True


ALL_WAYS = WritingWays(shared=True, side_by_side=True)
_PLAIN, _SHARED = WritingWays(shared=False, side_by_side=True), WritingWays(shared=True, side_by_side=False)


@torch.no_grad()
def find_ways(
    writing: "Writing", model: "PreTrainedModel", encoder: ChatEncoder, forcing: TeacherForcing, stops: frozenset[int]
) -> WritingWays:
    """Try out which ways write as the model scores a row by itself.

    Raises:
        BackendError: If it cannot write even one prompt by itself.
    """
    trial = _Trial(writing, encoder, forcing, stops)
    name = type(model).__name__
    alone, own = trial.write_alone()
    if alone:
        logger.warning("%s writes otherwise than it scores, since %s", name, alone)
    apart, obstacle = _search(trial, model, forcing)
    if not (apart and obstacle):
        hidden = _search_exactly(writing, model, encoder, forcing, stops)
        apart, obstacle = apart or hidden[0], obstacle or hidden[1]
    if apart:
        logger.warning("%s writes one prompt after the other, more slowly, since %s", name, apart)
    if obstacle and forcing.packs():  # which else has said why not
        logger.warning(
            "%s cannot write from a shared cache, since %s: every prompt is computed whole, more slowly", name, obstacle
        )
    return WritingWays(not obstacle, not apart, as_it_reads=not (alone or own))


def _search(trial: "_Trial", model: "PreTrainedModel", forcing: TeacherForcing) -> tuple[str, str]:
    """What speaks against whole prompts in a batch, and against a shared cache."""
    ways = forcing.ways()
    apart = find_unpaddable(model) if ways.side_by_side else "rows in a batch change each other"
    apart = apart or trial.write_side_by_side()
    if not ways.packed:
        return apart, "its rows cannot be packed"
    if make_growing(model) is None:
        return apart, "it keeps its own count of positions, or other things than keys and values"
    return apart, trial.write_shared()


def _search_exactly(
    writing: "Writing", model: "PreTrainedModel", encoder: ChatEncoder, forcing: TeacherForcing, stops: frozenset[int]
) -> tuple[str, str]:
    """What 16 bits hide of it."""
    with widened(model) as exact:
        if not exact:
            return "", ""
        try:
            trial = _Trial(writing, encoder, forcing, stops)
            trial.measure_rounding(model)  # it is less now
            return _search(trial, model, forcing)
        except Exception:  # some kernels know 16 bits alone, and there may be room for the weights but not for rows
            return "", ""


class _Trial:
    """Two prompts about one image and one about another, the same without any, and what follows each by itself."""

    def __init__(
        self, writing: "Writing", encoder: ChatEncoder, forcing: TeacherForcing, stops: frozenset[int]
    ) -> None:
        self._writing, self._encoder, self._forcing = writing, encoder, forcing
        self._allowed = forcing.ways().allowed
        words = [token for token in encoder.encode_completion("it is so") if token not in stops]
        self._words = ((words or [0]) * _TOKENS)[:_TOKENS]
        wide, square = draw(96, 64), draw(64, 64)
        asked = zip((wide, wide, square), PROMPTS, strict=True)
        self._shown = [GenerateRequest("", image, prompt, 0) for image, prompt in asked]
        self._bare = [GenerateRequest("", None, prompt, 0) for prompt in PROMPTS] if has_bare_chats(encoder) else []
        self._right = {id(request): self._predict(request) for request in (*self._shown, *self._bare)}

    def _predict(self, request: GenerateRequest) -> Tensor:
        prompt = self._encoder.encode_prompt(request.prompt, request.image, to_write=True)
        return log_probs(self._forcing.predict_alone(prompt, tuple(self._words)))

    def measure_rounding(self, model: "PreTrainedModel") -> None:
        """Find out how far rounding moves the model's log-probabilities as it computes now."""
        first = self._shown[0]
        with shaken(model):
            moved = distance([(self._predict(first), self._right[id(first)])])
        self._allowed = allow(moved, model.dtype)

    def write_alone(self) -> tuple[str, bool]:
        """What speaks against one prompt by itself, and whether the family's own ``generate`` is taken.

        It is where the general one fails.

        Raises:
            BackendError: If neither can be had.
        """
        general = self._try(lambda: self._hear(self._shown[:1]))
        if not general:
            return "", False
        self._writing.use_own_generate()
        try:
            return self._hear(self._shown[:1]), True
        except (torch.OutOfMemoryError, MemoryError):
            raise
        except Exception as error:  # a family's own generate raises what it likes
            raise BackendError(f"this family cannot write: its generate ends with {name_error(error)}") from None

    def write_side_by_side(self) -> str:
        """What speaks against writing whole prompts as one batch."""
        return self._try(lambda: self._hear(self._shown)) or self._try(lambda: self._hear(self._bare))

    def write_shared(self) -> str:
        """What speaks against sharing what prompts begin with, and against letting one leave midway."""
        return self._try(self._hear_shared)

    def _hear(self, requests: Sequence[GenerateRequest]) -> str:
        if not requests:
            return ""
        dictation, texts = Dictation(self._words), [Text(request) for request in requests]
        self._writing.go_on(self._writing.begin(requests, _PLAIN), texts, dictation, _TOKENS)
        if len(dictation.heard) < _TOKENS:
            raise ValueError("it does not let the tokens be drawn")
        if any(text.ids != self._words for text in texts):
            raise ValueError("what is dictated is not what comes back")
        return self._tell_apart(requests, dictation.heard)

    def _hear_shared(self) -> str:
        requests, dictation, half = self._shown, Dictation(self._words), _TOKENS // 2
        texts = [Text(request) for request in requests]
        inputs = self._writing.begin(requests, _SHARED)
        sequences = self._writing.go_on(inputs, texts, dictation, half)
        inputs = self._writing.keep(inputs, sequences, [0, 2])
        self._writing.go_on(inputs, [texts[0], texts[2]], dictation, half)
        both = [heard[[0, 2]] if place < half else heard for place, heard in enumerate(dictation.heard)]
        first = self._tell_apart(requests, dictation.heard[:half])
        return first or self._tell_apart([requests[0], requests[2]], both)

    def _tell_apart(self, requests: Sequence[GenerateRequest], heard: Sequence[Tensor]) -> str:
        pairs = (
            (step[place], self._right[id(request)][token])
            for token, step in enumerate(heard)
            for place, request in enumerate(requests)
        )
        gap = compare_logits(pairs, self._allowed)
        return f"what it would write is off by {gap}" if gap else ""

    def _try(self, hear: Callable[[], str]) -> str:
        try:
            return hear()
        except (torch.OutOfMemoryError, MemoryError):
            raise
        except Exception as error:  # whatever a family trips over
            return f"it ends with {name_error(error)}"
