"""The ``vllm`` backend: writes, and scores every form that needs no numbers of the whole vocabulary.

Chats become ids as they do for transformers, by the same code; vLLM computes what follows from them.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from PIL.Image import Image
from torch import Tensor

from c3l.errors import BackendError
from c3l.models.hf.control import tell_control_token
from c3l.models.hf.earlier import find_turns
from c3l.models.hf.encoding import ChatEncoder, stop_ids
from c3l.models.hf.limits import count_positions, find_excess
from c3l.models.hf.processors import pillow_images
from c3l.models.hf.reading import read_outline
from c3l.models.hf.rows import ForcingRow, rows_with, rows_without
from c3l.models.hf.trials import PROMPTS, draw, has_bare_chats
from c3l.models.interface import Completion, GenerateRequest, Pair, Sampling, ScoreRequest, Unfit, check_pair_ids
from c3l.models.notes import add_notes
from c3l.models.vllm.engine import Engine, EngineRow
from c3l.records import AnswerScores, NoImageMode, Provenance
from c3l.settings.schema import ModelConfig

ONE_IMAGE = "take the folder itself, without vllm:, for rows about several"
_NOTE = (
    "vLLM draws tokens by generators of its own, one a text: a seed gives another text than with transformers, and "
    "what else is in the batch may change its rounding"
)


class VllmModel:
    """A model that vLLM has loaded, behind the chats of transformers."""

    def __init__(self, config: ModelConfig, source: tuple[str, str], provenance: Provenance) -> None:
        """Load it, and see that it is shown what transformers would be.

        Args:
            config: Name, device, share of the memory.
            source: Folder or hub id, and the revision.
            provenance: Of the model; what vLLM adds is added here.

        Raises:
            ConfigError: If vLLM is not installed.
            BackendError: If the model cannot be loaded, or vLLM shows it other ids or pixels.
        """
        outline, processor = read_outline(config, source)
        self._encoder = ChatEncoder(processor, outline)
        self._stops = stop_ids(outline, self._encoder)
        self._turns = find_turns(self._encoder, self._stops)
        self._engine = Engine(config, source, provenance.dtype, pillow_images())
        positions = count_positions(outline)
        self._positions = min(positions or self._engine.positions, self._engine.positions)
        versions = {**provenance.versions, "vllm": self._engine.version}
        notes = [*self._encoder.notes, _NOTE]
        self._provenance = add_notes(replace(provenance, versions=versions, device=self._engine.device), notes)
        self._name = config.name
        self._check_pixels()
        self._check_causal()

    @property
    def provenance(self) -> Provenance:
        """Which weights, backend, dtype and versions stand behind the numbers."""
        return self._provenance

    def close(self) -> None:
        """Give the device's memory back, whoever still holds this object: vLLM keeps frames in which it was made."""
        self._engine.close()

    @property
    def takes_turns(self) -> bool:
        """Whether the chat template shows every turn of a conversation."""
        return self._turns is not None

    @property
    def takes_system(self) -> bool:
        """Whether the chat template shows a system prompt."""
        return self._encoder.takes_system

    def no_image_modes(self) -> frozenset[NoImageMode]:
        """Every mode that shows another image; ``drop`` where the family has chats without one."""
        modes: set[NoImageMode] = {"blank", "noise", "others"}
        return frozenset(modes | {"drop"} if has_bare_chats(self._encoder) else modes)

    def show_prompt(self, prompt: str, image: Image | None) -> tuple[str, ...]:
        """The tokens, as text, that a prompt becomes through the chat template."""
        return self._encoder.display_tokens(self._encoder.encode_prompt(prompt, image, to_write=True).ids)

    def find_control_token(self, text: str) -> str | None:
        """The first token that steers this model's chats among what a text spells."""
        return self._encoder.find_control_token(text)

    def prepare(self, image: Image) -> None:
        """Nothing: vLLM works ahead by itself."""

    def prepare_scores(self, request: ScoreRequest, no_image: NoImageMode) -> None:
        """Nothing, as above."""

    def generate(self, requests: Sequence[GenerateRequest], sampling: Sampling) -> list[Completion]:
        """One completion a request, in order; vLLM makes batches of them by itself.

        Raises:
            BackendError: If a request shows no image, and the family has no chats without one.
            OutOfMemoryError: If the device has no room left.
        """
        if any(request.image is None for request in requests) and not has_bare_chats(self._encoder):
            raise BackendError(
                f"{self._name} has no chats without an image, got a prompt that shows none: in an evaluation set "
                "evaluation.blind=false; for a judge take another model"
            )
        with self._encoder.batch():
            rows = [self._row(one.prompt, one.image, to_write=True) for one in requests]
        rooms = [min(sampling.max_new_tokens, self._positions - len(row.ids)) for row in rows]
        asked = [place for place, room in enumerate(rooms) if room > 0]
        written = self._engine.write(
            [rows[place] for place in asked],
            [requests[place].seed for place in asked],
            [rooms[place] for place in asked],
            sampling,
            sorted(self._stops),
        )
        found = dict(zip(asked, written, strict=True))
        return [
            self._complete(request, *found[place]) if place in found else self._refuse_length(request, rows[place])
            for place, request in enumerate(requests)
        ]

    def _complete(self, request: GenerateRequest, ids: tuple[int, ...], broken: int | None) -> Completion:
        """The text up to its stop token, or to where the logits broke."""
        end = next((place for place, token in enumerate(ids) if token in self._stops), None)
        if broken is not None and (end is None or broken <= end):
            return Completion(request.request_id, self._encoder.decode_completion(ids[:broken]), "non_finite_logits")
        text = self._encoder.decode_completion(ids[:end])
        return Completion(request.request_id, text, "length" if end is None else "stop")

    def _refuse_length(self, request: GenerateRequest, row: EngineRow) -> Completion:
        problem = f"a prompt of {len(row.ids)} tokens, the model has {self._positions} positions"
        return Completion(request.request_id, "", "too_long", problem)

    def score(self, requests: Sequence[ScoreRequest], no_image: NoImageMode) -> dict[str, AnswerScores | Unfit]:
        """Teacher-forced scores of every pair, with and without the image, by its id; ``token_kl`` is None.

        Raises:
            BackendError: If the mode cannot be done by this model, or an id is there twice.
            OutOfMemoryError: If the device has no room left.
        """
        check_pair_ids(requests)
        if no_image not in self.no_image_modes():
            raise BackendError(
                f"{self._name} cannot leave the image out by {no_image!r} with vLLM; set scoring.no_image to one of "
                f"{', '.join(sorted(self.no_image_modes()))}, or take the folder itself, without vllm:"
            )
        with self._encoder.batch():
            longest = self._positions - 1  # vLLM writes a token behind each row
            taken = [[self._take(request, pair, longest) for pair in request.pairs] for request in requests]
            single = [both for both in zip(requests, taken, strict=True) if not isinstance(both[0].image, tuple)]
            completions = [[() if isinstance(it, Unfit) else it for it in of_request] for _, of_request in single]
            numbers = self._compare([request for request, _ in single], completions, no_image)
        return {
            pair.pair_id: it if isinstance(it, Unfit) else self._collect(it, numbers)
            for request, of_request in zip(requests, taken, strict=True)
            for pair, it in zip(request.pairs, of_request, strict=True)
        }

    def _take(self, request: ScoreRequest, pair: Pair, longest: int) -> tuple[int, ...] | Unfit:
        """The ids of a completion, or why it cannot be forced after its prompt."""
        if token := self._encoder.find_control_token(pair.completion):
            return Unfit("control_token_in_text", tell_control_token(token))
        if isinstance(request.image, tuple):
            return Unfit("several_images", f"vLLM is shown one image at a time here: {ONE_IMAGE}")
        ids = self._encoder.encode_completion(pair.completion)
        images = (request.image, *(one for one in request.others if not isinstance(one, tuple)))
        shown = (self._row(pair.prompt, image, request.system, pair.earlier) for image in images)
        return find_excess(max(len(row.ids) for row in shown), len(ids), longest) or ids

    def _collect(self, ids: tuple[int, ...], numbers: Iterator[tuple[float, float]]) -> AnswerScores:
        mine = [next(numbers) for _ in ids]
        with_image, without_image = zip(*mine, strict=True) if mine else ((), ())
        return AnswerScores(ids, self._encoder.display_tokens(ids), with_image, without_image)

    def _compare(
        self,
        requests: Sequence[ScoreRequest],
        completions: Sequence[Sequence[tuple[int, ...]]],
        no_image: NoImageMode,
    ) -> Iterator[tuple[float, float]]:
        """Log p and log q of every completion token of the batch, in order; all rows are computed as one batch."""
        rows = rows_with(requests, completions)
        if not rows:
            return iter(())
        lists = [rows, *rows_without(requests, completions, no_image)]
        forced = self._engine.force([self._forced_row(row) for of_list in lists for row in of_list])
        columns = [
            [number for row in forced[start : start + len(rows)] for number in row]
            for start in range(0, len(forced), len(rows))
        ]
        log_q = (_log_mean(parts) for parts in zip(*columns[1:], strict=True))
        return zip(columns[0], log_q, strict=True)

    def _forced_row(self, row: ForcingRow) -> EngineRow:
        return self._row(row.prompt, row.image, row.system, row.earlier, completion=row.completion)

    def _row(
        self,
        prompt: str,
        image: Image | None,
        system: str = "",
        earlier: Sequence[tuple[str, str]] = (),
        *,
        to_write: bool = False,
        completion: tuple[int, ...] = (),
    ) -> EngineRow:
        first = earlier[0][0] if earlier else prompt  # the one that the image stands before
        how = {"to_write": to_write, "said": bool(earlier)}
        ids = self._encoder.encode_prompt(first, image, system, **how).ids
        plain = ids if image is None else self._encoder.encode_plain(first, system, **how)
        if earlier:
            assert self._turns is not None, "without turns none is asked for"
            whole = self._turns.encode_prompt(prompt, image, system, earlier).ids
            ids, plain = whole, plain + whole[len(ids) :]
        return EngineRow(ids, plain, image, completion)

    def _check_pixels(self) -> None:
        """Compare what vLLM makes of two images, one of which is resized by any family, with transformers' own.

        Raises:
            BackendError: If they differ.
        """
        for image in (draw(96, 64), draw(997, 1311)):
            ours = self._encoder.encode_prompt(PROMPTS[0], image).vision
            theirs = self._engine.read_pixels(self._row(PROMPTS[0], image))
            shared = sorted(ours.keys() & theirs.keys())
            other = [name for name in shared if not _are_equal(ours[name], theirs[name])]
            if other or not shared:
                raise BackendError(
                    f"vLLM prepares the images of {self._name} otherwise than transformers does "
                    f"({', '.join(other) or 'under other names'}), so scores could differ: take the folder itself, "
                    "without vllm:"
                )

    def _check_causal(self) -> None:
        """Refuse a model whose answers see their own later tokens, or that gives no numbers.

        Raises:
            BackendError: If changing an answer's second token changes the first one's probability.
        """
        tokens = self._encoder.encode_completion("yes") + self._encoder.encode_completion("no")
        one, two = tuple(dict.fromkeys(tokens))[:2]
        row = self._row(PROMPTS[0], draw(96, 64))
        forced = self._engine.force([replace(row, completion=(one, other)) for other in (one, two)])
        first = [numbers[0] for numbers in forced]
        if not all(map(math.isfinite, first)):
            raise BackendError(
                f"{self._name} gives numbers that are not finite in {self._provenance.dtype}: try --dtype float32, or "
                "take another model"
            )
        if not math.isclose(*first, rel_tol=0.01, abs_tol=0.05):
            raise BackendError(f"vLLM lets a prompt of {self._name} look ahead at its answer: take another model")


def _are_equal(ours: Tensor, theirs: Tensor) -> bool:
    """Whether an image's tensors are the same, in vLLM's dtype and without regard to a batch's dimension."""
    one, two = ours.to(theirs.dtype).double().flatten(), theirs.cpu().double().flatten()
    return one.shape == two.shape and bool((one - two).abs().max() <= 1e-6)


def _log_mean(parts: Sequence[float]) -> float:
    """Log of the mean of probabilities, from their logarithms."""
    if len(parts) == 1:
        return parts[0]
    largest = max(parts)
    if not math.isfinite(largest):
        return largest
    return largest + math.log(sum(math.exp(part - largest) for part in parts) / len(parts))
