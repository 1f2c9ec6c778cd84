"""Columns with names of their own: named by a setting, and then read as if they had the usual ones."""

import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from c3l.data.formats import Turn, read_llava
from c3l.data.recognise import recognise
from c3l.errors import ConfigError, DataError
from c3l.settings.load import load_config

ROW: dict[str, Any] = {"q_en": "What?", "a_en": "A cat.", "shot": "a.png", "nr": 7, "image_path": "thumbs/b.png",
                       "question": "Other?", "answer": "Other.", "images": ["b.png"], "conversations": [
                           {"from": "human", "value": "Third?"}, {"from": "gpt", "value": "Third."}]}  # fmt: skip
NAMED = {"id": "nr", "image": "shot", "question": "q_en", "answer": "a_en"}


def write(folder: Path, kind: str, rows: list[dict[str, Any]]) -> Path:
    path = folder / f"data.{kind}"
    if kind == "json":
        path.write_text(json.dumps(rows))
    else:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


@pytest.mark.parametrize("kind", ["json", "parquet"])
@pytest.mark.parametrize("count", [1, 3])
def test_named_columns_are_read_and_no_other_in_their_place(tmp_path: Path, kind: str, count: int) -> None:
    path = write(tmp_path, kind, [ROW] * count)
    turns = list(read_llava(path, columns=NAMED))
    assert [(turn.id, turn.image, turn.question, turn.answer) for turn in turns] == [
        (7, "a.png", "What?", "A cat.")
    ] * count
    assert recognise([path], NAMED) == "data: layout `question` and `answer`, columns by --columns"


def test_answers_alone_are_captions_and_turns_may_have_any_name(tmp_path: Path) -> None:
    path = write(tmp_path, "json", [{**ROW, "talk": [{"role": "user", "content": "Who?"},
                                                     {"role": "assistant", "content": "I."}]}])  # fmt: skip
    [caption] = read_llava(path, columns={"image": "shot", "answer": "a_en"})
    assert isinstance(caption, Turn)
    assert (caption.question, caption.answer) == ("", "A cat.")
    [turn] = read_llava(path, columns={"image": "shot", "turns": "talk"})
    assert (turn.question, turn.answer) == ("Who?", "I.")


@pytest.mark.parametrize("asked", ["question", "Question", "query"])
def test_answers_alone_of_rows_with_a_question_are_refused(tmp_path: Path, asked: str) -> None:
    path = write(tmp_path, "json", [{"image": "a.png", asked: "What?", "a_en": "A cat."}] * 2)
    with pytest.raises(DataError, match=rf"but its rows have '{asked}'; name it too \(question={asked}\)"):
        recognise([path], {"answer": "a_en"})
    assert recognise([path], {"answer": "a_en", "question": asked}).endswith("columns by --columns")


@pytest.mark.parametrize(
    "row", [{}, {"question": ""}, {"question": None}, {"prompt": "a cat, 4k"}, {"question_id": 7, "title": "What?"}]
)
def test_captions_of_rows_without_a_question_are_read(tmp_path: Path, row: dict[str, Any]) -> None:
    path = write(tmp_path, "json", [{"image": "a.png", "a_en": "A cat.", **row}] * 2)
    assert recognise([path], {"answer": "a_en"}).endswith("columns by --columns")
    assert recognise([write(tmp_path, "json", [{"image": "a.png", "prompt": "A cat."}])], {"answer": "prompt"})


TALK = [{"from": "human", "value": "What?"}, {"from": "gpt", "value": "A cat."}]


@pytest.mark.parametrize(
    "row",
    [
        {"conversations": TALK, "Dialog": ["x"]},
        {"conversations": TALK, "Messages": [{"from": "human", "value": "Other?"}]},
        {"Conversations": TALK, "dialog": []},
        {"question": "What?", "answer": "A cat.", "Instruction": "Other?", "Output": "Other."},
        {"Question": "What?", "Answer": "A cat.", "Dialog": ["x"]},
        {"Question": "What?", "answer": "A cat."},
    ],
)
def test_a_name_in_another_case_is_read_where_the_row_says_nothing_else(tmp_path: Path, row: dict[str, Any]) -> None:
    [turn] = read_llava(write(tmp_path, "json", [{"image": "a.png", **row}]))
    assert isinstance(turn, Turn) and (turn.question, turn.answer) == ("What?", "A cat.")


def test_what_goes_with_a_question_is_read_in_any_case(tmp_path: Path) -> None:
    row = {"image": "a.png", "instruction": "What?", "output": "A cat.", "Input": "In short."}
    [turn] = read_llava(write(tmp_path, "json", [row]))
    assert turn.question == "What?\nIn short."


def test_columns_that_no_row_has_are_refused_with_those_that_were_seen(tmp_path: Path) -> None:
    path = write(tmp_path, "json", [ROW, {"more": 1}])
    with pytest.raises(DataError, match=r"got --columns with 'q_de', but its rows have `q_en`, .*`more`"):
        recognise([path], {**NAMED, "question": "q_de"})


def test_columns_are_one_text_or_a_section(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("columns: {question: q_en, answer: a_en}\n")
    written = load_config(tmp_path / "mine.yaml")
    typed = load_config(None, ["columns=question=q_en, answer=a_en"])
    single = load_config(None, ["columns.question=q_en", "columns.answer=a_en"])
    assert written.columns == typed.columns == single.columns
    assert written.columns.named == {"question": "q_en", "answer": "a_en"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("question=q", "a column of questions needs one of answers"),
        ("answer=a,turns=t", "turns and of answers, expected one of them"),
        ("answer", "expected such as question=q_en"),
        ("answer=a,answer=b", "expected each name once"),
        ("answers=a", "unknown key 'columns.answers', did you mean 'answer'"),
    ],
)
def test_columns_that_make_no_sense_are_refused(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        load_config(None, [f"columns={text}"])
