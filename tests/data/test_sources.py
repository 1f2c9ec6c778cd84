"""The data files of a command: hashed once, and again where they have changed."""

import hashlib
from pathlib import Path

import pytest

from c3l.data.sources import hash_files
from c3l.evaluation.reading import hash_files as hash_benchmark
from c3l.settings import cache
from c3l.settings.evaluation import BenchmarkConfig


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are read to be hashed."""
    monkeypatch.setenv("C3L_CACHE", str(tmp_path / "cache"))
    names, digest = list[str](), hashlib.file_digest

    def note(file, kind):
        names.append(Path(file.name).name)
        return digest(file, kind)

    monkeypatch.setattr(cache.hashlib, "file_digest", note)
    return names


def test_data_is_read_once_for_its_hash_and_again_where_it_has_changed(tmp_path: Path, read: list[str]) -> None:
    one, other = (tmp_path / name for name in ("one.json", "other.json"))
    one.write_text("[1]"), other.write_text("[2]")
    wanted = [hashlib.sha256(text).hexdigest() for text in (b"[1]", b"[2]")]
    assert hash_files([one, other]) == hash_files([one, other]) == wanted
    assert hash_files([other]) == wanted[1]
    assert read == ["one.json", "other.json"]
    new = tmp_path / "new"
    new.write_text("[3]")
    new.replace(one)
    assert hash_files([one, other]) == [hashlib.sha256(b"[3]").hexdigest(), wanted[1]]
    assert read == ["one.json", "other.json", "one.json"]


def test_a_benchmark_is_read_once_for_its_hash_too(tmp_path: Path, read: list[str]) -> None:
    (tmp_path / "pope.json").write_text("{}")
    task = BenchmarkConfig(task="pope", data=[tmp_path / "pope.json"])
    assert hash_benchmark(task) == hash_benchmark(task) == {"pope.json": hashlib.sha256(b"{}").hexdigest()}
    assert read == ["pope.json"]
