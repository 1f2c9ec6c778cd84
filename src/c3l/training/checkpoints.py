"""What every tuning by ``Trainer`` needs: whole checkpoints, one process or several, one card, and its steps told."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from c3l.data.atomic import write_atomic
from c3l.errors import BackendError, DataError


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A whole checkpoint of ``Trainer``."""

    path: Path
    step: int


def count_processes() -> int:
    """How many processes tune together, as ``accelerate launch`` and ``torchrun`` say it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def find_checkpoint(folder: Path) -> Checkpoint | None:
    """The last whole checkpoint: its ``trainer_state.json``, which is written last, can be read."""
    for path in sorted(folder.glob("checkpoint-*"), key=lambda path: -int(path.name.rpartition("-")[2])):
        try:
            state = json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        return Checkpoint(path, int(state["global_step"]))
    return None


def check_processes(folder: Path, writes: bool) -> None:
    """A step is a batch of every process, so another number of them is another tuning.

    Raises:
        DataError: If the checkpoints are of a tuning by more or fewer processes.
    """
    file, now = folder / "processes.json", count_processes()
    begun = json.loads(file.read_text(encoding="utf-8")) if file.exists() else now
    if begun != now:
        raise DataError(
            f"the tuning in {folder} was begun by {begun} processes, now there are {now}: start as many again, "
            "or remove the stage with `c3l clean`"
        )
    if writes:
        write_atomic(file, json.dumps(now))


def check_device(device: torch.device) -> None:
    """Refuse a card that ``Trainer`` would not take.

    Raises:
        BackendError: If it is not the first one.
    """
    if device.type == "cuda" and device.index not in (None, 0) and count_processes() == 1:
        raise BackendError(
            f"got model.device={device}, but Trainer takes the first card: set CUDA_VISIBLE_DEVICES={device.index} "
            "and model.device=cuda"
        )


class Advance(TrainerCallback):  # type: ignore[misc]
    """Tells of every step."""

    def __init__(self, advance: Callable[[int], None]) -> None:
        self._advance = advance

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """One step more."""
        self._advance(1)
