"""Shards by the workers of a real cluster of two nodes: the same bytes, a lost node, a poison shard, errors."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from c3l.data.images import inspect_image
from c3l.errors import BackendError, ConfigError, DataError
from c3l.executors.choose import make_executor
from c3l.executors.interface import ShardTask, in_order
from c3l.jobs import asking
from c3l.jobs import evaluate as evaluate_job
from c3l.jobs import score as score_job
from c3l.progress import SilentProgress
from c3l.records import ImageRef
from c3l.run.context import open_context
from c3l.run.pipeline import run_method
from c3l.settings.evaluation import BenchmarkConfig
from c3l.settings.schema import ExecutorConfig, RunConfig
from runs import draw_pictures, make_config, read_all

ray = pytest.importorskip("ray")

from c3l.executors.ray import AHEAD, RayExecutor, Worker  # noqa: E402

Load = Callable[[], Any]
SHORT = ("generation.max_new_tokens=12", "generation.batch_size=2", "shard_size=1")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes of one CPU each on this machine; functions of this file are sent as they are."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - at 15, as Ray has it, they wait for other tests
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    made.add_node(num_cpus=1)
    ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, copy_tiny: Callable[..., Path]) -> Path:
    root = tmp_path_factory.mktemp("cluster")
    draw_pictures(root / "images", 5)
    copy_tiny("llava", root / "model")
    asked = [
        {"question_id": n, "image": f"picture_{n}.png", "text": f"Is there a dog {n}?", "label": ("yes", "no")[n % 2]}
        for n in range(4)
    ]
    (root / "coco_pope_random.json").write_text("\n".join(map(json.dumps, asked)))
    return root


def configure(world: Path, run: Path, *overrides: str) -> RunConfig:
    return make_config(run, world / "images", world / "model", *SHORT, *overrides)


@pytest.fixture(scope="module")
def crew(cluster: Any) -> Iterator[RayExecutor]:
    """Workers that many tests use, for a process of one costs seconds; they hold all of the cluster once they start."""
    executor = RayExecutor(ExecutorConfig(name="ray", workers=2, max_retries=1))
    yield executor
    executor.forget_model()


def draft_tasks(world: Path, tmp_path: Path) -> list[ShardTask]:
    config = configure(world, tmp_path / "run")
    paths = sorted(path.name for path in (world / "images").glob("*.png"))
    images = [inspect_image(world / "images", path, config.images) for path in paths]
    return [
        ShardTask("draft/generated", number, 0, config, (image,))
        for number, image in enumerate(images)
        if isinstance(image, ImageRef)
    ]


def test_two_workers_write_the_bytes_that_one_process_writes(world: Path, tmp_path: Path, cluster: Any) -> None:
    task = {"task": "pope", "data": [str(world / "coco_pope_random.json")], "image_root": str(world / "images")}
    asked = (f"evaluation.tasks={json.dumps([task])}", "evaluation.max_new_tokens=6")
    shared = ("scoring.no_image=others", "scoring.others=2", *asked)
    more = ("executor.name=ray", "executor.workers=2", *shared)
    for name, overrides in (("local", shared), ("ray", more)):
        with open_context(configure(world, tmp_path / name, *overrides), SilentProgress()) as context:
            assert context.executor.name == name
            run_method(context)
    assert ray.is_initialized(), "a cluster that was not started here is left alone"
    local, by_ray = (read_all(tmp_path / name) for name in ("local", "ray"))
    assert by_ray == local
    assert "evaluation/pope/base/predictions.jsonl" in local, "a run's benchmarks are asked by the workers too"
    assert sum(name.startswith("draft/scored/0") for name in local) == 6


def test_a_data_set_is_scored_and_a_benchmark_asked_by_workers_too(
    world: Path, tmp_path: Path, crew: RayExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = []

    def choose(config: ExecutorConfig, load: Any) -> Any:
        used.append(config.name)
        return crew if config.name == "ray" else make_executor(config, load)

    monkeypatch.setattr(crew, "close", lambda: None)
    monkeypatch.setattr(score_job, "make_executor", choose)
    monkeypatch.setattr(asking, "make_executor", choose)
    monkeypatch.setattr(score_job, "CHUNK_ROWS", 2)
    monkeypatch.setattr(asking, "_SYNC_EVERY", 2)
    rows = [
        {"id": number, "image": f"picture_{number % 5}.png", "conversations": [
            {"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": f"Thing {number}."}]}
        for number in range(7)
    ]  # fmt: skip
    (tmp_path / "data.json").write_text(json.dumps(rows))
    asked = [
        {
            "question_id": number,
            "image": f"picture_{number % 5}.png",
            "text": f"Is there a dog {number}?",
            "label": "yes",
        }
        for number in range(7)
    ]
    (tmp_path / "coco_pope_random.json").write_text("\n".join(map(json.dumps, asked)))
    task = BenchmarkConfig(task="pope", data=(tmp_path / "coco_pope_random.json",), image_root=world / "images")
    for name, more in (("local", ()), ("ray", ("executor.name=ray", "executor.workers=2"))):
        config = configure(world, tmp_path / "run", "evaluation.max_new_tokens=6", *more)
        summary = score_job.score_file([tmp_path / "data.json"], tmp_path / f"{name}.jsonl", config, SilentProgress())
        assert (summary["ok"], summary["rejected"]) == (7, {})
        evaluate_job.evaluate_files(task, tmp_path / name, config, SilentProgress())
    assert used == ["local", "local", "ray", "ray"]
    assert (tmp_path / "ray.jsonl").read_bytes() == (tmp_path / "local.jsonl").read_bytes()
    for file in ("predictions.jsonl", "scores.json", "settings.json"):
        assert (tmp_path / "ray" / file).read_bytes() == (tmp_path / "local" / file).read_bytes()


def test_a_node_that_is_lost_costs_a_shard_and_no_byte(
    world: Path,
    tmp_path: Path,
    cluster: Any,
    crew: RayExecutor,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    node = cluster.add_node(num_cpus=1, resources={"third": 1})
    tasks = draft_tasks(world, tmp_path)
    monkeypatch.setattr(crew, "_config", ExecutorConfig(name="ray", workers=3, max_retries=1))
    found, work = {}, partial(wait_on_a_node, node=node.node_id, begun=str(tmp_path / "begun"))
    for one in crew.run(work, tasks, lambda count: None):
        if not found:
            cluster.remove_node(node, allow_graceful=False)
        found[one.shard] = one.records
    assert found == {task.shard: (str(task.shard), *task.inputs) for task in tasks}
    assert caplog.text.count("lost its worker, and is made again") == 1


def wait_on_a_node(task: ShardTask, load: Load, node: str, begun: str) -> Iterator[Any]:
    """A shard without an end on this node, and one on another that ends once that has begun."""
    while ray.get_runtime_context().get_node_id() == node or not os.path.exists(begun):
        if ray.get_runtime_context().get_node_id() == node:
            Path(begun).touch()
        time.sleep(0.01)
    yield str(task.shard)
    yield from task.inputs


def end_the_process(task: ShardTask, load: Load) -> Iterator[Any]:
    if task.shard == 1:
        os._exit(1)
    yield from task.inputs


def test_a_shard_that_ends_every_worker_stops_with_its_number(world: Path, tmp_path: Path, crew: RayExecutor) -> None:
    done = []
    with pytest.raises(BackendError, match="shard 1 of draft/generated lost its worker 2 times"):
        for one in crew.run(end_the_process, draft_tasks(world, tmp_path)[:3], lambda count: None):
            done.append(one.shard)
    assert 1 not in done


def refuse(task: ShardTask, load: Load) -> Iterator[Any]:
    yield from ()
    raise DataError("the row is bad")


def trip(task: ShardTask, load: Load) -> Iterator[Any]:
    yield from ()
    raise ZeroDivisionError("by nothing")


def dawdle(task: ShardTask, load: Load, folder: str) -> Iterator[Any]:
    (Path(folder) / str(task.shard)).touch()
    if task.shard == 0:
        time.sleep(3)
    yield task.shard


def test_a_slow_shard_is_waited_for_before_too_many_others_are_held_for_it(
    world: Path, tmp_path: Path, crew: RayExecutor
) -> None:
    [task, *_] = draft_tasks(world, tmp_path)
    tasks = [replace(task, shard=number) for number in range(40)]
    begun = tmp_path / "begun"
    begun.mkdir()
    work = partial(dawdle, folder=str(begun))
    ahead = []
    for one in in_order(crew.run(work, tasks, lambda count: None)):
        if one.shard == 0:
            ahead = [path.name for path in begun.iterdir()]
    assert len(list(begun.iterdir())) == 40
    assert len(ahead) <= AHEAD * 2 + 2


def test_an_error_of_the_work_comes_as_it_is_with_its_shard(world: Path, tmp_path: Path, crew: RayExecutor) -> None:
    task = draft_tasks(world, tmp_path)[2]
    with pytest.raises(DataError, match="the row is bad") as caught:
        list(crew.run(refuse, [task], lambda count: None))
    assert caught.value.__notes__ == ["in shard 2 of draft/generated"]
    with pytest.raises(RuntimeError, match="ZeroDivisionError: by nothing"):
        list(crew.run(trip, [task], lambda count: None))
    made = list(crew.run(end_well, [task], lambda count: None))
    assert made[0].records == task.inputs, "the workers go on after an error"


def end_well(task: ShardTask, load: Load) -> Iterator[Any]:
    yield from task.inputs


def test_a_worker_refuses_another_model_than_the_run_began_with(world: Path, tmp_path: Path) -> None:
    [task, *_] = draft_tasks(world, tmp_path)
    made = Worker(str(tmp_path), 0).make(end_well, task, "another hash")
    assert made.result is None
    assert "is another than where the run was started" in str(made.error)


def test_without_ray_it_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("c3l.executors.ray.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'c3l\[ray\]'"):
        make_executor(ExecutorConfig(name="ray"))
