"""The whole C3L loop on a tiny LLaVA: draft, groups, tuning, written again, scored, kept; killed on the way too.

A random model writes nothing that parses, so what it writes is made up from picture, prompt and seed; the scores,
the tuning and the merged model are the tiny model's own.
"""

import json
import math
import os
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from c3l.cli.main import main
from c3l.cli.tables import format_pairs, format_status
from c3l.errors import DataError, StaleStageError
from c3l.models.hf.inference import HfModel
from c3l.models.interface import Completion, GenerateRequest, Pair, Sampling, ScoreRequest
from c3l.models.load import load_model
from c3l.records import ContrastiveGroup, FilterDecision, HeldOut, ImageRef, Rejected, ScoredSample, TuningStep
from c3l.run.run_folder import Run
from c3l.run.status import read_states, summarise
from c3l.settings.schema import ModelConfig
from c3l.storage.stage import read_records, write_records
from fakes import write_pairs
from processes import fork, fork_together
from runs import draw_pictures, make_config, read_all, walk
from scores import score_rows

PICTURES = 6
SETTINGS = ("rounds=1", "scoring.scorer=tuned", "contrastive.batch_size=2", "contrastive.learning_rate=0.01")
SETTINGS = (*SETTINGS, "contrastive.epochs=2", "contrastive.save_steps=1")


def write(model: HfModel, requests: Sequence[GenerateRequest], sampling: Sampling) -> list[Completion]:
    """In place of ``HfModel.generate``; one picture gets a single pair, which has nothing to be contrasted with."""
    texts = [write_pairs(request) for request in requests]
    first = Image.open(Path(os.environ["LOOP_PICTURES"]) / "picture_0.png").convert("RGB").tobytes()
    lonely = [request.image is not None and request.image.tobytes() == first for request in requests]
    texts = [text[: text.index("\nQuestion 2")] if one else text for text, one in zip(texts, lonely, strict=True)]
    return [Completion(request.request_id, text, "stop") for request, text in zip(requests, texts, strict=True)]


@pytest.fixture(scope="module")
def world(tmp_path_factory, copy_tiny):
    folder = tmp_path_factory.mktemp("loop")
    patch = pytest.MonkeyPatch()
    patch.setenv("C3L_CACHE", str(folder / "cache"))
    patch.setenv("LOOP_PICTURES", str(folder / "pictures"))
    patch.setattr(HfModel, "generate", write)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # what is killed runs with one, and sums depend on their number in the last digit
    copy_tiny("llava", folder / "llava")
    draw_pictures(folder / "pictures", PICTURES)
    walk(make_config(folder / "whole", folder / "pictures", folder / "llava", *SETTINGS), load_model)
    yield folder
    torch.set_num_threads(threads)
    patch.undo()


def test_every_stage_is_there_and_adds_up(world):
    run = Run.reader(world / "whole")
    states = {one.name: one for one in read_states(run)}
    assert {one.state for one in states.values()} == {"done"}
    assert list(states)[4:7] == ["groups", "tuned", "refined/generated"]
    for one in states.values():
        if one.name not in ("draft/parsed", "refined/parsed", "groups"):
            assert one.counts.count_in == one.counts.count_out + sum(one.counts.rejected.values()), one.name
    assert states["groups"].counts.rejected == {"one_pair": 1}
    assert states["tuned"].counts.count_in == len(list(run.stored("groups").read(ContrastiveGroup))) == PICTURES - 1
    summary = summarise(run)
    assert (summary["rounds"], summary["scored"]) == (1, 5 * (PICTURES - 1) + 1)
    rounds = [one.sample.round for one in run.stored("refined/scored").read(ScoredSample)]
    assert set(rounds) == {1}
    exported = {row["id"] for row in json.loads((world / "whole/export/llava.json").read_text())}
    kept = {one.sample_id for one in read_records(world / "whole/decisions.jsonl", FilterDecision) if one.kept}
    assert exported == kept <= {one.sample.sample_id for one in run.stored("refined/scored").read(ScoredSample)}
    assert any("tuned" in line for line in format_status(run))
    assert any("nats" in line for line in format_pairs(run, "picture_1"))
    found = summary["specificity"]
    assert (found["all"]["pairs"], found["kept"]["pairs"]) == (summary["scored"], summary["kept"])
    lines = [line for line in format_status(run) if "need their image (lift >= 0.2 over no image" in line]
    assert [line.split(":")[0] for line in lines] == ["all", "kept"]


