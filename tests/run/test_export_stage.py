"""The export of a run: which preferences it has, and what it says where it has none."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from c3l.executors.local import LocalExecutor
from c3l.progress import SilentProgress
from c3l.records import FilterDecision, ScoredSample
from c3l.run import export_stage as exporting
from c3l.run import pipeline
from c3l.run.context import open_context
from c3l.run.export_stage import export_stage
from c3l.run.run_folder import Run
from held import Held
from runs import Loader, draw_pictures, make_config, make_fake_model, walk


class NotingProgress(SilentProgress):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, line: str) -> None:
        self.notes.append(line)


@pytest.fixture
def root(tmp_path):
    return draw_pictures(tmp_path / "pictures", 3)


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A model folder that is only ever hashed."""
    monkeypatch.setenv("C3L_CACHE", str(tmp_path / "cache"))
    return make_fake_model(tmp_path / "model")


def export_again(config, rounds: int = 0, scorer: str = "base") -> list[str]:
    """The export stage alone, of the pairs of that round; what it notes."""
    progress = NotingProgress()
    with open_context(config, progress, LocalExecutor(Loader())) as context:
        scoring = config.scoring.model_copy(update={"scorer": scorer})
        context = replace(context, config=context.config.model_copy(update={"rounds": rounds, "scoring": scoring}))
        name = "refined/scored" if rounds else "draft/scored"
        export_stage(context, *(context.run.stored(one) for one in ("images", name, "filtered")))
    return progress.notes


def answer_again(run: Run) -> None:
    """A second round that asks what the draft asked, and answers otherwise; all of it is kept."""
    draft = run.stored("draft/scored")
    pairs = [
        replace(
            one,
            sample=replace(one.sample, sample_id=f"again-{one.sample.sample_id}", answer="[[gpt]]: A thing.", round=1),
        )
        for one in draft.read(ScoredSample)
    ]
    pairs = [
        replace(one, scores=replace(one.scores, logprobs_with_image=tuple(0.0 for _ in one.scores.token_ids)))
        for one in pairs
    ]
    stage = run.stage("refined/scored", fingerprint="", settings={}, shards=1)
    stage.write_shard(0, pairs)
    stage.finish(draft.info.provenance, 0.0, inputs=len(pairs))
    run.clean("filtered")
    kept = run.stage("filtered", fingerprint="", settings={}, shards=1)
    decided = [
        FilterDecision(one.sample.sample_id, one.sample.image_id, 1.0, 1, "positive", True, "all") for one in pairs
    ]
    kept.write_shard(0, decided)
    kept.finish(None, 0.0, inputs=len(pairs))
    (run.path / "decisions.jsonl").touch()


def test_without_two_answers_to_a_question_nothing_is_written_and_one_line_says_so(tmp_path, root, model):
    wanted = "export.formats=[llava, trl_preference, swift_preference]"
    config = make_config(tmp_path / "run", root, model, wanted)
    walk(config, Loader())
    export = tmp_path / "run/export"
    assert {path.name for path in export.iterdir()} >= {"llava.json", "stage.json"}
    assert not list(export.glob("*preference*"))
    assert Run.reader(tmp_path / "run").stored("export").info.recorded["rows"] == {
        "llava.json": 8,
        "trl_preference.parquet": 0,
        "swift_preference.jsonl": 0,
    }
    before = (export / "stage.json").stat().st_mtime_ns
    assert export_again(config) == []
    assert (export / "stage.json").stat().st_mtime_ns == before, "it is whole, and not made again"
    pipeline_notes = NotingProgress()
    (export / "llava.json").unlink()
    with open_context(config, pipeline_notes, LocalExecutor(Loader()), needs_model=False) as context:
        pipeline.run_export(context)
    told = [line for line in pipeline_notes.notes if "is not written" in line]
    assert len(told) == 2 and "trl_preference.parquet is not written, no image has a kept answer and one" in told[0]
    assert "(trl_whole_pair)" in told[0] and "(swift_whole_pair)" in told[1]


def test_whole_pairs_of_an_image_are_compared_and_the_chosen_is_kept(tmp_path, root, model):
    config = make_config(tmp_path / "run", root, model, "export.formats=[swift_whole_pair, ids]")
    walk(config, Loader())
    export = tmp_path / "run/export"
    rows = [json.loads(line) for line in (export / "swift_whole_pair.jsonl").read_text().splitlines()]
    kept = set((export / "ids.txt").read_text().split())
    every = {
        one.sample.sample_id: one.sample
        for one in Run.reader(tmp_path / "run").stored("draft/scored").read(ScoredSample)
    }
    assert rows and {row["id"] for row in rows} <= kept
    for row in rows:
        assert every[row["id"]].image_id == every[row["rejected_id"]].image_id
        assert every[row["rejected_id"]].question in row["rejected_response"]
        assert row["messages"][0]["content"].startswith("<image>Write 1 ")


@pytest.mark.parametrize(("scorer", "written"), [("base", True), ("tuned", False)])
def test_answers_of_two_rounds_are_compared_where_one_model_scored_both(scorer, written, tmp_path, root, model):
    config = make_config(tmp_path / "run", root, model, "export.formats=[llava, data_juicer, swift_preference]")
    walk(config, Loader())
    page = (tmp_path / "run/report.html").read_text()
    assert "export/llava.json" in page and "swift_preference.jsonl" not in page, "it names the files that are there"
    answer_again(Run.reader(tmp_path / "run"))
    Run.reader(tmp_path / "run").clean("export")
    notes = export_again(config, rounds=1, scorer=scorer)
    assert any("data_juicer.jsonl is without 15 of 15 pairs" in line for line in notes)
    path: Path = tmp_path / "run/export/swift_preference.jsonl"
    assert path.exists() is written and any("is not written" in line for line in notes) is not written
    if written:
        row = json.loads(path.read_text().splitlines()[0])
        assert row["id"] == f"again-{row['rejected_id']}"
        assert row["messages"][1]["content"] == "[[gpt]]: A thing." != row["rejected_response"]


def test_the_tokens_of_few_pairs_are_held_at_once(tmp_path, root, model, monkeypatch):
    config = make_config(tmp_path / "run", root, model, "export.formats=[llava, swift_whole_pair, ids]")
    walk(config, Loader())
    export, held, read = tmp_path / "run/export", Held(), exporting.read_scored
    before = {path.name: path.read_bytes() for path in export.iterdir() if path.name != "stage.json"}
    assert before["swift_whole_pair.jsonl"]
    Run.reader(tmp_path / "run").clean("export")
    monkeypatch.setattr(exporting, "read_scored", lambda stage, form: held.give(read(stage, form)))
    export_again(config)
    assert {path.name: path.read_bytes() for path in export.iterdir() if path.name != "stage.json"} == before
    assert 0 < held.most <= 3  # of 18 and more
