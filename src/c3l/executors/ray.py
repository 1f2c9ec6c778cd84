"""Shards made by the workers of a Ray cluster; the run folder is written here alone.

A worker is an actor around ``LocalExecutor``, with a model of its own that it keeps. It is handed all that its shard is
made of but the images and the model, which have to lie where the run's settings say on every node. A worker that
is lost costs its shard, which another one makes; so the bytes are those that one process would have written.
"""

import logging
import os
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from c3l.errors import BackendError, C3LError, ConfigError, DataError, name_error
from c3l.executors.interface import ShardResult, ShardTask, Work
from c3l.executors.local import LocalExecutor
from c3l.models.load import weights_hash
from c3l.settings.roots import Address
from c3l.settings.schema import ExecutorConfig, ModelConfig

if TYPE_CHECKING:
    from ray import ObjectRef
    from ray.actor import ActorHandle

logger = logging.getLogger(__name__)

PATIENCE = 30.0  # seconds without any worker after which it is said what is waited for
AHEAD = 4  # shards a worker that may be made before an earlier one is: who wants them in order holds them meanwhile


@dataclass(frozen=True, slots=True)
class Made:
    """What a worker gives back.

    Attributes:
        result: The shard; None where an error stopped it.
        error: That error.
        loading_seconds: That the worker has spent on loading models so far.
        notes: What was said meanwhile, to be said once more where the run is.
    """

    result: ShardResult | None
    error: Exception | None
    loading_seconds: float
    notes: tuple[str, ...] = ()


def _find_root(task: ShardTask) -> Path | Address | None:
    """Where the images lie that a task opens, if it opens any."""
    if task.stage.endswith(("/generated", "/scored", "score --data")):
        return task.config.images.root
    items = getattr(task.inputs, "items", ())  # of a benchmark; some are in its file
    if all(item.image.startswith("data:") for item in items):
        return None
    root: Path = task.inputs.root
    return root


class Worker:
    """The actor: makes one shard after another, and keeps the model between them."""

    def __init__(self, folder: str, threads: int) -> None:
        """Go where the run was started, if that is there, so that relative paths mean the same."""
        if os.path.isdir(folder):
            os.chdir(folder)
        if threads:
            os.environ["OMP_NUM_THREADS"] = str(threads)  # before torch is imported
        self._local = LocalExecutor()
        self._known: dict[ModelConfig, str] = {}
        self._heard = _Heard()
        logging.getLogger().addHandler(self._heard)

    def ready(self) -> str:
        """The node that it runs on."""
        return socket.gethostname()

    def make(self, work: Work, task: ShardTask, weights: str) -> Made:
        """One shard, with a model of these weights.

        An error of the work comes back as a value: raised, it would come with the traceback of a machine that nobody
        sees, and as another class.
        """
        try:
            self._check(task.config.model, weights)
            root = _find_root(task)
            if isinstance(root, Path) and not root.is_dir():
                raise DataError(
                    f"got the image root {root}, which is not there on {socket.gethostname()}; put "
                    "the images at the same path on every node"
                )
            [result] = self._local.run(work, [task], lambda count: None)
        except Exception as error:
            return Made(None, _portable(error), self._local.loading_seconds, self._heard.take())
        return Made(result, None, self._local.loading_seconds, self._heard.take())

    def _check(self, model: ModelConfig, weights: str) -> None:
        if model not in self._known:
            self._known[model] = weights_hash(model)
        if self._known[model] != weights:
            raise BackendError(
                f"the model {model.name} on {socket.gethostname()} is another than where the run was started: put the "
                "same folder there, or name one on shared storage"
            )


