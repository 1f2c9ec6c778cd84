"""Finding: images are told by their names, and what is left out is said."""

import os
from pathlib import Path

import pytest
from tests.data.drawn import RED, encode, flat

from c3l.data.finding import find_images, list_images
from c3l.data.images import inspect_image, open_image
from c3l.errors import BadImageError, DataError
from c3l.records import ImageRef
from c3l.settings.schema import ImagesConfig

RULES = ImagesConfig()


def test_listing_is_sorted_recursive_and_leaves_out_what_is_hidden(tmp_path: Path) -> None:
    for name in [
        "b.JPG",
        "a/z.png",
        "a.webp",
        "notes.txt",
        ".hidden.png",
        ".git/x.png",
        "a/.cache/y.png",
        "a/b/c.gif",
    ]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert list_images(tmp_path) == ["a.webp", "a/b/c.gif", "a/z.png", "b.JPG"]
    assert list_images(tmp_path, 2) == ["a.webp", "a/b/c.gif"]
    with pytest.raises(DataError, match="expected a folder"):
        list_images(tmp_path / "missing")


@pytest.mark.parametrize("name", ["holidays", "lost+found"])
def test_a_folder_that_cannot_be_read_is_named_and_not_left_out(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / "a.png").touch()
    scan = os.scandir

    def refuse(folder: str) -> object:
        if Path(folder).name == name:
            raise PermissionError(13, "Permission denied", str(folder))
        return scan(folder)

    monkeypatch.setattr(os, "scandir", refuse)  # modes do not stop root, who may run this
    if name == "lost+found":
        assert list_images(tmp_path) == ["a.png"]
        return
    with pytest.raises(DataError, match=f"cannot read the folder {tmp_path / name}: Permission denied"):
        list_images(tmp_path)


@pytest.fixture
def linked_root(tmp_path: Path) -> Path:
    """Pictures behind links of every kind."""
    root, store = tmp_path / "root", tmp_path / "store"
    for folder in (root / "real", root / ".hidden", store / "inner"):
        folder.mkdir(parents=True)
    for path in (root / "real/a.png", root / ".hidden/h.png", store / "b.png", store / "inner/c.png"):
        path.write_bytes(encode(flat(RED)))
    (root / "to_a.png").symlink_to(root / "real/a.png")
    (root / "to_b.png").symlink_to(store / "b.png")
    (root / "again").symlink_to(root / "real")
    (root / "shown").symlink_to(root / ".hidden")
    (root / "stored").symlink_to(store)
    (root / "twice").symlink_to(store / "inner")
    (store / "loop").symlink_to(store)
    (store / "up").symlink_to(tmp_path)
    return root


def test_links_are_followed_as_far_as_the_setting_says(linked_root: Path) -> None:
    found, told = find_images(linked_root)
    assert found == ["real/a.png", "shown/h.png", "to_a.png", "to_b.png"]
    assert told == (
        f"2 linked folders under {linked_root} are left out, such as stored; images.follow_links=all enters them",
    )
    none, told = find_images(linked_root, links="none")
    assert none == ["real/a.png", "to_a.png", "to_b.png"] and told[0].startswith("3 linked folders")
    every, told = find_images(linked_root, links="all")
    assert every == ["real/a.png", "shown/h.png", "stored/b.png", "stored/inner/c.png", "to_a.png", "to_b.png"]
    assert not told
    allowed = {
        links: {
            path for path in (*every, "again/a.png") if isinstance(inspect_image(linked_root, path, rules), ImageRef)
        }
        for links in ("none", "inside", "all")
        for rules in [ImagesConfig(follow_links=links)]
    }
    assert allowed["none"] == {"real/a.png"}
    assert allowed["inside"] == {"real/a.png", "shown/h.png", "to_a.png", "again/a.png"}
    assert allowed["all"] == {*every, "again/a.png"}
    with pytest.raises(BadImageError, match=r"link_not_followed: 'to_b.png' is a link out of the image root; .*=all"):
        open_image(linked_root, "to_b.png", RULES)
    with pytest.raises(BadImageError, match="bad_path"):
        open_image(linked_root, "../store/b.png", ImagesConfig(follow_links="all"))
