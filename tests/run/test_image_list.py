"""Near-duplicates in a run: dropped with a reason, the same after a kill; nothing changes where none is asked for."""

import re
import shlex
import shutil

import pytest
from PIL import Image

from c3l.data import near_images
from c3l.errors import StaleStageError
from c3l.records import ImageRef
from c3l.run.plan import make_plan
from c3l.run.run_folder import Run
from c3l.run.status import summarise
from fakes import write_fake_model
from runs import Loader, draw_pictures, make_config, meet, read_all, walk


@pytest.fixture
def world(tmp_path, monkeypatch):
    """Four pictures, a smaller copy of two of them, and what stands for a model."""
    monkeypatch.setenv("C3L_CACHE", str(tmp_path / "cache"))
    root = draw_pictures(tmp_path / "pictures", 4)
    (root / "broken.jpg").unlink()
    for number in (0, 2):
        Image.open(root / f"picture_{number}.png").resize((20, 15)).save(root / f"small_{number}.png")
    write_fake_model(tmp_path / "model")
    return tmp_path


def make(world, name, *overrides):
    return make_config(world / name, world / "pictures", world / "model", *overrides)


DROP = "images.near_duplicates=drop"


def test_near_duplicates_are_dropped_counted_and_no_failure(world):
    config = make(world, "run", DROP, "max_error_rate=0")
    walk(config, Loader())
    run = Run.reader(config.run)
    images = run.stored("images")
    assert [one.path for one in images.read(ImageRef)] == [f"picture_{number}.png" for number in range(4)]
    assert {(one.id, one.reason) for one in images.rejected()} == {
        ("small_0.png", "near_duplicate"),
        ("small_2.png", "near_duplicate"),
    }
    assert images.info.inputs == 6
    summary = summarise(run)
    assert (summary["images"], summary["error_rate"]) == (4, 0)


def test_a_run_that_goes_on_in_the_middle_of_the_list_drops_the_same(world):
    whole = make(world, "whole", DROP)
    walk(whole, Loader())
    shutil.copytree(whole.run, world / "killed")
    for path in [*(world / "killed/images").glob("0000[12]*"), world / "killed/images/stage.json"]:
        path.unlink()
    for path in (world / "killed").iterdir():
        if path.name not in ("images", "images.jsonl", "config.yaml") and not path.name.startswith("."):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    walk(make(world, "killed", DROP), Loader())
    assert read_all(world / "killed") == read_all(whole.run)


def test_counting_changes_nothing_but_what_is_said(world):
    plain, counted = make(world, "plain"), make(world, "counted", "images.near_duplicates=count")
    walk(plain, Loader())
    walk(counted, Loader())
    assert read_all(plain.run) == read_all(counted.run)


def test_only_dropping_is_in_the_plan_of_a_run(world):
    plain = make_plan(make(world, "run"), "weights")["images"]
    assert not [key for key in plain.settings if "near" in key]
    for same in ("images.near_duplicates=count", "images.near_distance=9"):
        assert make_plan(make(world, "run", same), "weights")["images"] == plain
    assert make_plan(make(world, "run", DROP), "weights")["images"].fingerprint != plain.fingerprint
    walk(make(world, "run"), Loader())
    with pytest.raises(StaleStageError, match=r"images\.near_duplicates") as refused:
        walk(make(world, "run", DROP), Loader())
    words = shlex.split(re.findall("`(.*?)`", str(refused.value))[0])
    assert "images.near_duplicates=ignore" in words
    walk(make(world, "run", DROP, *words[1::2]), Loader())


def test_several_images_are_looked_at_at_once_and_the_same_are_dropped(world, monkeypatch):
    config, other = make(world, "run", DROP), make(world, "other", DROP)
    walk(config, Loader())
    monkeypatch.setattr(near_images, "open_image", meet(near_images.open_image))
    walk(other, Loader())
    assert read_all(config.run) == read_all(other.run)
