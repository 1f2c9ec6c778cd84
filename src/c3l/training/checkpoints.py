"""What every tuning by ``Trainer`` needs: checkpoints of what is trained, one process or several, its steps told."""

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import save_fsdp_optimizer
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback, TrainerState
from transformers.integrations import TensorBoardCallback
from transformers.trainer import SCHEDULER_NAME

from c3l.errors import BackendError, DataError
from c3l.models.tunable import Pieces
from c3l.storage.atomic import write_atomic
from c3l.training.arguments import TRACKING
from c3l.training.sharing import gather, gather_weights, put, shard_model

WEIGHTS = "model.safetensors"  # of a checkpoint: what is trained, nothing else


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
            "or remove the stage with `c3l clean`, or its folder"
        )
    if writes:
        write_atomic(file, json.dumps(now))


def choose_cpu(device: torch.device, pieces: Pieces | None) -> bool:
    """Whether the tuning is to run on CPUs, for ``Trainer``; a model that is sharded comes from there to the cards.

    Raises:
        BackendError: If it lies on a card that ``Trainer`` would not take.
    """
    if device.type == "cuda" and device.index not in (None, 0) and count_processes() == 1:
        raise BackendError(
            f"got model.device={device}, but Trainer takes the first card: set CUDA_VISIBLE_DEVICES={device.index} "
            "and model.device=cuda"
        )
    return device.type == "cpu" and not (pieces and torch.cuda.is_available())


