"""Every tiny family, as it is and as a model that was tried out; folders to be changed."""

from collections.abc import Callable
from pathlib import Path

import pytest

from c3l.models.hf.inference import HfModel
from tiny_models import FAMILIES, Tiny, try_out


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest, tiny: Callable[[str], Tiny]) -> Tiny:
    """Each in turn."""
    return tiny(request.param)


@pytest.fixture
def model(family: Tiny) -> HfModel:
    """It, known to be in order."""
    return try_out(family)


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is known of any model."""
    monkeypatch.setenv("C3L_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path: Path, copy_tiny: Callable[..., Path]) -> Path:
    """A LLaVA's folder, to be changed."""
    return copy_tiny("llava", tmp_path / "llava")
