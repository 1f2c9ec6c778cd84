"""The reader of Qt resource collections, and what is fetched."""

import struct
import zlib
from pathlib import Path, PurePosixPath

import pytest

from studies.picture_world import fetch


def _collection(payload: bytes) -> bytes:
    """Return a version 3 collection that holds one compressed file, ``a/b.webp``."""
    names, offsets = b"", []
    for name in ("a", "b.webp"):
        offsets.append(len(names))
        names += struct.pack(">HI", len(name), 0) + name.encode("utf-16-be")
    packed = struct.pack(">I", len(payload)) + zlib.compress(payload)
    data = struct.pack(">I", len(packed)) + packed
    tree = struct.pack(">IHIIQ", 0, 2, 1, 1, 0)
    tree += struct.pack(">IHIIQ", offsets[0], 2, 1, 2, 0)
    tree += struct.pack(">IHHHIQ", offsets[1], 1, 0, 0, 0, 0)
    start = 24
    header = struct.pack(">4s5I", b"qres", 3, start, start + len(tree), start + len(tree) + len(data), 0)
    return header + tree + data + names


def test_a_compressed_file_comes_back_under_its_path() -> None:
    assert list(fetch.read_qt_resources(_collection(b"picture" * 9))) == [(PurePosixPath("a/b.webp"), b"picture" * 9)]


def test_another_file_is_refused() -> None:
    with pytest.raises(ValueError, match="Qt resource file"):
        list(fetch.read_qt_resources(b"\x89PNG" + bytes(40)))


def test_what_is_there_is_not_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[str] = []
    monkeypatch.setattr(fetch, "DEBIAN_PACKAGES", ("one", "two"))
    monkeypatch.setattr(fetch, "WHEEL_FOLDERS", {})

    def unpack(name: str, folder: Path) -> None:
        fetched.append(name)
        folder.mkdir()

    monkeypatch.setattr(fetch, "_unpack_debian_package", unpack)
    fetch.fetch(tmp_path)
    fetch.fetch(tmp_path)
    assert fetched == ["one", "two"]


def test_a_relative_folder_is_as_good_as_its_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the documents write it: apt-get and dpkg run in other folders."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fetch, "DEBIAN_PACKAGES", ("hello",))
    monkeypatch.setattr(fetch, "WHEEL_FOLDERS", {})
    calls: list[tuple[list[str], Path]] = []

    def call(command: list[str], folder: Path) -> None:
        calls.append((command, folder))
        if command[0] == "apt-get":
            (folder / "hello_1_all.deb").touch()
        else:
            Path(command[-1]).mkdir(exist_ok=True)
            assert Path(command[2]).exists() or (folder / command[2]).exists()

    monkeypatch.setattr(fetch, "_call", call)
    fetch.fetch(Path("build/world"))
    assert all(folder.is_absolute() for _, folder in calls)
    assert all(Path(part).is_absolute() for part in calls[1][0][2:]), "the archive and where it goes"
