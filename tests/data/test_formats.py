"""Reading what others wrote: every row becomes turns or a rejection, whatever it looks like."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from c3l.data import jsonrows
from c3l.data.formats import BadTurn, Turn, read_conversations, read_llava
from c3l.errors import DataError

QA = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A cat."}]
ROW: dict[str, Any] = {"id": "a", "image": "x/1.jpg", "conversations": QA}


def talk(*texts: str) -> list[dict[str, str]]:
    return [{"from": ("human", "gpt")[number % 2], "value": text} for number, text in enumerate(texts)]


def read(path: Path, rows: Any) -> list[Turn | BadTurn]:
    path.write_text(json.dumps(rows))
    return list(read_llava(path))


@pytest.mark.parametrize(
    "change",
    [
        {"\ud800": "x.mp4", "image": None},
        {"conversations": None, "\ud800": 1},
        {"conversations": [{"from": "\ud800", "value": "q"}]},
        {"conversations": [{"role": "user", "content": [{"\ud800": 1}]}]},
        {"messages": "\ud800", "conversations": None},
        {"image": {"path": {"\ud800": 1}}},
    ],
)
def test_half_a_character_anywhere_in_a_row_is_a_reason_that_can_be_written(
    change: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "rows.json"
    for bad in (read(path, [{**ROW, **change}])[0], next(read_conversations(path, "file"))):
        assert bad.reason and json.dumps(bad.detail, ensure_ascii=False).encode()  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("name", "encode"),
    [
        ("list.json", lambda rows: json.dumps(rows).encode()),
        ("indented.json", lambda rows: json.dumps(rows, indent=2).encode()),
        ("lines.jsonl", lambda rows: "\n".join(map(json.dumps, rows)).encode()),
        ("lines_named.json", lambda rows: "\r\n\r\n".join(map(json.dumps, rows)).encode() + b"\r\n"),
        ("bom.json", lambda rows: b"\xef\xbb\xbf" + json.dumps(rows).encode()),
        ("bom.jsonl", lambda rows: b"\xef\xbb\xbf" + "\n".join(map(json.dumps, rows)).encode()),
        ("list.json.gz", lambda rows: gzip.compress(json.dumps(rows).encode())),
        ("lines.jsonl.gz", lambda rows: gzip.compress("\n".join(map(json.dumps, rows)).encode())),
        (
            "lines.jsonl.zst",
            lambda rows: pyarrow.compress("\n".join(map(json.dumps, rows)).encode(), "zstd", True),
        ),
    ],
)
@pytest.mark.parametrize("block", [1, 7, 2**20])
def test_every_container_gives_the_same_turns(
    name: str, encode: Any, block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jsonrows, "_BLOCK", block)
    (tmp_path / name).write_bytes(encode([ROW, {**ROW, "id": 7, "conversations": talk("Où\u2028?", "[{,]} 1\n2")}]))
    assert list(read_llava(tmp_path / name)) == [
        Turn("a", 0, "x/1.jpg", "What?", "A cat.", 0),
        Turn(7, 0, "x/1.jpg", "Où\u2028?", "[{,]} 1\n2", 1),
    ]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"id": 0}, Turn(0, 0, "x/1.jpg", "What?", "A cat.", 0)),
        ({"id": 12}, Turn(12, 0, "x/1.jpg", "What?", "A cat.", 0)),
        ({"id": " a "}, Turn("a", 0, "x/1.jpg", "What?", "A cat.", 0)),
        ({"id": None}, Turn("row-0", 0, "x/1.jpg", "What?", "A cat.", 0)),
        ({"image": ["x/1.jpg"]}, Turn("a", 0, "x/1.jpg", "What?", "A cat.", 0)),
        ({"image": "x\\y\\1.jpg"}, Turn("a", 0, "x/y/1.jpg", "What?", "A cat.", 0)),
        ({"image": " ./x//1.jpg\n"}, Turn("a", 0, "x/1.jpg", "What?", "A cat.", 0)),
        ({"model": "gpt4", "extra": {"deep": [1]}}, Turn("a", 0, "x/1.jpg", "What?", "A cat.", 0)),
        ({"conversations": talk("What?\n<image>", "A cat.")}, Turn("a", 0, "x/1.jpg", "What?", "A cat.", 0)),
        ({"conversations": talk("Is <image> odd?", "No.")}, Turn("a", 0, "x/1.jpg", "Is odd?", "No.", 0)),
        ({"conversations": talk("A:\n<image>\nB?", "No.")}, Turn("a", 0, "x/1.jpg", "A:\nB?", "No.", 0)),
        (
            {"conversations": talk("  What? ", "\n A  cat. \n")},
            Turn("a", 0, "x/1.jpg", "What?", "A  cat.", 0),
        ),
        (
            {"conversations": [{"from": "system", "value": "Be kind."}, *QA]},
            Turn("a", 0, "x/1.jpg", "What?", "A cat.", 0, system="Be kind."),
        ),
        ({"id": 12.0}, Turn(12, 0, "x/1.jpg", "What?", "A cat.", 0)),
        ({"conversations": talk("<image>\n", "A cat.")}, Turn("a", 0, "x/1.jpg", "", "A cat.", 0)),
        ({"system_prompt": " Be kind. "}, Turn("a", 0, "x/1.jpg", "What?", "A cat.", 0, system="Be kind.")),
    ],
)
def test_variants_of_a_row_are_understood(change: dict[str, Any], expected: Turn, tmp_path: Path) -> None:
    assert read(tmp_path / "x.json", [{**ROW, **change}]) == [expected]


def test_a_picture_that_a_later_question_shows_is_told_to_stand_first(tmp_path: Path) -> None:
    row = {**ROW, "conversations": [*talk("Hello!", "Hello."), *talk("<image>\nWhat?", "A cat.")]}
    assert [turn.noted for turn in read(tmp_path / "x.json", [row])] == [("image_first",)] * 2
    assert read(tmp_path / "y.json", [ROW])[0].noted == ()


def test_messages_and_images_of_other_tools_are_understood(tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "<image>What?"}, {"role": "assistant", "content": "A cat."}]
    rows = [{"messages": messages, "images": ["x/1.jpg"]}]
    assert read(tmp_path / "x.json", rows) == [Turn("row-0", 0, "x/1.jpg", "What?", "A cat.", 0)]
    unified = [{**rows[0], "image": None, "conversations": None}]  # as a table of both layouts is written
    assert read(tmp_path / "x.json", unified) == read(tmp_path / "x.json", rows)


def test_each_question_of_a_row_is_a_turn_of_its_own(tmp_path: Path) -> None:
    row = {
        **ROW,
        "conversations": talk("<image>\nWhat?", "A cat.", "", "Yes.", "And?", " ", "Where?", "Here."),
    }
    first, no_question, no_answer, last = read(tmp_path / "x.json", [row])
    assert first == Turn("a", 0, "x/1.jpg", "What?", "A cat.", 0)
    said = ("What?", "A cat."), ("", "Yes."), ("And?", "")
    fault = "turn 1, before it, cannot be used (empty_question: the question has no text)"
    assert last == Turn("a", 3, "x/1.jpg", "Where?", "Here.", 0, earlier=said, fault=fault)
    assert no_question == BadTurn("a", 1, "x/1.jpg", "", "Yes.", 0, "empty_question", "the question has no text")
    assert no_answer == BadTurn("a", 2, "x/1.jpg", "And?", "", 0, "empty_answer", "the answer has no text")


@pytest.mark.parametrize(
    ("change", "reason", "image"),
    [
        ({"id": 1.5}, "bad_id", "x/1.jpg"),
        ({"image": None}, "no_image", None),
        ({"image": ["a.jpg", "b.jpg"]}, "several_images", None),
        ({"image": "../secret.png"}, "bad_path", "../secret.png"),
        ({"image": "half \ud83d"}, "bad_path", None),
    ],
)
def test_every_turn_of_a_bad_row_is_rejected_with_what_is_known_of_it(
    change: dict[str, Any], reason: str, image: str | None, tmp_path: Path
) -> None:
    row = {**ROW, "conversations": talk("<image>\nWhat?", "A cat.", "And?", "half \ud83d")} | change
    first, second = read(tmp_path / "x.json", [row])
    assert isinstance(first, BadTurn) and isinstance(second, BadTurn)
    assert (first.turn, first.image, first.question, first.answer) == (0, image, "What?", "A cat.")
    assert (second.turn, second.image, second.question, second.answer) == (1, image, "And?", None)
    assert first.reason == second.reason == reason


def test_a_row_whose_turns_cannot_be_told_apart_is_one_rejection(tmp_path: Path) -> None:
    (bad,) = read(tmp_path / "x.json", [{**ROW, "id": 5, "conversations": [*QA, *QA[:1]]}])
    detail = "got user, assistant, user, expected user, assistant, user, assistant and so on"
    assert bad == BadTurn(5, None, "x/1.jpg", None, None, 0, "bad_turns", detail)


def test_ids_of_whole_conversations_are_text(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(json.dumps([{**ROW, "id": 5}, {**ROW, "id": 6, "image": "../x.png"}]))
    good, bad = read_conversations(tmp_path / "x.json")
    assert (good.id, bad.id) == ("5", "6")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"image": None}, "no_image"),
        ({"image": ""}, "no_image"),
        ({"image": []}, "no_image"),
        ({"image": ["a.jpg", "b.jpg"]}, "several_images"),
        ({"image": 5}, "bad_path"),
        ({"image": {"bytes": "x"}}, "inline_image"),
        ({"image": "../../etc/passwd"}, "bad_path"),
        ({"image": "C:\\secret.png"}, "bad_path"),
        ({"image": "https://example.org/x.png"}, "bad_path"),
        ({"id": 1.5}, "bad_id"),
        ({"id": True}, "bad_id"),
        ({"id": ["a"]}, "bad_id"),
        ({"conversations": None}, "unknown_layout"),
        ({"conversations": []}, "bad_turns"),
        ({"conversations": {"from": "human"}}, "bad_turns"),
        ({"conversations": ["What?", "A cat."]}, "bad_turns"),
        ({"conversations": talk("What?")}, "bad_turns"),
        ({"conversations": QA[::-1]}, "bad_turns"),
        ({"conversations": [*QA, *QA[:1]]}, "bad_turns"),
        ({"conversations": [{"from": "system", "value": "Be kind."}]}, "bad_turns"),
        ({"conversations": [{"from": "narrator", "value": "x"}, QA[1]]}, "bad_turns"),
        ({"conversations": [{"from": "human"}, QA[1]]}, "bad_turns"),
        ({"conversations": [{"from": "human", "value": [5]}, QA[1]]}, "bad_turns"),
        ({"conversations": talk("", "A cat.")}, "empty_question"),
        ({"conversations": talk("What?", "")}, "empty_answer"),
        ({"conversations": talk("What?", "See <image>.")}, "placeholder_in_text"),
        ({"conversations": talk("What <video>?", "A cat.")}, "placeholder_in_text"),
        ({"conversations": talk("What?", "half \ud83d")}, "bad_text"),
        ({"id": "\ud83d"}, "bad_text"),
    ],
)
def test_a_bad_row_is_rejected_with_its_reason_and_the_next_one_is_read(
    change: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    bad, good = read(tmp_path / "x.json", [{**ROW, **change}, ROW])
    assert isinstance(bad, BadTurn) and bad.reason == reason, bad
    assert bad.detail and good == Turn("a", 0, "x/1.jpg", "What?", "A cat.", 1)


@pytest.mark.parametrize("row", [None, 1, "text", [ROW], True])
def test_a_row_that_is_no_object_is_rejected(row: Any, tmp_path: Path) -> None:
    (bad,) = read(tmp_path / "x.json", [row])
    assert isinstance(bad, BadTurn) and bad.reason == "bad_row"


@pytest.mark.parametrize("line", ["{", "nonsense", '{"id": 1,}', "[" * 100_000, "1" * 5000])
def test_a_line_that_is_not_json_is_rejected_and_the_next_one_is_read(line: str, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(f"{json.dumps(ROW)}\n{line}\n{json.dumps(ROW)}\n")
    first, bad, last = read_llava(path)
    assert isinstance(first, Turn) and isinstance(last, Turn)
    assert isinstance(bad, BadTurn) and (bad.id, bad.reason) == ("row-1", "bad_json")


@pytest.mark.parametrize("content", [b"", b" \n\r\n", b"[]", b"\xef\xbb\xbf", b" [ ] "])
def test_an_empty_file_has_no_rows(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(content)
    assert list(read_llava(tmp_path / "x.json")) == []


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.json", json.dumps([ROW, ROW]).encode()[:-30], "x.json: in the item at character"),
        ("x.json", b"[{} {}]", "expected a comma"),
        ("x.json", b"[{},]", "not JSON"),
        ("x.json", b"[{}", "breaks off"),
        ("x.json", b"[{}]\n\n[{}]", "several files in one"),
        ("x.json", b"[] x", "several files in one"),
        ("x.json", json.dumps([ROW]).encode("utf-16"), "is text in UTF-16, expected .*; save it as UTF-8"),
        ("x.jsonl", b'{"id": "\xff"}', "is not UTF-8"),
        ("x.json.gz", gzip.compress(json.dumps([ROW]).encode(), mtime=0)[:-9], "cannot read"),
        ("x.json.gz", b"no gzip", "no JSON list and no JSON lines .*it begins 'no gzip'"),
        (
            "x.json",
            json.dumps({"data": [ROW, ROW]}).encode(),
            "got an object, expected a list of rows; .* under 'data'",
        ),
        ("x.json", json.dumps({"version": 1, "images": [{}]}).encode(), "got an object, expected a list of rows"),
        ("x.json", json.dumps({"data": [ROW]}, indent=1).encode(), "no JSON list and no JSON lines .*nothing around"),
        ("x.csv", b"id,image\n1,a.png\n", "no JSON list and no JSON lines"),
        ("x.json.zst", b"no zstd at all", "no JSON list and no JSON lines"),
    ],
)
def test_a_broken_file_is_an_error_that_says_where(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        list(read_llava(tmp_path / name))
    with pytest.raises(DataError, match=message):
        list(read_conversations(tmp_path / name))


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read"):
        list(read_llava(tmp_path / "x.json"))


@pytest.mark.parametrize("content", ["[" + '"' + "x" * 300, '{"id": "' + "x" * 300])
def test_a_row_without_end_does_not_fill_the_memory(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jsonrows, "MAX_ROW", 100)
    monkeypatch.setattr(jsonrows, "_BLOCK", 10)
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(DataError, match="100 characters"):
        list(read_llava(tmp_path / "x.json"))


def test_a_number_cut_by_the_end_of_a_block_is_one_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonrows, "_BLOCK", 1)
    assert len(read(tmp_path / "x.json", [1234567, ROW])) == 2


def test_a_large_list_is_read_row_by_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonrows, "_BLOCK", 1000)
    path = tmp_path / "x.json"
    path.write_text(json.dumps([ROW] * 1000)[:-1])  # broken at its end, which the first rows must not wait for
    rows: Iterator[Turn | BadTurn] = read_llava(path)
    assert isinstance(next(rows), Turn)
    with pytest.raises(DataError):
        list(rows)


KEYS = [
    *(
        "id image images conversations messages from value role content human video img_path file_name path bytes"
    ).split(),
    *("type text system loss weight mask turns tools train_detail").split(),
]
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["<image>", "a.jpg"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)
TALKS = st.lists(
    st.fixed_dictionaries(
        {"from": st.sampled_from(["human", "gpt", "system", "x"]), "value": st.text(max_size=9) | JSON_VALUES},
        optional={key: JSON_VALUES for key in ("loss", "mask", "weight", "role", "images", "tool_calls")},
    ),
    max_size=5,
)
ROWS = JSON_VALUES | st.fixed_dictionaries(
    {"image": JSON_VALUES, "conversations": TALKS},
    optional={
        key: JSON_VALUES for key in ("id", "system", "video", "img_path", "loss_mask", "messages", "tools", "images")
    },
)


def test_a_list_of_one_strange_row_is_a_list(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('[{"images": [{}]}]')
    [found] = read_llava(path)
    assert isinstance(found, BadTurn)


@settings(max_examples=100, deadline=None)
@given(rows=st.lists(ROWS, max_size=4), lines=st.booleans(), junk=st.binary(max_size=6), cut=st.integers(0, 40))
def test_whatever_is_in_the_file_gives_turns_rejections_or_one_declared_error(
    rows: list[Any], lines: bool, junk: bytes, cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "x.json"
    rows = [row for row in rows if not (lines and isinstance(row, list))]  # a list on line 1 means a JSON list
    # one object that is no row may be a list wrapped up, which is told
    assume(not (lines and len(rows) == 1 and isinstance(rows[0], dict) and "conversations" not in rows[0]))
    text = "\n".join(map(json.dumps, rows)) if lines else json.dumps(rows)
    path.write_bytes(text.encode(errors="replace"))
    numbers = set()
    for found in read_llava(path):
        assert isinstance(found, (Turn, BadTurn))
        numbers.add(found.row)
    assert numbers == set(range(len(rows)))
    assert len(list(read_conversations(path))) == len(rows)
    path.write_bytes(text.encode(errors="replace")[: len(text) - cut] + junk)
    try:
        list(read_llava(path))
    except DataError as error:
        assert "x.json" in str(error)


def test_a_table_of_commas_says_what_to_save_it_as(tmp_path):
    (tmp_path / "rows.csv").write_text("image,question,answer\na.png,What?,A cat.\n")
    with pytest.raises(DataError, match=r"CSV is not read: save each row as a line such as \{\"image\""):
        list(read_llava(tmp_path / "rows.csv"))


def test_a_list_that_breaks_off_is_perhaps_not_whole(tmp_path):
    (tmp_path / "rows.json").write_text('[{"id": 1, "conversations": [{"fr')
    with pytest.raises(DataError, match="is the file whole"):
        list(read_llava(tmp_path / "rows.json"))


@pytest.mark.parametrize(("answer", "text"), [(3, "3"), (0, "0"), (2.5, "2.5"), ("", ""), (None, "")])
def test_an_answer_may_be_a_number_or_be_missing(answer, text, tmp_path):
    rows = [
        {"image": "a.png", "question": "How many?", "answer": answer},
        {
            "image": "a.png",
            "conversations": [{"from": "human", "value": "How many?"}, {"from": "gpt", "value": answer}],
        },
    ]
    (tmp_path / "rows.json").write_text(json.dumps(rows[: 1 if answer is None else 2]))
    found = list(read_llava(tmp_path / "rows.json"))
    assert [(turn.question, turn.answer) for turn in found] == [("How many?", text)] * len(found)
    reasons = [turn.reason if isinstance(turn, BadTurn) else "" for turn in found]
    assert reasons == ["" if text else "empty_answer"] * len(found)


@pytest.mark.parametrize("answer", [True, [1, 2], {"a": 1}])
def test_an_answer_of_another_kind_is_no_text(answer, tmp_path):
    (tmp_path / "rows.json").write_text(json.dumps([{"image": "a.png", "question": "How many?", "answer": answer}]))
    [found] = read_llava(tmp_path / "rows.json")
    assert isinstance(found, BadTurn) and found.reason == "bad_turns"
