"""Tar archives in WebDataset's layout: every sample is one row, and an archive of a stranger harms nothing."""

import io
import json
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import webdataset
from PIL import Image

from c3l.data.formats import BadTurn, ConversationRow, Turn, read_conversations, read_llava
from c3l.data.recognise import recognise
from c3l.data.sources import check_files, list_files
from c3l.errors import DataError

N = 6
PAIRS = [(f"What is {number}?", f"Thing {number}.") for number in range(N)]


def encode(number: int, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (20, 20), (number * 40, 9, 9)).save(buffer, kind, quality=95)
    return buffer.getvalue()


def turns(number: int, **more: Any) -> dict[str, Any]:
    ask, tell = PAIRS[number]
    said = [{"from": "human", "value": f"<image>\n{ask}"}, {"from": "gpt", "value": tell}]
    return {"id": f"r{number}", **more, "conversations": said}


def write_tar(path: Path, files: Sequence[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def read(path: Path, folder: Path | None = None) -> list[Turn | BadTurn]:
    return list(read_llava(path, unpack=folder or path.parent / "unpacked"))


SAMPLES: list[Callable[[int], dict[str, Any]]] = [
    lambda number: {"jpg": encode(number, "JPEG"), "json": turns(number, image=f"{number:04}.jpg")},
    lambda number: {"png": encode(number), "json": turns(number)["conversations"]},
    lambda number: {"webp": encode(number, "WEBP"), "json": {"question": PAIRS[number][0], "answer": PAIRS[number][1]}},
]


@pytest.mark.parametrize("sample", SAMPLES)
def test_what_webdataset_writes_is_read_with_every_row_right(
    tmp_path: Path, sample: Callable[[int], dict[str, Any]]
) -> None:
    pattern = str(tmp_path / "shard-%02d.tar")
    with webdataset.ShardWriter(pattern, maxcount=2, verbose=0) as sink:
        for number in range(N):
            sink.write({"__key__": f"{number:04}", **sample(number)})
    by_folder, by_pattern = list_files([tmp_path]), list_files([tmp_path / "shard-{00..02}.tar"])
    check_files(by_folder)
    assert by_folder == by_pattern
    assert [path.name for path in by_folder] == ["shard-00.tar", "shard-01.tar", "shard-02.tar"]
    found = [turn for path in by_folder for turn in read(path, tmp_path / "unpacked")]
    assert all(isinstance(turn, Turn) for turn in found), found
    assert [(turn.question, turn.answer) for turn in found] == PAIRS
    for number, turn in enumerate(found):
        assert turn.id in (f"r{number}", f"{number:04}")
        with Image.open(tmp_path / "unpacked" / (turn.image or "")) as image:
            assert abs(image.convert("RGB").getpixel((3, 3))[0] - number * 40) < 8  # type: ignore[index]
    assert recognise(by_folder, {}).startswith("data: layout `")


@pytest.mark.parametrize("more", [{}, {"json": {"caption": "short", "url": "http://x.org/a.jpg", "width": 20}}])
def test_a_text_is_a_caption_where_the_json_says_nothing(tmp_path: Path, more: dict[str, Any]) -> None:
    with webdataset.TarWriter(str(tmp_path / "a.tar")) as sink:
        sink.write({"__key__": "000", "jpg": encode(1, "JPEG"), "txt": "A cat.", **more})
        sink.write({"__key__": "001", "jpg": encode(2, "JPEG"), "txt": "A dog.", "json": turns(1)})
    first, second = read(tmp_path / "a.tar")
    assert (first.id, first.question, first.answer) == ("000", "", "A cat.")
    assert (second.question, second.answer) == PAIRS[1]
    if more:
        [named, _] = read_llava(tmp_path / "a.tar", "", tmp_path, {"answer": "caption"})
        assert named.answer == "short"


def test_a_packed_archive_and_rows_without_a_picture_are_read(tmp_path: Path) -> None:
    text = json.dumps({"messages": [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]})
    path = write_tar(tmp_path / "a.tar.gz", [("./x/0.json", text.encode())])
    [row] = read_conversations(path)
    assert isinstance(row, ConversationRow)
    assert (row.id, row.turns, row.image) == ("x/0", (("2+2?", "4"),), "")
    assert list_files([tmp_path]) == [path]


def test_without_being_asked_pictures_stay_in_the_archive(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", [("0.png", encode(0)), ("0.json", json.dumps(turns(0)).encode())])
    [turn] = read_llava(path)
    assert isinstance(turn, BadTurn)
    assert turn.reason == "inline_image"


def test_what_is_no_good_sample_is_one_rejection_with_its_reason(tmp_path: Path) -> None:
    said = json.dumps(turns(0)).encode()
    path = write_tar(tmp_path / "a.tar", [
        ("./.DS_Store", b"x"), ("._0.png", b"x"), ("__meta__/a.json", b"{}"),
        ("0.png", encode(0)), ("0.json", b"{broken"),
        ("1.png", encode(0)), ("1.cls", b"7"),
        ("2.png", encode(0)), ("2.depth.png", encode(1)), ("2.json", said),
        ("3.mp4", b"film"), ("3.json", said),
        ("4.png", encode(0)), ("4.png", encode(1)), ("4.json", said),
        ("5.png", encode(0)), ("5.txt", b"\xff\xfe"),
        ("6.json", b"3"),
        ("README", b"hello"),
        ("7.png", b"no picture"), ("7.json", said),
    ])  # fmt: skip
    *found, last = read(path)
    assert [turn.reason for turn in found if isinstance(turn, BadTurn)] == [
        "bad_json", "bad_sample", "several_images", "other_medium", "bad_sample", "bad_json", "bad_row", "bad_sample",
    ]  # fmt: skip
    assert isinstance(last, Turn), "whether it is a picture is for the images' own rules to say"
    assert "sample '1' has .png, .cls, expected" in found[1].detail  # type: ignore[union-attr]


def test_links_devices_and_paths_out_of_the_archive_are_refused_and_nothing_is_written_for_them(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(encode(5))
    path, said = tmp_path / "in/evil.tar", json.dumps(turns(0)).encode()
    path.parent.mkdir()
    with tarfile.open(path, "w") as archive:
        for number, (name, kind, target) in enumerate([
            ("0.png", tarfile.SYMTYPE, "../secret.png"), ("1.png", tarfile.LNKTYPE, "../secret.png"),
            ("2.png", tarfile.CHRTYPE, ""), ("3.png", tarfile.FIFOTYPE, ""),
        ]):  # fmt: skip
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            archive.addfile(member)
            text = tarfile.TarInfo(f"{number}.json")
            text.size = len(said)
            archive.addfile(text, io.BytesIO(said))
        for name in ("../../up.png", "/etc/top.png"):
            member = tarfile.TarInfo(name)
            member.size = 3
            archive.addfile(member, io.BytesIO(b"abc"))
    found = read(path, tmp_path / "unpacked")
    assert [turn.reason for turn in found if isinstance(turn, BadTurn)] == ["bad_sample"] * 4 + ["bad_path"] * 2
    assert sorted(one.name for one in tmp_path.rglob("*") if one.is_file()) == ["evil.tar", "secret.png"]


def test_an_archive_that_broke_off_is_one_line_wherever_it_did(tmp_path: Path) -> None:
    files = [(f"{number}.{end}", body) for number in range(3)
             for end, body in (("png", encode(number)), ("json", json.dumps(turns(number)).encode()))]  # fmt: skip
    whole = write_tar(tmp_path / "a.tar", files).read_bytes()
    with tarfile.open(tmp_path / "a.tar") as archive:
        end = archive.getmembers()[-1]
    for cut in (700, end.offset, end.offset + 100, end.offset_data + 20, end.offset_data + 512):
        (tmp_path / "cut.tar").write_bytes(whole[:cut])
        with pytest.raises(DataError, match=r"cannot read .*cut\.tar: .*; is it whole"):
            read(tmp_path / "cut.tar")
    (tmp_path / "cut.tar").write_bytes(whole + whole)
    with pytest.raises(DataError, match="has ended, but the file goes on"):
        read(tmp_path / "cut.tar")


def test_a_missing_shard_and_a_folder_of_two_kinds_are_told(tmp_path: Path) -> None:
    write_tar(tmp_path / "s-0.tar", [])
    with pytest.raises(DataError, match=r"s-1\.tar, which is not there"):
        check_files(list_files([tmp_path / "s-{0..1}.tar"]))
    (tmp_path / "a.parquet").write_bytes(b"")
    with pytest.raises(DataError, match="has tar and parquet files; name those of one kind"):
        list_files([tmp_path])


def write_one(path: Path, said: dict[str, Any], members: Sequence[str]) -> Path:
    row = {"question": "What?", "answer": "A dog.", **said}
    files = [(f"a/0001.{name}", encode(place)) for place, name in enumerate(members)]
    return write_tar(path, [*files, ("a/0001.json", json.dumps(row).encode())])


@pytest.mark.parametrize(
    ("said", "members", "shown"),
    [
        ({"image": "0001.jpg"}, ["jpg", "mask.png"], [0]),
        ({"image": "a/0001.mask.png"}, ["jpg", "mask.png"], [1]),
        ({"images": ["0001.2.JPG", "0001.1.JPG"]}, ["1.JPG", "2.JPG"], [1, 0]),
        ({"image": "0001.JPG"}, ["JPG", "seg.png"], [0]),
        ({"images": ["0001.b.png", "0001.a.png"]}, ["a.png", "b.png"], [1, 0]),
        ({"images": ["0001.img2.png", "0001.img10.png"]}, ["img10.png", "img2.png"], [1, 0]),
        ({}, ["a.png", "b.png"], [0, 1]),
        ({"images": ["x.png", "y.png"]}, ["a.png", "b.png"], [0, 1]),
        ({"image": "elsewhere.png"}, ["png"], [0]),
    ],
)
def test_the_images_that_the_json_names_are_shown_in_its_order(
    tmp_path: Path, said: dict[str, Any], members: Sequence[str], shown: list[int]
) -> None:
    [turn] = read(write_one(tmp_path / "a.tar", said, members))
    assert isinstance(turn, Turn)
    paths = turn.image if isinstance(turn.image, tuple) else (turn.image,)
    assert [(tmp_path / "unpacked" / path).read_bytes() for path in paths] == [encode(place) for place in shown]


def test_one_image_of_another_name_among_several_is_not_guessed(tmp_path: Path) -> None:
    [turn] = read(write_one(tmp_path / "a.tar", {"image": "elsewhere.png"}, ["jpg", "mask.png"]))
    assert isinstance(turn, BadTurn)
    assert turn.reason == "several_images"
    assert "'0001.jpg', '0001.mask.png'" in turn.detail
