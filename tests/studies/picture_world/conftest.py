"""The built-in LVLM before training, as the tests of its assembly use it."""

from tests.models.builtin.conftest import model, processor, untrained_folder

__all__ = ["model", "processor", "untrained_folder"]
