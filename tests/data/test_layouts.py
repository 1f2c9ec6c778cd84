"""Rows whose question and answer stand under keys of their own, as tools and tables have them."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from c3l.data.choices import ask_choice, has_unread_options
from c3l.data.formats import BadTurn, Turn, read_conversations, read_llava
from c3l.data.layouts import find_turns
from c3l.data.rejection import BadRowError
from c3l.data.turns import read_talk
from c3l.records import Rejected

ASK, TELL = "What is it?", "A cat."
ONE = [(ASK, TELL)]

ROWS: list[tuple[dict[str, Any], list[tuple[str, str]]]] = [
    ({"texts": [{"user": ASK, "assistant": TELL}, {"user": "Why?", "assistant": "So.", "source": "x"}]},
     [*ONE, ("Why?", "So.")]),
    ({"query": f"<image>{ASK}", "response": TELL}, ONE),
    ({"query": ASK, "response": TELL, "history": [["Who?", "I."]], "system": "Be kind."}, [("Who?", "I."), *ONE]),
    ({"query": ASK, "response": TELL, "history": "[['Who?', 'I.']]"}, [("Who?", "I."), *ONE]),
    ({"query": ASK, "response": TELL, "history": '[["Who?", "I."]]'}, [("Who?", "I."), *ONE]),
    ({"query": ASK, "response": TELL, "history": " [('Who?', 'I.')]"}, [("Who?", "I."), *ONE]),
    ({"query": ASK, "response": TELL, "history": "[]"}, ONE),
    ({"query": ASK, "response": TELL, "history": "[redacted] diabetes"}, ONE),
    ({"query": ASK, "response": TELL, "history": '["fever", "cough"]'}, ONE),
    ({"query": ASK, "response": TELL, "history": "[[Category:Rome]] is old"}, ONE),
    ({"query": ASK, "response": TELL, "history": "nan"}, ONE),
    ({"prompt": ASK, "completion": TELL}, ONE),
    ({"prompt": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": ASK}]}],
      "completion": [{"role": "assistant", "content": TELL}]}, ONE),
    ({"instruction": ASK, "input": "", "output": TELL}, ONE),
    ({"instruction": "Describe.", "input": "In short.", "output": TELL}, [("Describe.\nIn short.", TELL)]),
    ({"question": ASK, "answer": TELL, "history": None}, ONE),
]  # fmt: skip


@pytest.mark.parametrize(("row", "pairs"), ROWS)
def test_the_turns_of_each_layout_are_read(tmp_path: Path, row: dict[str, Any], pairs: list[tuple[str, str]]) -> None:
    (tmp_path / "data.json").write_text(json.dumps([{"id": 3, "image": "a.png", **row}]))
    turns = list(read_llava(tmp_path / "data.json"))
    assert all(isinstance(turn, Turn) for turn in turns)
    assert [(turn.question, turn.answer) for turn in turns] == pairs
    assert {(turn.id, turn.image, turn.system) for turn in turns if isinstance(turn, Turn)} == {
        (3, "a.png", row.get("system", ""))
    }
    [whole] = read_conversations(tmp_path / "data.json")
    assert not isinstance(whole, Rejected)
    assert list(whole.turns) == pairs


ASKED = "\nA. dog\nB. cat\nC. 7\nAnswer with the option's letter from the given choices directly."
THREE = ["dog", "cat", 7]


@pytest.mark.parametrize(
    ("row", "letter"),
    [
        ({"choices": THREE, "answer": 1}, "B"),
        ({"choices": THREE, "answer": 0}, "A"),
        ({"choices": THREE, "answer": 2.0}, "C"),
        ({"options": THREE, "answer": "1"}, "B"),
        ({"options": THREE, "answer": "c"}, "C"),
        ({"options": THREE, "answer": "(B)"}, "B"),
        ({"options": THREE, "answer": "B. cat"}, "B"),
        ({"options": THREE, "answer": "Cat"}, "B"),
        ({"options": THREE, "answer": 7}, "C"),
        ({"Options": str(THREE), "answer": "A"}, "A"),
        ({"choices": {"text": THREE, "label": ["A", "B", "C"]}, "answer": "B"}, "B"),
        ({"choices": {"A": "dog", "B": "cat", "C": "7"}, "answer": "B"}, "B"),
        ({"choices": ["A. dog", "B. cat", "C. 7"], "answer": "B"}, "B"),
        ({"A": "dog", "B": "cat", "C": "7", "D": "nan", "answer": "B"}, "B"),
        ({"choice_a": "dog", "choice_b": "cat", "choice_c": "7", "answer": "B"}, "B"),
        ({"choice a": "dog", "Choice B": "cat", "choiceC": "7", "answer": "B"}, "B"),
        ({"choice_a": "A:dog", "choice_b": "B: cat", "choice_c": "C:7", "answer": "cat"}, "B"),
        ({"option_1": "dog", "option_2": "cat", "option_3": "7", "option_4": None, "answer": "cat"}, "B"),
        ({"option1": "dog", "option2": "cat", "option3": "7", "answer": "2"}, "B"),  # by its number, as WinoGrande
        ({"option1": "dog", "option2": "cat", "option3": "7", "answer": 1}, "A"),
        ({"choice_0": "dog", "choice_1": "cat", "choice_2": "7", "answer": 1}, "B"),
        ({"options": {"a": "dog", "b": "cat", "c": "7", "d": None}, "answer": "b"}, "B"),
        ({"options": {"1": "dog", "2": "cat", "3": "7"}, "answer": "2"}, "B"),
        ({"options": {"0": "dog", "1": "cat", "2": "7"}, "answer": 1}, "B"),
        ({"options": {"B": "cat", "A": "dog", "C": "7"}, "answer": 1}, "B"),
        ({"options": '{"A": "dog", "B": "cat", "C": "7", "D": null}', "answer": "B"}, "B"),
        ({"options": "{'A': 'dog', 'B': 'cat', 'C': 7}", "answer": "B"}, "B"),
        ({"options": '["dog", "cat", "7", null]', "answer": 1}, "B"),
        ({"options": "A. dog\nB. cat\nC. 7", "answer": "B"}, "B"),
        ({"options": "A. dog, B. cat, C. 7", "answer": "cat"}, "B"),
        ({"choices": "(A) dog (B) cat (C) 7", "answer": 2}, "C"),
        ({"option": THREE, "answer": "B"}, "B"),
    ],
)
def test_the_options_of_a_table_stand_in_the_question(tmp_path: Path, row: dict[str, Any], letter: str) -> None:
    (tmp_path / "data.json").write_text(json.dumps([{"image": "a.png", "question": ASK, "hint": "Look.", **row}]))
    [turn] = read_llava(tmp_path / "data.json")
    assert (turn.question, turn.answer) == (f"Look.\n{ASK}{ASKED}", letter)


def test_options_that_a_question_has_already_are_not_repeated() -> None:
    question = f"{ASK}\n(A) dog\n(B) cat"
    found = find_turns({"question": question, "choices": ["dog", "cat"], "answer": 1})
    assert found is not None and [turn["content"] for turn in found] == [question, "B"]


def test_one_answer_in_a_list_is_that_answer() -> None:
    for row in ({"choices": THREE}, {"Choice A": "dog", "Choice B": "cat", "Choice C": "cow"}):
        for said in ("B", THREE[1]):
            assert find_turns({"question": ASK, **row, "answer": [said]}) == find_turns(
                {"question": ASK, **row, "answer": said}
            )


@pytest.mark.parametrize(("asked", "told"), [
    ("Which?\nA. red\nB.  -5", True), ("A (red) or B)  -5", True), ("A. red A: -5 B. red B: -5", True),
    ("Which?\nA. red\nB.   -5", False), ("DNA. red\nB. -5", False), ("Ared\nB. -5", False), ("A. -5\nB. red", False),
    ("A. red", False), ("red or -5?", False),
])  # fmt: skip
def test_an_option_is_in_a_question_right_behind_its_letter(asked: str, told: bool) -> None:
    assert has_unread_options({"choices": ["red", "-5"]}, asked) is not told


def test_options_of_many_rows_make_no_patterns_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    make = re._compiler.compile  # type: ignore[attr-defined]
    monkeypatch.setattr(re._compiler, "compile", lambda pattern, flags: made.append(pattern) or make(pattern, flags))  # type: ignore[attr-defined]
    for number in range(50):
        options = [f"The {thing} with number {number}" for thing in ("cat", "dog")]
        asked = f"Which?\nA. {options[0]}\nB. {options[1]}"
        assert not has_unread_options({"choices": options}, asked)
        assert ask_choice({"choices": options}, asked, 1) == (asked, "B")
    assert len(made) < 5


def test_options_that_are_ratios_keep_both_halves() -> None:
    found = find_turns({"question": ASK, "choices": ["A:B", "B:A"], "answer": 0})
    assert found is not None and "A. A:B\nB. B:A" in found[0]["content"]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"choices": THREE, "answer": 3}, "is none of"),
        ({"choices": THREE, "answer": "E"}, "is none of"),
        ({"choices": THREE, "answer": "8"}, "is none of"),
        ({"choices": ["B", "A"], "answer": "B"}, "could be several"),
        ({"choices": THREE, "answer": True}, "is none of"),
        ({"choices": THREE, "answer": None}, "is none of"),
        ({"choices": [1, 2, 3], "answer": 1}, "could be several"),
        ({"choices": ["dog", "dog"], "answer": "dog"}, "could be several"),
        ({"choices": ["dog", {"bytes": ""}], "answer": 0}, "expected text"),
        ({"option_1": "dog", "option_2": "cat", "answer": 0}, "is none of"),
        ({"option_1": "dog", "option_2": "cat", "answer": 3}, "is none of"),
    ],
)
def test_an_answer_that_names_no_option_is_a_reason(row: dict[str, Any], said: str) -> None:
    with pytest.raises(BadRowError, match=f"bad_choice: .*{said}"):
        find_turns({"question": ASK, **row})


BACTERIA = ["S. aureus", "E. coli", "B. cereus"]


@pytest.mark.parametrize(
    ("options", "answer", "written"),
    [
        ({"choices": BACTERIA}, "B. cereus", "C"),
        ({"choices": BACTERIA}, "E. coli.", "B"),
        ({"choices": BACTERIA}, 0, "A"),
        ({"choices": ["A. dog", "B. E. coli"]}, "E. coli", "B"),
        ({"choices": ["4", "2", "1", "3"]}, "2", "B"),
        ({"choices": ["4", "2", "1", "3"]}, 2, "C"),
        ({"choices": ["1", "2", "3"]}, 1, "B"),
        ({"choices": ["10", "20"]}, 20, "B"),
        ({"choices": ["dog", "cat", None, ""]}, "Dog.", "A"),
        ({"choices": ["dog", "cat"]}, "a dog", "A"),
        ({"choices": ["A dog", "A cat"]}, "the cat", "B"),
        ({"choices": ["-5", "5"]}, "-5", "A"),
        ({"choices": ["B", "A"]}, "dog", None),
        ({"A": "dog", "B": "cat", "C": "None", "D": None}, "None", "C"),
        ({"choices": THREE}, "It is a cat.", None),
        ({"choices": THREE}, "bird", None),
        ({"choices": THREE}, "C. cereus", None),
        ({"choices": ["dog"]}, "dog", None),
        ({"option": "B", "choices": 4}, "B", None),
        ({"option_1": "dog", "option_id": "7"}, "dog", None),
        ({"A": "dog", "choices": ["dog"], "options": ["cat"]}, "dog", None),
        ({"a": "dog", "b": "cat"}, "dog", None),
        ({"options": "A. vitamin C. B. cat"}, "B", None),
        ({"options": "A. Hepatitis B. B. Ebola"}, "B", None),
        ({"options": "A. B. C. D."}, "B", None),
        ({"options": "A. S. aureus\nB. E. coli"}, "E. coli", "B"),
        ({"choices": []}, "dog", None),
        ({"choices": [*map(str, range(30))]}, "dog", None),
    ],
)
def test_a_text_is_the_option_that_it_is_and_a_free_answer_stays(
    options: dict[str, Any], answer: Any, written: str | None
) -> None:
    found = find_turns({"question": ASK, "answer": answer, **options})
    assert found is not None and found[1]["content"] == (written or answer)
    assert (found[0]["content"] == ASK) is (written is None)


def test_an_option_keeps_the_letters_of_its_name() -> None:
    found = find_turns({"question": ASK, "choices": BACTERIA[::-1], "answer": 2})
    assert found is not None and "A. B. cereus\nB. E. coli\nC. S. aureus" in found[0]["content"]


@pytest.mark.parametrize(
    ("row", "question", "noted"),
    [
        ({"question": ASK, "answer": TELL, "context": "Here. "}, f"Here.\n{ASK}", ()),
        ({"question": ASK, "answer": TELL, "context": "nan", "hint": ""}, ASK, ()),
        ({"question": ASK, "answer": TELL, "context": ["Here."]}, ASK, ("without_context",)),
        ({"query": ASK, "response": TELL, "hint": "Here."}, ASK, ("without_context",)),
        ({"Query": ASK, "Response": TELL, "History": [["Who?", "I."]]}, "Who?", ()),
        ({"query": ASK, "response": TELL, "rejected": "A dog.", "chosen": TELL}, ASK, ("without_rejected",)),
        ({"question": ASK, "answer": "It is one.", "options": THREE}, ASK, ("without_options",)),
        ({"query": ASK, "response": TELL, "mask": "m.png"}, ASK, ("without_maps",)),
        *(
            ({"question": ASK, "answer": TELL, **held}, ASK, ("without_options",))
            for held in (
                {"options": "dog, cat"},
                {"options": "A. dog B. x A. y"},
                {"choices": {"x": "dog", "y": "cat"}},
                {"choice_x": "dog", "choice_y": "cat"},
                {"options": [*"abcdefghijklmnopqrstuvwxyz", "more"]},
                {"options": '{"x": "dog", "y": "cat"}'},
            )
        ),
        *(
            ({"question": ASK, "answer": TELL, **held}, ASK, ())
            for held in (
                {"options": None, "choices": "nan"},
                {"options": "[]"},
                {"options": "['dog']"},
                {"choices": 4},
                {"option": "B"},
                {"option_1": "dog"},
                {"choice_a": None, "choice_b": ""},
                {"options": ASK},
                {"choices": {"text": [], "label": []}},
                {"A": "dog"},
            )
        ),
    ],
)
def test_what_stands_beside_a_question_is_read_or_noted(
    tmp_path: Path, row: dict[str, Any], question: str, noted: tuple[str, ...]
) -> None:
    (tmp_path / "data.json").write_text(json.dumps([{"image": "a.png", **row}]))
    turn = next(read_llava(tmp_path / "data.json"))
    assert isinstance(turn, Turn) and (turn.question, turn.noted) == (question, noted)


def test_marks_of_a_pair_of_texts_are_read() -> None:
    row = {"texts": [{"user": ASK, "assistant": "A dog.", "loss": False}, {"user": ASK, "assistant": TELL}]}
    assert read_talk(row).taught == (False, True)


def test_one_row_alone_is_no_object_around_a_list(tmp_path: Path) -> None:
    (tmp_path / "data.jsonl").write_text(json.dumps({"texts": [{"user": ASK, "assistant": TELL}], "images": ["a.png"]}))
    [turn] = read_llava(tmp_path / "data.jsonl")
    assert (turn.question, turn.image) == (ASK, "a.png")


@pytest.mark.parametrize("history", [[["Who?"]], "[['Who?']]", "[{'Who?': 'I.'}]"])
def test_a_history_of_another_kind_is_told(tmp_path: Path, history: Any) -> None:
    row = {"query": ASK, "response": TELL, "history": history}
    with pytest.raises(BadRowError, match="bad_turns: got something else under"):
        find_turns(row)
    (tmp_path / "data.json").write_text(json.dumps([{"image": "a.png", **row}] * 2))
    turns = list(read_llava(tmp_path / "data.json"))
    assert [turn.reason for turn in turns if isinstance(turn, BadTurn)] == ["bad_turns"] * 2


def test_what_only_has_the_name_of_a_layout_hides_no_other() -> None:
    good = {"question": ASK, "answer": TELL}
    plain = [{"role": "user", "content": ASK}, {"role": "assistant", "content": TELL}]
    for more in ({"texts": ["STOP", "GO"]}, {"history": "diabetes"}, {"prompt": "p", "completion": ""}):
        assert find_turns({**more, **good}) == plain


def test_a_row_without_such_keys_has_no_turns() -> None:
    assert find_turns({"image": "a.png", "caption": "A cat."}) is None
    assert find_turns({"question": ASK}) is None
    assert find_turns({"question": ASK, "answer": None}) == find_turns({"question": ASK, "answer": ""})


def test_the_usual_turns_come_first(tmp_path: Path) -> None:
    row = {"image": "a.png", "question": "Other?", "answer": "Other.", "conversations": [
        {"from": "human", "value": ASK}, {"from": "gpt", "value": TELL}]}  # fmt: skip
    (tmp_path / "data.json").write_text(json.dumps([row]))
    [turn] = read_llava(tmp_path / "data.json")
    assert turn.question == ASK


LOST = [
    {"instruction": "Answer briefly.", "output": TELL},
    {"prompt": "You are kind.", "completion": TELL},
    {"query": "Answer.", "response": TELL, "answer": ""},
    {"prompt": [{"role": "user", "content": "Answer."}], "completion": TELL},
]
KEPT = [
    {"instruction": f"Answer briefly. {ASK}", "output": TELL},
    {"instruction": "Answer briefly.", "input": ASK, "output": TELL},
    {"query": f"<image>\n{ASK.upper()}", "response": TELL},
    {"prompt": [{"role": "user", "content": [{"type": "text", "text": ASK}]}], "completion": TELL},
    {"query": "Who?", "response": "I.", "answer": TELL},  # two pairs
    {"query": "Who?", "response": "I.", "answer": "I."},
    {"query": ASK.rstrip("?"), "response": TELL, "question": f"{ASK} <image>"},
    {"query": ASK, "response": TELL, "question": f"{ASK} Answer briefly."},
    {"query": "And its colour?", "response": TELL, "history": [[ASK, "A dog."]]},
    {"query": "Who?", "response": "I.", "question": "q17"},
    {"query": "Who?", "response": "I.", "question": None},
    {"query": "Who?", "response": "I.", "question": "nan"},
    {"query": "Who?", "response": "I.", "question": 7},
    {"query": "Who?", "response": "I.", "question": {"id": 7}},
]


@pytest.mark.parametrize("row", LOST)
def test_a_question_that_would_be_left_out_is_told(row: dict[str, Any]) -> None:
    with pytest.raises(BadRowError, match=f"bad_turns: the row has `question` beside `{next(iter(row))}`"):
        find_turns({"question": ASK, **row})


@pytest.mark.parametrize("row", KEPT)
def test_a_question_that_is_asked_or_of_another_pair_is_no_fault(row: dict[str, Any]) -> None:
    assert find_turns({"question": ASK, **row}) == find_turns({key: row[key] for key in row if key in row.keys() - {
        "question", "answer"}})  # fmt: skip


@pytest.mark.parametrize("gap", [None, "", float("nan")])
@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"question": "", "answer": TELL}, "empty_question"),
        ({"query": "", "response": TELL}, "empty_question"),
        ({"instruction": "", "output": TELL}, "empty_question"),
        ({"question": "", "answer": ""}, "empty_question"),
        ({"question": ASK, "answer": ""}, "empty_answer"),
        ({"prompt": ASK, "completion": ""}, "empty_answer"),
    ],
)
def test_gaps_of_tables_are_empty_texts(tmp_path: Path, row: dict[str, Any], reason: str, gap: Any) -> None:
    row = {key: value or gap for key, value in row.items()}
    (tmp_path / "data.json").write_text(json.dumps([{"image": "a.png", **row}]))
    [turn] = read_llava(tmp_path / "data.json")
    assert isinstance(turn, BadTurn) and turn.reason == reason
    full = {"question": ASK, "answer": TELL}
    assert find_turns({"query": gap, "response": gap, "prompt": gap, "completion": "x", **full}) == find_turns(full)
    assert find_turns({"query": ASK, "response": gap, **full}) == find_turns(full)


def test_a_gap_in_a_turn_is_none_of_its_texts() -> None:
    turns = [{"from": "human", "value": ASK, "content": float("nan")}, {"from": "gpt", "value": TELL}]
    assert read_talk({"conversations": turns}).pairs == ((ASK, TELL),)
    with pytest.raises(BadRowError, match="bad_turns: got the text of a turn as NoneType"):
        read_talk({"conversations": [turns[0], {"from": "gpt", "value": float("nan")}]})
