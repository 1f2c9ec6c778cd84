"""The ``hf`` backend: any ``AutoModelForImageTextToText`` with its ``AutoProcessor``."""

import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor

from c3l.errors import BackendError, OutOfMemoryError, name_error, one_line
from c3l.models.hf import logits
from c3l.models.hf.control import tell_control_token
from c3l.models.hf.encoded import EncodedPrompt
from c3l.models.hf.encoding import ChatEncoder
from c3l.models.hf.features import ImageFeatures
from c3l.models.hf.forcing import TeacherForcing
from c3l.models.hf.layout import can_hide_images
from c3l.models.hf.limits import count_positions, find_excess
from c3l.models.hf.opening import tell_opening
from c3l.models.hf.remembered import remember
from c3l.models.hf.rows import GREY, ForcingRow, make_row, rows_with, rows_without
from c3l.models.hf.trials import has_bare_chats
from c3l.models.hf.vision import VisionEncoder
from c3l.models.hf.writing import Writing
from c3l.models.interface import Completion, GenerateRequest, Pair, Sampling, ScoreRequest, Shown, Unfit, check_pair_ids
from c3l.models.notes import add_notes
from c3l.records import AnswerScores, NoImageMode, Provenance

if TYPE_CHECKING:
    from transformers import PreTrainedModel, ProcessorMixin

# What allocators say; CUDA's own error has a class.
_MEMORY_WORDS = ("not enough memory", "can't allocate memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")


