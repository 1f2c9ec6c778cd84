"""The seam between tuning and any model: what an LVLM that learns is asked, and what comes back."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from PIL.Image import Image

from c3l.models.interface import Unfit
from c3l.records import Provenance

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Parameter

IGNORE_INDEX = -100
"""The label of a token that is not taught; torch's own, and TRL's."""


@dataclass(frozen=True, slots=True)
class ForcedRow:
    """A prompt about an image, and a completion that is teacher-forced after it while the model is tuned."""

    image: Image
    prompt: str
    completion: str


@dataclass(frozen=True, slots=True)
class Readings:
    """What a model that is being tuned makes of R forced rows; gradients flow back from all of it.

    Attributes:
        states: (R, T, D), the decoder's last hidden states, after its final norm.
        in_prompt: (R, T) bool, the tokens of image and prompt.
        in_completion: (R, T) bool, the tokens of the completion.
        log_likelihood: (R,) float32 or wider, mean over the completion's tokens of their log-probability, nats.
    """

    states: "Tensor"
    in_prompt: "Tensor"
    in_completion: "Tensor"
    log_likelihood: "Tensor"


@dataclass(frozen=True, slots=True)
class Pieces:
    """How one model lies over several processes.

    Attributes:
        layers: Names of the classes whose objects are each put together when they compute, and let go afterwards.
        whole: Frozen modules that every process has all of.
    """

    layers: frozenset[str]
    whole: tuple[Any, ...]


class TrainableModel(Protocol):
    """A loaded LVLM with low-rank adapters that can be tuned; its other weights stay as they are."""

    @property
    def provenance(self) -> Provenance:
        """Which weights, backend, dtype and versions the tuning starts from."""
        ...

    @property
    def hidden_size(self) -> int:
        """D, the size of a hidden state."""
        ...

    @property
    def pieces(self) -> Pieces | None:
        """How it is to lie over the processes; None where each has all of it."""
        ...

    def prepare(self, image: Image) -> None:
        """Do in advance what can be done for an image of which ``find_fault`` will soon be asked; it need do nothing.

        Other threads call it while the model is asked of other images; the very same object is shown then.
        """
        ...

    def find_fault(self, rows: Sequence[ForcedRow]) -> Unfit | None:
        """Why the first of these rows that cannot be forced as it is cannot; None if all can."""
        ...

    def collate(self, rows: Sequence[ForcedRow]) -> dict[str, Any]:
        """Rows as tensors on the CPU, possibly nested; an image that several rows share is processed once.

        Raises:
            DataError: If a completion has no token.
        """
        ...

    def read(self, batch: Mapping[str, Any]) -> Readings:
        """One forward over a batch of ``collate``, on the model's device."""
        ...

    def parameters(self) -> "Iterator[Parameter]":
        """All weights; those of the adapters want gradients."""
        ...

    def save_adapter(self, folder: Path) -> None:
        """Write the adapter as peft reads it."""
        ...

    def save_merged(self, folder: Path) -> None:
        """Write an ordinary model folder with the adapter merged in; ends the tuning of this object."""
        ...


@dataclass(frozen=True, slots=True)
class Conversation:
    """Questions with their answers, in order, about an image or about none.

    Attributes:
        image: RGB image, or None.
        turns: Questions with their answers, at least one.
        system: The system prompt before them; empty for none.
        untaught: Numbers of the turns whose answers are said, but not taught.
        skipped: Numbers of the tokens of the other answers, with the ends of their turns and counted from the first
            on, that are said, but not taught.
    """

    image: Image | None
    turns: tuple[tuple[str, str], ...]
    system: str = ""
    untaught: frozenset[int] = frozenset()
    skipped: frozenset[int] = frozenset()


class FinetunableModel(Protocol):
    """A loaded LVLM that can be taught conversations."""

    @property
    def provenance(self) -> Provenance:
        """Which weights, backend, dtype and versions the tuning starts from."""
        ...

    @property
    def module(self) -> Any:
        """The model as a trainer of transformers takes it."""
        ...

    @property
    def processor(self) -> Any:
        """Its processor."""
        ...

    @property
    def pieces(self) -> Pieces | None:
        """How it is to lie over the processes; None where each has all of it."""
        ...

    @property
    def takes_system(self) -> bool:
        """Whether the chat template shows a system prompt; where it does not, none may be asked for."""
        ...

    def batch(self) -> AbstractContextManager[None]:
        """A block in which an image and its texts are encoded once, however often its conversation is looked at."""
        ...

    def prepare(self, image: Image) -> None:
        """Do in advance what can be done for an image that a conversation will soon be asked about with.

        Other threads call it while the model is asked of other images; the very same object is shown then. It need do
        nothing.
        """
        ...

    def find_fault(self, conversation: Conversation) -> Unfit | None:
        """Why a conversation cannot be taught as it is, if it cannot."""
        ...

    def fits_batches(self, mixed: bool) -> bool:
        """Whether conversations as a batch give what each gives by itself; ``mixed`` where only some have an image."""
        ...

    def find_gap(self, read: Callable[[Mapping[str, Any]], "Tensor"]) -> str:
        """What speaks against another way of computing what is taught; empty if its numbers are the model's own.

        Args:
            read: From a batch of ``collate`` on the model's device to the log-probability of each taught token, nats.
        """
        ...

    def count_taught(self, conversation: Conversation) -> tuple[int, int]:
        """How many tokens of a conversation are taught, and how many are not since it is cut to the longest length."""
        ...

    def measure_gains(self, conversation: Conversation) -> tuple[float | None, ...]:
        """How much likelier the image makes each taught token, before anything is learned.

        Returns:
            log p - log q, nats, q being the same conversation without its image; None for a token that is not
            measured: it ends a turn, or there is no image.

        Raises:
            BackendError: If the model has no such conversations, is sharded, or gives what is no number.
        """
        ...

    def collate(self, conversations: Sequence[Conversation]) -> dict[str, Any]:
        """Conversations as the model's own inputs, with ``labels``: ``IGNORE_INDEX`` where nothing is taught."""
        ...

    def is_connector(self, name: str) -> bool:
        """Whether a parameter of ``module`` belongs to what connects vision tower and language model."""
        ...

    def save_adapter(self, folder: Path) -> None:
        """Write the adapter as peft reads it."""
        ...

    def save_merged(self, folder: Path) -> None:
        """Write an ordinary model folder; ends the tuning of this object."""
        ...
