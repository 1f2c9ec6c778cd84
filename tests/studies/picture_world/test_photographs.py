"""Held-out photographs stay apart from those that training sees."""

import json
from collections import Counter
from pathlib import Path

import pytest
from studies.picture_world.photographs import LIST, check_apart, find_overlap, hash_bytes, read_list, split_of

from studies.picture_world import fetch, things

EXAMPLES = Path(__file__).parents[3] / "examples/images"


def test_each_is_listed_once_comes_from_a_fetched_package_and_belongs_to_a_set_that_is_described() -> None:
    rows = read_list()
    assert max(Counter(row["file"] for row in rows).values()) == 1
    assert {row["file"].partition(":")[0] for row in rows} <= {*fetch.DEBIAN_PACKAGES, *fetch.WHEEL_FOLDERS}
    subsets = Counter(row["subset"] for row in rows)
    assert subsets["test"] >= 60 and subsets["train"] >= 100 and subsets["background"] >= 40
    assert set(subsets) == set(json.loads(LIST.read_bytes())["sets"])
    assert all(row["names"] for row in rows if row["subset"] != "background")


def test_no_held_out_photograph_has_the_bytes_of_one_that_is_trained_on() -> None:
    rows = read_list()
    assert {split_of(row) for row in rows if row["subset"] == "background"} == {"train", "test"}
    assert not find_overlap((split_of(row), row["sha256"], row["file"]) for row in rows)
    # it would be found: the same bytes once more under another name
    twin = {**next(row for row in rows if split_of(row) == "test"), "subset": "train", "file": "scratch:twin.jpg"}
    assert len(find_overlap((split_of(row), row["sha256"], row["file"]) for row in [*rows, twin])) == 1


def test_no_example_picture_is_made_of_one_that_is_trained_on() -> None:
    licences = (EXAMPLES / "LICENSES.md").read_text(encoding="utf-8")
    used = {part for line in licences.splitlines() for part in line.split("`") if "/" in part}
    trained = [row["file"].partition(":")[2] for row in read_list() if split_of(row) == "train"]
    assert len(used) >= 16 and not [file for file in trained if any(file.endswith(name) for name in used)]


def test_a_world_with_a_picture_on_both_sides_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        {"file": "scratch:a.jpg", "subset": "train", "names": ["a dog"], "also": []},
        {"file": "scratch:b.jpg", "subset": "test", "names": ["a cat"], "also": []},
    ]
    monkeypatch.setattr("studies.picture_world.photographs.read_list", lambda: rows)
    monkeypatch.setattr(things, "load", lambda world: [])
    (tmp_path / "scratch").mkdir()
    (tmp_path / "scratch/a.jpg").write_bytes(b"one")
    (tmp_path / "scratch/b.jpg").write_bytes(b"another")
    check_apart(tmp_path)
    (tmp_path / "scratch/b.jpg").write_bytes(b"one")
    assert hash_bytes(tmp_path / "scratch/a.jpg") == hash_bytes(tmp_path / "scratch/b.jpg")
    with pytest.raises(SystemExit, match=r"1 times: .*a\.jpg and .*b\.jpg"):
        check_apart(tmp_path)
