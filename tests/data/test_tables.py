"""Tables: parquet, Arrow, and folders that `datasets` saved, read as the same rows in JSON are."""

import json
import random
from pathlib import Path
from typing import Any

import datasets
import pyarrow
import pyarrow.parquet
import pytest
from pyarrow import feather

from c3l.data.formats import read_llava
from c3l.data.sources import check_files, list_files
from c3l.data.tables import iterate_table
from c3l.errors import DataError

ROWS: list[dict[str, Any]] = [
    {"id": f"r{number}", "image": f"{number}.png", "conversations": [
        {"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": f"Thing {number}."}]}
    for number in range(150)
]  # fmt: skip


@pytest.fixture
def expected(tmp_path: Path) -> list[Any]:
    (tmp_path / "rows.json").write_text(json.dumps(ROWS))
    return list(read_llava(tmp_path / "rows.json"))


def write(path: Path, kind: str) -> Path:
    table = pyarrow.Table.from_pylist(ROWS)
    if kind == "parquet":
        pyarrow.parquet.write_table(table, path, row_group_size=40)
    elif kind == "feather":
        feather.write_feather(table, path)
    else:
        with pyarrow.ipc.new_stream(path, table.schema) as sink:
            sink.write_table(table, max_chunksize=40)
    return path


@pytest.mark.parametrize("kind", ["parquet", "feather", "stream"])
def test_a_table_is_read_as_its_rows_whatever_its_name(tmp_path: Path, expected: list[Any], kind: str) -> None:
    assert list(read_llava(write(tmp_path / "data.bin", kind))) == expected


@pytest.mark.parametrize("shards", [1, 3])
def test_a_folder_that_datasets_saved_is_its_files_in_order(tmp_path: Path, expected: list[Any], shards: int) -> None:
    datasets.Dataset.from_list(ROWS).save_to_disk(tmp_path / "saved", num_shards=shards)
    files = list_files([tmp_path / "saved"])
    check_files(files)
    assert len(files) == shards
    turns = [turn for file in files for turn in read_llava(file)]
    assert [(turn.id, turn.question, turn.answer) for turn in turns] == [
        (turn.id, turn.question, turn.answer) for turn in expected
    ]
    files[0].unlink()
    with pytest.raises(DataError, match=r"got the dataset .*saved without data-00000"):
        list_files([tmp_path / "saved"])


def test_of_one_large_group_only_what_is_read_is_held(tmp_path: Path) -> None:
    image, rows = 10_000, 3_000
    table = pyarrow.Table.from_pylist(
        [{"id": str(number), "image": random.Random(number).randbytes(image)} for number in range(rows)]
    )
    pyarrow.parquet.write_table(table, tmp_path / "data.parquet", row_group_size=rows, write_batch_size=64)
    del table
    before, held = pyarrow.total_allocated_bytes(), 0
    for number, row in enumerate(iterate_table(tmp_path / "data.parquet", "parquet")):
        held = max(held, pyarrow.total_allocated_bytes() - before)
        assert row["id"] == str(number)
    assert number == rows - 1
    assert held < rows * image / 4


def test_a_table_that_broke_off_is_one_line(tmp_path: Path) -> None:
    whole = write(tmp_path / "data.parquet", "parquet").read_bytes()
    (tmp_path / "data.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"cannot read .*data\.parquet: .*; is it whole"):
        list(read_llava(tmp_path / "data.parquet"))


def test_a_folder_of_others_and_a_state_of_others_are_told(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(DataError, match="which is a folder and holds no tar or parquet file; expected a file of JSON"):
        check_files(list_files([tmp_path / "mine"]))
    (tmp_path / "mine/state.json").write_text("[]")
    with pytest.raises(DataError, match="is not what `datasets` writes"):
        list_files([tmp_path / "mine"])


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001"], "several splits"),
        (["dev-0", "testmini-0"], "several splits"),
        (["validation-0", "test-0"], "several splits"),
        (["Train_0", "val_0"], "several splits"),
        (["finevision", "trl"], "several layouts"),
        (["trl", "trl_whole_pair"], "several layouts"),
        (["train-00000-of-00002", "train-00001-of-00002"], ""),
        (["0000", "0001"], ""),
        (["train-0", "more-0"], ""),
        (["testament-0", "train-0", "values-0", "device-0"], ""),
        (["data-test-0", "data-train-0"], ""),
        (["train-0", "training-1"], ""),
        (["trl"], ""),
    ],
)
def test_a_folder_of_several_splits_or_layouts_is_refused(tmp_path: Path, names: list[str], told: str) -> None:
    for name in names:
        (tmp_path / f"{name}.parquet").touch()
    if told:
        with pytest.raises(DataError, match=f"got --data .*which holds .*{told}.*; name"):
            list_files([tmp_path])
    else:
        assert len(list_files([tmp_path])) == len(names)
    assert list_files([tmp_path / f"{name}.parquet" for name in names])
