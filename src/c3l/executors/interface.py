"""What an executor is: it makes shards somewhere, out of work items that can be sent anywhere, never a live model."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from c3l.models.interface import InferenceModel
from c3l.records import Provenance
from c3l.settings.schema import ModelConfig, RunConfig

LoadModel = Callable[[ModelConfig, int], InferenceModel]


@dataclass(frozen=True, slots=True)
class ShardTask:
    """One shard to make: all that it is made of, but the images and the model, so that it can be pickled.

    Attributes:
        stage: The stage to make, such as ``draft/scored``.
        shard: Number of the shard.
        round: 0 for the draft, 1 for what the tuned LVLM writes.
        config: The run's settings, with the model that this shard needs.
        inputs: What its work reads, such as the records of the stage before.
    """

    stage: str
    shard: int
    round: int
    config: RunConfig
    inputs: Any


@dataclass(frozen=True, slots=True)
class ShardResult:
    """What came of one shard.

    Attributes:
        shard: Its number.
        records: What it holds.
        provenance: The model that made them; None if the shard needed none.
        usage: What a served model counted meanwhile: tokens read and written.
    """

    shard: int
    records: tuple[Any, ...]
    provenance: Provenance | None
    usage: Mapping[str, int] = field(default_factory=dict)


Work = Callable[[ShardTask, Callable[[], InferenceModel]], Iterator[Any]]


class Executor(Protocol):
    """Makes shards somewhere. It returns their records; only the caller writes to the run folder."""

    @property
    def name(self) -> str:
        """What ``stage.json`` records."""
        ...

    @property
    def loading_seconds(self) -> float:
        """Time spent on loading models so far; of several workers the longest."""
        ...

    def forget_model(self) -> None:
        """Let go of a loaded model, where somebody else needs its memory."""
        ...

    def close(self) -> None:
        """Let go of everything, at the end of a command."""
        ...

    def run(self, work: Work, tasks: Iterable[ShardTask], advance: Callable[[int], None]) -> Iterator[ShardResult]:
        """The shards, each as soon as it is made, in any order.

        Args:
            work: A function of a module, so that it can be named elsewhere: task and a way to get the model
                in, records out.
            tasks: The shards to make; read as they are needed.
            advance: Told how many records were made since it was last told.
        """
        ...


def in_order(results: Iterable[ShardResult], first: int = 0) -> Iterator[ShardResult]:
    """Results by the number of their shard, each as soon as all before it are there."""
    waiting: dict[int, ShardResult] = {}
    for result in results:
        waiting[result.shard] = result
        while first in waiting:
            yield waiting.pop(first)
            first += 1
