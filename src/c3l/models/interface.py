"""The seam between the method and any model: what is asked of an LVLM, and what comes back.

It speaks TRL's words, *prompt* and *completion*; the method's own are instruction, question and answer.
Images arrive opened, as RGB ``PIL.Image``, so that no backend opens a file.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from PIL.Image import Image

from c3l.errors import BackendError
from c3l.records import AnswerScores, NoImageMode, Provenance


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """One completion wanted for one image and one prompt.

    Attributes:
        request_id: Comes back in the completion.
        image: RGB image, or None for a text-only prompt.
        prompt: The user's turn, without any image placeholder.
        seed: Seeds this row alone, so that batch size and order change nothing.
        schema: A JSON schema that the completion is to follow where the backend can hold a model to it; empty for none.
    """

    request_id: str
    image: Image | None
    prompt: str
    seed: int
    schema: str = ""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn.

    Attributes:
        temperature: 0 is greedy; 1 samples the model's own distribution; usual 0.2 to 1.
        top_p: Keep the smallest set of tokens with this mass; 1 keeps all.
        max_new_tokens: Upper bound on the completion's length, in tokens.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    max_new_tokens: int = 512


@dataclass(frozen=True, slots=True)
class Completion:
    """What the model wrote for one request.

    Attributes:
        request_id: That of the request.
        text: Without the tokens that steer a chat; a thought before the answer is part of it, with the opening that
            the chat template wrote (``c3l.markup.thoughts`` cuts it off).
        finish_reason: ``length``: it was cut off; ``non_finite_logits``: the model broke down after this text;
            ``too_long``: the prompt alone is longer than the model's positions; ``refused``: a server would not answer.
        problem: One line for a person in the last two cases.
    """

    request_id: str
    text: str
    finish_reason: Literal["stop", "length", "non_finite_logits", "too_long", "refused"]
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Unfit:
    """Why a model cannot be shown a text as it is.

    Attributes:
        reason: ``control_token_in_text``: it spells a token that steers the chat; ``too_long``: with its prompt it is
            longer than the model's positions; ``several_images``: its chats do not show several images, or not there;
            ``several_turns``: its chats ask no second question; ``no_supervised_token``: nothing of it would be taught.
        detail: One line for a person.
    """

    reason: Literal["control_token_in_text", "too_long", "several_images", "several_turns", "no_supervised_token"]
    detail: str


@dataclass(frozen=True, slots=True)
class Pair:
    """A prompt and the completion that is teacher-forced after it (a question and its answer).

    Attributes:
        pair_id: Comes back with its scores.
        prompt: The user's turn, without any image placeholder where the request has one image.
        completion: What is forced.
        earlier: Prompts with their completions that were said before, in order; one image stands before the first.
    """

    pair_id: str
    prompt: str
    completion: str
    earlier: tuple[tuple[str, str], ...] = ()


Shown = Image | tuple[Image, ...]
"""One RGB image, before all that is asked; or several, each where an ``<image>`` of the prompts stands, in order.

Where there are more images than placeholders, the first ones stand before the first prompt.
"""


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """All pairs of one image, or of the same several, so that it is encoded once.

    Attributes:
        image: What is shown.
        pairs: K >= 1 pairs.
        seed: Seeds the image of the ``noise`` mode.
        others: What is shown in its place in the ``others`` mode, m times as many images; empty for every other mode.
        system: The system prompt before all of them, in both passes; empty for none.
    """

    image: Shown
    pairs: tuple[Pair, ...]
    seed: int = 0
    others: tuple[Shown, ...] = ()
    system: str = ""


class InferenceModel(Protocol):
    """A loaded LVLM that writes and scores."""

    @property
    def provenance(self) -> Provenance:
        """Which weights, backend, dtype and versions stand behind the numbers."""
        ...

    @property
    def takes_system(self) -> bool:
        """Whether the chat template shows a system prompt; where it does not, none may be asked for."""
        ...

    @property
    def takes_turns(self) -> bool:
        """Whether the chat template shows every turn of a conversation; where it does not, pairs have none before."""
        ...

    def no_image_modes(self) -> frozenset[NoImageMode]:
        """The ways of leaving the image out that this backend and family can do."""
        ...

    def show_prompt(self, prompt: str, image: Image | None) -> tuple[str, ...]:
        """The tokens, as text, that a prompt becomes through the chat template: for a person to look at."""
        ...

    def find_control_token(self, text: str) -> str | None:
        """The first token that steers this model's chats (a turn's end, a placeholder) among what a text spells."""
        ...

    def prepare(self, image: Image) -> None:
        """Do in advance what can be done for an image that will be shown soon.

        Other threads call it while the model computes; the very same object is shown then. It need do nothing.
        """
        ...

    def prepare_scores(self, request: ScoreRequest, no_image: NoImageMode) -> None:
        """As ``prepare``, for a request that will be scored soon: its image, if it is one, and its texts."""
        ...

    def generate(self, requests: Sequence[GenerateRequest], sampling: Sampling) -> list[Completion]:
        """One completion a request, in order, as one batch; a prompt that spells a control token gets a space into it.

        Raises:
            OutOfMemoryError: If the batch did not fit.
        """
        ...

    def score(self, requests: Sequence[ScoreRequest], no_image: NoImageMode) -> dict[str, AnswerScores | Unfit]:
        """Teacher-forced scores of every pair, with and without the image, by its id, as one batch.

        A completion is what the model's own tokenizer makes of it. Of a model that thinks it follows an empty thought.

        Args:
            requests: B images with their pairs; no two pairs of the batch have the same id.
            no_image: What "without the image" means.

        Returns:
            For each pair's id its AnswerScores, N = 0 where the completion has no token; or why the model cannot be
            shown it.
            Numbers may be non-finite: judging them is the caller's.

        Raises:
            BackendError: If the mode cannot be done by this backend, or an id is there twice.
            OutOfMemoryError: If the batch did not fit.
        """
        ...


def check_pair_ids(requests: Sequence[ScoreRequest]) -> None:
    """Refuse a batch in which two pairs could not be told apart.

    Raises:
        BackendError: If an id is there twice.
    """
    counts = Counter(pair.pair_id for request in requests for pair in request.pairs)
    if twice := [name for name, count in counts.items() if count > 1]:
        raise BackendError(f"got the pair id {twice[0]!r} twice in a batch, expected one of its own for each pair")
