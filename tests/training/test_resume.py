"""A tuning that was stopped goes on to the weights that it would have had: an exception, a kill, a torn checkpoint."""

import os
import signal

import pytest

from c3l.errors import DataError
from c3l.training.checkpoints import WEIGHTS, find_checkpoint
from processes import fork
from training.tiny_groups import tune_tiny

# 6 groups in batches of 2: 3 steps an epoch, 6 in all, a checkpoint every 2; the order and dropout matter
RECIPE = {"epochs": 2.0, "lora_dropout": 0.1}


pytestmark = pytest.mark.usefixtures("one_thread")


class Stopped(Exception):
    pass


def stop_at(step):
    seen = []

    def advance(steps):
        seen.append(steps)
        if sum(seen) == step:
            raise Stopped

    return advance


@pytest.fixture(scope="module")
def whole(tiny, tmp_path_factory):
    """An uninterrupted tuning by its settings."""
    done = {}

    def run(**settings):
        key = tuple(sorted(settings.items()))
        if key not in done:
            done[key] = tune_tiny(tiny("llava"), tmp_path_factory.mktemp("whole"), **RECIPE | settings)
        return done[key]

    return run


def assert_same(resumed, whole):
    tuning, weights = resumed
    expected, wanted = whole
    assert weights.keys() == wanted.keys()
    assert [name for name in weights if not weights[name].equal(wanted[name])] == []
    assert tuning == expected


