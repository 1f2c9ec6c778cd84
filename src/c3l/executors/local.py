"""Where shards run: an executor takes work items that can be sent anywhere, never a live model."""

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from c3l.models.interface import InferenceModel
from c3l.models.load import load_model
from c3l.records import Provenance
from c3l.settings.schema import ModelConfig, RunConfig

LoadModel = Callable[[ModelConfig, int], InferenceModel]


@dataclass(frozen=True, slots=True)
class ShardTask:
    """One shard to make, in names and settings alone, so that it can be pickled.

    Attributes:
        run: The run folder.
        stage: The stage to make, such as ``draft/scored``.
        source: The stage whose shard of the same number it is made from.
        shard: Number of the shard.
        round: 0 for the draft, 1 for what the tuned LVLM writes.
        config: The run's settings, with the model that this shard needs.
    """

    run: Path
    stage: str
    source: str
    shard: int
    round: int
    config: RunConfig


@dataclass(frozen=True, slots=True)
class ShardResult:
    """The records of one shard, and the model that made them; None if the shard needed none."""

    shard: int
    records: tuple[Any, ...]
    provenance: Provenance | None


Work = Callable[[ShardTask, Callable[[], InferenceModel]], Iterator[Any]]


class Executor(Protocol):
    """Makes shards somewhere. It returns their records; only the caller writes to the run folder."""

    @property
    def name(self) -> str:
        """What ``stage.json`` records."""
        ...

    @property
    def loading_seconds(self) -> float:
        """Time spent on loading models so far."""
        ...

    def forget_model(self) -> None:
        """Let go of a loaded model, where somebody else needs its memory."""
        ...

    def run(self, work: Work, tasks: Sequence[ShardTask], advance: Callable[[int], None]) -> Iterator[ShardResult]:
        """The shards, each as soon as it is made, in any order.

        Args:
            work: A function of a module, so that it can be named elsewhere: task and a way to get the model
                in, records out.
            tasks: The shards to make.
            advance: Told how many records were made since it was last told.
        """
        ...


class KeptModel:
    """Loads models and keeps the last one, for what is asked of it next."""

    def __init__(self, load: LoadModel = load_model) -> None:
        """Take the function that loads a model."""
        self._load = load
        self._kept: tuple[ModelConfig, InferenceModel] | None = None
        self.loading_seconds = 0.0

    def __call__(self, config: ModelConfig, seed: int) -> InferenceModel:
        """The model of these settings."""
        if self._kept is None or self._kept[0] != config:
            self._kept = None  # before the next one is loaded, or both would have to fit
            start = time.monotonic()
            self._kept = config, self._load(config, seed)
            self.loading_seconds += time.monotonic() - start
        return self._kept[1]

    def forget(self) -> None:
        """Let go of it."""
        self._kept = None
        gc.collect()  # Trainer and peft leave circles behind, which would keep the weights on a card


class LocalExecutor:
    """One shard after another in this process; the first that asks for the model loads it, once."""

    name = "local"

    def __init__(self, load: LoadModel = load_model) -> None:
        """Take the function that loads a model."""
        self._model = KeptModel(load)

    @property
    def loading_seconds(self) -> float:
        """Time spent on loading models so far."""
        return self._model.loading_seconds

    def forget_model(self) -> None:
        """Let go of the loaded model."""
        self._model.forget()

    def run(self, work: Work, tasks: Sequence[ShardTask], advance: Callable[[int], None]) -> Iterator[ShardResult]:
        """The shards in the order of the tasks; an error says in which shard it happened."""
        for task in tasks:
            made: list[Any] = []
            asked: list[InferenceModel] = []
            try:
                for record in work(task, partial(self._get_model, task.config, asked)):
                    made.append(record)
                    advance(1)
            except Exception as error:
                error.add_note(f"in shard {task.shard} of {task.stage}")
                raise
            yield ShardResult(task.shard, tuple(made), asked[0].provenance if asked else None)

    def _get_model(self, config: RunConfig, asked: list[InferenceModel]) -> InferenceModel:
        asked.append(self._model(config.model, config.seed))
        return asked[-1]
