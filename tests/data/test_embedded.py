"""Images in the rows of a table: unpacked once each, and scored as if they had always been files."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from c3l.data.embedded import unpack_images
from c3l.data.formats import BadTurn, read_conversations, read_llava
from c3l.jobs.score import score_file
from c3l.progress import SilentProgress
from c3l.records import Rejected
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


def test_the_disk_is_not_waited_for_and_what_it_lost_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[int] = []
    monkeypatch.setattr("os.fsync", waited.append)
    row = {"image": {"bytes": encode(1)}}
    file = tmp_path / unpack_images(row, tmp_path)["image"]["path"]
    assert not waited
    for left in (b"", encode(1)[:100]):
        file.write_bytes(left)
        assert unpack_images(row, tmp_path)["image"]["path"] == file.name
        assert file.read_bytes() == encode(1)


def test_a_row_that_is_nested_too_deeply_to_be_looked_through_comes_back(tmp_path: Path) -> None:
    deep: Any = "x"
    for _ in range(5000):
        deep = [deep]
    row = {"image": {"bytes": encode(1)}, "meta": deep}
    assert unpack_images(row, tmp_path) is row


def test_the_names_that_images_had_do_not_count_beside_them(tmp_path: Path) -> None:
    named = {"image": {"bytes": encode(1), "path": "x.png"}, "file_name": "x.png"}
    for row in (named, {"image": encode(1), "image_id": "x"}):
        found = unpack_images({"id": 1, **row}, tmp_path)
        path = found["image"]["path"] if isinstance(found["image"], dict) else found["image"]
        assert found.keys() == {"id", "image"}
        assert (tmp_path / path).read_bytes() == encode(1)


PNG64 = base64.b64encode(encode(1)).decode()


@pytest.mark.parametrize(
    "held",
    [
        {"image": f"data:image/png;base64,{PNG64}"},
        {"image": PNG64},
        {"image": [PNG64]},
        {"images": [encode(1)]},
        {"image": {"data": PNG64}},
        {"image": {"bytes": PNG64, "path": "x.png"}},
        {"messages": [{"role": "user", "content": [
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG64}"}},
            {"type": "text", "text": "What?"}]}, {"role": "assistant", "content": "A dog."}]},
    ],
)  # fmt: skip
def test_images_as_text_and_in_lists_are_unpacked_too(held: dict[str, Any], tmp_path: Path) -> None:
    said = {} if "messages" in held else {"question": "What?", "answer": "A dog."}
    plain = {**held, **said}
    if any(isinstance(part, bytes) for value in held.values() if isinstance(value, list) for part in value):
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist([plain]), tmp_path / "data.parquet")
        path = tmp_path / "data.parquet"
    else:
        path = tmp_path / "data.json"
        path.write_text(json.dumps([plain]))
    [bad] = read_llava(path)
    assert isinstance(bad, BadTurn) and bad.reason == "inline_image"
    [turn] = read_llava(path, unpack=tmp_path / "out")
    assert (turn.question, turn.answer) == ("What?", "A dog.")
    assert isinstance(turn.image, str) and (tmp_path / "out" / turn.image).read_bytes() == encode(1)


def test_texts_that_are_no_images_stay(tmp_path: Path) -> None:
    row = {"image": "a" * 200, "question": "data: what?", "answer": PNG64, "data": "b" * 200}
    assert unpack_images(row, tmp_path) == row
    assert not list(tmp_path.iterdir())


def test_a_row_with_bytes_is_not_about_another_file_of_its_old_name(tmp_path: Path) -> None:
    rows = [{"image": {"bytes": encode(1), "path": "x.png"}, "question": "What?", "answer": "A dog."}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "data.parquet")
    [turn] = read_llava(tmp_path / "data.parquet")
    assert isinstance(turn, BadTurn) and turn.reason == "inline_image"


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
    without = config.model_copy(update={"images": config.images.model_copy(update={"unpack": False})})
    (tmp_path / "unpacked").mkdir()
    first = score_file([table], tmp_path / "out.jsonl", without, SilentProgress(), Loader())
    assert first["rejected"] == {"inline_image": 4}
    summary = score_file([table], tmp_path / "out.jsonl", config, SilentProgress(), Loader())
    assert (summary["ok"], summary["rejected"]) == (4, {})
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["answer"] for row in rows] == [f"Thing {number}." for number in range(4)]
    assert rows[0]["image"] == rows[3]["image"] != rows[1]["image"]
    assert len(list((tmp_path / "unpacked").iterdir())) == 3


@pytest.mark.parametrize("held", [encode(1), {"bytes": encode(1), "path": None}, [{"bytes": encode(1), "path": None}]])
def test_an_image_under_a_key_that_is_not_read_makes_no_row_of_text(tmp_path: Path, held: Any) -> None:
    rows = [{"screenshot": held, "question": "What?", "answer": "A dog."}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "data.parquet")
    for unpack in (None, tmp_path / "out"):
        [turn] = read_llava(tmp_path / "data.parquet", unpack=unpack)
        assert isinstance(turn, BadTurn) and turn.reason == "no_image" and "`screenshot`" in turn.detail
        [row] = read_conversations(tmp_path / "data.parquet", unpack=unpack)
        assert isinstance(row, Rejected) and row.reason == "no_image"


@pytest.mark.parametrize("held", [{"base64": PNG64}, {"b64": PNG64}, {"data": PNG64}, {"bytes": encode(1)}])
def test_a_row_with_a_column_of_such_a_name_is_no_image_itself(tmp_path: Path, held: dict[str, Any]) -> None:
    row = {"id": 7, "image": {"path": "a.png"}, "question": "What?", "answer": "A dog.", **held}
    found = unpack_images(row, tmp_path)
    assert {key: found[key] for key in row if key not in held} == {key: row[key] for key in row if key not in held}
    assert unpack_images({"data": {"bytes": encode(1)}}, tmp_path)["data"].keys() == {"path"}
