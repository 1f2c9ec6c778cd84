"""Which picture a row is about, whatever it calls it; and what it is about else."""

from pathlib import PurePosixPath
from typing import Any

import pytest

from c3l.data import beside
from c3l.data.beside import has_files
from c3l.data.media import find_image, find_images
from c3l.data.rejection import BadRowError

PNG, UNPACKED = b"\x89PNG\r\n\x1a\n", f"{0:032x}.png"
GOOD: list[tuple[dict[str, Any], str]] = [
    ({}, ""),
    ({"image": None, "images": [], "video": None, "videos": [], "audio": ""}, ""),
    ({"image": False, "document": "A text.", "source": "coco/b.png", "name": "b.png", "image_width": 5}, ""),
    ({"image": {"path": None, "bytes": None}}, ""),
    ({"id": UNPACKED, "source": UNPACKED, "name": "b.png"}, ""),
    # bytes that begin as nothing that is known
    ({"embedding": b"\0\1", "md5": b"\1\2", "screenshot": b"", "note": {"bytes": b"BM12"}, "raw": [b"abc"]}, ""),
    ({"image": "a.png", "images": ["a.png"], "video_id": "v1", "image_id": 12, "name": "b.png"}, "a.png"),
    (
        {"image": "x/a.png", "image_path": "/data/x/a.png", "image_url": "https://x.org/77.jpg", "image_name": "a"},
        "x/a.png",
    ),
    ({"image_path": "a.png"}, "a.png"),
    ({"image_file": "a.png"}, "a.png"),
    ({"img": ["a.png"]}, "a.png"),
    ({"imagePath": "a.png"}, "a.png"),
    ({"IMG-PATH": "a.png"}, "a.png"),
    ({"picture": "a.png"}, "a.png"),
    ({"image_url": "a.png"}, "a.png"),
    ({"image_url": "https://x.org/77.jpg", "image_path": "a.png"}, "a.png"),
    ({"file_name": "a.png"}, "a.png"),
    ({"media": ["a.png"]}, "a.png"),
    ({"images": [{"path": "a.png"}]}, "a.png"),
    ({"images": [{"image": "a.png"}]}, "a.png"),
    ({"image": {"bytes": "abc", "path": "a.png"}}, "a.png"),
    ({"image": {"url": "a.png"}}, "a.png"),
    # of the same picture, or about it
    ({"image": "a.png", "coco_url": "https://x.org/77.jpg", "image2": "x/a.jpg"}, "a.png"),
    ({"image": "a.png", "flickr_url": "farm.flickr.com/77.jpg", "src_url": "//x.org/77.jpg"}, "a.png"),
    ({"image": "a.png", "mask": "m.png", "depth_map": "d.png", "thumbnail": {"path": "t.png"}}, "a.png"),
    ({"image": "a.png", "answer": "report.pdf", "ocr_tokens": ["b.png"], "metadata": {"file": "77.jpg"}}, "a.png"),
    ({"image": "a.png", "decoded_image": PNG, "thumbnail": {"bytes": PNG}, "label_map": PNG}, "a.png"),
    ({"image": "train2017/a.jpg", "image_path": "/mnt/nas/coco/a.jpg", "file_name": "b/a.png"}, "train2017/a.jpg"),
    ({"image_path": "train2017/a.jpg", "img": "/mnt/nas/coco/a.jpg"}, "train2017/a.jpg"),
    ({"image": UNPACKED, "image_1": {"path": UNPACKED}, "state": {"path": f"{1:032x}.img"}}, UNPACKED),
    ({"image": UNPACKED, "image_path": "b.png", "meta_info": {"image_path": "b.png"}}, UNPACKED),
    ({"image": "a.png", "image_b64": "/9j/4AAQSkZJRgABAQ" + "A" * 80, "note": "as in b.png"}, "a.png"),
]
NAMES = {
    "original_filename": "IMG_01.JPG", "image_hash": "0f.jpg", "key": "000001.jpg", "domain": "example.jpg",
    "image_local_name": "7.jpeg", "label_map": "m.png", "semantic_map": "s.png", "pdf_name": "x.pdf",
    "doc_name": "x.pdf", "pdf": "x.pdf", "embedding": b"\0\1", "md5": b"\1\2", "clip_feature": b"\xff\n",
    "video_name": "v.mp4", "shot": "b.png",
}  # fmt: skip
GOOD += [({"image": image, key: value}, image) for image in ("a.png", UNPACKED) for key, value in NAMES.items()]
BAD: list[tuple[dict[str, Any], str]] = [
    ({"video": "a.mp4"}, "other_medium"),
    ({"videos": ["a.mp4"]}, "other_medium"),
    ({"video_path": "a"}, "other_medium"),
    ({"video_id": "v1"}, "other_medium"),
    ({"audios": ["a.wav"]}, "other_medium"),
    ({"audio": {"array": [1]}}, "other_medium"),
    ({"media": "a.mp4"}, "other_medium"),
    ({"file_name": "a.mp3"}, "other_medium"),
    ({"image": "a.png", "video": "a.mp4"}, "other_medium"),
    ({"image": "a.png", "image_path": "b.png"}, "several_images"),
    ({"image": "a.png", "images": ["b.png"]}, "several_images"),
    ({"image_path": "a.png", "img": "b.png"}, "several_images"),
    *(
        ({"image": "a.png", key: "b.png"}, "several_images")
        for key in "image2 image_b rightImage reference_image".split()
    ),
    ({"image": "a.png", "second_image_url": "b.png"}, "several_images"),
    ({"image": "a.png", "input_images": [{"path": "b.png"}]}, "several_images"),
    ({"image": "a.png", "image_path": {"path": "b.png"}}, "several_images"),
    ({"image": "a.png", "second": {"bytes": PNG, "path": None}}, "several_images"),
    ({"image": "a.png", "second": PNG}, "several_images"),
    ({"image": UNPACKED, "second": {"path": UNPACKED.replace("0", "1")}}, "several_images"),
    ({"image": UNPACKED, "img": {"path": UNPACKED.replace("0", "1")}}, "several_images"),
    ({"image": UNPACKED, "image2": "b.png"}, "several_images"),
    ({"image": UNPACKED, "second_image_path": "b.png"}, "several_images"),
    ({"image": UNPACKED, "question_audio": {"path": UNPACKED.replace("0", "1")[:-3] + "img"}}, "other_medium"),
    ({"image": "a.png", "heard": {"bytes": b"RIFF0000WAVEfmt ", "path": None}}, "other_medium"),
    ({"image": "a.png", "original_audio": b"ID3abc"}, "other_medium"),
    ({"image": "a.png", "choices": ["b.png", "c.png"]}, "several_images"),
    *(({"image": "left/1.png", key: "right/1.png"}, "several_images") for key in "img image2 picture".split()),
    ({"image": "left/1.png", "images": ["right/1.png"]}, "several_images"),
    *(({"image": "a.png", key: "b.mp4"}, "other_medium") for key in "clip video_1 question_audio".split()),
    ({"image": "a.png", "extras": [{"sound": "b.wav"}]}, "other_medium"),
    ({"img": ["x/a.png", "y/a.png"]}, "several_images"),
    ({"frames": ["1.png", "2.png"]}, "several_images"),
    ({"image": {"bytes": "abc"}}, "inline_image"),
    ({"image": "data:image/png;base64,iVBORw0KGgo="}, "inline_image"),
    ({"images": ["/9j/4AAQSkZJRgABAQ" + "A" * 80]}, "inline_image"),
    ({"image_path": True}, "bad_path"),
    ({"image_url": "https://x.org/77.jpg"}, "bad_path"),
    ({"images": [["a.png"]]}, "bad_path"),
    ({"image_id": 12}, "no_image"),
    ({"image_name": "a"}, "no_image"),
    ({"clip": "v.mp4"}, "no_image"),
    ({"jpg": "a.jpg"}, "no_image"),
    ({"metadata": {"picture": "a.png"}}, "no_image"),
    ({"objects": [{"file": "a.png"}]}, "no_image"),
    ({"thumbnail_b64": "/9j/4AAQSkZJRgABAQ" + "A" * 80}, "no_image"),
    *(
        ({key: held}, "no_image")
        for key in "screenshot left_image decoded_image jpg png image_bytes page_image image1".split()
        for held in (PNG, {"bytes": PNG, "path": None}, [{"bytes": PNG}], {"path": UNPACKED})
    ),
    ({"image_1": PNG, "image_2": {"bytes": PNG}}, "no_image"),
    ({"heard": b"RIFF0000WAVEfmt "}, "no_image"),
    ({"heard": {"path": UNPACKED[:-3] + "img"}}, "no_image"),
    ({"paper": b"%PDF-1.7"}, "no_image"),
]


