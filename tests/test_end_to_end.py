"""The real command with the real backend on a tiny LLaVA, killed at many moments: nothing lost, nothing twice.

A random model writes nothing that parses, so the texts of the run are written beforehand; the scores are the
tiny model's own, through the ``hf`` backend.
"""

import os
import random
import shutil
import signal
import sys
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from c3l.cli.main import main
from c3l.method.scoring import rescore
from c3l.models.load import load_model
from c3l.records import FilterDecision, ScoredSample
from c3l.run import pipeline
from c3l.run.run_folder import Run
from c3l.storage.stage import read_records
from processes import fork
from runs import draw_pictures, make_config, read_all, read_results, walk

PICTURES = 6


@pytest.fixture(scope="module")
def world(tmp_path_factory, copy_tiny):
    """A folder with pictures, a tiny LLaVA, a run whose texts are written, and the same run to the end."""
    from fakes import FakeModel

    folder = tmp_path_factory.mktemp("world")
    before = os.environ.get("C3L_CACHE")
    os.environ["C3L_CACHE"] = str(folder / "cache")
    copy_tiny("llava", folder / "llava")
    root = draw_pictures(folder / "pictures", PICTURES)
    config = make_config(folder / "begun", root, folder / "llava", "shard_size=1")
    walk(config, lambda model, seed: FakeModel(), pipeline.run_generate)
    shutil.copytree(folder / "begun", folder / "whole")
    assert finish(folder / "whole") == 0
    yield folder
    os.environ.pop("C3L_CACHE") if before is None else os.environ.update(C3L_CACHE=before)


def start(run: Path, until: Path | None = None) -> BaseProcess:
    return fork(lambda: main(["run", "--run", str(run)]), run.parent / f"{run.name}.log", until)


def finish(run: Path, until: Path | None = None) -> int | None:
    process = start(run, until)
    process.join(200)
    return process.exitcode


def kill_after(run: Path, seconds: float) -> bool:
    """Start the command and kill its process group so much later; whether it was still running."""
    process = start(run)
    process.join(seconds)
    running = process.is_alive()
    if running:
        os.killpg(process.pid, signal.SIGKILL)
    process.join()
    return running


def copy_begun(world: Path, name: str) -> Path:
    shutil.rmtree(world / name, ignore_errors=True)
    return Path(shutil.copytree(world / "begun", world / name))


def check_no_pair_is_twice(run: Path) -> None:
    ids = [one.sample.sample_id for one in Run.reader(run).stored("draft/scored").read(ScoredSample)]
    assert len(ids) == len(set(ids)) == 5 * PICTURES


def test_the_real_backend_scored_and_the_picture_matters(world):
    stage = Run.reader(world / "whole").stored("draft/scored")
    assert (stage.info.provenance.backend, stage.info.provenance.dtype) == ("hf", "float32")
    scores = [rescore(one, "discounted_likelihood").i2c for one in stage.read(ScoredSample)]
    assert len(scores) == 5 * PICTURES
    assert max(map(abs, scores)) > 0.01
    assert len(set(scores)) > PICTURES


@pytest.mark.parametrize(
    "moments",
    [
        ("draft/scored/begun.json", "draft/scored/00003.jsonl", "decisions.jsonl"),
        ("draft/scored/00001.jsonl", "draft/scored/stage.json", "export/llava.json"),
    ],
    ids=["one", "other"],
)
def test_killed_again_and_again_it_is_the_same_run(world, moments):
    """Each start goes on from where the one before was killed, and past the moment of the other run."""
    run = copy_begun(world, "killed")
    for appears in moments:
        assert not (run / appears).exists()
        assert finish(run, until=run / appears) == -signal.SIGKILL, (world / "killed.log").read_text()
        assert (run / appears).exists() and not (run / "report/stage.json").exists()
    assert finish(run) == 0, (world / "killed.log").read_text()
    assert read_results(run) == read_results(world / "whole")
    assert read_all(run) == read_all(world / "whole")
    check_no_pair_is_twice(run)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_killed_five_times_at_random_moments(world, seed):
    generator = random.Random(seed)
    run = copy_begun(world, "random")
    kills = 0
    while kills < 5 and not (run / "report/stage.json").exists():
        kills += kill_after(run, generator.uniform(0.02, 1.0))
    assert finish(run) == 0, (world / "random.log").read_text()
    assert read_results(run) == read_results(world / "whole")
    check_no_pair_is_twice(run)


@pytest.mark.parametrize("size", [1, 3])
def test_batch_sizes_keep_the_same_pairs_in_float32(world, size):
    run = copy_begun(world, f"batch_{size}")
    sizes = [f"scoring.batch_size={size}", f"generation.batch_size={size}", "shard_size=1"]
    walk(make_config(run, world / "pictures", world / "llava", *sizes), load_model)

    def kept(folder: Path) -> set[str]:
        return {one.sample_id for one in read_records(folder / "decisions.jsonl", FilterDecision) if one.kept}

    assert kept(run) == kept(world / "whole")
    scores = {one.sample_id: one.i2c for one in read_records(world / "whole/decisions.jsonl", FilterDecision)}
    for one in read_records(run / "decisions.jsonl", FilterDecision):
        assert one.i2c == pytest.approx(scores[one.sample_id], abs=1e-4)


def test_a_finished_run_ends_at_once_without_torch(world, monkeypatch):
    import subprocess

    code = "import sys; from c3l.cli.main import main; code = main(['run', '--run', sys.argv[1]]); "
    code += "sys.exit(code or 10 * ('torch' in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code, str(world / "whole")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_tiny_model_writes_through_the_real_backend_too(world):
    run = world / "written"
    overrides = ["generation.max_new_tokens=8", "images.limit=3"]
    config = make_config(run, world / "pictures", world / "llava", *overrides)
    walk(config, load_model)
    info = Run.reader(run).stored("draft/generated").info
    assert (info.out, info.provenance.backend) == ({"generation": 2}, "hf")
    assert Run.reader(run).stored("draft/parsed").info.rejected == {"unparsable": 2}
