"""The operator for data-juicer, inside data-juicer; its environment is its own, so this is skipped in most."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("data_juicer")

from c3l import Scorer
from c3l.data.export_rows import ExportRow
from c3l.data.export_text import data_juicer_row, to_json
from c3l.records import ImageRef
from tiny_models import make_picture

OPERATOR = Path(__file__).parents[2] / "examples/data_juicer_c3l.py"
SETTINGS = ["model.dtype=float32", "scoring.no_image=drop", "scoring.form=log_ratio"]

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def folder(tmp_path_factory, copy_tiny) -> Path:
    """Pictures, a model, and the export of c3l about them, with three rows that cannot be scored."""
    folder = tmp_path_factory.mktemp("data_juicer")
    copy_tiny("llava", folder / "model")
    rows = []
    for seed in range(6):
        make_picture(seed).save(folder / f"{seed}.png")
        image = ImageRef(str(seed), f"{seed}.png", "", 1, 1)
        rows.append(data_juicer_row(ExportRow(str(seed), image, "What is it?", f"A red dog, {seed} of them.", 0.5, {})))
    rows += [
        {**rows[0], "id": "gone", "images": ["gone.png"]},
        {**rows[0], "id": "two", "images": ["0.png", "1.png"]},
        {**rows[0], "id": "odd", "text": "A dog."},
    ]
    (folder / "data_juicer.jsonl").write_text("".join(to_json(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def scored(folder: Path) -> dict[str, dict]:
    """The statistics of every row, by its id; no limit drops any."""
    return {row["id"]: row["__dj__stats__"] for row in process(folder)}


def process(folder: Path, **further: object) -> list[dict]:
    operator = {"model": str(folder / "model"), "settings": SETTINGS, "batch_size": 4, **further}
    recipe = {
        "project_name": "c3l",
        "dataset_path": str(folder / "data_juicer.jsonl"),
        "export_path": str(folder / "out" / "out.jsonl"),
        "custom_operator_paths": [str(OPERATOR)],
        "np": 2,
        "keep_stats_in_res_ds": True,
        "open_tracer": False,
        "process": [{"c3l_filter": operator}],
    }
    (folder / "recipe.yaml").write_text(json.dumps(recipe))  # YAML too
    command = [str(Path(sys.executable).with_name("dj-process")), "--config", str(folder / "recipe.yaml")]
    subprocess.run(command, check=True, capture_output=True, cwd=folder, timeout=250)
    return [json.loads(line) for line in (folder / "out/out.jsonl").read_text().splitlines()]


def test_every_row_has_the_score_that_c3l_gives_or_says_why_not(folder: Path, scored: dict[str, dict]) -> None:
    answers = {str(seed): f"A red dog, {seed} of them." for seed in range(6)}
    asked = [
        {"image": folder / f"{name}.png", "question": "What is it?", "answer": answer}
        for name, answer in answers.items()
    ]
    expected = [one.i2c for one in Scorer(str(folder / "model"), settings=SETTINGS).score(asked)]
    assert [scored[name]["c3l_i2c"] for name in answers] == pytest.approx(expected, abs=1e-5)
    assert len(set(expected)) == 6
    assert {stats["i2c"] for stats in scored.values()} == {0.5}, "what the export said of the rows stays"
    errors = {name: stats["c3l_error"].split(":")[0] for name, stats in scored.items() if stats["c3l_i2c"] is None}
    assert errors == {"gone": "unreadable_image", "two": "bad_row", "odd": "bad_row"}


def test_a_limit_keeps_the_rows_within_it_and_no_row_without_a_score(folder: Path, scored: dict[str, dict]) -> None:
    scores = {name: stats["c3l_i2c"] for name, stats in scored.items()}
    known = sorted(score for score in scores.values() if score is not None)
    kept = {row["id"] for row in process(folder, min_i2c=known[3])}
    assert kept == {name for name, score in scores.items() if score is not None and score >= known[3]}
    assert len(kept) == 3


def test_a_model_that_is_not_there_stops_the_work_and_empties_no_data_set(folder: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as failed:
        process(folder, model=str(folder / "nowhere"))
    assert b"nowhere" in failed.value.stderr + failed.value.stdout