@pytest.mark.parametrize(("row", "image"), GOOD)
def test_the_one_picture_of_a_row_is_found(row: dict[str, Any], image: str) -> None:
    assert find_image(row) == image


@pytest.mark.parametrize(("row", "reason"), BAD)
def test_a_row_about_anything_else_is_refused(row: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadRowError) as caught:
        find_image(row)
    assert caught.value.reason == reason and caught.value.detail


@pytest.mark.parametrize(
    ("row", "noted"),
    [
        ({"shot": "b.png"}, True), ({"pdf": "x.pdf"}, True), ({"video_name": "v.mp4"}, True),
        ({"original_scan": PNG}, True), ({"image_2": b"BM12"}, True), ({"image_bytes": PNG}, True),
        ({"objects": [{"file": "b.png"}]}, True),
        ({"original_filename": "b.png", "key": "c.png", "decoded_image": PNG, "mask": "m.png"}, False),
        ({"shot": "x/a.png", "image_path": "/mnt/y/a.png", "embedding": b"\0\1", "md5": "ab"}, False),
    ],
)  # fmt: skip
def test_what_may_be_another_file_is_noted(row: dict[str, Any], noted: bool) -> None:
    assert find_image({"image": "a.png", **row}) == "a.png"
    assert has_files(row, ["a.png"]) is noted


