"""Scoring an existing data set: every turn gives one row, in order, once, whatever happens in between."""

import gzip
import json
import os
import shutil
from pathlib import Path

import pytest

from c3l.errors import (
    BackendError,
    ConfigError,
    DataError,
    RunLockedError,
    StaleStageError,
    StorageError,
    TooManyRejectedError,
)
from c3l.jobs import score as module
from c3l.method.scoring import score_samples
from c3l.progress import SilentProgress
from c3l.settings.load import load_config
from fakes import FakeModel, StandingModel, write_fake_model
from runs import Loader, draw_pictures

KEYS = (
    "id turn image question answer i2c form log_ratio discounted_likelihood focused_likelihood vocabulary_kl answer_kl "
    "weighted_log_ratio lift probability_gain focused_gain n_answer_tokens status error"
).split()


def turns(*pairs: tuple[str, str]) -> list[dict[str, str]]:
    return [{"from": who, "value": text} for pair in pairs for who, text in zip(("human", "gpt"), pair, strict=True)]


ROWS = [
    {"id": 7, "image": "picture_0.png", "conversations": turns(("<image>\nWhat?", "A red dog."), ("Why?", "It is."))},
    {"id": "text", "conversations": turns(("Hello?", "Yes."))},
    {"id": "gone", "image": "gone.png", "conversations": turns(("What?", "A cat."))},
    {"id": "bad", "image": "broken.jpg", "extra": {}, "conversations": turns(("What?", "A cat."))},
    {
        "id": "a#3",
        "image": "./picture_1.png",
        "conversations": turns(("And?", "A caf\u00e9 \x1b[31m"), ("What?", "  ")),
    },
    {"id": "out", "image": "../secret.png", "conversations": turns(("What?", "A cat."))},
    *(
        {
            "id": f"n{number}",
            "image": f"picture_{number % 3}.png",
            "conversations": turns(("What?", f"Thing {number}.")),
        }
        for number in range(20)
    ),
]


