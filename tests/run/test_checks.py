"""`c3l check` tells a model that looks at the picture from one that does not."""

import re
import sys
from dataclasses import replace

import pytest
from PIL import Image, ImageChops, ImageStat

from c3l.data import near_images
from c3l.errors import C3LError, OutOfMemoryError
from c3l.models.interface import ScoreRequest
from c3l.models.load import load_model
from c3l.progress import SilentProgress
from c3l.run import checks
from c3l.run.checks import check
from fakes import FakeModel
from runs import Loader, draw_pictures, make_config, make_fake_model, meet, walk


def run_check(config, model):
    *lines, summary = check(config, SilentProgress(), lambda config, seed: model)
    return "\n".join(lines), summary


def test_a_good_folder_and_model(tmp_path):
    root = draw_pictures(tmp_path / "pictures")
    (root / "broken.jpg").unlink()
    text, summary = run_check(make_config(tmp_path / "run", root, "fake"), FakeModel())
    assert summary == {"ok": True, "failed": [], "images": 6, "bad_images": 0}
    assert "images: 6 good, 0 bad - ok" in text
    assert "with: <image>Write" in text
    assert "nats for two images" in text
    assert not (tmp_path / "run").exists(), "a check writes nothing"
    text, _ = run_check(make_config(tmp_path / "run", root, "fake", "scoring.form=lift"), FakeModel())
    assert "in probability for two images" in text


def test_bad_pictures_are_named_with_their_reason(tmp_path):
    text, summary = run_check(make_config(tmp_path / "run", draw_pictures(tmp_path / "p"), "fake"), FakeModel())
    assert "1 not_an_image: broken.jpg\n    a run rejects these and goes on" in text
    assert summary["failed"] == ["images"]


@pytest.mark.parametrize("number", [1, 4])
@pytest.mark.parametrize("mode", ["drop", "others"])
def test_a_blind_model_is_found_out(tmp_path, number, mode):
    class Blind(FakeModel):
        def score(self, requests, no_image):
            grey = requests[0].image
            return super().score([ScoreRequest(grey, it.pairs, it.seed, it.others) for it in requests], no_image)

    root = draw_pictures(tmp_path / "p", number)
    config = make_config(tmp_path / "run", root, "fake", f"scoring.no_image={mode}")
    text, summary = run_check(config, Blind())
    assert "score" in summary["failed"]
    assert "take another --model" in text
    assert "score" not in run_check(config, FakeModel())[1]["failed"]


class Rounding(FakeModel):
    """Each row of a batch is off by another ``error`` nats, and an image moves a score by ``sight``."""

    def __init__(self, sight, error):
        super().__init__()
        self.sight, self.error = sight, error

    def score(self, requests, no_image):
        first = requests[0].image
        scores = super().score([replace(it, image=first) for it in requests], no_image)
        for place, request in enumerate(requests):
            move = place * self.error + self.sight * (request.image != first)
            for pair in request.pairs:
                one = scores[pair.pair_id]
                moved = tuple(value - move for value in one.logprobs_with_image)
                scores[pair.pair_id] = replace(one, logprobs_with_image=moved)
        return scores


@pytest.mark.parametrize(
    ("sight", "error", "sees"),
    [(0, 1e-6, False), (0, 0.1, False), (0.01, 1e-6, True), (3, 0.1, True)],
)
def test_rounding_is_no_sight(tmp_path, sight, error, sees):
    config = make_config(tmp_path / "run", draw_pictures(tmp_path / "p"), "fake")
    text, summary = run_check(config, Rounding(sight, error))
    assert ("score" not in summary["failed"]) == sees
    assert ("take another --model" in text) != sees


@pytest.mark.parametrize("picture", ["drawn", "grey", "wide"])
def test_the_second_image_is_no_copy_and_of_the_same_size(tmp_path, picture):
    """A copy moves no score of a model that sees; another size moves that of one that only counts image tokens."""
    root, shown = draw_pictures(tmp_path / "p", 1), []
    first = root / "picture_0.png"
    if picture == "grey":  # of which the negative is nearly a copy
        Image.new("RGB", (40, 30), "grey").save(first)
        Image.new("RGB", (40, 30), "red").save(root / "red.png")
    else:
        size = (80, 30) if picture == "wide" else (40, 30)
        Image.open(first).resize(size).save(root / "same.bmp")

    class Watching(FakeModel):
        def score(self, requests, no_image):
            shown.extend(request.image for request in requests)
            return super().score(requests, no_image)

    run_check(make_config(tmp_path / "run", root, "fake"), Watching())
    assert shown[0].size == shown[1].size
    assert max(ImageStat.Stat(ImageChops.difference(*shown[:2])).mean) > 50


