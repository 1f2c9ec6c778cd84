"""Data sets as the tools of others write them: each layout is read with every row right, and said by name."""

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import datasets
import pytest
from PIL import Image

from c3l.data.formats import BadTurn, ConversationRow, Turn, read_conversations, read_llava
from c3l.data.recognise import recognise
from c3l.data.sources import list_files
from c3l.errors import DataError

N = 5
PAIRS = [(f"What is {number}?", f"Thing {number}.") for number in range(N)]


def picture(number: int) -> Image.Image:
    return Image.new("RGB", (20, 20), (number * 40, 9, 9))


def encode(number: int) -> bytes:
    buffer = io.BytesIO()
    picture(number).save(buffer, "PNG")
    return buffer.getvalue()


def colour(root: Path, image: str) -> int:
    """The number of the picture that lies there."""
    with Image.open(root / image) as opened:
        return int(opened.convert("RGB").getpixel((3, 3))[0] / 40)  # type: ignore[index]


def write_json(folder: Path, rows: Sequence[Any]) -> Path:
    (folder / "data.json").write_text(json.dumps(rows))
    return folder / "data.json"


def write_lines(folder: Path, rows: Sequence[Any]) -> Path:
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "data.jsonl"


def write_info(folder: Path, **entry: Any) -> None:
    (folder / "dataset_info.json").write_text(json.dumps({"mine": {"file_name": "data.json", **entry}}))


def swift_messages(folder: Path) -> Path:
    return write_lines(folder, [
        {"messages": [{"role": "user", "content": f"<image>{ask}"}, {"role": "assistant", "content": tell}],
         "images": [f"{number}.png"] if number % 2 else [{"bytes": None, "path": f"{number}.png"}]}
        for number, (ask, tell) in enumerate(PAIRS)
    ])  # fmt: skip


def swift_query(folder: Path) -> Path:
    return write_lines(folder, [
        {"query": f"<image>{ask}", "response": tell, "images": [f"{number}.png"], "history": [], "system": None}
        for number, (ask, tell) in enumerate(PAIRS)
    ])  # fmt: skip


def swift_conversation(folder: Path) -> Path:
    return write_lines(folder, [
        {"conversation": [{"human": f"<image>{ask}", "assistant": tell}], "images": f"{number}.png"}
        for number, (ask, tell) in enumerate(PAIRS)
    ])  # fmt: skip


def factory_alpaca(folder: Path) -> Path:
    write_info(folder, columns={"prompt": "ask", "query": "about", "response": "tell", "images": "shots"})
    return write_json(folder, [
        {"ask": f"<image>{ask}", "about": "", "tell": tell, "shots": [f"{number}.png"], "output": "another's"}
        for number, (ask, tell) in enumerate(PAIRS)
    ])  # fmt: skip


def factory_sharegpt(folder: Path) -> Path:
    write_info(
        folder, formatting="sharegpt", columns={"messages": "talk", "images": "shots"},
        tags={"role_tag": "who", "content_tag": "says", "user_tag": "Q", "assistant_tag": "A"},
    )  # fmt: skip
    return write_json(folder, [
        {"talk": [{"who": "Q", "says": f"<image>{ask}"}, {"who": "A", "says": tell}], "shots": [f"{number}.png"]}
        for number, (ask, tell) in enumerate(PAIRS)
    ])  # fmt: skip


def factory_plain(folder: Path) -> Path:
    tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
    write_info(folder, formatting="sharegpt", columns={"messages": "messages", "images": "images"}, tags=tags)
    return write_json(folder, [json.loads(line) for line in swift_messages(folder).read_text().splitlines()])