def test_the_lonely_pair_is_rejected_with_a_reason(world):
    [rejected] = Run.reader(world / "whole").stored("groups").read(Rejected)
    assert (rejected.stage, rejected.reason) == ("selection", "one_pair")


def test_the_tuning_is_told_step_by_step_and_held_out_groups_before_and_after(world):
    stage = Run.reader(world / "whole").stored("tuned")
    steps, held = list(stage.read(TuningStep)), list(stage.read(HeldOut))
    assert [one.step for one in steps] == [1, 2, 3, 4], "4 groups to train on, 2 a step, 2 epochs"
    assert [(one.when, one.groups) for one in held] == [("before", 1), ("after", 1)]
    assert held[0].likelihood != held[1].likelihood
    assert stage.info.recorded == {"groups_trained_on": 4, "groups_held_out": 1, "steps": 4, "processes": 1}
    assert not (stage.folder / "checkpoints").exists()


def test_what_writes_and_scores_round_1_is_the_merged_model(world):
    info = Run.reader(world / "whole").stored("refined/scored").info
    merged = world / "whole/tuned/merged"
    assert info.provenance.model == str(merged)
    [one, *_] = Run.reader(world / "whole").stored("refined/scored").read(ScoredSample)
    pair = Pair("x", one.sample.question, one.sample.answer)
    images = {image.image_id: image for image in Run.reader(world / "whole").stored("images").read(ImageRef)}
    image = world / "pictures" / images[one.sample.image_id].path
    scores = {}
    for name in (merged, world / "llava"):
        model = load_model(ModelConfig(name=str(name), dtype="float32", device="cpu"), 0)
        scores[name] = score_rows(model, [ScoreRequest(Image.open(image).convert("RGB"), (pair,))], "drop")[0][0]
    assert one.scores.logprobs_with_image == pytest.approx(scores[merged].logprobs_with_image, abs=1e-5)
    gap = [abs(a - b) for a, b in zip(*(scores[n].logprobs_with_image for n in scores), strict=True)]
    assert max(gap) > 1e-3, "the tuning changed nothing: nothing was shown"


def test_the_base_model_scores_round_1_by_default(world):
    run = world / "base"
    for part in ("images", "draft"):
        shutil.copytree(world / "whole" / part, run / part)
    shutil.copy(world / "whole/images.jsonl", run)
    (run / ".lock").touch()
    walk(make_config(run, world / "pictures", world / "llava", *SETTINGS, "scoring.scorer=base"), load_model)
    assert Run.reader(run).stored("refined/scored").info.provenance.model == str(world / "llava")


def test_another_form_would_choose_other_positives_so_it_is_refused(world):
    config = make_config(
        world / "whole", world / "pictures", world / "llava", *SETTINGS, "scoring.form=weighted_log_ratio"
    )
    with pytest.raises(StaleStageError, match=r"tuned .* scoring\.form: discounted_likelihood -> weighted_log_ratio"):
        walk(config, load_model)


def test_without_two_pairs_of_a_picture_there_is_nothing_to_tune_on(world):
    one_pair = [*SETTINGS, "generation.pairs_per_image=1"]
    with pytest.raises(DataError, match=r"pairs_per_image or .*, or set rounds=0"):
        walk(make_config(world / "single", world / "pictures", world / "llava", *one_pair), load_model)


def copy_whole(world: Path, name: str) -> Path:
    run = Path(shutil.copytree(world / "whole", world / name))
    (run / "config.yaml").write_text((run / "config.yaml").read_text().replace(str(world / "whole"), str(run)))
    return run


def test_a_merged_model_that_was_removed_is_made_again_where_it_is_needed(world):
    run = copy_whole(world, "unmerged")
    shutil.rmtree(run / "tuned/merged")
    assert main(["run", "--run", str(run)]) == 0
    assert not (run / "tuned/merged").exists(), "nothing needed it"
    shutil.rmtree(run / "refined/scored")
    assert main(["score", str(run), "--round", "1"]) == 0
    for shard in (world / "whole/refined/scored").glob("0*.jsonl"):
        assert (run / "refined/scored" / shard.name).read_bytes() == shard.read_bytes()


