"""Shards run from work items that can be pickled, and the model is loaded once, by the first that asks."""

import pickle
import weakref

import pytest

from c3l.executors.interface import ShardTask
from c3l.executors.local import KeptModel, LocalExecutor
from c3l.settings.schema import ModelConfig, RunConfig
from fakes import FakeModel


def task(shard: int, model: str = "one") -> ShardTask:
    config = RunConfig(model=ModelConfig(name=model))
    return ShardTask("draft/scored", shard, 0, config, ("inputs",))


def test_a_task_survives_pickling():
    assert pickle.loads(pickle.dumps(task(3))) == task(3)


def test_the_model_is_loaded_once_and_only_when_asked_for():
    loaded = []

    def load(config, seed):
        loaded.append((config.name, seed))
        return FakeModel()

    def idle(task, model):
        return iter(["nothing to do"])

    def busy(task, model):
        model()
        model()
        yield "made"

    executor, steps = LocalExecutor(load), []
    results = list(executor.run(idle, [task(0)], steps.append))
    assert (results[0].provenance, loaded) == (None, [])
    results = list(executor.run(busy, [task(1), task(2)], steps.append))
    assert [result.shard for result in results] == [1, 2]
    assert results[1].provenance == FakeModel().provenance
    assert loaded == [("one", 0)]
    list(executor.run(busy, [task(3, "two")], steps.append))
    assert loaded == [("one", 0), ("two", 0)]
    assert sum(steps) == 4


class Left:
    """What a tuning leaves behind: a circle, which only a search for garbage breaks."""

    def __init__(self):
        self.itself = self


def test_what_a_tuning_left_behind_is_gone_before_the_next_model_is_loaded():
    seen = []

    def load(config, seed):
        seen.append(left())
        return FakeModel()

    model = KeptModel(load)
    for name in ("one", "two"):
        made = Left()
        left = weakref.ref(made)
        del made
        model(ModelConfig(name=name), 0)
    model(ModelConfig(name="two"), 0)
    assert seen == [None, None]


def test_an_error_says_in_which_shard():
    def broken(task, model):
        yield "one"
        raise ValueError("bad")

    with pytest.raises(ValueError, match="bad") as caught:
        list(LocalExecutor().run(broken, [task(7)], lambda count: None))
    assert caught.value.__notes__ == ["in shard 7 of draft/scored"]