def finevision(folder: Path) -> Path:
    rows = [
        {"images": [picture(number)], "texts": [{"user": ask, "assistant": tell}], "source": "docvqa",
         "relevance_ratings": [4], "relevance_min": 4}
        for number, (ask, tell) in enumerate(PAIRS)
    ]  # fmt: skip
    kinds = datasets.Features({
        "images": datasets.List(datasets.Image()), "source": datasets.Value("string"),
        "texts": datasets.List({"user": datasets.Value("string"), "assistant": datasets.Value("string")}),
        "relevance_ratings": datasets.List(datasets.Value("int64")), "relevance_min": datasets.Value("int64"),
    })  # fmt: skip
    datasets.Dataset.from_list(rows, features=kinds).to_parquet(folder / "data.parquet")
    return folder / "data.parquet"


def cauldron(folder: Path) -> Path:
    rows = [
        {"images": [picture(number)], "texts": [{"user": ask, "assistant": tell, "source": "vqav2"}]}
        for number, (ask, tell) in enumerate(PAIRS)
    ]
    datasets.Dataset.from_list(rows).cast_column("images", datasets.List(datasets.Image())).save_to_disk(folder / "set")
    return folder / "set"


def trl(folder: Path) -> Path:
    rows = [
        {"images": [picture(number)], "prompt": [{"role": "user", "content": [
            {"type": "image", "text": None}, {"type": "text", "text": ask}]}],
         "completion": [{"role": "assistant", "content": [{"type": "text", "text": tell}]}]}
        for number, (ask, tell) in enumerate(PAIRS)
    ]  # fmt: skip
    set_ = datasets.Dataset.from_list(rows).cast_column("images", datasets.List(datasets.Image()))
    set_.to_parquet(folder / "data.parquet")
    return folder / "data.parquet"


def parts(folder: Path) -> Path:
    """Text and picture in either order, the picture in the part or beside it."""
    rows = []
    for number, (ask, tell) in enumerate(PAIRS):
        shown = [{"type": "image", "image": f"{number}.png"}, {"type": "text", "text": ask}]
        said = shown if number % 2 else shown[::-1]
        rows.append({"messages": [{"role": "user", "content": said}, {"role": "assistant", "content": tell}]})
    return write_lines(folder, rows)


def plain_table(folder: Path) -> Path:
    rows = [
        {"question": ask, "answer": tell, "image": picture(number), "file_name": f"{number}.png"}
        for number, (ask, tell) in enumerate(PAIRS)
    ]
    datasets.Dataset.from_list(rows).cast_column("image", datasets.Image()).to_parquet(folder / "data.parquet")
    return folder / "data.parquet"


LAYOUTS = [
    (swift_messages, "`messages` of `role` and `content` (messages)"),
    (swift_query, "`query` and `response` (ms-swift)"),
    (swift_conversation, "`conversation` of `human` and `assistant` (ms-swift)"),
    (factory_alpaca, "`instruction` and `output` (Alpaca), columns by 'mine' in dataset_info.json"),
    (factory_sharegpt, "`conversations` of `role` and `content` (messages), columns by 'mine' in dataset_info.json"),
    (factory_plain, "`conversations` of `role` and `content` (messages), columns by 'mine' in dataset_info.json"),
    (finevision, "`texts` of `user` and `assistant` (FineVision, The Cauldron)"),
    (cauldron, "`texts` of `user` and `assistant` (FineVision, The Cauldron)"),
    (trl, "`prompt` and `completion` (TRL)"),
    (parts, "`messages` of `role` and `content` (messages)"),
    (plain_table, "`question` and `answer`"),
]


@pytest.mark.parametrize(("write", "said"), LAYOUTS, ids=lambda one: getattr(one, "__name__", None))
def test_every_row_of_a_layout_is_read_and_the_layout_is_said(
    tmp_path: Path, write: Callable[[Path], Path], said: str
) -> None:
    for number in range(N):
        picture(number).save(tmp_path / f"{number}.png")
    files = list_files([write(tmp_path)])
    assert recognise(files, {}) == f"data: layout {said}"
    turns = [turn for file in files for turn in read_llava(file, unpack=tmp_path)]
    assert all(isinstance(turn, Turn) for turn in turns), turns
    assert [(turn.question, turn.answer) for turn in turns] == PAIRS
    assert [colour(tmp_path, turn.image or "") for turn in turns] == [*range(N)]
    rows = [row for file in files for row in read_conversations(file, unpack=tmp_path)]
    assert [row.turns for row in rows if isinstance(row, ConversationRow)] == [(pair,) for pair in PAIRS]


