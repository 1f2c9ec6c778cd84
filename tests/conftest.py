"""Fixtures that several test files share: the tiny models, each loaded once a session."""

import gc
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("c3l", deadline=None)  # a busy machine is no bug
settings.load_profile("c3l")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """No search for garbage while torch and transformers are imported: what they make stays."""
    gc.disable()
    yield
    gc.enable()
    gc.callbacks.append(_set_apart)
    gc.collect()


def _set_apart(phase: str, found: dict[str, int]) -> None:
    """What a search of everything leaves is set apart: no ``gc.collect``, as each training calls it, walks it again."""
    if phase == "stop" and found["generation"] == 2:
        gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def _unsynced(request: pytest.FixtureRequest) -> Iterator[None]:
    """Only the tests of the store wait for the disk, some milliseconds a file: elsewhere nobody cuts the power."""
    with pytest.MonkeyPatch.context() as patch:
        if request.path.name not in ("test_run_folder.py", "test_job.py"):
            patch.setattr("os.fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Torch with one thread: sums in another order are other bits."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def in_float64() -> Iterator[None]:
    """Tunings, and the models loaded for them, in double precision."""
    from wide import double_precision

    with double_precision():
        yield


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what c3l keeps of models, the same for all processes that run the tests."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared_cache"
    (folder / "trials").mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def tried_once(shared_cache: Path) -> Iterator[None]:
    """A tiny model is tried out once, for all tests of what comes after."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("C3L_CACHE", str(shared_cache))
        yield


@pytest.fixture
def own_cache(tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What c3l keeps is kept for this test alone; but which models are in order is known from others."""
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "trials").symlink_to(shared_cache / "trials")
    monkeypatch.setenv("C3L_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def tiny_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the folders of the tiny models lie, by family, once they are asked for."""
    return tmp_path_factory.mktemp("tiny_models")


@pytest.fixture(scope="session")
def copy_tiny(tiny: Callable[[str], object], tiny_root: Path) -> Callable[[str, Path], Path]:
    """A function that puts the folder of a family's tiny model where it is said."""

    def copy(family: str, folder: Path) -> Path:
        tiny(family)
        return Path(shutil.copytree(tiny_root / family, folder))

    return copy


@pytest.fixture(scope="session")
def tiny(tiny_root: Path) -> "Callable[[str], object]":
    """A function from a family's name to its loaded tiny model."""
    from tiny_models import load_tiny

    loaded: dict[str, object] = {}

    def load(family: str) -> object:
        if family not in loaded:
            loaded[family] = load_tiny(family, tiny_root / family)
        return loaded[family]

    return load
