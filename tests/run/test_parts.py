"""Several processes that share the shards of a run, as those of a Slurm array, and one that goes on after them."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from c3l.errors import ConfigError, DataError, RunLockedError, StaleStageError, StorageError
from c3l.executors.local import LocalExecutor
from c3l.progress import SilentProgress
from c3l.run.context import Part, open_context, read_part
from c3l.run.pipeline import image_stage, list_images, run_generate, run_score
from c3l.run.run_folder import Run
from c3l.run.tune_stage import ensure_writer
from c3l.settings.load import load_saved
from c3l.storage import lock
from c3l.storage.atomic import atomic_folder
from fakes import FakeModel, write_fake_model
from runs import RESULTS, Loader, draw_pictures, make_config, walk


@pytest.fixture
def world(tmp_path):
    write_fake_model(tmp_path / "model")
    pictures = draw_pictures(tmp_path / "pictures")
    return lambda name, *overrides: make_config(tmp_path / name, pictures, tmp_path / "model", *overrides)


def share(config, part: Part, stages, loader=None):
    executor = LocalExecutor(loader or Loader())
    return open_context(config, SilentProgress(), executor, part=part), stages


def make_part(config, number: int, of: int, stages, loader=None) -> None:
    opened, work = share(config, Part(number, of), stages, loader)
    with opened as context:
        work(context)


def shards_of(config, name: str) -> list[int]:
    return sorted(int(path.stem) for path in (config.run / name).glob("0*.jsonl"))


def test_parts_make_what_one_process_makes(world):
    whole, shared = world("whole"), world("shared")
    walk(whole, Loader())
    list_images(shared, SilentProgress())
    for number in (3, 1, 2):
        make_part(shared, number, 3, run_generate)
    assert Run.reader(shared.run).stored("draft/parsed") is None, "that is for the process that goes on"
    walk(shared, refuse, run_generate)
    for number in (2, 3, 1):
        make_part(shared, number, 3, run_score)
    walk(shared, refuse)
    for name in RESULTS:
        assert (shared.run / name).read_bytes() == (whole.run / name).read_bytes(), name
    for name in ("draft/generated", "draft/scored"):
        assert shards_of(shared, name) == shards_of(whole, name) == [0, 1, 2, 3]
        both = [json.loads((one.run / name / "stage.json").read_text()) for one in (whole, shared)]
        assert both[0]["provenance"] == both[1]["provenance"]
        assert both[0]["out"] == both[1]["out"]


def refuse(config, seed):
    raise AssertionError("all shards are there, so no model is wanted")


def test_a_part_makes_its_own_shards_beside_others_that_are_at_work(world):
    config = world("run")
    list_images(config, SilentProgress())
    one, work = share(config, Part(1, 2), run_generate)
    two, _ = share(config, Part(2, 2), run_generate)
    with one as first, two as second:
        work(first)
        assert shards_of(config, "draft/generated") == [0, 2]
        work(second)
        assert shards_of(config, "draft/generated") == [0, 1, 2, 3]
        with pytest.raises(RunLockedError, match="wait for it"):
            walk(config, Loader(), run_generate)


@pytest.mark.parametrize("changed", ["generation.temperature=0.1", "model.dtype=bfloat16"])
def test_of_parts_that_start_together_with_other_settings_the_first_to_begin_wins(world, changed):
    """Both have looked at an empty run, as machines do whose models take minutes to load, or that resolve a dtype."""
    config, other = world("run"), world("run", changed)
    list_images(config, SilentProgress())
    one, work = share(config, Part(1, 2), run_generate)

    def load_while_the_first_works() -> FakeModel:
        work(first)
        return FakeModel()

    two, _ = share(other, Part(2, 2), run_generate, Loader(load_while_the_first_works))
    with one as first, pytest.raises(StaleStageError, match=changed.partition("=")[0]), two as second:
        work(second)
    assert shards_of(config, "draft/generated") == [0, 2]
    saved = load_saved(config.run / "config.yaml")
    assert saved.generation == config.generation, "a refused command changes none"
    make_part(config, 2, 2, run_generate)
    assert shards_of(config, "draft/generated") == [0, 1, 2, 3]


def test_a_part_is_refused_where_one_process_goes_on_writing_alone(world, monkeypatch):
    monkeypatch.setattr(lock, "PATIENCE", 0.3)
    config = world("run")
    with (
        open_context(config, SilentProgress(), LocalExecutor(Loader())),
        pytest.raises(RunLockedError, match="is being written by process"),
    ):
        make_part(config, 1, 2, run_generate)


def test_a_part_waits_for_one_that_lists_the_images(world):
    config = world("run")
    executor = LocalExecutor(Loader())
    with ThreadPoolExecutor() as threads:
        with open_context(config, SilentProgress(), executor) as context:
            part = threads.submit(make_part, config, 1, 2, run_generate)
            time.sleep(0.3)
            assert not part.done()
            image_stage(context)
        part.result()
    assert shards_of(config, "draft/generated") == [0, 2]


def test_nobody_queues_behind_a_part_that_is_at_work_for_a_list_that_is_there(world):
    config = world("run")
    executor = LocalExecutor(Loader())
    with ThreadPoolExecutor() as threads, open_context(config, SilentProgress(), executor) as context:
        waiting = threads.submit(list_images, config, SilentProgress())
        time.sleep(0.5)
        assert not waiting.done()
        image_stage(context)
        waiting.result(timeout=5)  # the other one still holds the run


def test_a_part_that_was_killed_goes_on_and_the_same_part_twice_hurts_nothing(world):
    config = world("run")
    list_images(config, SilentProgress())
    make_part(config, 1, 2, run_generate)
    before = {path.name: path.stat().st_mtime_ns for path in (config.run / "draft/generated").glob("0*")}
    loader = Loader()
    make_part(config, 1, 2, run_generate, loader)
    after = {path.name: path.stat().st_mtime_ns for path in (config.run / "draft/generated").glob("0*")}
    assert (loader.times, after) == (0, before)


def test_a_part_needs_what_comes_before_it(world):
    config = world("run")
    with pytest.raises(DataError, match="there is no run folder"):
        make_part(config, 1, 2, run_generate)
    list_images(config, SilentProgress())
    make_part(config, 1, 2, run_generate)
    with pytest.raises(DataError, match=r"stage draft/parsed .* is not done; make it first with `c3l generate"):
        make_part(config, 1, 2, partial(run_score, round=0))


def test_a_merged_model_that_was_removed_is_made_again_by_one_of_the_parts(world, monkeypatch):
    run = Run(world("run").run)
    (run.path / "tuned/adapter").mkdir(parents=True)
    (run.path / "tuned/.merged.c3l-tmp").mkdir()  # of one that was killed
    made = []

    def merge(config, adapter, folder):
        made.append(config.name)
        (folder / "config.json").write_text("{}")
        time.sleep(0.5)
        (folder / "model.safetensors").write_text("whole")

    monkeypatch.setattr("c3l.models.load.merge_adapter", merge)

    def need():
        ensure_writer(run, world("run"), 1)
        return sorted(path.name for path in (run.path / "tuned/merged").iterdir())

    with ThreadPoolExecutor(3) as threads:
        found = [part.result() for part in [threads.submit(need) for _ in range(3)]]
    assert found == [["config.json", "model.safetensors"]] * 3
    assert len(made) == 1


def test_a_folder_that_another_one_fills_is_left_to_it(tmp_path):
    with atomic_folder(tmp_path / "merged") as mine:
        (mine / "a").write_text("a")
        with pytest.raises(StorageError, match="File exists"), atomic_folder(tmp_path / "merged"):
            raise AssertionError("it is taken")
        (mine / "b").write_text("b")
    assert sorted(path.name for path in (tmp_path / "merged").iterdir()) == ["a", "b"]


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "-1/2", "1/", "1/2/3"])
def test_a_part_that_is_none_is_refused(text):
    with pytest.raises(ConfigError, match="expected I/N"):
        read_part(text)


def test_parts_are_counted_from_one():
    assert [Part(1, 3).takes(shard) for shard in range(4)] == [True, False, False, True]
    assert read_part("2/8") == Part(2, 8)
