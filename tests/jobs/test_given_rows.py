"""Rows that a Python caller has in memory: what is wrong with one costs no other."""

from pathlib import Path
from typing import Any

import numpy
import pytest

from c3l.errors import DataError
from c3l.jobs.given_rows import open_given, read_given
from c3l.method.scoring import Context
from c3l.settings.schema import ImagesConfig
from tiny_models import make_picture

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


@pytest.mark.parametrize("path", [f"{HALF}.png", "a\0.png", "~a\0.png", "~$gone.png", "~nobody/a.png"])
def test_a_path_that_is_none_is_an_image_that_cannot_be_read(path: str) -> None:
    with pytest.raises(DataError, match="cannot read"):
        open_given(path, ImagesConfig())


def read_context(history: Any, **more: Any) -> Context:
    row = {"image": "a.png", "question": "What?", "answer": "Red.", "history": history, **more}
    found = read_given([row], ImagesConfig())
    return found.contexts[found.samples[0].sample_id]


def test_earlier_turns_are_pairs_or_dicts_of_any_chat() -> None:
    pairs = (("How many?", "Two."), ("Where?", "Here."))
    names = {"role": ("role", "content", "user", "assistant"), "from": ("from", "value", "human", "gpt")}
    for who, text, *roles in names.values():
        turns = [{who: role, text: said} for pair in pairs for role, said in zip(roles, pair, strict=True)]
        for history in (turns, tuple(turns), numpy.array(turns)):
            assert read_context(history).earlier == pairs
    assert read_context([{"question": question, "answer": answer} for question, answer in pairs]).earlier == pairs
    assert read_context({"question": "How many?", "answer": "Two."}).earlier == pairs[:1]
    system = [{"role": "system", "content": "Be brief."}, {"question": "How many?", "answer": "Two."}]
    assert read_context(system) == read_context(system[1:], system="Be brief.") == Context("Be brief.", pairs[:1])
    parts = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "How many?"}]}
    assert read_context([parts, {"role": "assistant", "content": "Two."}]).earlier == pairs[:1]


@pytest.mark.parametrize(
    "history",
    [
        [{"role": "user", "content": "How many?"}],
        [{"role": "assistant", "content": "Two."}, {"role": "user", "content": "How many?"}],
        [{"role": "narrator", "content": "Once."}, {"role": "assistant", "content": "Two."}],
        [{"a": "How many?", "b": "Two."}],
        [{"question": "How many?", "answer": None}],
        [["How many?", "Two."], {"question": "Where?", "answer": "Here."}],
        [{"How many?", "Two."}],
        [{"role": "system", "content": "Be long."}, {"question": "How many?", "answer": "Two."}],
        [{"role": "user", "content": "How many?", "image": "b.png"}, {"role": "assistant", "content": "Two."}],
    ],
)
def test_earlier_turns_that_are_none_are_told(history: Any) -> None:
    with pytest.raises(DataError, match=r"got row 0 with .* `history`"):
        read_context(history, system="Be brief.")


@pytest.mark.parametrize("choose", [lambda rows: rows[::-1], lambda rows: rows[[False, True, True]]])
def test_rows_of_a_series_keep_their_images_whatever_their_labels(choose: Any) -> None:
    pandas = pytest.importorskip("pandas")
    images = [make_picture(number) for number in range(3)]
    rows = choose(pandas.Series([{"image": image, "question": "What?", "answer": "Red."} for image in images]))
    read = read_given(rows, ImagesConfig())
    again = [read.images[sample.image_id]() for sample in read.samples]
    assert [image.tobytes() for image in again] == [row["image"].tobytes() for row in rows]


@pytest.mark.parametrize("key", ["question", "answer", "system"])
@pytest.mark.parametrize("several", [numpy.array(["Red."]), {"Red."}, frozenset(), ["Red."], b"Red.", iter(["Red."])])
def test_several_texts_are_no_text(key: str, several: Any) -> None:
    row = {"image": "a.png", "question": "What?", "answer": "Red.", key: several}
    with pytest.raises(DataError, match=f"got row 0 with {key} of type .*, expected a text"):
        read_given([row], ImagesConfig())


@pytest.mark.parametrize(("value", "text"), [(numpy.float64(0.5), "0.5"), (numpy.str_("Red."), "Red."), (True, "True"),
                                               (numpy.array("Red."), "Red."), (numpy.array(3), "3")])  # fmt: skip
def test_a_number_is_its_text(value: Any, text: str) -> None:
    row = {"image": "a.png", "question": "What?", "answer": value}
    assert read_given([row], ImagesConfig()).samples[0].answer == text


@pytest.mark.parametrize("nothing", [{}, [], (), set(), "", numpy.array([])])
def test_an_empty_history_is_none(nothing: Any) -> None:
    row = {"image": "a.png", "question": "What?", "answer": "Red.", "history": nothing}
    assert not read_given([row], ImagesConfig()).contexts


def test_a_name_that_begins_with_a_tilde_is_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    make_picture(1).save("~$a.png")
    for path in ("~$a.png", Path("~$a.png"), "~/~$a.png"):
        assert open_given(path, ImagesConfig()).tobytes() == make_picture(1).tobytes()