@pytest.mark.parametrize("stop", [3, 4])
def test_an_exception_between_checkpoints_costs_nothing_but_time(tiny, tmp_path, whole, stop):
    with pytest.raises(Stopped):
        tune_tiny(tiny("llava"), tmp_path, advance=stop_at(stop), **RECIPE)
    assert find_checkpoint(tmp_path).step == 2 * ((stop - 1) // 2)
    steps = []
    resumed = tune_tiny(tiny("llava"), tmp_path, advance=steps.append, **RECIPE)
    assert len(steps) == 6 - 2 * ((stop - 1) // 2)
    assert [entry.step for entry in resumed[0].log] == [1, 2, 3, 4, 5, 6]
    assert_same(resumed, whole())


def test_the_order_of_the_groups_and_the_dropout_are_not_those_of_another_seed(tiny, tmp_path, whole):
    other = tune_tiny(tiny("llava"), tmp_path, **RECIPE | {"lora_dropout": 0.2})[1]
    assert any(not value.equal(whole()[1][name]) for name, value in other.items())


def test_a_stop_before_the_first_checkpoint_begins_again_to_the_same_end(tiny, tmp_path, whole):
    with pytest.raises(Stopped):
        tune_tiny(tiny("llava"), tmp_path, advance=stop_at(1), held_out=0.2, **RECIPE)
    assert find_checkpoint(tmp_path) is None
    assert (tmp_path / "before.json").exists()
    assert_same(tune_tiny(tiny("llava"), tmp_path, held_out=0.2, **RECIPE), whole(held_out=0.2))


def test_what_was_measured_before_the_first_step_is_kept_for_a_resumed_run(tiny, tmp_path, whole):
    with pytest.raises(Stopped):
        tune_tiny(tiny("llava"), tmp_path, advance=stop_at(3), held_out=0.2, **RECIPE)
    assert_same(tune_tiny(tiny("llava"), tmp_path, held_out=0.2, **RECIPE), whole(held_out=0.2))


def test_accumulated_batches_resume_in_the_middle_of_an_epoch(tiny, tmp_path, whole):
    recipe = {"gradient_accumulation": 2, "batch_size": 1, "save_steps": 1, "projection": "none"}
    with pytest.raises(Stopped):
        tune_tiny(tiny("llava"), tmp_path, advance=stop_at(5), **RECIPE | recipe)
    assert find_checkpoint(tmp_path).step == 4
    assert_same(tune_tiny(tiny("llava"), tmp_path, **RECIPE | recipe), whole(**recipe))


@pytest.mark.parametrize("length", [{"epochs": 1.0}, {"epochs": 0.5}])
def test_a_finished_tuning_is_not_trained_further(tiny, tmp_path, length):
    first = tune_tiny(tiny("llava"), tmp_path, held_out=0.2, **RECIPE | length)
    steps = []
    again = tune_tiny(tiny("llava"), tmp_path, advance=steps.append, held_out=0.2, **RECIPE | length)
    assert steps == []
    assert_same(again, first)


def test_how_often_it_saves_and_logs_may_change_when_it_goes_on(tiny, tmp_path, whole):
    with pytest.raises(Stopped):
        tune_tiny(tiny("llava"), tmp_path, advance=stop_at(3), **RECIPE)
    tuning, weights = tune_tiny(tiny("llava"), tmp_path, **RECIPE | {"save_steps": 1, "logging_steps": 3})
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == ["checkpoint-5", "checkpoint-6"]
    assert [entry.step for entry in tuning.log] == [1, 2, 3, 6]
    assert [name for name, value in whole()[1].items() if not value.equal(weights[name])] == []


@pytest.mark.parametrize("state", [None, '{"global_step": 4, "log_hist'])
def test_a_half_written_checkpoint_is_skipped(tiny, tmp_path, whole, state):
    with pytest.raises(Stopped):
        tune_tiny(tiny("llava"), tmp_path, advance=stop_at(5), **RECIPE)
    newest = tmp_path / "checkpoint-4"
    (newest / "trainer_state.json").unlink()
    (newest / WEIGHTS).write_bytes(b"torn")
    if state is not None:
        (newest / "trainer_state.json").write_text(state)
    assert find_checkpoint(tmp_path).step == 2
    assert_same(tune_tiny(tiny("llava"), tmp_path, **RECIPE), whole())


def test_the_newest_checkpoint_is_so_by_number(tmp_path):
    for step in (8, 10, 9):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text(f'{{"global_step": {step}}}')
    assert find_checkpoint(tmp_path).step == 10
    assert find_checkpoint(tmp_path / "none") is None


def test_a_checkpoint_holds_what_is_trained_and_refuses_other_adapters(tiny, tmp_path):
    with pytest.raises(Stopped):
        tune_tiny(tiny("llava"), tmp_path, advance=stop_at(3), **RECIPE)
    size = sum(file.stat().st_size for file in (tmp_path / "checkpoint-2").iterdir())
    assert size < 4 * sum(p.numel() * 4 for p in tiny("llava").model.parameters())
    with pytest.raises(DataError, match=r"holds 30 trained tensors, expected 28.*c3l clean"):
        tune_tiny(tiny("llava"), tmp_path, projection="none", **RECIPE)


def test_a_killed_process_is_continued_to_the_same_bits(tmp_path, whole, tiny):
    seen = []

    def die(steps):
        seen.append(steps)
        if sum(seen) == 5:
            os.kill(os.getpid(), signal.SIGKILL)

    process = fork(lambda: tune_tiny(tiny("llava"), tmp_path / "c", advance=die, **RECIPE) and 0, tmp_path / "log")
    process.join(200)
    assert process.exitcode == -signal.SIGKILL, (tmp_path / "log").read_text()
    assert find_checkpoint(tmp_path / "c").step == 4
    assert_same(tune_tiny(tiny("llava"), tmp_path / "c", **RECIPE), whole())


@pytest.mark.parametrize("stop", [3, 5])
def test_a_line_of_the_log_that_a_checkpoint_divides_is_that_of_the_whole(stop, tiny, tmp_path, whole):
    recipe = {"logging_steps": 3}
    with pytest.raises(Stopped):
        tune_tiny(tiny("llava"), tmp_path, advance=stop_at(stop), **RECIPE | recipe)
    assert find_checkpoint(tmp_path).step % 3, "or nothing is divided"
    resumed = tune_tiny(tiny("llava"), tmp_path, **RECIPE | recipe)
    assert [entry.step for entry in resumed[0].log] == [1, 3, 6]
    assert_same(resumed, whole(**recipe))
