"""Shards in this process, one after the other, and the model that is kept between them."""

import gc
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from c3l.executors.interface import LoadModel, ShardResult, ShardTask, Work
from c3l.models.interface import InferenceModel
from c3l.models.load import load_model
from c3l.settings.schema import ModelConfig, RunConfig


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
            self.forget()  # before the next one is loaded, or both would have to fit
            start = time.monotonic()
            self._kept = config, self._load(config, seed)
            self.loading_seconds += time.monotonic() - start
        return self._kept[1]

    def forget(self) -> None:
        """Let go of it, and of what was tuned since."""
        if self._kept is not None:
            getattr(self._kept[1], "close", lambda: None)()
        self._kept = None
        gc.collect()  # Trainer and peft leave circles behind, which would keep the weights of what they tuned


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

    def close(self) -> None:
        """Let go of the loaded model."""
        self._model.forget()

    def run(self, work: Work, tasks: Iterable[ShardTask], advance: Callable[[int], None]) -> Iterator[ShardResult]:
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
            usage: dict[str, int] = getattr(asked[0], "take_usage", dict)() if asked else {}
            yield ShardResult(task.shard, tuple(made), asked[0].provenance if asked else None, usage)

    def _get_model(self, config: RunConfig, asked: list[InferenceModel]) -> InferenceModel:
        asked.append(self._model(config.model, config.seed))
        return asked[-1]
