"""Fixtures of the tests that change the files of a model folder."""

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is known of any model."""
    monkeypatch.setenv("C3L_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path: Path, copy_tiny: Callable[..., Path]) -> Path:
    """A LLaVA's folder, to be changed."""
    return copy_tiny("llava", tmp_path / "llava")
