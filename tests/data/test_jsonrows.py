"""Rows that are too long are passed over, wherever they stand; the others come as they are."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from c3l.data import jsonrows
from c3l.data.formats import BadTurn, Turn, read_llava
from c3l.data.jsonrows import iterate_rows
from c3l.data.rejection import BadRow
from c3l.errors import DataError

LONG = {"long": 'x"\\[,]{}\u00e9' * 30, "nested": [[{"a": "]"}]] * 5}
ROW = {"id": 1, "image": "a.png", "conversations": [{"from": "human", "value": "W"}, {"from": "gpt", "value": "A"}]}


@pytest.fixture(params=[1, 7, 64, 2**20])
def short(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonrows, "MAX_ROW", 200)
    monkeypatch.setattr(jsonrows, "_BLOCK", request.param)


def read(path: Path, rows: list[Any], *, lines: bool) -> list[Any]:
    path.write_text("\n".join(map(json.dumps, rows)) if lines else json.dumps(rows))
    return [one.reason if isinstance(one, BadRow) else one for one in iterate_rows(path)]


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("rows", [[{}, LONG, {"b": 2}], [LONG, {}], [{}, LONG], [LONG, LONG, 5, LONG, "x"]])
def test_a_long_line_is_one_rejection(rows: list[Any], tmp_path: Path) -> None:
    expected = ["row_too_long" if row is LONG else row for row in rows]
    assert read(tmp_path / "x.jsonl", rows, lines=True) == expected


@pytest.mark.parametrize("block", [1, 7, 64, 200])
@pytest.mark.parametrize("rows", [[{}, LONG, {"b": 2}], [LONG, {}], [{}, LONG], [LONG, LONG, 5, LONG, "x"]])
def test_a_long_item_of_a_list_is_one_rejection(
    rows: list[Any], block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jsonrows, "MAX_ROW", 100)
    monkeypatch.setattr(jsonrows, "_BLOCK", block)
    expected = ["row_too_long" if row is LONG else row for row in rows]
    assert read(tmp_path / "x.json", rows, lines=False) == expected


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(
        st.recursive(
            st.text('x"\\[]{},é', max_size=60) | st.integers() | st.none(),
            lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text('a"\\', max_size=2), inner, max_size=6),
        ),
        max_size=5,
    ),
    block=st.integers(1, 40),
    plain=st.booleans(),
)
def test_whatever_is_too_long_the_others_are_read(
    rows: list[Any], block: int, plain: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("rows") / "x.json"
    path.write_text(json.dumps(rows, ensure_ascii=plain), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jsonrows, "MAX_ROW", 30)
        patch.setattr(jsonrows, "_BLOCK", block)
        found = list(iterate_rows(path))
    assert len(found) == len(rows)
    for one, row in zip(found, rows, strict=True):
        if isinstance(one, BadRow):
            assert one.reason == "row_too_long" and len(json.dumps(row, ensure_ascii=plain)) > 30
        else:
            assert one == row


@pytest.mark.usefixtures("short")
def test_an_item_that_is_no_json_is_an_error_and_not_too_long(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("[{}, {bad}, " + json.dumps(LONG) + ", {}]")
    with pytest.raises(DataError, match="not JSON: Expecting property name"):
        list(iterate_rows(tmp_path / "x.json"))


@pytest.mark.usefixtures("short")
def test_a_row_too_long_is_told_by_its_number_and_the_others_are_read(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text("\n".join(json.dumps(row) for row in (ROW, {**ROW, **LONG}, ROW)))
    first, long, last = read_llava(tmp_path / "x.jsonl")
    assert isinstance(first, Turn) and isinstance(last, Turn) and isinstance(long, BadTurn)
    assert (long.id, long.reason, long.detail) == (
        "row-1", "row_too_long", "line 2 with text has more than 200 characters",
    )  # fmt: skip
