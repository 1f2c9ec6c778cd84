"""A fake LVLM for the tests of stages: deterministic, without torch, in microseconds a call."""

import hashlib
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL.Image import Image
from safetensors.numpy import save

from c3l.errors import OutOfMemoryError
from c3l.models.interface import Completion, GenerateRequest, Pair, Sampling, ScoreRequest, Shown, Unfit, check_pair_ids
from c3l.records import AnswerScores, NoImageMode, Provenance

_THINGS = ("dog", "lamp", "boat", "tree", "cup", "door", "bird", "chair")
_COLOURS = ("red", "green", "blue", "white", "black", "brown")


def fake_weights(number: int = 0) -> bytes:
    """A whole file of weights of a model that is only ever hashed; another number, another model."""
    return bytes(save({"weight": np.array([number])}))


def write_pairs(request: GenerateRequest) -> str:
    """Five numbered pairs that depend on the picture, the prompt and the seed."""
    lines = []
    for number in range(1, 6):
        draw = _draw(_look(request.image), request.prompt, request.seed, number)
        thing, colour = _THINGS[int(draw * 8)], _COLOURS[int(draw * 1000) % 6]
        lines.append(f"Question {number}: What colour is {thing} {number}?\nAnswer {number}: It is {colour}.")
    return "\n".join(lines)


def write_fake_model(folder: Path) -> Path:
    """What stands for a model's folder where it is hashed and not loaded."""
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(fake_weights())
    return folder


class FakeModel:
    """An InferenceModel that writes what ``write`` says and scores by hashes.

    Attributes:
        write: Gives the completion's text.
        finish_reason: Of every completion.
        capacity: A larger batch runs out of memory; 0 lets nothing through.
        batches: The size of every batch that was tried, for both verbs.
        generated: Every request that was answered.
    """

    def __init__(
        self,
        write: Callable[[GenerateRequest], str] = write_pairs,
        finish_reason: str = "stop",
        capacity: float = math.inf,
    ) -> None:
        self.write = write
        self.finish_reason = finish_reason
        self.capacity = capacity
        self.batches: list[int] = []
        self.generated: list[GenerateRequest] = []
        self.prepared: list[Image] = []

    @property
    def provenance(self) -> Provenance:
        return Provenance("fake", "0" * 16, "fake", "float32", "cpu", 0, {})

    @property
    def takes_turns(self) -> bool:
        return True

    @property
    def takes_system(self) -> bool:
        return True

    def no_image_modes(self) -> frozenset[NoImageMode]:
        return frozenset({"drop", "blank", "noise", "others"})

    def show_prompt(self, prompt: str, image: Image | None) -> tuple[str, ...]:
        return ("<image>",) * (image is not None) + tuple(prompt.split())

    def find_control_token(self, text: str) -> str | None:
        return None

    def prepare(self, image: Image) -> None:
        self.prepared.append(image)

    def prepare_scores(self, request: ScoreRequest, no_image: NoImageMode) -> None:
        self.prepared.append(request.image)

    def generate(self, requests: Sequence[GenerateRequest], sampling: Sampling) -> list[Completion]:
        self._fit(len(requests))
        self.generated += requests
        return [Completion(request.request_id, self.write(request), self.finish_reason) for request in requests]

    def score(self, requests: Sequence[ScoreRequest], no_image: NoImageMode) -> dict[str, AnswerScores | Unfit]:
        """Each word is a token; its log-probability, in (-3, 0), hangs on the words before and the image."""
        self._fit(len(requests))
        check_pair_ids(requests)
        return {
            pair.pair_id: self._score(request, no_image, request.system + _say(pair), pair.completion)
            for request in requests
            for pair in request.pairs
        }

    def _score(self, request: ScoreRequest, no_image: NoImageMode, prompt: str, completion: str) -> AnswerScores:
        words = completion.split()
        blind = [_look(other) for other in request.others] or [no_image + str(request.seed) * (no_image == "noise")]
        with_image, without_image = [], []
        for place, word in enumerate(words):
            seen = (prompt, *words[:place], word)
            with_image.append(-3 * _draw(_look(request.image), *seen))
            without_image.append(sum(-3 * _draw(view, *seen) for view in blind) / len(blind))
        return AnswerScores(
            token_ids=tuple(int(_draw(word) * 1000) for word in words),
            tokens=tuple(words),
            logprobs_with_image=tuple(with_image),
            logprobs_without_image=tuple(without_image),
            token_kl=tuple(abs(p - q) for p, q in zip(with_image, without_image, strict=True)),
        )

    def _fit(self, batch: int) -> None:
        self.batches.append(batch)
        if batch > self.capacity:
            raise OutOfMemoryError(f"batch of {batch}, room for {self.capacity}")


def _look(image: Image | tuple[Image, ...] | None) -> str:
    if isinstance(image, tuple):
        return "+".join(map(_look, image))
    return "" if image is None else hashlib.sha256(image.tobytes()).hexdigest()


def _draw(*parts: str | int) -> float:
    """A number in (0, 1) that hangs on the parts alone."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return (int.from_bytes(digest[:4], "big") + 0.5) / 2**32


def _say(pair: Pair) -> str:
    return "".join(f"{question}{answer}" for question, answer in pair.earlier) + pair.prompt


class StandingModel(FakeModel):
    """Holds the images that stood for none in the last batch, as a model does that keeps what it made of them.

    Attributes:
        encoded: How many images stood for none that were not held by then.
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoded, self._standing = 0, dict[int, Shown]()

    def score(self, requests: Sequence[ScoreRequest], no_image: NoImageMode) -> dict[str, AnswerScores | Unfit]:
        """As it does, and count."""
        shown = {id(one): one for request in requests for one in request.others}
        self.encoded += len(shown.keys() - self._standing.keys())
        self._standing = shown
        return super().score(requests, no_image)
