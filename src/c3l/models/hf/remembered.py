"""That a model was tried out and all went well: kept, so that it is not tried out again at every start.

The trials of a small model take as long as reading it. They come out the same where weights, code, versions, arithmetic
and machine are the same, so all of these make the name that a finding is kept under. Only a finding with nothing to
say is kept: a model that cannot share, or that is refused, is tried out and told of each time.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from c3l.models.hashing import hash_files
from c3l.models.hf.layout import reads_by_flex
from c3l.records import Provenance
from c3l.settings.cache import cache_folder, read_cached, write_cached

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, slots=True)
class Remembered:
    """Where it is kept what the trials of one model on one machine found.

    Attributes:
        file: There if they went well.
    """

    file: Path

    @property
    def of_writing(self) -> "Remembered":
        """The same of its ways of writing, which are tried out when it writes first."""
        return Remembered(self.file.with_name(f"{self.file.stem}-writing.json"))

    def read(self) -> float | None:
        """How far rounding may move its log-probabilities, nats; None where it has to be tried out."""
        found = read_cached(self.file)
        allowed = found.get("allowed") if isinstance(found, dict) else None
        return allowed if isinstance(allowed, float) and 0 <= allowed < float("inf") else None

    def write(self, allowed: float) -> None:
        """Keep that all went well, and what rounding may do."""
        write_cached(self.file, {"allowed": allowed})


def remember(model: "PreTrainedModel", provenance: Provenance) -> Remembered:
    """What is kept for a model as it was loaded.

    Args:
        model: On its device.
        provenance: With the hash of its weights.
    """
    known = [type(model).__name__, provenance.weights, provenance.dtype, provenance.versions, _hash_code()]
    name = hashlib.sha256(json.dumps([*known, *_describe_arithmetic(model)], sort_keys=True).encode()).hexdigest()
    return Remembered(cache_folder() / "trials" / f"{name}.json")


@cache
def _hash_code() -> str:
    """Of the code of this room, asked for once: this process goes on with it, whatever becomes of the files."""
    return hash_files(Path(__file__).parent.glob("*.py"))


def _describe_arithmetic(model: "PreTrainedModel") -> list[str]:
    """What decides in which order this machine adds, and how it rounds."""
    attention = (getattr(config, "_attn_implementation", "") for config in (model.config, *_parts(model)))
    if model.device.type == "cuda":
        machine = torch.cuda.get_device_name(model.device)
    else:
        machine = f"{torch.backends.cpu.get_cpu_capability()} {torch.cpu.get_capabilities()} {torch.get_num_threads()}"
    packed = str(reads_by_flex(model))
    return [str(model.device.type), machine, torch.get_float32_matmul_precision(), packed, *map(str, attention)]


def _parts(model: "PreTrainedModel") -> list[object]:
    found = (getattr(model.config, name, None) for name in model.config.sub_configs)
    return [part for part in found if part is not None]
