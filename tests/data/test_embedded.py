"""Images in the rows of a table: unpacked once each, and scored as if they had always been files."""

import io
import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from c3l.data.embedded import unpack_images
from c3l.data.formats import BadTurn, read_llava
from c3l.jobs.score import score_file
from c3l.progress import SilentProgress
from c3l.settings.load import load_config
from fakes import write_fake_model
from runs import Loader


def encode(number: int, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (20, 20), (number * 40, 9, 9)).save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Four rows about three images, as FineVision has them."""
    rows = [
        {"images": [{"bytes": encode(number % 3), "path": None}],
         "texts": [{"user": "What?", "assistant": f"Thing {number}."}]}
        for number in range(4)
    ]  # fmt: skip
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "data.parquet")
    return tmp_path / "data.parquet"


def test_each_image_becomes_one_file_by_its_content(tmp_path: Path) -> None:
    row: dict[str, Any] = {
        "id": 1,
        "image": {"bytes": encode(1), "path": "x/y.png"},
        "more": [{"bytes": encode(2, "JPEG")}],
    }
    found = unpack_images(row, tmp_path / "out")
    names = [found["image"]["path"], found["more"][0]["path"]]
    assert [name.rpartition(".")[2] for name in names] == ["png", "jpg"]
    assert (tmp_path / "out" / names[0]).read_bytes() == encode(1)
    assert unpack_images(row, tmp_path / "out") == found
    assert len(list((tmp_path / "out").iterdir())) == 2
    assert unpack_images({"image": {"bytes": b"", "path": "a.png"}}, tmp_path) == {
        "image": {"bytes": b"", "path": "a.png"}
    }


def test_the_names_that_images_had_do_not_count_beside_them(tmp_path: Path) -> None:
    named = {"image": {"bytes": encode(1), "path": "x.png"}, "file_name": "x.png"}
    for row in (named, {"image": encode(1), "image_id": "x"}):
        found = unpack_images({"id": 1, **row}, tmp_path)
        path = found["image"]["path"] if isinstance(found["image"], dict) else found["image"]
        assert found.keys() == {"id", "image"}
        assert (tmp_path / path).read_bytes() == encode(1)


def test_without_being_asked_nothing_is_unpacked_and_the_row_says_what_to_do(table: Path) -> None:
    turns = list(read_llava(table))
    assert {turn.reason for turn in turns if isinstance(turn, BadTurn)} == {"inline_image"}
    assert "images.unpack=true" in turns[0].detail  # type: ignore[union-attr]


def test_a_table_with_its_images_is_scored(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("C3L_CACHE", str(tmp_path / "cache"))
    write_fake_model(tmp_path / "model")
    config = load_config(
        None,
        [f"model.name={tmp_path / 'model'}", "model.dtype=float32", f"images.root={tmp_path / 'unpacked'}",
         "images.unpack=true", "scoring.no_image=drop", "scoring.form=log_ratio"],
    )  # fmt: skip
    summary = score_file([table], tmp_path / "out.jsonl", config, SilentProgress(), Loader())
    assert (summary["ok"], summary["rejected"]) == (4, {})
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["answer"] for row in rows] == [f"Thing {number}." for number in range(4)]
    assert rows[0]["image"] == rows[3]["image"] != rows[1]["image"]
    assert len(list((tmp_path / "unpacked").iterdir())) == 3
