"""Images by their paths: no path leaves the root, and what cannot be read or has changed is refused."""

import os
import weakref
from pathlib import Path

import pytest
from tests.data.drawn import GREEN, RED, encode, flat

from c3l.data.finding import list_images
from c3l.data.images import image_id_of, inspect_image, open_image, open_image_again
from c3l.data.roots import resolve_under
from c3l.errors import BadImageError, DataError
from c3l.records import ImageRef, Rejected, make_id
from c3l.settings.schema import ImagesConfig

RULES = ImagesConfig()


def test_a_changed_file_is_not_taken_for_the_picture_that_the_run_began_with(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(encode(flat(RED)))
    reference = inspect_image(tmp_path, "x.png", RULES)
    assert isinstance(reference, ImageRef)
    (tmp_path / "x.png").write_bytes(encode(flat(GREEN)))
    with pytest.raises(BadImageError, match="changed_image"):
        open_image(tmp_path, reference, RULES)


@pytest.mark.parametrize("there", [False, True])
def test_a_root_that_is_away_is_not_one_bad_image_after_the_other(there: bool, tmp_path: Path) -> None:
    root = tmp_path / "root"
    if there:  # as the folder of a disk that is not mounted
        root.mkdir()
    with pytest.raises(DataError, match="is gone or empty, expected images; put them back"):
        inspect_image(root, "x.png", RULES)
    root.mkdir(exist_ok=True)
    (root / "y.png").write_bytes(encode(flat(RED)))
    verdict = inspect_image(root, "x.png", RULES)
    assert isinstance(verdict, Rejected) and verdict.reason == "missing_image"


def test_a_root_that_was_closed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=r"cannot be read \(Permission denied\), expected images"):
        inspect_image(tmp_path, "x.png", RULES)


def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.png").write_bytes(encode(flat(RED)))

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    verdict = inspect_image(tmp_path, "x.png", RULES)
    assert isinstance(verdict, Rejected) and verdict.reason == "unreadable_file"


def test_a_folder_that_may_not_be_read_is_no_bad_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.png").write_bytes(encode(flat(RED)))

    def refuse(*_: object) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "is_file", refuse)
    with pytest.raises(BadImageError, match=f"unreadable_file: cannot read 'x.png' under {tmp_path}: Permission den"):
        resolve_under(tmp_path, "x.png")


@pytest.fixture
def tricky_root(tmp_path: Path) -> Path:
    """An image root beside a secret, with links and a pipe that lead astray."""
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "sub" / "ok.png").write_bytes(encode(flat(RED)))
    (tmp_path / "secret.png").write_bytes(encode(flat(GREEN)))
    (tmp_path / "root_twin").mkdir()
    (tmp_path / "root_twin" / "x.png").write_bytes(encode(flat(GREEN)))
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    (root / "linked_folder").symlink_to(tmp_path)
    (root / "zero.png").symlink_to("/dev/zero")
    (root / "loop.png").symlink_to(root / "loop.png")
    (root / "dangling.png").symlink_to(root / "nowhere.png")
    (root / "inner.png").symlink_to(root / "sub" / "ok.png")
    os.mkfifo(root / "pipe.png")
    return root


TRICKS = {
    "../secret.png": "bad_path",
    "sub/../../secret.png": "bad_path",
    "sub/../sub/ok.png": "bad_path",
    "..": "bad_path",
    "..\\secret.png": "bad_path",
    "sub\\..\\..\\secret.png": "bad_path",
    "./../secret.png": "bad_path",
    "../root_twin/x.png": "bad_path",
    "/etc/passwd": "bad_path",
    "//etc/passwd": "bad_path",
    "\\\\server\\share\\x.png": "bad_path",
    "/dev/zero": "bad_path",
    "/proc/self/mem": "bad_path",
    "C:\\Windows\\win.ini": "bad_path",
    "c:secret.png": "bad_path",
    "http://example.org/x.png": "bad_path",
    "https:/example.org/x.png": "missing_image",
    "file:///etc/passwd": "bad_path",
    "data:image/png;base64,AAAA": "bad_path",
    "sub/ok.png\0.jpg": "bad_path",
    "\0": "bad_path",
    "": "bad_path",
    ".": "bad_path",
    "///": "bad_path",
    "bad\udcff.png": "bad_path",
    "a" * 5000 + ".png": "bad_path",
    "link.png": "link_not_followed",
    "linked_folder/secret.png": "link_not_followed",
    "zero.png": "link_not_followed",
    "loop.png": "bad_path",
    "dangling.png": "missing_image",
    "%2e%2e/secret.png": "missing_image",
    "~/secret.png": "missing_image",
    "$HOME/secret.png": "missing_image",
    "..%2fsecret.png": "missing_image",
    "sub": "not_a_file",
    "pipe.png": "not_a_file",
}


