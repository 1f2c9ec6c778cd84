"""Where a run may be made."""

from pathlib import Path

import pytest

from fakes import write_fake_model
from runs import draw_pictures


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Six pictures and one that is none, and what stands for a model."""
    monkeypatch.setenv("C3L_CACHE", str(tmp_path / "cache"))
    draw_pictures(tmp_path / "pictures")
    write_fake_model(tmp_path / "model")
    return tmp_path
