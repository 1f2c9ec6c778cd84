"""Rows about several pictures: which of them a question shows, and what of it is text."""

import json
from pathlib import Path
from time import process_time
from typing import Any

import pytest

from c3l.data.embedded import unpack_images
from c3l.data.formats import BadTurn, Turn, read_conversations, read_llava
from c3l.data.media import find_images
from c3l.data.shown import without_placeholder
from c3l.records import Rejected

BOTH = ("a.png", "b.png")


def talk(*texts: str) -> list[dict[str, str]]:
    return [{"from": ("human", "gpt")[number % 2], "value": text} for number, text in enumerate(texts)]


def read(folder: Path, *rows: Any, unpack: Path | None = None) -> list[Turn | BadTurn]:
    (folder / "rows.json").write_text(json.dumps(rows))
    return list(read_llava(folder / "rows.json", unpack=unpack))


@pytest.mark.parametrize(
    ("row", "image", "question"),
    [
        (
            {"image": [*BOTH], "conversations": talk("<image>\n<image>\nWhich?", "It.")},
            BOTH,
            "<image>\n<image>\nWhich?",
        ),
        ({"images": [*BOTH], "conversations": talk(" Which? ", "It.")}, BOTH, "Which?"),
        ({"image_path": [*BOTH], "conversations": talk("Which?", "It.")}, BOTH, "Which?"),
        (
            {"images": ["a.png", "./a.png"], "conversations": talk("<image><image>", "It.")},
            ("a.png",) * 2,
            "<image>" * 2,
        ),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "image"},
                            {"type": "text", "text": " or "},
                            {"type": "image"},
                            {"type": "text", "text": "?"},
                        ],
                    },
                    {"role": "assistant", "content": "It."},
                ],
                "images": [{"path": "a.png"}, {"path": "b.png"}],
            },
            BOTH,
            "<image> or <image>?",
        ),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "image_url", "image_url": {"url": "a.png"}},
                            {"type": "image_url", "image_url": {"url": "b.png"}},
                        ],
                    },
                    {"role": "assistant", "content": "It."},
                ],
            },
            BOTH,
            "<image><image>",
        ),
    ],
)
def test_a_row_about_several_pictures_keeps_their_order_and_places(
    row: dict[str, Any], image: tuple[str, ...], question: str, tmp_path: Path
) -> None:
    assert read(tmp_path, row) == [Turn("row-0", 0, image, question, "It.", 0)]


def test_a_turn_is_about_the_pictures_that_were_shown_by_then(tmp_path: Path) -> None:
    said = talk("Hello!", "Hello.", "What is <image>?", "A cat.", "And <image>?", "A dog.", "Why?", "So.")
    first, *rest = read(tmp_path, {"images": [*BOTH], "conversations": said})
    assert isinstance(first, BadTurn) and (first.reason, first.image) == ("no_image", None)
    assert [(one.image, one.question) for one in rest] == [
        (BOTH[:1], "What is <image>?"),
        (BOTH, "And <image>?"),
        (BOTH, "Why?"),
    ]
    assert all(isinstance(one, Turn) and not one.fault and not one.noted for one in rest)
    assert isinstance(rest[1], Turn) and rest[1].earlier == (("Hello!", "Hello."), ("What is <image>?", "A cat."))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"conversations": talk("<image> Which?", "It.")}, "several_images"),
        ({"conversations": talk("<image><image> Which?", "It.", "<image>?", "No.")}, "several_images"),
        ({"image": "a.png", "conversations": talk("<image><image> Which?", "It.")}, "several_images"),
        ({"image_path": "c.png"}, "several_images"),
        ({"image": ["a.png", "../b.png"]}, "bad_path"),
        ({"image": ["a.png", {"bytes": "x"}]}, "inline_image"),
        ({"image": ["a.png", ["b.png"]]}, "bad_path"),
        ({"video": "v.mp4"}, "other_medium"),
        ({"conversations": talk("<image> or <image_2>?", "It.")}, "several_images"),
        ({"conversations": talk("<image> <image> or <image_2>?", "It.")}, "placeholder_in_text"),
        ({"conversations": talk("<<image>> <image> <image>?", "It.")}, "placeholder_in_text"),
        ({"conversations": talk("<image> <image>?", "It <image>.")}, "placeholder_in_text"),
        ({"conversations": talk("<image><image>", "It.", " ", "No.")}, "empty_question"),
    ],
)
def test_what_does_not_agree_or_cannot_be_shown_is_refused(change: dict[str, Any], reason: str, tmp_path: Path) -> None:
    row = {"image": [*BOTH], "conversations": talk("Which?", "It.")} | change
    judged = read(tmp_path, row)[-1]
    assert isinstance(judged, BadTurn) and judged.reason == reason


def test_parts_that_name_the_pictures_in_another_order_are_refused() -> None:
    assert find_images({"images": [*BOTH]}, ["x/a.png", "b.png"]) == BOTH
    assert find_images({"images": [*BOTH]}, [{}, {}]) == BOTH
    for shown in (["b.png", "a.png"], ["a.png"]):
        with pytest.raises(Exception, match="several_images"):
            find_images({"images": [*BOTH]}, shown)


def test_such_rows_are_not_taught(tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text(json.dumps([{"image": [*BOTH], "conversations": talk("Which?", "It.")}]))
    [rejected] = read_conversations(tmp_path / "rows.json")
    assert isinstance(rejected, Rejected) and rejected.reason == "several_images"


def test_pictures_that_lie_in_a_row_become_files_in_their_order(tmp_path: Path) -> None:
    held = {"images": [{"bytes": b"one", "path": "a.png"}, {"bytes": b"two", "path": None}], "file_name": "old.png"}
    paths = find_images(unpack_images(held, tmp_path))
    assert [(tmp_path / path).read_bytes() for path in paths] == [b"one", b"two"]


def test_white_space_goes_with_a_placeholder_and_stays_without() -> None:
    for text, expected in (
        ("<image>  \n <image> Which?", "Which?"),
        ("Is \n <image>\t<image> it?", "Is\n it?"),
        ("Is <image>it  <<image>> ?", "Is it  <<image>> ?"),
    ):
        assert without_placeholder(text) == expected


@pytest.mark.parametrize("blank", [" ", "\n", "\t", "\u3000", "\r\n"])
def test_a_padded_question_takes_no_longer_than_another(blank: str, tmp_path: Path) -> None:
    padded = f"<image>\nWhich{blank * 200_000}one?"  # in seconds, or with its square in many minutes
    began = process_time()
    [turn] = read(tmp_path, {"image": "a.png", "conversations": talk(padded, f"It{blank * 200_000}is.")})
    assert isinstance(turn, Turn) and turn.question == padded.removeprefix("<image>\n")
    assert process_time() - began < 5