@pytest.mark.parametrize("trick", TRICKS)
def test_no_path_reads_outside_the_root(trick: str, tricky_root: Path) -> None:
    with pytest.raises(BadImageError) as caught:
        resolve_under(tricky_root, trick)
    assert caught.value.reason == TRICKS[trick]
    verdict = inspect_image(tricky_root, trick, RULES)
    assert isinstance(verdict, Rejected) and verdict.reason == TRICKS[trick]
    assert verdict.image_id == image_id_of(trick)
    verdict.detail.encode()  # must go into a JSON file


@pytest.mark.parametrize("path", ["sub/ok.png", "sub\\ok.png", "./sub//ok.png", "inner.png"])
def test_harmless_spellings_find_the_picture(path: str, tricky_root: Path) -> None:
    assert resolve_under(tricky_root, path) == (tricky_root / "sub" / "ok.png").resolve()
    reference = inspect_image(tricky_root, path, RULES)
    assert isinstance(reference, ImageRef)
    assert reference.path == ("inner.png" if path == "inner.png" else "sub/ok.png")
    assert reference.image_id == make_id(reference.path)


def test_a_pipe_that_takes_the_place_of_a_picture_does_not_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "x.png")
    monkeypatch.setattr(Path, "is_file", lambda self: True)
    verdict = inspect_image(tmp_path, "x.png", RULES)
    assert isinstance(verdict, Rejected) and verdict.reason == "not_a_file"


def test_a_name_with_a_colon_is_a_name(tmp_path: Path) -> None:
    for name in ("Screenshot:1.png", "2024-01-01 at 10:30.png", "mailto:x.png"):
        (tmp_path / name).write_bytes(encode(flat(RED)))
        assert resolve_under(tmp_path, name) == (tmp_path / name).resolve()
        assert isinstance(inspect_image(tmp_path, name, RULES), ImageRef)


def test_a_name_with_a_backslash_is_a_name_where_there_is_such_a_file(tmp_path: Path) -> None:
    (tmp_path / "back\\slash.png").write_bytes(encode(flat(RED)))
    assert list_images(tmp_path) == ["back\\slash.png"]
    reference = inspect_image(tmp_path, "back\\slash.png", RULES)
    assert isinstance(reference, ImageRef) and reference.path == "back\\slash.png"
    assert open_image(tmp_path, reference, RULES).getpixel((0, 0)) == RED
    with pytest.raises(BadImageError, match="bad_path"):
        resolve_under(tmp_path, "..\\back\\slash.png")


def test_a_snapshot_in_a_hubs_cache_is_a_folder_like_any_other(tmp_path: Path) -> None:
    repository = tmp_path / "hub/datasets--who--what"
    snapshot = repository / "snapshots/0123abc"
    (repository / "blobs").mkdir(parents=True)
    (snapshot / "train").mkdir(parents=True)
    (repository / "blobs/9f86").write_bytes(encode(flat(RED)))
    (tmp_path / "hub/secret.png").write_bytes(encode(flat(GREEN)))
    (snapshot / "train/a.png").symlink_to("../../../blobs/9f86")
    (snapshot / "train/s.png").symlink_to("../../../../secret.png")
    for root, path in ((snapshot, "train/a.png"), (snapshot / "train", "a.png")):
        assert open_image(root, path, RULES).getpixel((0, 0)) == RED
        with pytest.raises(BadImageError, match="link_not_followed"):
            open_image(root, path.replace("a.png", "s.png"), RULES)
    with pytest.raises(BadImageError, match="link_not_followed"):
        open_image(snapshot, "train/a.png", ImagesConfig(follow_links="none"))
    (tmp_path / "linked").symlink_to(snapshot)
    assert open_image(tmp_path / "linked", "train/a.png", RULES).getpixel((0, 0)) == RED


def test_an_image_that_is_held_is_the_same_object_again_while_its_file_and_the_rules_are(tmp_path: Path) -> None:
    for name in ("x.png", "y.png"):
        (tmp_path / name).write_bytes(encode(flat(RED)))
    held, copy = (open_image_again(tmp_path, name, RULES) for name in ("x.png", "y.png"))
    reference = inspect_image(tmp_path, "x.png", RULES)
    assert isinstance(reference, ImageRef)
    assert open_image_again(tmp_path, reference, RULES) is held is not copy
    assert open_image(tmp_path, reference, RULES) is not held
    assert open_image_again(tmp_path, "x.png", ImagesConfig(max_pixels=10**6)) is not held
    with pytest.raises(BadImageError):
        open_image_again(tmp_path, "x.png", ImagesConfig(min_side=1000))
    (tmp_path / "x.png").write_bytes(encode(flat(GREEN)))
    assert open_image_again(tmp_path, "x.png", RULES).getpixel((0, 0)) == GREEN
    with pytest.raises(BadImageError, match="changed_image"):
        open_image_again(tmp_path, reference, RULES)
    (tmp_path / "x.png").unlink()
    with pytest.raises(BadImageError, match="missing_image"):
        open_image_again(tmp_path, "x.png", RULES)


def test_an_image_that_nobody_holds_is_let_go(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(encode(flat(RED)))
    gone = weakref.ref(open_image_again(tmp_path, "x.png", RULES))
    assert gone() is None