@pytest.fixture
def work(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("C3L_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "CHUNK_ROWS", 4)
    write_fake_model(tmp_path / "model")
    draw_pictures(tmp_path / "pictures", 3)
    (tmp_path / "data.json").write_text(json.dumps(ROWS))
    return tmp_path


def score(work: Path, *overrides, out="out.jsonl", data="data.json", loader=None, progress=None):
    named = [f"model.name={work / 'model'}", "model.dtype=float32", f"images.root={work / 'pictures'}"]
    named += ["scoring.no_image=drop", "scoring.form=discounted_likelihood"]  # one picture is enough for them
    config = load_config(None, [*named, *overrides])
    return module.score_file(
        [work / name for name in data.split()], work / out, config, progress or SilentProgress(), loader or Loader()
    )


def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_turn_gives_one_row_with_exactly_these_keys_in_order(work):
    summary = score(work)
    rows = read(work / "out.jsonl")
    assert all(list(row) == KEYS for row in rows)
    assert [(row["id"], row["turn"]) for row in rows[:8]] == [
        (7, 0),
        (7, 1),
        ("text", 0),
        ("gone", 0),
        ("bad", 0),
        ("a#3", 0),
        ("a#3", 1),
        ("out", 0),
    ]
    assert [row["status"] for row in rows[:8]] == ["ok", "ok", *["rejected"] * 3, "ok", *["rejected"] * 2]
    reasons = [row["error"].split(":")[0] for row in rows[:8] if row["error"]]
    assert reasons == ["no_image", "unreadable_image", "unreadable_image", "empty_answer", "bad_path"]
    assert "missing_image" in rows[3]["error"]
    assert "not_an_image" in rows[4]["error"]
    assert rows[0]["i2c"] == rows[0]["discounted_likelihood"]
    assert rows[0]["n_answer_tokens"] == 3
    assert (rows[0]["question"], rows[5]["answer"]) == ("What?", "A caf\u00e9 \x1b[31m")
    texts = [(row["image"], row["question"], row["answer"]) for row in rows if row["status"] == "rejected"]
    assert texts == [
        (None, "Hello?", "Yes."),
        ("gone.png", "What?", "A cat."),
        ("broken.jpg", "What?", "A cat."),
        ("picture_1.png", "What?", ""),
        ("../secret.png", "What?", "A cat."),
    ]
    assert summary["rows"] == len(rows) == 28
    rejected = {"no_image": 1, "unreadable_image": 2, "empty_answer": 1, "bad_path": 1}
    assert (summary["ok"], summary["rejected"]) == (23, rejected)


def test_the_same_command_again_does_nothing(work):
    score(work)
    before = (work / "out.jsonl").read_bytes()
    loader = Loader()
    assert score(work, loader=loader)["rows"] == 28
    assert loader.times == 0
    assert (work / "out.jsonl").read_bytes() == before


def stop_at(place, monkeypatch):
    """Have scoring interrupted at its call of this number; all samples that are scored, before it and after."""
    calls, seen = iter(range(100)), []

    def stopping(samples, *rest):
        if next(calls) == place:
            raise KeyboardInterrupt
        seen.extend(samples)
        return score_samples(samples, *rest)

    monkeypatch.setattr(module, "score_samples", stopping)
    return seen


@pytest.mark.parametrize("failing", range(1, 7))
@pytest.mark.parametrize("torn", [b"", b'{"id": "torn', b'{"id": "whole but not counted"}\n'])
def test_a_run_that_was_stopped_goes_on_without_repeating(work, monkeypatch, failing, torn):
    score(work, out="whole.jsonl")
    seen = stop_at(failing, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        score(work)
    with (work / "out.jsonl").open("ab") as file:
        file.write(torn)
    score(work)
    assert (work / "out.jsonl").read_bytes() == (work / "whole.jsonl").read_bytes()
    assert len(seen) == len({sample.sample_id for sample in seen}), "no turn was scored twice"


@pytest.mark.parametrize("torn", [b"", b'{"id": "torn'])
def test_a_run_that_was_killed_within_its_first_rows_goes_on(work, monkeypatch, torn):
    whole = score(work, "scoring.context=none", out="whole.jsonl")

    def stopping(path, lines):
        path.write_bytes(torn)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "append_lines", stopping)
        with pytest.raises(KeyboardInterrupt):
            score(work, "scoring.context=none")
    again = score(work, "scoring.context=none")
    assert {**again, "out": whole["out"]} == whole and whole["noted"], "nothing is counted twice"
    assert (work / "out.jsonl").read_bytes() == (work / "whole.jsonl").read_bytes()


def unloadable(config, seed):
    raise BackendError("no such model")


@pytest.mark.parametrize(
    ("attempt", "error"),
    [
        ({"loader": unloadable}, BackendError),
        ({"overrides": ["model.name=no-model"]}, BackendError),
        ({"overrides": ["images.root=nowhere"]}, DataError),
        ({"data": "missing.json"}, DataError),
        ({"data": "empty.json"}, DataError),
        ({"data": "rows.csv"}, DataError),
        ({"data": "empty.json", "out": "new/deep/out.jsonl"}, DataError),
    ],
)
def test_what_fails_before_the_first_rows_leaves_nothing_and_blocks_nothing(work, attempt, error):
    (work / "empty.json").write_text("[]")
    (work / "rows.csv").write_text("id,image\n1,picture_0.png\n")
    before = sorted(work.iterdir())
    with pytest.raises(error):
        score(work, *attempt.pop("overrides", ()), **attempt)
    assert [path for path in sorted(work.iterdir()) if path.name != "cache"] == before
    assert score(work, "seed=1")["ok"] == 23


def without_pictures(root: Path) -> Path:
    root.mkdir()
    (root / "notes.txt").touch()
    return root


def test_pictures_that_are_away_reject_no_row(work):
    (work / "pictures").rename(work / "away")
    (work / "pictures").mkdir()
    with pytest.raises(DataError, match="gone or empty"):
        score(work, "max_error_rate=1")
    (work / "pictures").rmdir()
    (work / "away").rename(work / "pictures")
    assert score(work)["ok"] == 23


def test_what_holds_no_score_is_made_again_with_other_settings(work):
    none = score(work, f"images.root={without_pictures(work / 'other')}", "max_error_rate=1")
    assert (none["ok"], none["above_max_error_rate"]) == (0, True)
    score(work)
    score(work, out="other.jsonl")
    assert (work / "out.jsonl").read_bytes() == (work / "other.jsonl").read_bytes()


def test_what_holds_no_score_is_made_again_when_the_pictures_are_there(work):
    (work / "pictures").rename(work / "away")
    without_pictures(work / "pictures")
    assert score(work, "max_error_rate=1")["ok"] == 0
    shutil.rmtree(work / "pictures")
    (work / "away").rename(work / "pictures")
    assert score(work)["ok"] == 23
    score(work, out="other.jsonl")
    assert (work / "out.jsonl").read_bytes() == (work / "other.jsonl").read_bytes()


def move(work: Path, to: str) -> str:
    (work / to).parent.mkdir(exist_ok=True)
    (work / "pictures").rename(work / to)
    return f"images.root={work / to}"


def test_the_working_directory_and_the_place_of_the_pictures_do_not_matter(work, monkeypatch):
    score(work)
    before = (work / "out.jsonl").read_bytes()
    for folder, root in ((work, "pictures"), (work / "pictures", "."), (work / "model", "../pictures")):
        monkeypatch.chdir(folder)
        assert score(work, f"images.root={root}", loader=unloadable)["ok"] == 23
    assert score(work, move(work, "moved/here"), loader=unloadable)["ok"] == 23
    assert (work / "out.jsonl").read_bytes() == before


def test_pictures_of_another_folder_do_not_mix_with_the_rows_that_are_there(work):
    score(work)
    draw_pictures(work / "others", 1).joinpath("picture_0.png").write_bytes(b"another")
    for root, why in (("others", "is another than was seen before"), ("model", "there is no 'picture_0.png'")):
        with pytest.raises(StaleStageError, match=f"lay under .*pictures, not of those under .*{root} .*{why}"):
            score(work, f"images.root={work / root}")


@pytest.mark.parametrize("killed", [None, "aside", 0, 1, 3])
def test_rows_are_made_again_when_their_picture_can_be_opened(work, monkeypatch, killed):
    (work / "pictures/picture_1.png").rename(work / "away.png")
    assert score(work)["rejected"]["unreadable_image"] == 2 + 8
    state = (work / "out.jsonl.state/state.json").read_bytes()
    assert score(work, loader=unloadable)["ok"] == 23 - 8, "nothing can be opened yet, so nothing is made again"
    (work / "away.png").rename(work / "pictures/picture_1.png")
    seen = stop_at(killed, monkeypatch)
    if killed == "aside":
        (work / "out.jsonl").rename(work / "out.jsonl.state/earlier.jsonl")
        assert (work / "out.jsonl.state/state.json").read_bytes() == state
    elif killed is not None:
        with pytest.raises(KeyboardInterrupt):
            score(work)
    assert score(work)["ok"] == 23
    assert len(seen) == len({sample.sample_id for sample in seen}) == 2 + 8, "only what was rejected for its picture"
    assert sorted(path.name for path in (work / "out.jsonl.state").iterdir()) == [".lock", "state.json"]
    score(work, out="other.jsonl")
    assert (work / "out.jsonl").read_bytes() == (work / "other.jsonl").read_bytes()
    assert score(work, loader=unloadable)["ok"] == 23


@pytest.mark.parametrize("killed", [False, True])
def test_all_rows_are_scored_anew_when_other_images_stand_for_none(work, monkeypatch, killed):
    others = "scoring.no_image=others", "scoring.others=4"
    (work / "pictures/picture_1.png").rename(work / "away.png")
    score(work, *others)
    (work / "away.png").rename(work / "pictures/picture_1.png")
    if killed:
        stop_at(1, monkeypatch)
        with pytest.raises(KeyboardInterrupt):
            score(work, *others)
    assert score(work, *others)["ok"] == 23
    score(work, *others, out="other.jsonl")
    assert (work / "out.jsonl").read_bytes() == (work / "other.jsonl").read_bytes()
    assert sorted(path.name for path in (work / "out.jsonl.state").iterdir()) == [".lock", "state.json"]
    assert score(work, *others, loader=unloadable)["ok"] == 23


def test_without_its_rows_it_starts_over_also_with_other_settings(work, monkeypatch):
    score(work)
    (work / "out.jsonl").unlink()
    (work / "data.json").write_text(json.dumps(ROWS[:3]))
    assert score(work, "seed=1")["rows"] == 4
    score(work, "seed=1", out="other.jsonl")
    assert (work / "out.jsonl").read_bytes() == (work / "other.jsonl").read_bytes()


def test_without_its_rows_what_went_aside_does_not_mix_with_other_settings(work):
    (work / "pictures/picture_1.png").rename(work / "away.png")
    score(work)
    (work / "out.jsonl").rename(work / "out.jsonl.state/earlier.jsonl")
    score(work, "scoring.form=vocabulary_kl")
    score(work, "scoring.form=vocabulary_kl", out="other.jsonl")
    assert (work / "out.jsonl").read_bytes() == (work / "other.jsonl").read_bytes()


def test_a_state_of_another_kind_is_one_line(work):
    score(work)
    path = work / "out.jsonl.state/state.json"
    for damage in ({**json.loads(path.read_text()), "rejected": 5}, {}, []):
        path.write_text(json.dumps(damage))
        with pytest.raises(DataError, match=r"state\.json, which .* and was not made by c3l score --data"):
            score(work)


def test_what_was_rejected_is_told_by_reason(work):
    notes = []

    class Telling(SilentProgress):
        def note(self, line):
            notes.append(line)

    score(work, "scoring.context=none", progress=Telling())
    assert notes[:3] == [
        "data: layout `conversations` of `from` and `value` (LLaVA, ShareGPT)",
        "5 of 28 turns rejected: 1 bad_path, 1 empty_answer, 1 no_image, 2 unreadable_image, such as unreadable_image: "
        f"missing_image: there is no 'gone.png' under {work / 'pictures'}; "
        f"`error` in their rows of {work / 'out.jsonl'} says more",
        "1 of 28 turns were scored without the turns before them",
    ]
    assert notes[3] == (
        "13% of 23 pairs need their image (lift >= 0.2 over no image, not over other images as with "
        "scoring.no_image=others), 0% say no"
    )
    assert [line.split(" lift ")[0] for line in notes[4:]] == ["highest"] * 3 + ["lowest"] * 3
    score(work, "scoring.context=none", progress=Telling())
    assert notes[10:] == notes[1:10], "also when all was done before"


def test_how_specific_the_rows_are_is_in_the_summary_however_often_it_was_stopped(work, monkeypatch):
    told = [json.loads((work / "data.json").read_text())[0], *ROWS[6:]]
    told[3] = {**told[3], "conversations": turns(("Is it red?", "No, it is not."))}
    (work / "data.json").write_text(json.dumps(told))
    whole = score(work, "scoring.no_image=others", "scoring.others=2", out="whole.jsonl")
    rows = read(work / "whole.jsonl")
    lifts = sorted(row["lift"] for row in rows)
    found = whole["specificity"]
    assert (found["pairs"], found["pictures"], found["says_no"]) == (22, 3, 1)
    assert 0 < found["specific"] == sum(lift >= 0.2 for lift in lifts) < 22
    assert found["median_lift"] == pytest.approx((lifts[10] + lifts[11]) / 2, abs=1e-4)
    assert (found["over"], found["of_this"], found["least_lift"]) == ("2 other images", True, 0.2)
    assert 0 < found["low"] < found["specific"] / 22 < found["high"] < 1
    for failing in (2, 1):
        with monkeypatch.context() as patch:
            stop_at(failing, patch)
            with pytest.raises(KeyboardInterrupt):
                score(work, "scoring.no_image=others", "scoring.others=2")
    assert score(work, "scoring.no_image=others", "scoring.others=2") == {**whole, "out": str(work / "out.jsonl")}
    again = score(work, "scoring.no_image=others", "scoring.others=2", loader=unloadable)
    assert again["specificity"] == found, "also when all was done before"


def test_without_a_score_nothing_is_said_of_specificity(work):
    assert "specificity" not in score(work, f"images.root={without_pictures(work / 'other')}", "max_error_rate=1")


@pytest.mark.parametrize(
    ("paths", "error", "message"),
    [
        ({"data": "missing.json"}, DataError, "got --data .*missing.json, which is not there; expected a file of JSON"),
        (
            {"data": "pictures"},
            DataError,
            "got --data .*pictures, which is a folder and holds no tar or parquet file; expected a file",
        ),
        ({"data": "pipe"}, DataError, "got --data .*pipe, which is a pipe or device; expected a file of JSON"),
        ({"root": "data.json"}, DataError, "got --image-root .*data.json, expected the folder"),
        ({"out": "pictures"}, StorageError, "got --out .*pictures, which is a folder; expected the JSONL file"),
        ({"out": "/"}, StorageError, "got --out /, which is a folder; expected the JSONL file"),
        ({"out": "data.json/out"}, StorageError, "got --out .*out, but .*data.json is a file, expected a folder"),
        ({"out": "taken"}, StorageError, "got --out .*taken, but .*taken.state is a file, expected a folder"),
    ],
)
def test_bad_paths_are_told_before_the_model_is_looked_at(work, paths, error, message):
    (work / "taken.state").write_text("mine")
    os.mkfifo(work / "pipe")
    root = work / paths.pop("root", "pictures")
    with pytest.raises(error, match=message):
        score(work, "model.name=no-model", f"images.root={root}", **paths)


def test_a_folder_for_the_rows_is_made(work):
    assert score(work, out="new/deep/out.jsonl")["rows"] == 28


def test_sizes_and_compression_change_no_row(work, monkeypatch):
    score(work)
    (work / "data.jsonl.gz").write_bytes(gzip.compress("\n".join(map(json.dumps, ROWS)).encode()))
    monkeypatch.setattr(module, "CHUNK_ROWS", 64)
    score(work, "scoring.batch_size=1", out="other.jsonl", data="data.jsonl.gz")
    assert (work / "other.jsonl").read_bytes() == (work / "out.jsonl").read_bytes()


def test_the_turns_of_a_row_are_scored_as_one_request(work, monkeypatch):
    monkeypatch.setattr(module, "CHUNK_ROWS", 1)
    fake = FakeModel()
    asked = []
    original = fake.score
    fake.score = lambda requests, mode: asked.extend(requests) or original(requests, mode)
    score(work, loader=Loader(lambda: fake))
    assert len(asked[0].pairs) == 2


@pytest.mark.parametrize(
    "override", ["scoring.form=vocabulary_kl", "seed=1", "scoring.no_image=blank", "images.limit=3"]
)
def test_other_settings_do_not_mix_with_the_rows_that_are_there(work, override):
    score(work)
    with pytest.raises(StaleStageError, match=override.split("=")[0]):
        score(work, override)


def test_another_data_file_does_not_mix(work):
    score(work)
    (work / "data.json").write_text(json.dumps(ROWS[:3]))
    told = r"other settings: the data file changed; .*, or remove .*out\.jsonl to start over .*out\.jsonl\.state"
    with pytest.raises(StaleStageError, match=told):
        score(work)


def test_a_file_of_somebody_else_is_not_touched(work):
    (work / "out.jsonl").write_text("mine\n")
    with pytest.raises(StaleStageError, match="not made by this command"):
        score(work)
    assert (work / "out.jsonl").read_text() == "mine\n"


def test_others_draws_from_the_pictures_of_the_file(work):
    score(work, "scoring.no_image=others", "scoring.others=1")
    rows = read(work / "out.jsonl")
    assert rows[0]["status"] == "ok"


def test_a_few_rows_are_told_what_they_were_compared_with(work):
    summary = score(work, "scoring.no_image=others", "images.limit=1")
    assert "other image" in summary["specificity"]["over"], "no grey one, though one image alone was scored"


def test_rows_that_somebody_edited_are_not_cut(work):
    score(work)
    rows = read(work / "out.jsonl")
    edited = "".join(json.dumps({**row, "mine": "a note"}) + "\n" for row in rows)
    (work / "out.jsonl").write_text(edited)
    with pytest.raises(StaleStageError, match="is not what was written to it"):
        score(work)
    assert (work / "out.jsonl").read_text() == edited


def test_what_dataset_info_says_of_a_file_belongs_to_its_scores(work):
    rows = [{"image": "picture_0.png", "one": "What?", "two": "Where?", "told": "A red dog."}]
    (work / "table.json").write_text(json.dumps(rows))

    def say(prompt):
        columns = {"prompt": prompt, "response": "told", "images": "image"}
        (work / "dataset_info.json").write_text(json.dumps({"t": {"file_name": "table.json", "columns": columns}}))

    say("one")
    score(work, data="table.json")
    assert read(work / "out.jsonl")[0]["question"] == "What?"
    say("two")
    with pytest.raises(StaleStageError, match=r"dataset_info\.json"):
        score(work, data="table.json")
    assert score(work, "columns=question=two,answer=told,image=image", data="table.json", out="named.jsonl")["ok"] == 1
    say("three")
    (work / "dataset_info.json").write_text(json.dumps({"t": {"file_name": "table.json", "ranking": True}}))
    assert score(work, "columns=question=two,answer=told,image=image", data="table.json", out="named.jsonl")["ok"] == 1
    say("one")
    assert score(work, data="table.json")["ok"] == 1


def test_a_root_without_any_of_the_images_ends_before_a_model_is_loaded_and_is_not_remembered(work):
    (work / "empty").mkdir()
    loader = Loader()
    with pytest.raises(TooManyRejectedError, match=r"where no turn has its image \(.*picture_0\.png"):
        score(work, f"images.root={work / 'empty'}", loader=loader)
    assert loader.times == 0
    assert not (work / "out.jsonl").exists()
    assert score(work)["ok"] == 23


def test_limit_is_a_number_of_turns(work):
    assert score(work, "images.limit=2")["rows"] == 2


def test_a_file_without_a_single_turn_loads_no_model(work):
    (work / "data.json").write_text(json.dumps([ROWS[1]]))
    loader = Loader()
    assert score(work, loader=loader)["above_max_error_rate"]
    assert loader.times == 0


def test_a_second_writer_and_a_missing_root_are_refused(work):
    def load(config, seed):
        with pytest.raises(RunLockedError):
            score(work)
        return FakeModel()

    score(work, loader=load)
    with pytest.raises(DataError, match="image-root"):
        score(work, f"images.root={work / 'nowhere'}")


def test_several_files_are_one_after_the_other_and_rows_say_which(work):
    (work / "deep").mkdir()
    (work / "two.json").write_text(json.dumps(ROWS[:2]))
    (work / "deep/two.json").write_text(json.dumps(ROWS[:1]))
    alone = score(work, out="alone.jsonl")
    summary = score(work, data="data.json two.json")
    rows = read(work / "out.jsonl")
    assert (summary["rows"], alone["rows"]) == (31, 28)
    assert [row["file"] for row in rows] == ["data.json"] * 28 + ["two.json"] * 3
    assert [{k: v for k, v in row.items() if k != "file"} for row in rows[:28]] == read(work / "alone.jsonl")
    assert {row["i2c"] for row in rows[28:30]} == {row["i2c"] for row in rows[:2]}
    with pytest.raises(StaleStageError, match="data"):
        score(work, data="two.json data.json")
    score(work, data="two.json deep/two.json", out="named.jsonl")
    assert {row["file"] for row in read(work / "named.jsonl")} == {str(work / "two.json"), str(work / "deep/two.json")}
    with pytest.raises(ConfigError, match="2 times, expected each file once"):
        score(work, data="two.json deep/../two.json")


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_several_files_that_were_stopped_go_on(work, monkeypatch, failing):
    (work / "two.json").write_text(json.dumps([{**row, "system": "Be kind."} for row in ROWS[:8]]))
    whole = score(work, data="two.json data.json", out="whole.jsonl")
    stop_at(failing, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        score(work, data="two.json data.json")
    assert score(work, data="two.json data.json") == {**whole, "out": str(work / "out.jsonl")}
    assert (work / "out.jsonl").read_bytes() == (work / "whole.jsonl").read_bytes()


def test_a_system_prompt_is_scored_with_where_the_model_shows_it_and_else_told(work):
    (work / "two.json").write_text(json.dumps([ROWS[0], {**ROWS[0], "system_prompt": "Be kind."}]))
    assert score(work, data="two.json")["noted"] == {}
    plain, _, said, _ = read(work / "out.jsonl")
    assert plain["i2c"] != said["i2c"]

    class Refusing(FakeModel):
        takes_system = False

    told = score(work, data="two.json", out="other.jsonl", loader=Loader(Refusing))
    assert told["noted"] == {"without_system": 2}
    first, _, second, _ = read(work / "other.jsonl")
    assert first["i2c"] == second["i2c"] == plain["i2c"]


def test_a_turn_is_scored_after_those_before_it_unless_that_is_not_wanted_or_not_shown(work):
    first, second = ROWS[0]["conversations"][:2], ROWS[0]["conversations"][2:]
    alone = {**ROWS[0], "conversations": second}
    (work / "talks.json").write_text(json.dumps([ROWS[0], alone, {**ROWS[0], "conversations": [*first, *second]}]))
    assert score(work, data="talks.json")["noted"] == {}
    _, after, without, _, again = read(work / "out.jsonl")
    assert after["i2c"] == again["i2c"] != without["i2c"]

    told = score(work, "scoring.context=none", data="talks.json", out="none.jsonl")
    assert told["noted"] == {"without_earlier_turns": 2}
    assert [row["i2c"] for row in read(work / "none.jsonl")[1:3]] == [without["i2c"]] * 2

    class Hiding(FakeModel):
        takes_turns = False

    assert score(work, data="talks.json", out="hidden.jsonl", loader=Loader(Hiding))["noted"] == told["noted"]
    keys = "i2c", "status", "error"
    rows = [[row[key] for key in keys] for row in read(work / "hidden.jsonl")]
    assert rows == [[row[key] for key in keys] for row in read(work / "none.jsonl")]


def test_what_follows_a_turn_that_cannot_be_used_leans_on_it(work):
    bad, good = {"from": "gpt", "value": " "}, ROWS[0]["conversations"]
    (work / "bad.json").write_text(json.dumps([{**ROWS[0], "conversations": [good[0], bad, *good[2:]]}, ROWS[1]]))
    score(work, data="bad.json")
    errors = [row["error"] for row in read(work / "out.jsonl")[:2]]
    assert errors[0].startswith("empty_answer")
    assert errors[1] == "bad_earlier_turn: turn 0, before it, cannot be used (empty_answer: the answer has no text)"
    score(work, "scoring.context=none", data="bad.json", out="none.jsonl")
    assert read(work / "none.jsonl")[1]["status"] == "ok"


def test_turns_that_are_not_to_be_learned_are_not_scored_and_are_no_error(work):
    rows = [
        {**row, "conversations": [row["conversations"][0], {**row["conversations"][1], "weight": 0}]}
        for row in ROWS[6:]
    ]
    (work / "marked.json").write_text(json.dumps([*rows, ROWS[0]]))
    summary = score(work, "max_error_rate=0.1", data="marked.json")
    assert (summary["rows"], summary["ok"], summary["rejected"]) == (22, 2, {"not_taught": 20})
    assert not summary["above_max_error_rate"]


def test_links_that_are_not_followed_are_counted_and_scored_once_they_may_be(work):
    (work / "pictures").rename(work / "away")
    (work / "pictures").mkdir()
    for path in (work / "away").iterdir():
        (work / "pictures" / path.name).symlink_to(path)
    summary = score(work, "max_error_rate=1")
    assert (summary["ok"], summary["noted"]["link_not_followed"]) == (0, 24)
    followed = score(work, "images.follow_links=all")
    assert (followed["ok"], followed["noted"]) == (23, {})
    assert score(work)["ok"] == 23, "what is scored stays"


def test_columns_of_other_names_are_scored_as_the_usual_ones_and_belong_to_the_scores(work):
    score(work, out="usual.jsonl")
    (work / "data.json").write_text(json.dumps([{"talk" if k == "conversations" else k: v for k, v in row.items()}
                                                for row in ROWS]))  # fmt: skip
    with pytest.raises(DataError, match=r"got a row of `id`, `image`, `talk`, expected .*--columns"):
        score(work)
    score(work, "columns=turns=talk")
    assert read(work / "out.jsonl") == read(work / "usual.jsonl")
    with pytest.raises(StaleStageError, match=r"columns"):
        score(work, "columns.turns=talk", "columns.id=id")


def test_images_that_stand_for_none_are_opened_once_for_all_chunks(work, monkeypatch):
    draw_pictures(work / "pictures", 12)
    rows = [
        {"id": place, "image": f"picture_{place}.png", "conversations": turns(*[("What?", f"Thing {n}.")] * 2)}
        for place in range(12)
        for n in range(2)
    ]
    (work / "data.json").write_text(json.dumps(rows))
    made = []
    for size in (48, 4):
        monkeypatch.setattr(module, "CHUNK_ROWS", size)
        fake = StandingModel()
        loader = Loader(lambda fake=fake: fake)
        score(work, "scoring.no_image=others", "scoring.others=2", out=f"{size}.jsonl", loader=loader)
        made.append(fake.encoded)
    # each of the two, and a third beside each of them, which may have to be shown again after it
    assert made[0] <= 4 and made[1] <= made[0] + 2
    assert (work / "48.jsonl").read_bytes() == (work / "4.jsonl").read_bytes()
