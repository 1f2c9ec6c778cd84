"""Where c3l keeps what it can make again; the hashes themselves are tested in test_load.py."""

import os
from pathlib import Path

import pytest

from c3l.errors import BackendError
from c3l.models.hashing import hash_folder
from c3l.settings.cache import cache_folder


def test_the_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("C3L_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "c3l"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "c3l"
    monkeypatch.setenv("C3L_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("C3L_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 4242424)  # nobody of that number is known
    with pytest.raises(BackendError, match="set C3L_CACHE to a folder"):
        cache_folder()


def test_other_weights_of_the_same_size_and_time_are_other_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in an archive whose files all have one time."""
    monkeypatch.setenv("C3L_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "model"
    folder.mkdir()
    hashes = []
    for content in (b"one", b"two"):
        (folder / "new").write_bytes(content)
        os.utime(folder / "new", (0, 0))
        (folder / "new").replace(folder / "model.safetensors")
        hashes.append(hash_folder(folder))
    assert hashes[0] != hashes[1]
    (folder / "qwen.tiktoken").write_bytes(b"a")
    assert hash_folder(folder) != hashes[1]
