"""A data set in which some rows are about several pictures, scored from file to file."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from c3l.errors import StaleStageError
from c3l.jobs import score as module
from c3l.jobs.score import score_file
from c3l.models.hf.inference import HfModel
from c3l.models.interface import Pair, ScoreRequest
from c3l.progress import SilentProgress
from c3l.settings.load import load_config
from fakes import FakeModel, write_fake_model
from runs import Loader, draw_pictures
from scores import score_rows

TALK = [
    {"from": "human", "value": "What is <image>?"},
    {"from": "gpt", "value": "A red dog."},
    {"from": "human", "value": "Is <image> it too?"},
    {"from": "gpt", "value": "No, it is blue."},
]
ASK = [{"from": "human", "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": "A cat."}]
BOTH = ["picture_0.png", "picture_1.png"]
ROWS = [
    {"id": "one", "image": "picture_0.png", "conversations": ASK},
    {"id": "two", "images": BOTH, "conversations": TALK},
    {"id": "gone", "images": ["picture_2.png", "gone.png"], "conversations": TALK},
    {"id": "none", "images": [*BOTH, "picture_2.png"], "conversations": TALK},
    {"id": "all", "images": [*BOTH, "picture_2.png"], "conversations": [{**ASK[0], "value": "Alike?"}, ASK[1]]},
    {"id": "last", "image": ["picture_3.png"], "conversations": ASK},
]


@pytest.fixture
def work(tmp_path: Path, own_cache: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module, "CHUNK_ROWS", 2)
    write_fake_model(tmp_path / "model")
    draw_pictures(tmp_path / "pictures", 4)
    (tmp_path / "data.json").write_text(json.dumps(ROWS))
    return tmp_path


def score(work: Path, *overrides: str, out: str = "out.jsonl", load=None):
    named = [f"model.name={work / 'model'}", "model.dtype=float32", f"images.root={work / 'pictures'}"]
    config = load_config(None, [*named, "model.device=cpu", "scoring.others=2", *overrides])
    return score_file([work / "data.json"], work / out, config, SilentProgress(), load)


def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_rows_say_the_pictures_that_each_question_shows(work):
    summary = score(work, load=Loader())
    rows = read(work / "out.jsonl")
    assert [(row["id"], row["turn"], row["image"], row["status"]) for row in rows] == [
        ("one", 0, "picture_0.png", "ok"),
        ("two", 0, BOTH[:1], "ok"),
        ("two", 1, BOTH, "ok"),
        ("gone", 0, ["picture_2.png"], "ok"),
        ("gone", 1, ["picture_2.png", "gone.png"], "rejected"),
        ("none", 0, None, "rejected"),
        ("none", 1, None, "rejected"),
        ("all", 0, [*BOTH, "picture_2.png"], "ok"),
        ("last", 0, "picture_3.png", "ok"),
    ]
    assert [row["question"] for row in rows[:3]] == ["What is it?", "What is <image>?", "Is <image> it too?"]
    assert summary["rejected"] == {"unreadable_image": 1, "several_images": 2}
    assert (summary["specificity"]["pairs"], summary["specificity"]["pictures"]) == (6, 5)
    assert len({tuple(row) for row in rows}) == 1, "the same keys in the same order in every row"


@pytest.mark.parametrize("failing", range(3))
def test_a_run_that_was_stopped_goes_on_without_repeating(work, monkeypatch, failing):
    score(work, load=Loader(), out="whole.jsonl")
    calls, original = iter(range(100)), module.score_samples

    def stopping(*given):
        if next(calls) == failing:
            raise KeyboardInterrupt
        return original(*given)

    with monkeypatch.context() as patch:
        patch.setattr(module, "score_samples", stopping)
        with pytest.raises(KeyboardInterrupt):
            score(work, load=Loader())
    score(work, "scoring.batch_size=1", load=Loader())
    assert (work / "out.jsonl").read_bytes() == (work / "whole.jsonl").read_bytes()


def test_a_row_is_made_again_once_all_of_its_pictures_open(work):
    score(work, load=Loader())
    loader = Loader()
    assert score(work, load=loader)["ok"] == 6 and not loader.times, "one of its pictures opens, the other does not"
    shutil.copyfile(work / "pictures/picture_3.png", work / "pictures/gone.png")
    assert score(work, load=Loader())["ok"] == 7


def test_the_first_picture_of_a_set_tells_whether_the_root_is_still_the_same(work):
    (work / "data.json").write_text(json.dumps(ROWS[1:2]))
    score(work, load=Loader())
    (work / "pictures").rename(work / "moved")
    assert score(work, f"images.root={work / 'moved'}")["ok"] == 2
    draw_pictures(work / "others", 2)
    Image.new("RGB", (9, 9)).save(work / "others/picture_0.png")
    with pytest.raises(StaleStageError, match="is another than was seen before"):
        score(work, f"images.root={work / 'others'}")


def test_with_a_real_model_the_numbers_are_those_of_the_pictures_in_order(work, tiny, copy_tiny):
    copy_tiny("llava", work / "tiny")
    named = [f"model.name={work / 'tiny'}", "scoring.no_image=drop", "scoring.form=log_ratio"]
    score(work, *named)
    row = read(work / "out.jsonl")[2]
    images = tuple(Image.open(work / "pictures" / name).convert("RGB") for name in BOTH)
    pair = Pair("", TALK[2]["value"], row["answer"], ((TALK[0]["value"], TALK[1]["value"]),))
    model = HfModel(tiny("llava").model, tiny("llava").processor, FakeModel().provenance)
    for shown, same in ((images, True), (images[::-1], False)):
        [[scores]] = score_rows(model, [ScoreRequest(shown, (pair,))], "drop")
        both = zip(scores.logprobs_with_image, scores.logprobs_without_image, strict=True)
        found = sum(p - q for p, q in both) / len(scores.token_ids)
        assert (abs(found - row["log_ratio"]) < 1e-4) is same


def test_without_earlier_turns_their_pictures_come_first(work, tiny, copy_tiny):
    copy_tiny("llava", work / "tiny")
    named = [f"model.name={work / 'tiny'}", "scoring.no_image=drop", "scoring.form=log_ratio"]
    summary = score(work, *named, "scoring.context=none")
    assert summary["noted"]["without_earlier_turns"] == 1
    alone = read(work / "out.jsonl")[2]["log_ratio"]
    score(work, *named, out="turns.jsonl")
    assert abs(read(work / "turns.jsonl")[2]["log_ratio"] - alone) > 0.01