def test_a_template_that_swallows_the_picture_is_found_out(tmp_path):
    class Swallowing(FakeModel):
        def show_prompt(self, prompt, image):
            return super().show_prompt(prompt, None)

    config = make_config(tmp_path / "run", draw_pictures(tmp_path / "p"), "fake")
    text, summary = run_check(config, Swallowing())
    assert "prompt" in summary["failed"]
    assert "the chat template leaves it out; mend it" in text


def test_a_disk_that_is_too_small_is_told_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr("c3l.run.estimates.find_free_bytes", lambda folder: 1)
    text, summary = run_check(make_config(tmp_path / "run", draw_pictures(tmp_path / "p"), "fake"), FakeModel())
    assert "disk" in summary["failed"]
    assert "put --run on another disk" in text


@pytest.mark.parametrize("root", ["nowhere", "empty", "p"])
def test_without_a_picture_that_can_be_used_no_model_is_loaded(tmp_path, root):
    (tmp_path / "empty").mkdir()
    bad = ["broken.jpg"] if (draw_pictures(tmp_path / "p", 0).name == root) else []
    loader = Loader()
    *lines, summary = check(make_config(tmp_path / "run", tmp_path / root, "fake"), SilentProgress(), loader)
    assert loader.times == 0
    assert "NOT OK" in lines[0]
    assert "--image-root" in "\n".join(lines)
    assert summary == {"ok": False, "failed": ["images"], "images": 0, "bad_images": len(bad)}


def test_what_the_model_cannot_do_is_a_failed_check_with_the_verdict(tmp_path):
    config = make_config(tmp_path / "run", draw_pictures(tmp_path / "p"), "fake", "model.device=gpu")
    *lines, summary = check(config, SilentProgress(), lambda model, seed: load_model(config.model, 0))
    assert lines[-1].startswith("model: got model 'fake', expected `builtin`")
    assert lines[-1].endswith("- NOT OK")
    assert (summary["ok"], summary["failed"]) == (False, ["images", "model"])

    class Full(FakeModel):
        def score(self, requests, no_image):
            raise OutOfMemoryError("no room for one picture")

    text, summary = run_check(config, Full())
    assert "score: no room for one picture - NOT OK" in text
    assert summary["failed"] == ["images", "score"]


def test_near_duplicates_are_counted_where_they_are_asked_for(tmp_path):
    root = draw_pictures(tmp_path / "p", 3)
    (root / "broken.jpg").unlink()
    (root / "same.png").write_bytes((root / "picture_1.png").read_bytes())
    text, summary = run_check(make_config(tmp_path / "run", root, "fake", "images.near_duplicates=count"), FakeModel())
    assert "    1 near-duplicates of an earlier image, by at most 6 of 64 bits, such as 'same.png' of 'picture" in text
    assert summary["ok"]
    assert "near-duplicates" not in run_check(make_config(tmp_path / "run", root, "fake"), FakeModel())[0]


def test_a_package_for_near_duplicates_that_is_missing_is_a_failed_check(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "imagehash", None)
    root = draw_pictures(tmp_path / "p", 2)
    (root / "broken.jpg").unlink()
    text, summary = run_check(make_config(tmp_path / "run", root, "fake", "images.near_duplicates=drop"), FakeModel())
    assert "images: images.near_duplicates needs imagehash: pip install 'c3l[dedup]' - NOT OK" in text
    assert summary["failed"] == ["images"]


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("evaluation.tasks={task: pope, data: nothere.json, image_root: nope}", "nope"),
        ("report_to=trackio", "report_to=trackio needs trackio"),
        ("rounds=1", "can write and score, but not be tuned; set rounds=0"),
    ],
)
def test_what_a_run_would_refuse_at_once_is_a_failed_check(tmp_path, monkeypatch, override, told):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    root = draw_pictures(tmp_path / "p")
    (root / "broken.jpg").unlink()
    model = make_fake_model(tmp_path / "model")
    config = make_config(tmp_path / "run", root, f"vllm:{model}" if override == "rounds=1" else model, override)
    text, summary = run_check(config, FakeModel())
    assert summary["failed"] == ["settings"]
    with pytest.raises(C3LError, match=told) as refused:
        walk(config, Loader(), needs_model=False)
    assert f"settings: {refused.value} - NOT OK" in text
    assert not config.run.exists()


def test_several_images_are_looked_at_at_once_also_for_near_duplicates(tmp_path, monkeypatch):
    root = draw_pictures(tmp_path / "pictures")
    config = make_config(tmp_path / "run", root, "fake", "images.near_duplicates=count", "images.near_distance=0")
    one_by_one, _ = run_check(config, FakeModel())
    monkeypatch.setattr(checks, "inspect_image", meet(checks.inspect_image))
    monkeypatch.setattr(near_images, "open_image", meet(near_images.open_image))
    assert without_room(run_check(config, FakeModel())[0]) == without_room(one_by_one)


def without_room(told):
    """What a check says, less the room on the disk, which others use meanwhile."""
    return re.sub(r"[\d,]+ MB are free", "", told)