def test_what_parts_of_turns_show_counts_too() -> None:
    assert find_image({}, [{}, {"image_url": {"url": "a.png"}}]) == "a.png"
    assert find_image({"image": "x/a.png"}, [{"image": "a.png"}]) == "x/a.png"
    for row, shown in (({"image": "b.png"}, ["a.png"]), ({}, ["a.png", "b.png"])):
        with pytest.raises(BadRowError, match="several_images"):
            find_image(row, shown)


@pytest.mark.parametrize("again", ["{}.jpg", "film/{}.png", "/mnt/film/{}.jpg", "https://x.org/{}.jpg"])
def test_many_images_named_twice_are_each_looked_at_once(again: str, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []

    def look(path: str) -> PurePosixPath:
        looked.append(path)
        return PurePosixPath(path)

    monkeypatch.setattr(beside, "PurePosixPath", look)
    paths = [f"film/{number}.jpg" for number in range(50)]
    row = {"images": paths, "image_paths": [again.format(number) for number in range(50)]}
    assert find_images(row) == tuple(paths)
    assert not has_files(row, paths)
    assert len(looked) <= 2 * 3 * 50  # twice all names and those of the row


def test_many_images_named_twice_must_be_the_same() -> None:
    paths = [f"film/{number}.jpg" for number in range(50)]
    for other in ("film/50.jpg", "other/7.jpg"):
        with pytest.raises(BadRowError, match="several_images"):
            find_images({"images": paths, "frames": [*paths, other]})


def test_of_many_words_only_those_that_end_as_files_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str | bytes] = []
    tell = beside._tell_medium
    monkeypatch.setattr(beside, "_tell_medium", lambda one, words: looked.append(one) or tell(one, words))
    words = [f"word{number}.x" for number in range(300)]
    row = {"image": "a.png", "shown": words, "regions": [{"phrase": word} for word in words], "scan": "b.png"}
    assert find_image(row) == "a.png" and has_files(row, ["a.png"])
    assert {*looked} == {"b.png"}