class ResumableTrainer(Trainer):  # type: ignore[misc]
    """``Trainer`` that goes on exactly where it was, from checkpoints that hold what is trained and nothing else.

    They are written under the names of this process: transformers writes whole models under names of old, reads them
    back as missing, warns, and would go on from the weights of the beginning.

    Attributes:
        sums: What was added up since the last line of the log, by names that whoever logs it chooses.
        checkpoint: That which it goes on from; None from the beginning.
    """

    model: Any
    optimizer: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sums: dict[str, float] = {}
        for callback in self.callback_handler.callbacks:
            if isinstance(callback, TensorBoardCallback) and callback.logging_dir is None:
                # a folder of each start, as its own choice is; but that lies among the checkpoints, which are removed
                start = time.strftime("%Y-%m-%d_%H-%M-%S")
                callback.logging_dir = str(Path(self.args.output_dir).with_name(TRACKING) / start)
        self.add_callback(_AsAsked())
        self.add_callback(_SumsKept(self))
        self.checkpoint: Checkpoint | None = None

    def finish_from(self, checkpoint: Checkpoint | None) -> None:
        """Train to the end, from a checkpoint if there is one.

        Of a finished training the weights and the log are read: ``train`` would go on to the end of its epoch.

        Raises:
            BackendError: If DeepSpeed was asked for.
        """
        if self.is_deepspeed_enabled:
            raise BackendError(
                "got a launch with DeepSpeed, expected torchrun, or accelerate launch without it; to share out one "
                "model over several cards, use its FSDP with fsdp_version: 2"
            )
        if checkpoint is None:
            self.train()
            return
        state = TrainerState.load_from_json(str(checkpoint.path / "trainer_state.json"))
        if state.global_step < state.max_steps:
            self.checkpoint = checkpoint
            self.train(resume_from_checkpoint=str(checkpoint.path))
            return
        if self.is_fsdp_enabled:  # what is asked of it afterwards needs all of it on the cards
            self.create_optimizer()
            self.model, self.optimizer = self.accelerator.prepare(self.model, self.optimizer)
            self.model_wrapped = self.model
        self._load_from_checkpoint(str(checkpoint.path))
        self.state = state

    def _save_rng_state(self, output_dir: str) -> None:
        """What each process keeps of its own: the numbers that it draws next, and the line of the log that it is at."""
        super()._save_rng_state(output_dir)
        line = {"loss": self._tr_loss.item(), "logged": self._globalstep_last_logged, "sums": self.sums}
        self._sums_file(Path(output_dir)).write_text(json.dumps(line), encoding="utf-8")

    def take_up_sums(self, checkpoint: Path) -> None:
        """Go on with the line of the log that a checkpoint was written in the middle of."""
        file = self._sums_file(checkpoint)
        if file.exists():  # earlier versions had none: there the next line is about the steps since the checkpoint
            line = json.loads(file.read_text(encoding="utf-8"))
            self._tr_loss.fill_(line["loss"])
            self._globalstep_last_logged, self.sums = line["logged"], line["sums"]

    def _sums_file(self, checkpoint: Path) -> Path:
        return checkpoint / f"sums_{self.args.process_index}.json"

    def shard_model(self, pieces: Pieces | None) -> None:
        """Lay the model out over the processes as soon as the training begins, if the launch said so."""
        if pieces is not None and self.is_fsdp_enabled:
            shard_model(self.accelerator.state.fsdp_plugin, pieces, self.args.device)

    def gather_weights(self) -> None:
        """The whole weights, in the process that writes; ends the training of this object."""
        if self.is_fsdp_enabled:
            gather_weights(self.model, keep=self.args.should_save)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """What is trained; all processes take part where each has pieces of it."""
        if self.is_fsdp_enabled:
            self._save(output_dir)
        else:
            super().save_model(output_dir, _internal_call)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if not self.is_fsdp_enabled:
            super()._save_optimizer_and_scheduler(output_dir)
            return
        # Trainer would save the frozen weights as well
        save_fsdp_optimizer(
            self.accelerator.state.fsdp_plugin, self.accelerator, self.optimizer, self.model, output_dir
        )
        if self.args.should_save:
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir) / SCHEDULER_NAME)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        trained = {name: gather(weight).contiguous() for name, weight in _trained(self.model).items()}
        if not self.args.should_save:  # of several processes one writes
            return
        folder = Path(output_dir or self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        save_file(trained, folder / WEIGHTS, metadata={"format": "pt"})

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        trained = load_file(Path(resume_from_checkpoint) / WEIGHTS)
        into = _trained(self.model if model is None else model)
        if trained.keys() != into.keys():
            raise DataError(
                f"{resume_from_checkpoint} holds {len(trained)} trained tensors, expected {len(into)}: "
                "remove the stage with `c3l clean`, or its folder, and tune again"
            )
        for name, weight in into.items():
            put(trained[name], weight)


def _trained(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def make_optimizer(
    model: nn.Module, rate: float, apart: Callable[[str], bool], rate_apart: float, weight_decay: float
) -> torch.optim.Optimizer:
    """AdamW over what learns, with a rate of its own for the parameters that ``apart`` picks by name."""
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    groups = [
        {"params": [parameter for name, parameter in named if not apart(name)], "lr": rate},
        {"params": [parameter for name, parameter in named if apart(name)], "lr": rate_apart},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], weight_decay=weight_decay)


class _AsAsked(TrainerCallback):  # type: ignore[misc]
    """Saves and logs as often as is asked for now: ``Trainer`` goes on with what the checkpoint was written with."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Its state is that of the checkpoint by now."""
        state.compute_steps(args, state.max_steps)


class _SumsKept(TrainerCallback):  # type: ignore[misc]
    """Has the trainer go on with what it had added up for the log; ``Trainer`` begins at 0."""

    def __init__(self, trainer: ResumableTrainer) -> None:
        self._trainer = trainer

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """Its sums are set to 0 by now."""
        if self._trainer.checkpoint is not None:
            self._trainer.take_up_sums(self._trainer.checkpoint.path)


class Advance(TrainerCallback):  # type: ignore[misc]
    """Tells of every step."""

    def __init__(self, advance: Callable[[int], None]) -> None:
        self._advance = advance

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """One step more."""
        self._advance(1)
