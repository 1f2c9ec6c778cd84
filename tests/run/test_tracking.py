"""What trackers are told is what the run folder holds; TensorBoard's own reader reads it back."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from c3l.errors import ConfigError
from c3l.run.run_folder import Run
from c3l.run.shards import read_scored
from c3l.run.tracking import check_trackers, measure_run, tell_trackers
from runs import Loader, make_config, read_all, walk


def make(world, name, *overrides):
    return make_config(world / name, world / "pictures", world / "model", *overrides)


def read_events(folder):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {name: [(one.step, one.value) for one in events.Scalars(name)] for name in events.Tags()["scalars"]}


def test_tensorboard_reads_back_counts_reasons_and_scores(world):
    config = make(world, "run", "report_to=tensorboard", "filtering.fraction=0.5")
    walk(config, Loader())
    read = read_events(config.run / "tracking/tensorboard")
    assert read["stages/images/in"] == [(0, 7)]
    assert read["stages/images/out"] == [(0, 6)]
    assert read["stages/images/rejected/not_an_image"] == [(0, 1)]
    assert read["stages/filtered/out"] == read["stages/filtered/rejected/outside_top_fraction"] == [(0, 15)]
    assert read["rounds/pairs"] == [(0, 30)]
    scores = [one.i2c for one in read_scored(Run.reader(config.run).stored("draft/scored"), config.scoring.form)]
    [(step, mean)] = read["rounds/i2c/mean"]
    assert (step, mean) == (0, pytest.approx(np.mean(scores), rel=1e-6))
    [(_, low)], [(_, high)] = read["rounds/i2c/q05"], read["rounds/i2c/q95"]
    assert low == pytest.approx(np.quantile(scores, 0.05), rel=1e-6)
    assert high == pytest.approx(np.quantile(scores, 0.95), rel=1e-6)


def test_a_run_that_is_told_again_is_there_once(world):
    config = make(world, "run", "report_to=[tensorboard]")
    walk(config, Loader())
    walk(config, Loader())
    assert len(read_events(config.run / "tracking/tensorboard")["rounds/pairs"]) == 1


def test_nothing_else_changes(world):
    plain, told = make(world, "plain"), make(world, "told", "report_to=tensorboard")
    walk(plain, Loader())
    walk(told, Loader())
    files = {name: content for name, content in read_all(told.run).items() if not name.startswith("tracking/")}
    assert files == read_all(plain.run)
    assert not (plain.run / "tracking").exists()


@pytest.mark.parametrize(
    ("name", "remedy"), [("tensorboard", "'c3l[tensorboard]'"), ("wandb", "wandb"), ("trackio", "trackio")]
)
def test_a_tracker_that_is_missing_is_one_line_before_any_work(name, remedy, world, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda package: None)
    with pytest.raises(ConfigError) as caught:
        check_trackers([name])
    assert str(caught.value) == f"report_to={name} needs {name}: pip install {remedy}"
    loader = Loader()
    with pytest.raises(ConfigError):
        walk(make(world, "run", f"report_to={name}"), loader)
    assert loader.times == 0


def test_wandb_is_offline_and_each_group_counts_its_own_steps(world, monkeypatch):
    """It is none of the project's packages, so a stand-in keeps what it is told."""
    config = make(world, "run")
    walk(config, Loader())
    told, begun = [], {}
    tracked = SimpleNamespace(define_metric=lambda *_, **__: None, log=told.append, finish=lambda: told.append("end"))
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=lambda **how: begun.update(how) or tracked))
    monkeypatch.delenv("WANDB_MODE", raising=False)
    run = Run.reader(config.run)
    tell_trackers(run, config.model_copy(update={"report_to": ("wandb",)}))
    assert (begun["mode"], begun["name"], begun["dir"]) == ("offline", "run", config.run / "tracking")
    json.dumps(begun["config"])
    *figures, end = told
    assert end == "end"
    assert [one["rounds/step"] for one in figures if "rounds/step" in one] == [0]
    assert {name for one in figures for name in one if "/step" not in name} == {
        f"{one.group}/{name}" for one in measure_run(run, config) for name in one.values
    }