class _Heard(logging.Handler):
    """Warnings of this process, kept until they are asked for."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(record.getMessage())

    def take(self) -> tuple[str, ...]:
        """What was said since it was last asked."""
        lines, self._lines = tuple(self._lines), []
        return lines


def _portable(error: Exception) -> Exception:
    """An error that can be sent: one of ours as it is, another as what it says."""
    if isinstance(error, C3LError):
        return error
    told = RuntimeError(name_error(error))
    for note in getattr(error, "__notes__", ()):
        told.add_note(note)
    return told


@dataclass(slots=True)
class _Crew:
    """The workers: those that start, those that wait for a shard, and what the others make.

    Attributes:
        order: Of each shard that was handed out, which of them it was.
    """

    starting: "dict[ObjectRef[Any], ActorHandle]" = field(default_factory=dict)
    idle: "list[ActorHandle]" = field(default_factory=list)
    busy: "dict[ObjectRef[Any], tuple[ActorHandle, ShardTask]]" = field(default_factory=dict)
    order: dict[int, int] = field(default_factory=dict)

    def is_ahead(self, most: int) -> bool:
        """Whether so many shards were handed out after one that is not made yet."""
        open_ones = [self.order[task.shard] for _, task in self.busy.values()]
        return bool(open_ones) and len(self.order) - min(open_ones) > most


class RayExecutor:
    """Workers of a cluster, as many as the settings say; they are kept from stage to stage."""

    name = "ray"

    def __init__(self, config: ExecutorConfig) -> None:
        """Start nothing yet.

        Raises:
            ConfigError: If Ray is not installed.
        """
        if find_spec("ray") is None:
            raise ConfigError("executor.name=ray needs ray: pip install 'c3l[ray]'")
        self._config, self._crew, self._ours = config, _Crew(), False
        self._told: set[str] = set()
        self._false_starts = 0
        self.loading_seconds = 0.0

    def run(self, work: Work, tasks: Iterable[ShardTask], advance: Callable[[int], None]) -> Iterator[ShardResult]:
        """The shards in the order in which they are made.

        Raises:
            BackendError: If a shard has lost its worker too often, or no cluster can be reached.
            Exception: As the work raises it.
        """
        import ray

        waiting, losses, hashes = iter(tasks), Counter[int](), dict[ModelConfig, str]()
        again: deque[ShardTask] = deque()
        first = next(waiting, None)
        if first is None:
            return
        again.append(first)
        self._crew.order.clear()
        self._start()
        try:
            yield from self._run(work, waiting, again, losses, hashes, advance)
        finally:  # what is still made when nobody waits for it any more
            for actor, _ in self._crew.busy.values():
                ray.kill(actor)
            self._crew.busy.clear()

    def _run(
        self,
        work: Work,
        waiting: Iterator[ShardTask],
        again: deque[ShardTask],
        losses: Counter[int],
        hashes: dict[ModelConfig, str],
        advance: Callable[[int], None],
    ) -> Iterator[ShardResult]:
        import ray

        crew, began, warned = self._crew, time.monotonic(), False
        while True:
            while crew.idle and (again or not crew.is_ahead(AHEAD * self._config.workers)):
                task = again.popleft() if again else next(waiting, None)
                if task is None:
                    break
                crew.order.setdefault(task.shard, len(crew.order))
                model = task.config.model
                if model not in hashes:
                    hashes[model] = weights_hash(model)
                actor = crew.idle.pop()
                crew.busy[actor.make.remote(work, task, hashes[model])] = actor, task
            if not crew.busy and (not crew.starting or (crew.idle and not again)):
                return
            done, _ = ray.wait([*crew.busy, *crew.starting], num_returns=1, timeout=5.0)
            if not done and not crew.busy and not crew.idle and time.monotonic() - began > PATIENCE and not warned:
                warned = True
                self._tell_waiting()
            for reference in done:
                if reference in crew.starting:
                    self._welcome(reference)
                    continue
                actor, task = crew.busy.pop(reference)
                made = self._collect(reference, actor, task, losses, again)
                if made is not None:
                    crew.idle.append(actor)
                    advance(len(made.records))
                    yield made

    def _start(self) -> None:
        """The cluster, and as many workers as there should be."""
        import ray

        if not ray.is_initialized():
            address = self._config.address or "local"
            try:
                # nothing of Ray's may come among our lines, of which the last is read by programs
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
            except (ConnectionError, ValueError, RuntimeError) as error:
                raise BackendError(
                    f"no Ray cluster at executor.address={address} ({name_error(error)}); start one with `ray start "
                    "--head`, or leave the address out for this machine alone"
                ) from None
            self._ours = True
        missing = self._config.workers - len(self._crew.starting) - len(self._crew.idle) - len(self._crew.busy)
        for _ in range(missing):
            self._hire()

    def _hire(self) -> None:
        import ray

        rules = self._config
        remote = ray.remote(num_cpus=rules.num_cpus, num_gpus=rules.num_gpus, max_restarts=0)(Worker)
        actor = remote.options(scheduling_strategy="SPREAD").remote(os.getcwd(), int(rules.num_cpus))
        self._crew.starting[actor.ready.remote()] = actor

    def _welcome(self, reference: "ObjectRef[Any]") -> None:
        """A worker that has started takes shards; one that was lost before is replaced."""
        import ray

        actor = self._crew.starting.pop(reference)
        try:
            ray.get(reference)
        except ray.exceptions.RayError as error:
            self._false_starts += 1
            if self._false_starts > self._config.max_retries or "creation task" in str(error):
                raise BackendError(f"a worker cannot start: {name_error(error, 600)}") from None
            self._hire()
        else:
            self._false_starts = 0
            self._crew.idle.append(actor)

    def _collect(
        self,
        reference: "ObjectRef[Any]",
        actor: "ActorHandle",
        task: ShardTask,
        losses: Counter[int],
        again: deque[ShardTask],
    ) -> ShardResult | None:
        """What a worker made; None if it was lost, and its shard is to be made again."""
        import ray

        try:
            made: Made = ray.get(reference)
        except ray.exceptions.RayTaskError as error:  # what cannot be sent back, or read: every worker would fail so
            ray.kill(actor)
            raise BackendError(f"shard {task.shard} of {task.stage}: {name_error(error, 600)}") from None
        except ray.exceptions.RayError as error:  # a dead worker or node, memory, a result that was lost with it
            losses[task.shard] += 1
            if losses[task.shard] > self._config.max_retries:
                raise BackendError(
                    f"shard {task.shard} of {task.stage} lost its worker {losses[task.shard]} times "
                    f"({name_error(error, 200)}); look at the memory of the nodes, lower batch sizes, or raise "
                    "executor.max_retries"
                ) from None
            logger.warning("shard %d of %s lost its worker, and is made again", task.shard, task.stage)
            ray.kill(actor)
            again.append(task)
            self._hire()
            return None
        self.loading_seconds = max(self.loading_seconds, made.loading_seconds)
        for note in made.notes:
            if note not in self._told:
                self._told.add(note)
                logger.warning("%s", note)
        if made.error is not None:
            self._crew.idle.append(actor)
            raise made.error
        return made.result

    def _tell_waiting(self) -> None:
        import ray

        there = {name: count for name, count in ray.cluster_resources().items() if name in ("CPU", "GPU")}
        logger.warning(
            "no worker could start yet: each asks for executor.num_cpus=%s, executor.num_gpus=%s; the cluster has %s",
            self._config.num_cpus,
            self._config.num_gpus,
            there,
        )

    def forget_model(self) -> None:
        """End the workers: a process gives back all of its memory."""
        import ray

        crew, self._crew = self._crew, _Crew()
        for actor in (*crew.starting.values(), *crew.idle, *(actor for actor, _ in crew.busy.values())):
            ray.kill(actor)

    def close(self) -> None:
        """End the workers, and the cluster where it was started here."""
        import ray

        if ray.is_initialized():
            self.forget_model()
            if self._ours:
                ray.shutdown()
