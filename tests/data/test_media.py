"""Which picture a row is about, whatever it calls it; and what it is about else."""

from typing import Any

import pytest

from c3l.data.media import find_image
from c3l.data.rejection import BadRowError

GOOD: list[tuple[dict[str, Any], str]] = [
    ({}, ""),
    ({"image": None, "images": [], "video": None, "videos": [], "audio": ""}, ""),
    ({"image": False, "document": "A text.", "source": "coco/b.png", "name": "b.png", "image_width": 5}, ""),
    ({"image": {"path": None, "bytes": None}}, ""),
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
    ({"image": "a.png", "image_b64": "/9j/4AAQSkZJRgABAQ" + "A" * 80, "note": "as in b.png"}, "a.png"),
]
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
    ({"image": "a.png", "second": {"bytes": b"x", "path": None}}, "several_images"),
    ({"image": "a.png", "choices": ["b.png", "c.png"]}, "several_images"),
    ({"image": "left/1.png", "image_path": "right/1.png"}, "several_images"),
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
]


@pytest.mark.parametrize(("row", "image"), GOOD)
def test_the_one_picture_of_a_row_is_found(row: dict[str, Any], image: str) -> None:
    assert find_image(row) == image


@pytest.mark.parametrize(("row", "reason"), BAD)
def test_a_row_about_anything_else_is_refused(row: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadRowError) as caught:
        find_image(row)
    assert caught.value.reason == reason and caught.value.detail


def test_what_parts_of_turns_show_counts_too() -> None:
    assert find_image({}, [{}, {"image_url": {"url": "a.png"}}]) == "a.png"
    assert find_image({"image": "x/a.png"}, [{"image": "a.png"}]) == "x/a.png"
    for row, shown in (({"image": "b.png"}, ["a.png"]), ({}, ["a.png", "b.png"])):
        with pytest.raises(BadRowError, match="several_images"):
            find_image(row, shown)
