"""Pictures behind an address: the same as in a folder, fetched once, and a server that fails is asked again."""

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from PIL import Image

from c3l.data import remote
from c3l.data.finding import find_images
from c3l.data.images import inspect_image, open_image
from c3l.data.roots import has_root, resolve_under
from c3l.data.same_images import SeenImage, find_other, sign_image
from c3l.errors import BadImageError, ConfigError, DataError
from c3l.jobs.score import score_file
from c3l.progress import SilentProgress
from c3l.records import ImageRef, Rejected
from c3l.settings.load import dump_config, load_config
from c3l.settings.roots import Address
from c3l.settings.schema import ImagesConfig
from fakes import write_fake_model
from runs import Loader

ROOT = Address("memory://bucket/pictures")
RULES = ImagesConfig(root=ROOT)


def encode(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (20, 20), (number * 40, 9, 9)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("C3L_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(remote, "PAUSES", (0.0, 0.0))
    system = fsspec.filesystem("memory")
    for name, content in {"a.png": encode(1), "sub/b b.png": encode(2), "notes.txt": b"x", ".hidden/c.png": encode(3),
                          "empty.png": b"", "bad.jpg": b"<html>"}.items():  # fmt: skip
        system.pipe(f"/bucket/pictures/{name}", content)
    system.pipe("/bucket/secret.png", encode(4))
    yield system
    system.store.clear()


class Failing:
    """A file system whose questions fail a number of times."""

    def __init__(self, system: Any, times: int, error: Exception) -> None:
        self.system, self.times, self.error, self.asked = system, times, error, 0

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def ask(*args: Any, **more: Any) -> Any:
            self.asked += 1
            if self.asked <= self.times:
                raise self.error
            return getattr(self.system, name)(*args, **more)

        return ask


def test_pictures_are_listed_as_in_a_folder(bucket: Any) -> None:
    paths, left_out = find_images(ROOT)
    assert paths == ["a.png", "bad.jpg", "empty.png", "sub/b b.png"]
    assert len(left_out) == 1
    assert "1 files under memory://bucket/pictures are left out, such as notes.txt" in left_out[0]
    assert find_images(ROOT, 2)[0] == paths[:2]
    assert has_root(ROOT)
    assert not has_root(Address("memory://nowhere"))
    with pytest.raises(DataError, match="got the image root memory://nowhere, behind which is nothing"):
        find_images(Address("memory://nowhere"))


def test_a_picture_is_fetched_once_and_is_what_it_would_be_as_a_file(bucket: Any, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encode(1))
    found, local = inspect_image(ROOT, "a.png", RULES), inspect_image(tmp_path, "a.png", RULES)
    assert isinstance(found, ImageRef)
    assert found == local
    bucket.rm("/bucket/pictures/a.png")
    assert open_image(ROOT, found, RULES).tobytes() == open_image(tmp_path, found, RULES).tobytes()
    assert find_other([SeenImage("a.png", found.sha256)], ROOT) is None
    assert find_other([SeenImage("a.png", "0" * 64)], ROOT) is not None
    assert sign_image(ROOT, "sub\\b b.png").size == len(encode(2))


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("gone.png", "missing_image"), ("sub", "not_a_file"), ("empty.png", "empty_file"), ("bad.jpg", "not_an_image"),
        ("../secret.png", "bad_path"), ("sub/../../secret.png", "bad_path"), ("/bucket/secret.png", "bad_path"),
        ("memory://bucket/secret.png", "bad_path"), ("..\\secret.png", "bad_path"),
    ],
)  # fmt: skip
def test_one_bad_picture_is_a_rejection(bucket: Any, path: str, reason: str) -> None:
    found = inspect_image(ROOT, path, RULES)
    assert isinstance(found, Rejected)
    assert found.reason == reason


def test_names_that_lead_out_of_the_address_are_not_listed(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["/bucket/pictures/ok.png", "/bucket/pictures/../up.png", "/bucket/pictures//x.png", "/other/y.png"]
    monkeypatch.setattr(type(bucket), "find", lambda *args, **more: names)
    assert find_images(ROOT)[0] == ["ok.png"]


def test_a_server_that_fails_is_asked_again_and_in_the_end_one_line(
    bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    weak = Failing(bucket, 2, ConnectionError("reset"))
    monkeypatch.setattr(remote, "_open", lambda address: (weak, "/bucket/pictures"))
    assert resolve_under(ROOT, "a.png").read_bytes() == encode(1)
    assert weak.asked == 4
    dead = Failing(bucket, 9, TimeoutError("no answer"))
    monkeypatch.setattr(remote, "_open", lambda address: (dead, "/bucket/pictures"))
    with pytest.raises(DataError, match=r"cannot read memory://bucket/pictures: TimeoutError: no answer; is its"):
        resolve_under(ROOT, "sub/b b.png")
    assert dead.asked == 3
    closed = Failing(bucket, 9, PermissionError("Forbidden"))
    monkeypatch.setattr(remote, "_open", lambda address: (closed, "/bucket/pictures"))
    with pytest.raises(BadImageError, match="unreadable_file"):
        resolve_under(ROOT, "sub/b b.png")
    assert closed.asked == 1


def test_what_cannot_be_opened_or_unpacked_into_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="cannot open nothing://x: ValueError: Protocol not known"):
        has_root(Address("nothing://x"))
    with pytest.raises(ConfigError, match=r"unpack writes images under root, got memory://x, expected a folder"):
        load_config(None, ["images.root=memory://x", "images.unpack=true"])
    monkeypatch.setitem(__import__("sys").modules, "fsspec", None)
    with pytest.raises(ConfigError, match=r"needs fsspec to be read: pip install 'c3l\[remote\]'"):
        has_root(ROOT)


def test_an_address_stays_one_when_it_is_saved(tmp_path: Path) -> None:
    config = load_config(None, ["images.root=s3://bucket/prefix/"])
    assert config.images.root == "s3://bucket/prefix"
    (tmp_path / "config.yaml").write_text(dump_config(config))
    assert load_config(tmp_path / "config.yaml") == config
    with pytest.raises(ConfigError, match=r"images\.root: got 3, expected path or address; write it in quotes"):
        load_config(None, ["images.root=3"])


def test_a_data_file_is_scored_with_its_pictures_behind_an_address(
    bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_fake_model(tmp_path / "model")
    names = ["a.png", "sub/b b.png", "gone.png", "../secret.png"]
    rows = [{"id": name, "image": name, "question": "What?", "answer": "A cat."} for name in names]
    (tmp_path / "data.json").write_text(json.dumps(rows))
    config = load_config(None, [f"model.name={tmp_path / 'model'}", "model.dtype=float32", f"images.root={ROOT}",
                                "scoring.no_image=drop", "scoring.form=log_ratio"])  # fmt: skip

    def score(out: str) -> Any:
        return score_file([tmp_path / "data.json"], tmp_path / out, config, SilentProgress(), Loader())

    summary = score("out.jsonl")
    assert (summary["ok"], summary["rejected"]) == (2, {"unreadable_image": 1, "bad_path": 1})
    assert score("out.jsonl")["ok"] == 2
    bucket.pipe("/bucket/pictures/gone.png", encode(5))
    assert score("out.jsonl")["ok"] == 3, "what came since is scored"
    dead = Failing(bucket, 99, ConnectionError("refused"))
    monkeypatch.setattr(remote, "_open", lambda address: (dead, "/bucket/pictures"))
    with pytest.raises(DataError, match=r"cannot read memory://bucket/pictures: ConnectionError: refused"):
        score("other.jsonl")
    assert not (tmp_path / "other.jsonl").exists()
