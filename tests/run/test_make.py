"""A whole run from Python: the records are those of the run folder, and a finished run is only read."""

import json
from pathlib import Path

import pytest

import c3l
from c3l.errors import StaleStageError, TooManyRejectedError
from runs import draw_pictures
from tiny_models import write_scripted

PAIRS = "".join(f"Question {n}: What is thing {n}?\nAnswer {n}: It is red.\n" for n in (1, 2, 3))
PLAIN = ("rounds=0", "model.dtype=float32", "model.device=cpu", "generation.temperature=0", "scoring.others=1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Three images and a file that is none, and a model that writes three pairs about each."""
    folder = tmp_path_factory.mktemp("make")
    write_scripted(folder / "model", PAIRS)
    draw_pictures(folder / "images", 3)
    return folder


@pytest.fixture(scope="module")
def made(folder: Path) -> c3l.Made:
    return make(folder)


def make(folder: Path, *settings: str) -> c3l.Made:
    model, run = folder / "model", folder / "run"
    return c3l.make(folder / "images", model, run=run, settings=[*PLAIN, *settings], quiet=True)


def test_every_scored_pair_comes_with_what_was_decided(folder: Path, made: c3l.Made) -> None:
    pairs = [one.pair for one in made.decisions]
    assert len(pairs) == 9
    assert {one.question for one in pairs} == {f"What is thing {n}?" for n in (1, 2, 3)}
    assert {Path(one.image) for one in pairs} == {folder / f"images/picture_{n}.png" for n in range(3)}
    assert {one.model for one in pairs} == {str(folder / "model")}
    assert len(made.kept) == 5, "half of nine, rounded up"
    rows = json.loads((folder / "run/export/llava.json").read_text())
    assert [row["id"] for row in rows] == [one.id for one in made.kept]
    assert made.files == [folder / "run/export/llava.json"]
    assert made.report.exists()


def test_a_finished_run_is_only_read(folder: Path, made: c3l.Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("c3l.executors.local.load_model", None)
    assert make(folder) == made
    with pytest.raises(StaleStageError, match="seed: 0 -> 1"):
        make(folder, "seed=1")


def test_what_was_made_can_be_filtered_and_exported_again(folder: Path, made: c3l.Made, tmp_path: Path) -> None:
    best = c3l.filter([one.pair for one in made.decisions], settings=["filtering.rule=best_per_image"])
    [file] = c3l.export(best, tmp_path, image_root=folder / "images")
    assert len(json.loads(file.read_text())) == 3


def test_a_run_that_lost_too_much_is_an_error(folder: Path, made: c3l.Made) -> None:
    with pytest.raises(TooManyRejectedError, match="max_error_rate 1%"):
        make(folder, "max_error_rate=0.01")


def test_pairs_of_a_run_and_of_a_scorer_name_a_folder_alike(
    folder: Path, made: c3l.Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    rows = [{"image": f"images/picture_{n}.png", "question": "What?", "answer": "It is red."} for n in range(2)]
    [one, _] = c3l.Scorer("model", settings=["model.dtype=float32", "scoring.others=1"]).score(rows)
    assert one.model == made.decisions[0].pair.model
