"""Tell trackers (TensorBoard, wandb, trackio) what a run's folder holds: counts, scores, curves; after the run."""

import importlib.util
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from c3l.errors import ConfigError
from c3l.records import TuningStep, name_round, name_step
from c3l.run.run_folder import Run
from c3l.run.shards import read_scored
from c3l.run.status import count, read_states
from c3l.settings.load import dump_config
from c3l.settings.schema import RunConfig
from c3l.storage.atomic import make_folder, remove
from c3l.storage.stage import Stage

FOLDER = "tracking"
"""Of the run folder: what TensorBoard and wandb write."""

PROJECT = "c3l"
QUANTILES = (5, 25, 50, 75, 95)

_NEEDS = {
    "tensorboard": ("tensorboard", "pip install 'c3l[tensorboard]'"),
    "wandb": ("wandb", "pip install wandb"),
    "trackio": ("trackio", "pip install trackio"),
}


@dataclass(frozen=True, slots=True)
class Measured:
    """Figures that belong together.

    Attributes:
        group: What they are of: ``stages``, ``rounds``, or a tuning such as ``tuned-2``.
        step: The round, or the optimiser step; 0 of what is of the whole run.
        values: By name.
    """

    group: str
    step: int
    values: Mapping[str, float]


class Tracker(Protocol):
    """Somebody who is told figures."""

    def log(self, one: Measured) -> None:
        """Take them."""
        ...

    def close(self) -> None:
        """See to it that all of them are kept."""
        ...


def check_trackers(names: Sequence[str]) -> None:
    """Look before the run whether each can be told.

    Raises:
        ConfigError: If one is not installed.
    """
    for name in names:
        package, remedy = _NEEDS[name]
        if importlib.util.find_spec(package) is None:
            raise ConfigError(f"report_to={name} needs {package}: {remedy}")


def tell_trackers(run: Run, config: RunConfig) -> None:
    """Tell each tracker of the settings what the run holds now."""
    measured = list(measure_run(run, config)) if config.report_to else []
    for name in config.report_to:
        tracker = _MAKERS[name](run.path, config)
        for one in measured:
            tracker.log(one)
        tracker.close()


def measure_run(run: Run, config: RunConfig) -> Iterator[Measured]:
    """What went in, came out and was rejected, stage by stage; S(I2C) round by round; the curves of the tunings."""
    states = read_states(run)
    stages = [stage for one in states if (stage := run.stored(one.name)) is not None and stage.is_done()]
    yield Measured("stages", 0, {name: value for stage in stages for name, value in _count(stage).items()})
    for round in range(config.rounds + 1):
        scored = run.stored(f"{name_round(round)}/scored")
        if scored is not None and (scores := [one.i2c for one in read_scored(scored, config.scoring.form)]):
            spread = {f"i2c/q{q:02}": float(np.percentile(scores, q)) for q in QUANTILES}
            yield Measured("rounds", round, {"pairs": len(scores), "i2c/mean": float(np.mean(scores)), **spread})
        name = name_step("tuned", round)
        if round and (tuned := run.stored(name)) is not None:
            for step in tuned.read(TuningStep):
                yield Measured(name, step.step, {key: value for key, value in asdict(step).items() if key != "step"})


def _count(stage: Stage) -> dict[str, float]:
    name, counts = stage.info.stage, count(stage)
    rejected = {f"{name}/rejected/{reason}": float(times) for reason, times in counts.rejected.items()}
    seconds = {f"{name}/seconds": counts.seconds or 0.0}
    return {f"{name}/in": float(counts.count_in), f"{name}/out": float(counts.count_out), **rejected, **seconds}


class _TensorBoard:
    """Event files in the run folder, of this state of the run alone."""

    def __init__(self, run: Path, config: RunConfig) -> None:
        from torch.utils.tensorboard import SummaryWriter

        folder = run / FOLDER / "tensorboard"
        if folder.exists():
            remove(folder)
        self._writer: Any = SummaryWriter(log_dir=str(folder))
        self._writer.add_text("settings", f"```\n{dump_config(config)}```")

    def log(self, one: Measured) -> None:
        for name, value in one.values.items():
            self._writer.add_scalar(f"{one.group}/{name}", value, one.step)

    def close(self) -> None:
        self._writer.close()


class _Wandb:
    """A run of wandb's in the run folder; offline, unless WANDB_MODE says otherwise."""

    def __init__(self, run: Path, config: RunConfig) -> None:
        import wandb

        make_folder(run / FOLDER)
        mode = os.environ.get("WANDB_MODE", "offline")
        self._run: Any = wandb.init(
            project=PROJECT, name=run.resolve().name, dir=run / FOLDER, mode=mode, config=config.model_dump(mode="json")
        )

    def log(self, one: Measured) -> None:
        step = f"{one.group}/step"  # of each group its own: wandb's counts up over all
        self._run.define_metric(f"{one.group}/*", step_metric=step)
        self._run.log({step: one.step} | {f"{one.group}/{name}": value for name, value in one.values.items()})

    def close(self) -> None:
        self._run.finish()


class _Trackio:
    """A run of trackio's, where trackio keeps them: `trackio show` finds it."""

    def __init__(self, run: Path, config: RunConfig) -> None:
        import trackio

        self._trackio: Any = trackio
        trackio.init(project=PROJECT, name=run.resolve().name, config=config.model_dump(mode="json"))

    def log(self, one: Measured) -> None:
        self._trackio.log({f"{one.group}/{name}": value for name, value in one.values.items()}, step=one.step)

    def close(self) -> None:
        self._trackio.finish()


_MAKERS: Mapping[str, Any] = {"tensorboard": _TensorBoard, "wandb": _Wandb, "trackio": _Trackio}
