"""Rows that a Python caller has in memory: what is wrong with one costs no other."""

from typing import Any

import pytest

from c3l.errors import DataError
from c3l.jobs.given_rows import open_given, read_given
from c3l.settings.schema import ImagesConfig

HALF = "half \ud83d"


@pytest.mark.parametrize(
    "row",
    [
        {"question": HALF},
        {"answer": HALF},
        {"system": HALF},
        {"history": [["What?", HALF]]},
        {"image": f"{HALF}.png"},
        {"image": ["a.png", f"{HALF}.png"], "question": "<image> or <image>?"},
    ],
)
def test_half_a_character_in_a_row_is_its_own_fault(row: dict[str, Any]) -> None:
    plain = {"image": "a.png", "question": "What?", "answer": "Red."}
    read = read_given([plain, {**plain, **row}, plain], ImagesConfig())
    faults = [fault for _, fault in read.rows]
    assert faults[0] == faults[2] == ""
    assert faults[1].startswith("bad_text: the ") and "half a character" in faults[1]
    assert len({sample.sample_id for sample, _ in read.rows}) == 3


@pytest.mark.parametrize("path", [f"{HALF}.png", "a\0.png"])
def test_a_path_that_is_none_is_an_image_that_cannot_be_read(path: str) -> None:
    with pytest.raises(DataError, match="cannot read"):
        open_given(path, ImagesConfig())