def test_what_no_layout_has_is_refused_with_what_was_seen(tmp_path: Path) -> None:
    path = write_lines(tmp_path, [{"q_en": "What?", "a_en": "A cat.", "img": "0.png"}] * 2)
    with pytest.raises(DataError, match=r"got a row of `q_en`, `a_en`, `img`, expected .*`conversations`.*--columns"):
        recognise([path], {})
    good = {"question": "What?", "answer": "A cat.", "image": "0.png"}
    assert recognise([write_lines(tmp_path, [{"q_en": "What?"}, good])], {}) == "data: layout `question` and `answer`"


def test_what_swift_has_beside_its_answers_is_noted_or_refused(tmp_path: Path) -> None:
    boxes = {"ref": ["cat"], "bbox": [[1, 2, 3, 4]]}
    row = {"query": "What?", "response": "A cat.", "images": ["0.png"], "rejected_response": "A dog."}
    path = write_lines(tmp_path, [row, {**row, "rejected_response": None, "objects": boxes},
                                  {**row, "query": "Where is <ref-object>?", "objects": boxes}])  # fmt: skip
    first, second, third = read_llava(path)
    assert isinstance(first, Turn)
    assert isinstance(second, Turn)
    assert (first.noted, second.noted) == (("without_rejected",), ("without_objects",))
    assert isinstance(third, BadTurn)
    assert (third.reason, "`objects`, which are not read" in third.detail) == ("placeholder_in_text", True)


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"ranking": True}, "set of preferences"),
        ({"formatting": "other"}, "has the formatting 'other', expected alpaca"),
        ({"columns": {"prompt": 3}}, "columns or tags that are no names"),
        ({"columns": {"videos": "clips"}}, "has videos or sounds"),
    ],
)
def test_an_entry_that_cannot_be_followed_is_one_line(tmp_path: Path, entry: dict[str, Any], told: str) -> None:
    write_info(tmp_path, **entry)
    with pytest.raises(DataError, match=told):
        recognise([write_json(tmp_path, [{"instruction": "What?", "output": "A cat."}])], {})


def test_two_entries_of_one_file_must_say_the_same(tmp_path: Path) -> None:
    path = write_json(tmp_path, [{"instruction": "What?", "output": "A cat.", "image": "0.png"}])
    one, other = {"file_name": "data.json"}, {"file_name": "data.json", "columns": {"prompt": "ask"}}
    (tmp_path / "dataset_info.json").write_text(json.dumps({"a": one, "b": other}))
    with pytest.raises(DataError, match=r"different things of data\.json under 'a' and 'b'"):
        list(read_llava(path))
    (tmp_path / "dataset_info.json").write_text(json.dumps({"a": one, "b": one, "features": {}, "c": "text"}))
    assert isinstance(next(iter(read_llava(path))), Turn)


def test_two_images_in_a_row_are_read_in_their_order(tmp_path: Path) -> None:
    for images in (["0.png", "1.png"], [{"bytes": encode(0), "path": None}, {"bytes": encode(1), "path": None}]):
        rows = [{"images": images, "texts": [{"user": "What?", "assistant": "A cat."}]}] * 2
        datasets.Dataset.from_list(rows).to_parquet(tmp_path / "data.parquet")
        found = list(read_llava(tmp_path / "data.parquet", unpack=tmp_path))
        for turn in found:
            assert isinstance(turn, Turn) and isinstance(turn.image, tuple) and len(turn.image) == 2
            shown = [path if isinstance(images[0], str) else (tmp_path / path).read_bytes() for path in turn.image]
            assert shown == [one if isinstance(one, str) else one["bytes"] for one in images]
