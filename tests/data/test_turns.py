"""What is said in a row, and which of it is to be learned, in the words of many tools."""

from typing import Any

import pytest

from c3l.data.flags import is_taught, read_row_mark
from c3l.data.rejection import BadRowError
from c3l.data.turns import Talk, read_talk

ASK, TELL = {"from": "human", "value": "What?"}, {"from": "gpt", "value": "A cat."}
TALK = Talk("", (("What?", "A cat."),), (True,))


def chat(question: Any, answer: Any = "A cat.", **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer, **more}]}


TEXT = {"type": "text", "text": "What?"}
SAME = [
    {"conversations": [ASK, TELL]},
    {"conversation": [ASK, TELL]},
    {"dialog": [ASK, TELL], "messages": None, "conversations": []},
    {"conversations": [ASK, TELL], **chat("What?")},
    chat("What?"),
    chat([TEXT], [{"type": "text", "text": "A cat."}]),
    chat(["What?"]),
    chat([{"text": "What?", "type": None}]),
    {"messages": [{"from": None, "role": "user", "value": None, "content": "What?"}, {**TELL, "role": "assistant"}]},
    {"conversations": [{"role": "USER:", "text": "What?"}, {"role": "Model", "value": "A cat."}]},
    {"conversations": [{"from": "Human", "value": "What?"}, {"from": "GPT-4", "value": "A cat."}]},
    {"system": " ", "system_prompt": None, "conversations": [ASK, TELL]},
    {"conversations": [{"from": "system", "value": ""}, ASK, TELL]},
]


@pytest.mark.parametrize("row", SAME)
def test_many_spellings_say_the_same(row: dict[str, Any]) -> None:
    assert read_talk(row) == TALK


@pytest.mark.parametrize(
    "row",
    [
        {"system": " Be kind. ", "conversations": [ASK, TELL]},
        {"system_prompt": "Be kind.", "conversations": [ASK, TELL]},
        {"conversations": [{"from": "system", "value": "Be kind."}, ASK, TELL]},
        {
            "system": "Be kind.",
            "messages": [{"role": "developer", "content": [{"type": "text", "text": "Be kind."}]}, ASK, TELL],
        },
    ],
)
def test_a_system_prompt_is_kept(row: dict[str, Any]) -> None:
    assert read_talk(row) == Talk("Be kind.", TALK.pairs, (True,))


def test_parts_of_pictures_become_placeholders_and_what_they_name() -> None:
    for part in ({"type": "image", "image": "a.png"}, {"type": "image_url", "image_url": {"url": "a.png"}}):
        talk = read_talk(chat([part, TEXT]))
        assert talk.pairs == (("<image>What?", "A cat."),) and len(talk.shown) == 1 and "a.png" in str(talk.shown)
    assert read_talk(chat([{"type": "image", "text": None, "index": 0}, TEXT])).shown == ({},)


BAD = [
    ({"ask": "What?", "response": "A cat.", "images": ["a.png"]}, "unknown_layout", "`ask`, `response`, `images`"),
    ({}, "unknown_layout", "no key"),
    ({"conversations": "[{}]"}, "bad_turns", "a str under `conversations`"),
    ({"conversations": [ASK, TELL], **chat("Who?")}, "bad_turns", "other turns under `messages`"),
    ({"conversations": [ASK, TELL, {"from": "system", "value": "x"}, ASK, TELL]}, "bad_turns", "in the middle"),
    ({"system": "a", "conversations": [{"from": "system", "value": "b"}, ASK, TELL]}, "bad_turns", "2 system prompts"),
    ({"system": 5, "conversations": [ASK, TELL]}, "bad_turns", "`system` that is a int"),
    (chat("What?", tool_calls=[{}]), "bad_turns", "calls a tool"),
    ({"messages": [ASK, {"role": "function_call", "content": "x"}]}, "bad_turns", "calls a tool"),
    ({"messages": [{**ASK, "role": "assistant"}, TELL]}, "bad_turns", "under from and another under role"),
    ({"messages": [{**ASK, "content": "Who?"}, TELL]}, "bad_turns", "under value and another under content"),
    (chat([{"type": "video", "video": "a.mp4"}, TEXT]), "other_medium", "a video"),
    (chat([{"type": "input_audio", "input_audio": {}}, TEXT]), "other_medium", "input_audio"),
    ({"messages": [{**ASK, "videos": ["a.mp4"]}, TELL]}, "other_medium", "`videos`"),
    (chat("What?", [{"type": "thinking", "thinking": "x"}]), "bad_turns", "'thinking'"),
    (chat("What?", ["A cat.", "A kitten."]), "bad_turns", "2 texts for one turn"),
    (chat("What?", train_detail=[{"begin_offset": 0}]), "bad_loss_flag", "`train_detail`"),
]


@pytest.mark.parametrize(("row", "reason", "told"), BAD)
def test_what_cannot_be_told_apart_is_refused_in_words(row: dict[str, Any], reason: str, told: str) -> None:
    with pytest.raises(BadRowError) as caught:
        read_talk(row)
    assert caught.value.reason == reason and told in caught.value.detail


@pytest.mark.parametrize(
    "key", "System systemPrompt system-message system_instruction developerMessage sys_prompt".split()
)
def test_a_system_prompt_is_read_under_neighbouring_names(key: str) -> None:
    assert read_talk({key: "Be kind.", "conversations": [ASK, TELL]}) == Talk("Be kind.", TALK.pairs, (True,))
    with pytest.raises(BadRowError, match="2 system prompts"):
        read_talk({key: "Be kind.", "system_message" if key == "system_prompt" else "system_prompt": "Be rude.",
                   "conversations": [ASK, TELL]})  # fmt: skip