class HfModel:
    """A loaded model that writes and scores."""

    def __init__(self, model: "PreTrainedModel", processor: "ProcessorMixin", provenance: Provenance) -> None:
        """Take over a loaded model, and put it in evaluation mode.

        Args:
            model: An image-text-to-text model of transformers.
            processor: Its processor, with a chat template.
            provenance: Comes back from the property of that name.
        """
        self._model = model.eval()
        self._processor = processor
        self._encoder = ChatEncoder(processor, model)
        self._positions = count_positions(model)
        self._provenance = add_notes(provenance, self._encoder.notes)
        self._vision = VisionEncoder(model, self._encoder)
        self._forcing = TeacherForcing(model, self._encoder, self._vision)
        self._standing: dict[int, tuple[Shown, ImageFeatures]] = {}
        self._writing = Writing(model, self._encoder, self._vision, self._forcing)

    @property
    def provenance(self) -> Provenance:
        """Which weights, backend, dtype and versions stand behind the numbers."""
        return self._provenance

    @property
    def shares_images(self) -> bool:
        """Whether an image is encoded once for all its pairs; False is slower, with the same numbers."""
        return self._vision.can_share

    @property
    def takes_system(self) -> bool:
        """Whether the chat template shows a system prompt."""
        return self._encoder.takes_system

    @property
    def takes_turns(self) -> bool:
        """Whether the chat template shows every turn of a conversation."""
        return self._forcing.turns is not None

    @property
    def processor(self) -> Any:
        """The processor that prompts and images go through."""
        return self._processor

    @property
    def stop_ids(self) -> frozenset[int]:
        """The tokens that end what it writes."""
        return self._writing.stop_ids

    def describe_rows(self) -> str:
        """How rows are computed."""
        ways = self._forcing.ways()
        return "packed" if ways.packed else "whole, in batches" if ways.side_by_side else "whole, one by one"

    def describe_writing(self) -> str:
        """How texts are written."""
        ways = self._writing.ways()
        return "from shared beginnings" if ways.shared else "in batches" if ways.side_by_side else "one by one"

    def no_image_modes(self) -> frozenset[NoImageMode]:
        """Every mode; ``mask`` where images can be hidden, ``drop`` where the family has chats without one."""
        modes: set[NoImageMode] = {"blank", "noise", "others"}
        if can_hide_images(self._model):
            modes.add("mask")
        if self._has_bare_chats:
            modes.add("drop")
        return frozenset(modes)

    @cached_property  # a prompt is encoded to find out, and every batch asks
    def _has_bare_chats(self) -> bool:
        return has_bare_chats(self._encoder)

    def try_out(self) -> None:
        """As ``check_causal``, unless the very same model was found to be in order on this machine before."""
        kept = remember(self._model, self._provenance)
        self._writing.keep_at(kept.of_writing)
        if self._forcing.recall(kept):
            return
        told = self._provenance.notes
        self.check_causal()
        if told == self._provenance.notes and (found := self._forcing.allowed_alike) is not None:
            kept.write(found)

    def check_causal(self) -> None:
        """Refuse a model whose prompt tokens see later ones: teacher forcing would show it the answer.

        Then find out which ways of computing rows give its numbers, and say which do not; and whether it would begin
        an answer otherwise than its chat template lets it.

        Raises:
            BackendError: If changing an answer token changes the prediction of that same token.
        """
        # both words may begin with the same token, a mere sign of a word's beginning: it would change nothing
        tokens = self._encoder.encode_completion("yes") + self._encoder.encode_completion("no")
        one, two = tuple(dict.fromkeys(tokens))[:2]
        image = Image.new("RGB", (64, 64), GREY)
        with self._encoder.batch():
            prompt = self._encoder.encode_prompt("Is it?", image)
            with torch.inference_mode(), _memory_errors():
                predicted = [self._predict_first(prompt, answer) for answer in ((one, two), (two, one))]
            if not torch.allclose(predicted[0], predicted[1], rtol=0.01, atol=0.05):
                raise BackendError(
                    f"{type(self._model).__name__} lets a prompt look ahead at its answer, but teacher forcing "
                    "needs causal attention: take another model"
                )
            hidden = tell_opening(predicted[0], self._encoder.tokenizer, self.stop_ids)
            self._provenance = add_notes(self._provenance, [hidden])
            with _memory_errors():
                self._forcing.ways()  # said at loading

    def _predict_first(self, prompt: EncodedPrompt, answer: tuple[int, ...]) -> Tensor:
        """Log-probabilities (V,) of an answer's first token.

        Raises:
            BackendError: If the family does not take a prompt about an image with an answer after it.
        """
        try:
            return logits.log_probs(self._forcing.predict_alone(prompt, answer)[0])
        except (torch.OutOfMemoryError, MemoryError):
            raise
        except Exception as error:
            if any(words in str(error) for words in _MEMORY_WORDS):
                raise
            raise BackendError(
                f"{type(self._model).__name__} does not take a prompt about an image with an answer after it as other "
                f"families do ({type(error).__name__} in {_find_place(error)}): c3l does not know this family"
            ) from error

    def show_prompt(self, prompt: str, image: Image.Image | None) -> tuple[str, ...]:
        """The tokens, as text, that a prompt becomes through the chat template."""
        return self._encoder.display_tokens(self._encoder.encode_prompt(prompt, image, to_write=True).ids)

    def find_control_token(self, text: str) -> str | None:
        """The first token that steers this model's chats among what a text spells."""
        return self._encoder.find_control_token(text)

    def prepare(self, image: Image.Image) -> None:
        """Process an image that will be shown soon: resizing lets other threads run."""
        self._encoder.prepare(image)

    def prepare_scores(self, request: ScoreRequest, no_image: NoImageMode) -> None:
        """Process the image; where a card computes, which the host keeps waiting, read the texts too."""
        if isinstance(request.image, tuple):
            return  # what a processor makes of several images hangs on all of them, and on their text
        self._encoder.prepare(request.image)
        if self._model.device.type == "cuda":
            self.read_ahead(request, no_image)

    def read_ahead(self, request: ScoreRequest, no_image: NoImageMode) -> None:
        """Encode of a request that will be scored what an image has no part in, in the thread that calls this."""
        self._encoder.read_ahead(lambda: self._read(request, bare=no_image == "drop"))

    def _read(self, request: ScoreRequest, *, bare: bool) -> None:
        for pair in request.pairs:
            self._encoder.encode_completion(pair.completion)
            if not pair.earlier:
                self._encoder.encode_plain(pair.prompt, request.system)
            if bare:
                self._forcing.encode(make_row(None, pair, (), 0, request.system))

    def generate(self, requests: Sequence[GenerateRequest], sampling: Sampling) -> list[Completion]:
        """One completion a request, in order, as one batch (two where only some requests have an image).

        A text whose prompt leaves it fewer positions than ``sampling`` allows is cut off where they end, apart from
        the others.

        Raises:
            BackendError: If a request shows no image, and the family has no chats without one.
            OutOfMemoryError: If the batch did not fit.
        """
        with self._encoder.batch():
            if any(request.image is None for request in requests) and not self._has_bare_chats:
                raise BackendError(
                    f"{type(self._model).__name__} has no chats without an image, got a prompt that shows none: in an "
                    "evaluation set evaluation.blind=false; for a judge take another model"
                )
            groups: dict[tuple[bool, int], list[int]] = {}
            for place, request in enumerate(requests):
                room = min(sampling.max_new_tokens, self._room(request))
                groups.setdefault((request.image is not None, room), []).append(place)
            completions: dict[int, Completion] = {}
            for (_, room), places in groups.items():
                asked = [requests[place] for place in places]
                with torch.inference_mode(), _memory_errors():
                    batch = (
                        self._writing.write(asked, replace(sampling, max_new_tokens=room))
                        if room > 0
                        else [Completion(one.request_id, "", "too_long", self._tell_excess(one)) for one in asked]
                    )
                completions |= dict(zip(places, batch, strict=True))
            return [completions[place] for place in range(len(requests))]

    def _room(self, request: GenerateRequest) -> int:
        """How many tokens may follow a prompt: what the model's positions leave."""
        if self._positions is None:
            return sys.maxsize
        with _memory_errors():
            prompt = self._encoder.encode_prompt(request.prompt, request.image, to_write=True)
        return max(0, self._positions - len(prompt.ids))

    def _tell_excess(self, request: GenerateRequest) -> str:
        prompt = self._encoder.encode_prompt(request.prompt, request.image, to_write=True)
        return f"a prompt of {len(prompt.ids)} tokens, the model has {self._positions} positions"

    def score(self, requests: Sequence[ScoreRequest], no_image: NoImageMode) -> dict[str, AnswerScores | Unfit]:
        """Teacher-forced scores of every pair, with and without the image, by its id, as one batch.

        Every distinct image goes through the vision encoder once, whatever the number of its pairs; the other
        images of the ``others`` mode once for as many calls as show the same objects.

        Raises:
            BackendError: If the mode cannot be done by this model, or an id is there twice.
            OutOfMemoryError: If the batch did not fit.
        """
        check_pair_ids(requests)
        others = {id(shown) for request in requests for shown in request.others}
        self._standing = {key: kept for key, kept in self._standing.items() if key in others}
        if no_image not in self.no_image_modes():
            raise BackendError(
                f"{type(self._model).__name__} cannot leave the image out by {no_image!r}; "
                f"set scoring.no_image to one of {', '.join(sorted(self.no_image_modes()))}"
            )
        with self._encoder.batch(), torch.inference_mode(), _memory_errors():
            taken = [[self._take(request, pair) for pair in request.pairs] for request in requests]
            found: dict[str, AnswerScores | Unfit] = {}
            # rows about one image, and rows about several with so many others, are computed apart
            kinds = [1 + len(one.others) if isinstance(one.image, tuple) else 0 for one in requests]
            for kind in sorted(set(kinds)):
                of_kind = zip(requests, taken, kinds, strict=True)
                found |= self._collect([(one, ids) for one, ids, its in of_kind if its == kind], no_image)
        return found

    def _take(self, request: ScoreRequest, pair: Pair) -> tuple[int, ...] | Unfit:
        """The ids of a completion, or why it cannot be forced."""
        if token := self._encoder.find_control_token(pair.completion):
            return Unfit("control_token_in_text", tell_control_token(token))
        if why := self._find_unshown(request, pair):
            return Unfit("several_images", f"{type(self._model).__name__} does not show several images: {why}")
        ids = self._encoder.encode_completion(pair.completion)
        if self._positions is None:
            return ids
        prompts = [self._forcing.encode(row) for row in self._show(request, pair, ids)]
        return find_excess(max(len(prompt.ids) for prompt in prompts), len(ids), self._positions) or ids

    def _show(self, request: ScoreRequest, pair: Pair, ids: tuple[int, ...]) -> Iterator[ForcingRow]:
        """The rows of a pair that show an image."""
        yield from (make_row(shown, pair, ids, 0, request.system) for shown in (request.image, *request.others))

    def _find_unshown(self, request: ScoreRequest, pair: Pair) -> str:
        """Why the several images of a pair cannot be shown where its texts have them; empty if they can."""
        if not isinstance(request.image, tuple):
            return ""
        if obstacle := self._forcing.several().obstacle:
            return obstacle
        try:
            for row in self._show(request, pair, ()):
                self._forcing.encode(row)
        except (torch.OutOfMemoryError, MemoryError):
            raise
        except Exception as error:  # templates and processors raise what they like
            return f"this chat ends with {name_error(error)}"
        return ""

    def _collect(
        self, taken: Sequence[tuple[ScoreRequest, Sequence[tuple[int, ...] | Unfit]]], no_image: NoImageMode
    ) -> dict[str, AnswerScores | Unfit]:
        """The scores of requests of which this was taken, by the ids of their pairs."""
        completions = [[() if isinstance(it, Unfit) else it for it in of_request] for _, of_request in taken]
        numbers = self._compare([request for request, _ in taken], completions, no_image)
        return {
            pair.pair_id: it if isinstance(it, Unfit) else self._tell(it, numbers)
            for request, of_request in taken
            for pair, it in zip(request.pairs, of_request, strict=True)
        }

    def _tell(self, ids: tuple[int, ...], numbers: Iterator[tuple[float, float, float]]) -> AnswerScores:
        mine = [next(numbers) for _ in ids]
        with_image, without_image, kl = zip(*mine, strict=True) if mine else ((), (), ())
        return AnswerScores(ids, self._encoder.display_tokens(ids), with_image, without_image, kl)

    def _compare(
        self,
        requests: Sequence[ScoreRequest],
        completions: Sequence[Sequence[tuple[int, ...]]],
        no_image: NoImageMode,
    ) -> Iterator[tuple[float, float, float]]:
        """Log p, log q and KL of every completion token of the batch, in order."""
        rows = rows_with(requests, completions)
        if not rows:
            return iter(())
        ids = torch.tensor([token for row in rows for token in row.completion], device=self._model.device)
        features = {key: kept for key, (_, kept) in self._standing.items()}
        lists = [rows, *rows_without(requests, completions, no_image)]
        if no_image == "others":
            self._forcing.encode_apart(chain.from_iterable(lists[1:]), features)
        predicted = self._forcing.predict(lists, features)
        columns = logits.compare(next(predicted), predicted, ids)
        # the images are kept beside their features, so that no other one can take over an id
        others = {id(shown): shown for request in requests for shown in request.others}
        self._standing |= {key: (shown, features[key]) for key, shown in others.items() if key in features}
        return zip(*(column.tolist() for column in columns), strict=True)


@contextmanager
def _memory_errors() -> Iterator[None]:
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise OutOfMemoryError(one_line(error) or "out of memory") from None
    except RuntimeError as error:
        if not any(words in str(error) for words in _MEMORY_WORDS):
            raise
        raise OutOfMemoryError(one_line(error) or "out of memory") from None


def _find_place(error: BaseException) -> str:
    """The function of the family, or else the last one, in which an error arose."""
    frames = traceback.extract_tb(error.__traceback__)
    of_family = [frame for frame in frames if "modeling_" in frame.filename]
    return (of_family or frames)[-1].name
