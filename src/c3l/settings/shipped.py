"""What came with the package: configs, by name, and their schema."""

from functools import cache
from importlib import resources
from pathlib import Path

PACKAGE = Path(str(resources.files("c3l")))
EXAMPLE_IMAGES = PACKAGE / "examples/images"
SCHEMA = PACKAGE / "configs/schema.json"


@cache
def list_configs() -> dict[str, Path]:
    """The shipped configs by name: demo, paper, and the presets of models."""
    return {path.stem: path for path in sorted((PACKAGE / "configs").rglob("*.yaml"))}


def find_config(path: Path) -> Path:
    """The file itself, or the shipped config of this name where there is no such file."""
    return path if path.exists() else list_configs().get(str(path), path)