@pytest.mark.parametrize("value", ["Acme", ["Acme"], 5])
def test_who_developed_something_is_no_system_prompt(value: Any) -> None:
    assert read_talk({"developer": value, "system": "Be kind.", "conversations": [ASK, TELL]}).system == "Be kind."


LEARN = ("loss", "weight", "loss_mask", "train", "train_on_turn", "trainable")


@pytest.mark.parametrize(
    ("mark", "taught"),
    [
        *(({key: value}, False) for key in LEARN for value in (False, 0, 0.0, "false", "False", "0", "no")),
        *(({key: value}, True) for key in ("loss", "weight", "train") for value in (True, 1, 1.0, "true", "1")),
        *(({key: True}, False) for key in ("mask", "label_mask", "masked", "ignore", "no_loss")),
        *(({key: False}, True) for key in ("mask", "label_mask", "masked", "ignore")),
        ({"masked": 1}, False), ({"loss": None}, None), ({"value": "x"}, None), ({"loss": True, "weight": 1}, True),
    ],
)  # fmt: skip
def test_marks_say_whether_a_turn_is_to_be_learned(mark: dict[str, Any], taught: bool | None) -> None:
    assert is_taught(mark) is taught
    if taught is False and "mask" not in mark and "label_mask" not in mark:
        assert read_row_mark(mark) == "untaught"


@pytest.mark.parametrize(
    "mark", [{"weight": 0.5}, {"weight": 2}, {"loss_mask": [0, 1]}, {"loss": "maybe"}, {"mask": 1}, {"mask": 0},
             {"loss": True, "weight": 0}, {"weight": float("nan")}],
)  # fmt: skip
def test_marks_that_cannot_be_held_are_refused(mark: dict[str, Any]) -> None:
    with pytest.raises(BadRowError, match="bad_loss_flag"):
        is_taught(mark)


def test_of_a_row_a_weight_is_told_and_a_word_is_no_mark() -> None:
    assert read_row_mark({"weight": 0.3}) == "row_weight"
    assert read_row_mark({"train": "coco", "weight": 1, "loss": None}) == ""
    with pytest.raises(BadRowError, match="bad_loss_flag"):
        read_row_mark({"loss_mask": [0, 1]})


def test_marked_turns_are_told_by_their_place() -> None:
    talk = read_talk({"conversations": [ASK, {**TELL, "loss": False}, {**ASK, "loss": True}, TELL]})
    assert (talk.taught, talk.questions_marked) == ((False, True), 1)


@pytest.mark.parametrize(
    "key",
    "train_on is_loss learnable should_train do_train requires_loss enable_loss to_learn is_supervised "
    "apply_loss in_loss add_loss loss_on weights train_this lossMask isTrain Loss-Weight".split(),
)
def test_marks_that_others_may_call_otherwise_are_read(key: str) -> None:
    assert (is_taught({key: True}), is_taught({key: False})) == (True, False)


@pytest.mark.parametrize("key", "no_train ignore_turn exclude_loss not_trained skip_training".split())
def test_marks_of_what_is_not_to_be_learned_are_read(key: str) -> None:
    assert (is_taught({key: True}), is_taught({key: False})) == (False, True)


@pytest.mark.parametrize(
    ("mark", "said"),
    [
        ({"label": False}, "untaught"), ({"kto_tag": False}, "untaught"), ({"kto_tag": "False"}, "untaught"),
        ({"KTO_tag": 0}, "untaught"), ({"desirable": False}, "untaught"), ({"isCorrect": False}, "untaught"),
        ({"label": True}, ""), ({"kto_tag": True}, ""), ({"label": 0}, ""), ({"label": "false"}, ""),
        ({"label": "cat"}, ""), ({"label": None}, ""), ({"label": [0]}, ""),
        ({"loss_mask": "0.0"}, "untaught"), ({"lossMask": 0}, "untaught"), ({"weights": 0.0}, "untaught"),
        ({"train_mask": True}, "untaught"), ({"train_mask": False}, ""), ({"mask": [0, 1]}, ""), ({"mask": 1}, ""),
    ],
)  # fmt: skip
def test_an_answer_that_is_to_be_unlearned_is_not_taught(mark: dict[str, Any], said: str) -> None:
    assert read_row_mark({"conversations": [], **mark}) == said
    if "label" in mark or "kto_tag" in mark:
        assert is_taught(mark) is (False if said else None)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"question": "Is it?", "answer": "no", "label": False}, ""),
        ({"query": "Is it?", "response": "no", "Label": False}, ""),
        ({"prompt": "Is it?", "completion": "no", "label": False}, "untaught"),
        ({"messages": [ASK, TELL], "label": False}, "untaught"),
        ({"weights": [0.2, 0.8]}, "row_weight"),
        ({"label_mask": "m.png"}, ""), ({"label_mask": ["m.png"]}, ""), ({"label_mask": {"bytes": b"x"}}, ""),
        ({"label_mask": "true"}, "untaught"),
    ],
)  # fmt: skip
def test_classes_weights_of_anything_and_masks_of_pixels_mark_no_answer(row: dict[str, Any], said: str) -> None:
    assert read_row_mark(row) == said


@pytest.mark.parametrize("key", ["train_mask", "labels_mask", "lossMask", "weights"])
def test_a_list_of_marks_of_a_row_is_refused(key: str) -> None:
    with pytest.raises(BadRowError, match="bad_loss_flag"):
        read_row_mark({key: [0]})


def test_other_words_mark_nothing() -> None:
    assert is_taught({"lossless": False, "trainer": 0, "notes": 1, "weights_of": 0, "without": True}) is None
