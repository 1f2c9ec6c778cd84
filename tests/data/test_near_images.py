"""Near-duplicates: found whatever the size, quality and brightness, and never among pictures of different things."""

import sys

import pytest
from PIL import Image

from c3l.data.finding import list_images
from c3l.data.near_images import NearImage, find_near, reject_near, tell_near
from c3l.errors import ConfigError
from c3l.records import ImageRef, Rejected
from c3l.settings.schema import ImagesConfig
from c3l.settings.shipped import EXAMPLE_IMAGES

CHANGES = {
    "half": lambda image: image.resize((image.width // 2, image.height // 2)),
    "bright": lambda image: image.point(lambda value: min(255, int(value * 1.2))),
    "poor": lambda image: image,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The example pictures, and behind each a changed copy of every kind."""
    root = tmp_path_factory.mktemp("near")
    for path in EXAMPLE_IMAGES.glob("*.jpg"):
        image = Image.open(path).convert("RGB")
        image.save(root / f"{path.stem}.png")
        for name, change in CHANGES.items():
            change(image).save(root / f"{path.stem}_{name}.jpg", quality=30 if name == "poor" else 95)
    return root


def look(root, paths=None, **rules):
    return find_near(paths or list_images(root), ImagesConfig(root=root, **rules), lambda step: None)


def test_the_example_pictures_are_not_near_each_other():
    assert look(EXAMPLE_IMAGES) == {}
    assert look(EXAMPLE_IMAGES, near_distance=19) == {}, "docs/settings.md says 20 or more"
    assert look(EXAMPLE_IMAGES, near_distance=20) != {}


def test_changed_copies_are_near_the_first_and_nothing_else_is(folder):
    paths = list_images(folder)
    near = look(folder)
    assert len(paths) == 64
    assert len(near) == 48
    for path, one in near.items():
        assert path == one.path
        assert one.first == f"{path.rpartition('_')[0]}.png"
        assert one.distance <= 6
    assert max(one.distance for one in near.values()) == 6, "docs/settings.md says so"


def test_the_first_in_the_order_of_paths_stays(folder):
    near = look(folder, ["cat_poor.jpg", "dogs.png", "cat.png", "cat_half.jpg"])
    assert {path: one.first for path, one in near.items()} == {
        "cat.png": "cat_poor.jpg",
        "cat_half.jpg": "cat_poor.jpg",
    }


def test_what_does_not_open_is_left_to_others(folder):
    (folder / "broken.jpg").write_bytes(b"no picture")
    steps = []
    assert find_near(["broken.jpg", "cat.png"], ImagesConfig(root=folder), steps.append) == {}
    assert steps == [1, 1]
    (folder / "broken.jpg").unlink()


def test_a_near_duplicate_is_a_rejection_that_names_the_first():
    near = {"b.jpg": NearImage("b.jpg", "a.jpg", 3)}
    first, second = (ImageRef(f"id-{name}", name, "0", 8, 8) for name in ("a.jpg", "b.jpg"))
    assert reject_near(first, near) == first
    expected = Rejected("b.jpg", "id-b.jpg", "images", "near_duplicate", "like 'a.jpg', 3 of 64 bits differ")
    assert reject_near(second, near) == expected
    lost = Rejected("b.jpg", "id-b.jpg", "images", "broken_image", "")
    assert reject_near(lost, near) == lost


def test_the_count_is_told():
    near = {"b.jpg": NearImage("b.jpg", "a.jpg", 3)}
    told = tell_near(near, ImagesConfig(near_duplicates="count"))
    assert told.startswith("1 near-duplicates of an earlier image, by at most 6 of 64 bits, such as 'b.jpg' of 'a.jpg'")
    assert "images.near_duplicates=drop" in told
    assert "left out" in tell_near(near, ImagesConfig(near_duplicates="drop"))
    assert tell_near({}, ImagesConfig()) == "0 near-duplicates of an earlier image, by at most 6 of 64 bits"


def test_without_imagehash_it_says_what_to_install(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "imagehash", None)
    with pytest.raises(ConfigError, match=r"pip install 'c3l\[dedup\]'"):
        look(folder)