def test_fewer_rounds_on_the_same_run_leave_the_tuned_ones_aside_and_more_build_on_them(world, capsys):
    run = copy_whole(world, "rounds")
    assert main(["run", "--run", str(run), "--set", "rounds=0"]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (summary["rounds"], summary["scored"]) == (0, 26)
    kept = {one.sample_id for one in read_records(run / "decisions.jsonl", FilterDecision)}
    assert kept == {one.sample.sample_id for one in Run.reader(run).stored("draft/scored").read(ScoredSample)}
    assert main(["status", str(run)]) == 0
    assert "tuned" not in capsys.readouterr().out
    assert main(["generate", str(run), "--round", "1"]) == 2
    assert "set rounds=1" in capsys.readouterr().err
    assert main(["run", "--run", str(run), "--set", "rounds=2"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["rounds"] == 2
    assert (run / "tuned/00000.jsonl").read_bytes() == (world / "whole/tuned/00000.jsonl").read_bytes()
    assert Run.reader(run).stored("tuned-2").info.provenance.model == str(run / "tuned/merged")


def test_reading_texts_again_does_not_throw_a_tuning_away(world, capsys):
    run = copy_whole(world, "reparsed")
    before = read_all(run)
    assert main(["generate", str(run), "--reparse"]) == 0
    assert "the same pairs as before" in capsys.readouterr().err
    assert read_all(run) == before
    shutil.rmtree(run / "draft/scored")
    pairs = run / "draft/parsed/00000.jsonl"
    pairs.write_text(pairs.read_text().replace("colour", "color"))
    assert main(["generate", str(run), "--reparse"]) == 1
    assert f"c3l clean {run} tuned" in capsys.readouterr().err
    assert (run / "tuned/stage.json").exists()


def test_numbers_of_a_tuning_that_broke_down_come_back(tmp_path):
    step = TuningStep(1, math.inf, math.nan, 1.0, 0.0, 1e-4, math.nan)
    write_records(tmp_path / "x.jsonl", [step, HeldOut("after", 1, math.nan, 0.0, math.inf, 2.0)])
    [back] = read_records(tmp_path / "x.jsonl", TuningStep)
    assert back.loss == math.inf and math.isnan(back.contrastive) and math.isnan(back.grad_norm)
    [held] = read_records(tmp_path / "x.jsonl", HeldOut)
    assert math.isnan(held.contrastive) and held.likelihood == math.inf


def begin(world: Path, name: str) -> Path:
    """A run as the whole one was before it tuned."""
    run = world / name
    shutil.rmtree(run, ignore_errors=True)
    for part in ("images", "draft", "groups"):
        shutil.copytree(world / "whole" / part, run / part)
    shutil.copy(world / "whole/images.jsonl", run)
    text = (world / "whole/config.yaml").read_text().replace(str(world / "whole"), str(run))
    (run / "config.yaml").write_text(text)
    (run / ".lock").touch()
    return run


def finish(run: Path, until: Path | None = None) -> int | None:
    process = fork(lambda: main(["run", "--run", str(run)]), run.parent / f"{run.name}.log", until)
    process.join(200)
    return process.exitcode


@pytest.mark.parametrize(
    "moments",
    [
        (
            "tuned/begun.json",
            "tuned/checkpoints/checkpoint-2/trainer_state.json",
            "tuned/merged",
            "tuned/stage.json",
        ),
        (
            "tuned/checkpoints/before.json",
            "tuned/adapter",
            "tuned/00000.jsonl",
            "refined/scored/00001.jsonl",
        ),
    ],
    ids=["one", "other"],
)
def test_killed_again_and_again_it_is_the_same_run(world, moments):
    """Each start goes on from where the one before was killed, and past a moment of the other run."""
    run = begin(world, "killed")
    for appears in moments:
        assert not (run / appears).exists()
        assert finish(run, until=run / appears) == -signal.SIGKILL, (world / "killed.log").read_text()
        assert (run / appears).exists() and not (run / "refined/scored/stage.json").exists()
    assert finish(run) == 0, (world / "killed.log").read_text()
    # the tuned model is named by its path, the only thing that may differ
    assert {name: data.replace(b"/killed/", b"/whole/") for name, data in read_all(run).items()} == read_all(
        world / "whole"
    )


def test_two_processes_tune_as_one_with_twice_the_batch(world, in_float64):
    alone, together = begin(world, "alone"), begin(world, "together")
    assert main(["tune", str(alone), "--set", "contrastive.batch_size=4"]) == 0
    log = world / "together.log"
    assert fork_together(lambda: main(["tune", str(together)]), 2, log) == [0, 0], log.read_text()
    one, two = (load_file(run / "tuned/adapter/adapter_model.safetensors") for run in (alone, together))
    assert max(float(one[name].abs().max()) for name in one if "lora_B" in name) > 1e-3, "nothing was tuned"
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=0, atol=1e-5, msg=name)
