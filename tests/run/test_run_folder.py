"""The run folder: killed anywhere it resumes to the same bytes, and never mixes different settings."""

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from c3l.errors import C3LError, DataError, RunLockedError, StaleStageError, StorageError
from c3l.records import Generation, Provenance, Rejected, Sample
from c3l.run.run_folder import Run
from c3l.storage import atomic
from c3l.storage import stage as stage_module
from c3l.storage.atomic import write_atomic
from c3l.storage.job import fingerprint
from c3l.storage.lock import exclusive_lock, remove_leftovers
from c3l.storage.stage import Stage
from storage.crashes import FailingDisk, Killed, crash_everywhere

SETTINGS: dict[str, Any] = {
    "generation.temperature": 1.0,
    "generation.instructions": ("conversation", "brief"),
}
PRINT = fingerprint(SETTINGS)
PROVENANCE = Provenance("tiny", "abc", "hf", "float32", "cpu", 0, {"torch": "2"})
SHARDS = 3


def sample(number: int, question: str = "What is it?") -> Sample:
    return Sample(f"s{number}", f"i{number}", "conversation", question, "A <b>cat</b>\u2028 \n café", 0, 0)


def shard(number: int) -> list[Any]:
    return [
        Generation(f"g{number}", f"i{number}", "conversation", 0, "raw text", "stop"),
        sample(2 * number),
        Rejected(f"r{number}", f"i{number}", "draft/generated", ["refusal", "empty_answer"][number % 2], "why"),
        sample(2 * number + 1),
    ]


def begin(run: Run, name: str = "draft/generated", **changes: Any) -> Stage:
    wanted = {"fingerprint": PRINT, "settings": SETTINGS, "shards": SHARDS, **changes}
    return run.stage(name, **wanted)


def work(path: Path) -> None:
    """A small run: a file, two stages in shards, a file, each step only if it is not there yet."""
    with Run.open(path) as run:
        if not (path / "images.jsonl").exists():
            atomic.write_atomic(path / "images.jsonl", [f'{{"image":{number}}}' for number in range(SHARDS)])
        for name in ("draft/generated", "draft/scored"):
            stage = begin(run, name)
            if stage.is_done():
                continue
            for number in stage.missing():
                stage.write_shard(number, shard(number))
            stage.finish(PROVENANCE, 1.5, inputs=4 * SHARDS)
        ids = [found.sample_id for found in begin(run, "draft/scored").read(Sample)]
        atomic.write_atomic(path / "decisions.jsonl", ids)


def files(path: Path) -> dict[str, bytes]:
    return {
        found.relative_to(path).as_posix(): found.read_bytes()
        for found in sorted(path.rglob("*"))
        if found.is_file() and found.name != ".lock"
    }


@pytest.fixture
def judge(tmp_path: Path) -> Callable[[Path], list[str]]:
    """Says what differs from an uninterrupted run: lost, twice, torn, left over."""
    work(tmp_path / "whole")
    whole = files(tmp_path / "whole")

    def differences(path: Path) -> list[str]:
        found = files(path)
        names = [name for name in {*whole, *found} if whole.get(name) != found.get(name)]
        return [f"{name} differs" for name in sorted(names)]

    return differences


Search = Callable[[], Iterator[list[str]]]


@pytest.fixture
def search(tmp_path: Path, judge: Callable[[Path], list[str]], monkeypatch: pytest.MonkeyPatch) -> Search:
    """The violations of ``work`` at each crash point."""

    def use_disk(disk: Callable[..., Any]) -> None:
        monkeypatch.setattr(atomic, "durable", disk)

    return lambda: crash_everywhere(work, judge, tmp_path / "crashes", use_disk)


def test_a_run_stopped_at_any_step_resumes_to_the_same_bytes(search: Search) -> None:
    found = list(search())
    assert [what for violations in found for what in violations] == []
    assert len(found) >= 100


def test_what_was_said_to_be_written_survives_a_power_cut(
    tmp_path: Path, judge: Callable[[Path], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FailingDisk(tmp_path / "run", mode="power_undone")
    monkeypatch.setattr(atomic, "durable", disk)
    work(tmp_path / "run")
    disk.cut_the_power()
    assert disk.steps > 20 and judge(tmp_path / "run") == []


def in_place(path: Path, content: Iterable[str] | str) -> None:
    """Planted: no temporary name, so a half written shard counts as there."""
    atomic.make_folder(path.parent)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for block in atomic._blocks(content):
        atomic.durable(atomic.write_all, descriptor, block)
    os.close(descriptor)
    atomic.durable(atomic.sync_file, path)
    atomic.durable(atomic.sync_folder, path.parent)


def without_sync(path: Path, content: Iterable[str] | str) -> None:
    """Planted: renamed before its bytes are on the disk."""
    atomic.make_folder(path.parent)
    temporary = path.with_name(f".{path.name}{atomic.TEMPORARY}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for block in atomic._blocks(content):
        atomic.durable(atomic.write_all, descriptor, block)
    os.close(descriptor)
    atomic.durable(os.replace, temporary, path)
    atomic.durable(atomic.sync_folder, path.parent)


def appending(path: Path, content: Iterable[str] | str) -> None:
    """Planted: goes on where a killed writer's temporary file ended, so lines come twice."""
    atomic.make_folder(path.parent)
    temporary = path.with_name(f".{path.name}.part")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for line in content:
        atomic.durable(atomic.write_all, descriptor, f"{line}\n".encode())
    os.close(descriptor)
    atomic.durable(atomic.sync_file, temporary)
    atomic.durable(os.replace, temporary, path)
    atomic.durable(atomic.sync_folder, path.parent)


def without_folder_sync(path: Path, content: Iterable[str] | str) -> None:
    """Planted: the names of shards may be lost after the stage was said to be done."""
    with pytest.MonkeyPatch.context() as patch:
        real = atomic.durable
        patch.setattr(atomic, "durable", lambda step, *a: None if step is atomic.sync_folder else real(step, *a))
        write_atomic(path, content)


@pytest.mark.parametrize("planted", [in_place, without_sync, appending])
def test_the_search_finds_a_planted_bug_in_writing(
    planted: Callable[..., None], search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage_module, "write_atomic", planted)
    assert any(search())


def test_the_search_finds_a_stage_said_to_be_done_too_early(search: Search, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stage, "is_done", lambda self: (self.folder / "begun.json").exists())
    assert any(search())


def test_the_search_finds_a_folder_that_is_not_synced(search: Search, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage_module, "write_atomic", without_folder_sync)
    monkeypatch.setattr(Stage, "is_done", lambda self: (self.folder / "stage.json").exists())
    assert any(search())


@pytest.mark.parametrize("at", [3, 9, 20, 40])
def test_a_process_that_is_gone_at_once_leaves_nothing_that_hurts(
    at: int, tmp_path: Path, judge: Callable[[Path], list[str]]
) -> None:
    """The same with a real exit: no clean-up code runs, and the lock lets go."""
    path = tmp_path / "run"
    real, steps = atomic.durable, count(1)
    if not (child := os.fork()):
        try:
            atomic.durable = lambda *args, **kwargs: os._exit(9) if next(steps) == at else real(*args, **kwargs)
            work(path)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9 and judge(path)
    work(path)
    assert judge(path) == []


def test_a_finished_stage_that_lost_a_shard_is_not_done(tmp_path: Path) -> None:
    work(tmp_path / "run")
    (tmp_path / "run" / "draft" / "scored" / "00001.jsonl").unlink()
    with Run.open(tmp_path / "run") as run:
        stage = begin(run, "draft/scored")
        assert not stage.is_done() and stage.missing() == [1]


def test_what_is_missing_is_listed_and_not_asked_for_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work(tmp_path / "run")
    with Run.open(tmp_path / "run") as run:
        stage = begin(run, "draft/scored")
        asked: list[Path] = []
        exists = Path.exists
        monkeypatch.setattr(Path, "exists", lambda path: asked.append(path) or exists(path))
        assert stage.missing() == []
        assert not asked


def test_a_resumed_stage_makes_only_what_is_missing(tmp_path: Path) -> None:
    with Run.open(tmp_path / "run") as run:
        stage = begin(run)
        stage.write_shard(1, shard(1))
        before = stage.shard_path(1).stat().st_mtime_ns
    with Run.open(tmp_path / "run") as run:
        stage = begin(run)
        assert stage.missing() == [0, 2] and not stage.is_done()
        with pytest.raises(ValueError, match="got shard 1 of draft/generated"):
            stage.write_shard(1, [])
        with pytest.raises(ValueError, match=r"shards \[0, 2\] are missing"):
            stage.finish(None, 0)
        assert stage.shard_path(1).stat().st_mtime_ns == before


def test_records_come_back_as_they_went_in_and_are_counted(tmp_path: Path) -> None:
    with Run.open(tmp_path / "run") as run:
        stage = begin(run)
        for number in (1, 0, 2):
            stage.write_shard(number, iter(shard(number)))
        info = stage.finish(PROVENANCE, 2.0, inputs=4 * SHARDS, recorded={"generation.batch_size": 8})
    stored = Run.reader(tmp_path / "run").stored("draft/generated")
    assert stored is not None and stored.is_done() and stored.info == info
    expected = [record for number in range(SHARDS) for record in shard(number)]
    for kind in (Sample, Generation, Rejected):
        assert list(stored.read(kind)) == [record for record in expected if isinstance(record, kind)]
    assert list(stored.read_shard(2, Sample)) == [sample(4), sample(5)]
    assert list(stored.rejected()) == [record for record in expected if isinstance(record, Rejected)]
    assert (info.inputs, info.out) == (4 * SHARDS, {"generation": 3, "sample": 6})
    assert info.rejected == {"empty_answer": 1, "refusal": 2}
    assert (info.provenance, info.recorded) == (PROVENANCE, {"generation.batch_size": 8})
    assert json.loads(stored.shard_path(0).read_bytes().splitlines()[2])["kind"] == "rejected"


@pytest.mark.parametrize("name", ["draft/generated", "draft/scored", "filtered", "images"])
def test_a_stage_whose_records_do_not_add_up_is_not_done(name: str, tmp_path: Path) -> None:
    with Run.open(tmp_path / "run") as run:
        stage = begin(run, name, shards=1)
        stage.write_shard(0, shard(0))
        with pytest.raises(C3LError, match=f"stage {name} got 5 inputs, .* holds 4: 3 out and 1 rejected"):
            stage.finish(PROVENANCE, 1, inputs=5)
        assert not stage.is_done()


def test_a_text_may_come_out_as_several_pairs(tmp_path: Path) -> None:
    with Run.open(tmp_path / "run") as run:
        stage = begin(run, "draft/parsed", shards=1)
        stage.write_shard(0, shard(0))
        assert stage.finish(None, 1, inputs=1).inputs == 1


def test_a_source_that_cannot_be_read_is_not_called_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    def lines() -> Iterator[str]:
        yield "one"
        (tmp_path / "gone.jsonl").open()

    with pytest.raises(StorageError, match=r"cannot read what is to be written: .*gone\.jsonl"):
        write_atomic(tmp_path / "out.jsonl", lines())
    assert not list(tmp_path.iterdir())


def test_a_stage_without_records_can_be_done(tmp_path: Path) -> None:
    with Run.open(tmp_path / "run") as run:
        stage = begin(run, shards=0)
        assert not stage.is_done()
        assert stage.finish(None, 0, inputs=0).out == {}
        assert begin(run, shards=0).is_done()


@pytest.mark.parametrize("finished", [True, False])
def test_a_stage_of_other_settings_is_refused_and_the_change_is_named(finished: bool, tmp_path: Path) -> None:
    with Run.open(tmp_path / "run") as run:
        stage = begin(run, shards=1 if finished else 2)
        stage.write_shard(0, shard(0))
        if finished:
            stage.finish(PROVENANCE, 1)
        new = {**SETTINGS, "generation.temperature": 0.7, "generation.top_p": 0.9}
        with pytest.raises(StaleStageError) as caught:
            begin(run, fingerprint=fingerprint(new), settings=new)
    message = str(caught.value)
    assert "generation.temperature: 1.0 -> 0.7, generation.top_p: null -> 0.9" in message
    assert (
        "--set generation.temperature=1.0 --set generation.top_p=1.0" in message  # its default: it was not named
        and "generation.instructions" not in message
    )
    assert f"c3l clean {tmp_path / 'run'} draft/generated" in message and "\n" not in message


def test_what_is_no_setting_is_named_but_not_offered_to_set(tmp_path: Path) -> None:
    with Run.open(tmp_path / "run") as run:
        begin(run, settings={"weights": "old", "x.list": [1, "a b"]}, fingerprint="1").write_shard(0, [])
        with pytest.raises(StaleStageError, match="the model changed; name another run folder"):
            begin(run, settings={"weights": "new", "x.list": [1, "a b"]}, fingerprint="2")
        with pytest.raises(StaleStageError, match=r"`--set 'x.list=\[1, .a b.\]'`"):
            begin(run, settings={"weights": "old", "x.list": []}, fingerprint="3")


def test_a_stage_of_another_input_is_refused(tmp_path: Path) -> None:
    with Run.open(tmp_path / "run") as run:
        begin(run).write_shard(0, [])
        with pytest.raises(StaleStageError, match="another input"):
            begin(run, fingerprint=fingerprint(SETTINGS, "the input stage"))


def test_an_unfinished_stage_must_be_cut_as_it_was_begun_and_a_finished_one_need_not(tmp_path: Path) -> None:
    with Run.open(tmp_path / "run") as run:
        stage = begin(run, shard_size=2)
        stage.write_shard(0, shard(0))
        for other in ({"shards": 2, "shard_size": 4}, {"shards": SHARDS, "shard_size": 3}):
            with pytest.raises(StaleStageError, match="begun with 3 shards of size 2, now"):
                begin(run, **other)
        for number in stage.missing():
            stage.write_shard(number, shard(number))
        stage.finish(PROVENANCE, 1)
        again = begin(run, shards=2, shard_size=4)
        assert again.is_done() and len(list(again.read(Sample))) == 2 * SHARDS


@pytest.mark.parametrize("change", ["temperature", "instructions", "new key", "input", "order of inputs"])
def test_each_part_changes_the_fingerprint(change: str) -> None:
    old = fingerprint(SETTINGS, "a", "b")
    new = {
        "temperature": fingerprint({**SETTINGS, "generation.temperature": 1.1}, "a", "b"),
        "instructions": fingerprint({**SETTINGS, "generation.instructions": ("brief", "conversation")}, "a", "b"),
        "new key": fingerprint({**SETTINGS, "generation.seed": 0}, "a", "b"),
        "input": fingerprint(SETTINGS, "a", "c"),
        "order of inputs": fingerprint(SETTINGS, "b", "a"),
    }
    assert new[change] != old
    assert fingerprint(dict(reversed(SETTINGS.items())), "a", "b") == old


def test_settings_that_are_not_plain_are_refused() -> None:
    assert fingerprint({"images.root": Path("a/b")}) == fingerprint({"images.root": "a/b"})
    with pytest.raises(TypeError, match="got a object among settings"):
        fingerprint({"model": object()})


def test_a_second_writer_is_refused_and_a_reader_is_not(tmp_path: Path) -> None:
    path = tmp_path / "run"
    with Run.open(path) as run:
        begin(run).write_shard(0, shard(0))
        code = (
            "import sys; from pathlib import Path; from c3l.run.run_folder import Run\n"
            "with Run.open(Path(sys.argv[1])): pass"
        )
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-c", code, str(path)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert f"RunLockedError: {path} is being written by process {os.getpid()} on " in done.stderr
        with pytest.raises(RunLockedError), Run.open(path):
            pass
        stored = Run.reader(path).stored("draft/generated")
        assert stored is not None and len(list(stored.read(Sample))) == 2
    with Run.open(path):
        pass


def test_who_shares_a_run_is_not_taken_for_who_had_it_before(tmp_path: Path) -> None:
    with Run.open(tmp_path / "run") as run:
        begin(run).write_shard(0, shard(0))
    with Run.share(tmp_path / "run"):
        for _ in range(2):
            with pytest.raises(RunLockedError, match=r"written by others that make parts of it \(--shard\); wait"):
                Run.open(tmp_path / "run").__enter__()
    with Run.open(tmp_path / "run"), pytest.raises(RunLockedError, match=f"by process {os.getpid()} on"):
        Run.open(tmp_path / "run").__enter__()


@pytest.mark.parametrize("taken", ["images/cat.jpg", "export/mine.json", "images.jsonl"])
def test_a_folder_of_other_work_is_not_taken_for_a_run(taken: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("a run may live beside this")
    with Run.open(tmp_path):
        pass
    (tmp_path / taken).parent.mkdir(exist_ok=True)
    (tmp_path / taken).write_text("mine")
    lost = rf"is no run folder, and its {taken.split('/')[0]} would be lost"
    with pytest.raises(DataError, match=lost), Run.open(tmp_path) as run:
        run.clean("images")
    assert (tmp_path / taken).read_text() == "mine"


def test_a_reader_of_nothing_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no run folder"):
        Run.reader(tmp_path / "run")
    (tmp_path / "run").mkdir()
    assert Run.reader(tmp_path / "run").stored("draft/scored") is None


def test_cleaning_removes_a_stage_and_those_after_it(tmp_path: Path) -> None:
    path = tmp_path / "run"
    work(path)
    write_atomic(path / "export" / "llava.json", "[]")
    with Run.open(path) as run:
        assert run.clean("draft/scored") == ["export", "decisions.jsonl", "draft/scored"]
        assert begin(run).is_done() and not begin(run, "draft/scored").is_done()
        assert run.clean("draft/scored") == []
        with pytest.raises(DataError, match="got stage 'scored', expected one of images, draft/generated"):
            run.clean("scored")
    assert sorted(found.name for found in path.iterdir()) == [".lock", "draft", "images.jsonl"]


def test_a_clean_stopped_at_any_step_leaves_a_stage_that_can_be_made_again(
    tmp_path: Path, judge: Callable[[Path], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def clean_then_work(path: Path) -> None:
        with Run.open(path) as run:
            run.clean("draft/scored")
        work(path)

    def use_disk(disk: Callable[..., Any]) -> None:
        if isinstance(disk, FailingDisk) and disk.at and not disk.root.exists():
            monkeypatch.setattr(atomic, "durable", FailingDisk(disk.root))
            work(disk.root)
        monkeypatch.setattr(atomic, "durable", disk)

    modes = ("exit_before", "io_error", "power_mixed")
    assert not any(crash_everywhere(clean_then_work, judge, tmp_path / "crashes", use_disk, modes))


def test_a_clean_killed_while_files_go_leaves_no_half_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run"
    work(path)

    def remove_one_and_die(folder: Path, ignore_errors: bool) -> None:
        next(folder.iterdir()).unlink()
        raise Killed

    monkeypatch.setattr(atomic.shutil, "rmtree", remove_one_and_die)
    with pytest.raises(Killed), Run.open(path) as run:
        run.clean("draft/scored")
    assert Run.reader(path).stored("draft/scored") is None
    monkeypatch.undo()
    with Run.open(path):
        assert [found.name for found in (path / "draft").iterdir()] == ["generated"]


def test_a_full_disk_is_an_error_that_says_what_to_do_and_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_atomic(tmp_path / "x.txt", "old")
    monkeypatch.setattr(atomic, "durable", FailingDisk(tmp_path, 1, "no_space"))
    with pytest.raises(StorageError, match=r"x\.txt: No space left on device; free some space, then start again"):
        write_atomic(tmp_path / "x.txt", ["new"])
    assert [(found.name, found.read_text()) for found in tmp_path.iterdir()] == [("x.txt", "old")]


def test_a_single_file_of_records_comes_back(tmp_path: Path) -> None:
    records = [sample(1), Rejected("r", "i", "images", "empty_file", "x"), sample(2)]
    stage_module.write_records(tmp_path / "sub" / "images.jsonl", records)
    assert list(stage_module.read_records(tmp_path / "sub" / "images.jsonl", Sample)) == [sample(1), sample(2)]
    assert list(stage_module.read_records(tmp_path / "sub" / "images.jsonl", Rejected)) == records[1:2]


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    with Run.open(tmp_path / "run") as run:
        stage = begin(run)
        stage.write_shard(0, shard(0))
        lines = stage.shard_path(0).read_bytes().splitlines(keepends=True)
        stage.shard_path(0).write_bytes(lines[0] + lines[1][:40] + b"\n")
        with pytest.raises(StorageError, match=r"00000\.jsonl line 2 is not what c3l wrote"):
            list(stage.read(Sample))
        for damage in (lines[0][9:], lines[0] + lines[1][:-3], b"\n", b"\xff\xfe\x00\n"):
            stage.shard_path(0).write_bytes(damage)
            with pytest.raises(StorageError, match=r"00000\.jsonl line \d is not what c3l wrote"):
                list(stage.read(Sample))
        (stage.folder / "begun.json").write_text("{}")
        with pytest.raises(StorageError, match=r"begun\.json is not what c3l wrote"):
            begin(run)


def test_leftovers_are_removed_when_a_run_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "run" / "draft"
    path.mkdir(parents=True)
    (path / ".00000.jsonl.c3l-tmp").write_text("torn")
    (path / ".scored.c3l-tmp").mkdir()
    (path / ".mine").write_text("stays")
    with Run.open(tmp_path / "run"):
        assert [found.name for found in path.iterdir()] == [".mine"]


def test_what_another_process_is_writing_below_a_run_is_no_leftover(tmp_path: Path) -> None:
    """As of ``c3l finetune --out runs/mine/ft`` while ``c3l report runs/mine`` is called."""
    theirs = tmp_path / "run" / "ft" / "deep"
    theirs.mkdir(parents=True)
    (theirs / ".merged.c3l-tmp").mkdir()
    with exclusive_lock(theirs.parent):
        for _ in range(2):
            with Run.open(tmp_path / "run"):
                assert (theirs / ".merged.c3l-tmp").exists()
    with exclusive_lock(theirs.parent):  # as who opens that folder next
        remove_leftovers(theirs.parent)
    assert not (theirs / ".merged.c3l-tmp").exists()


def test_a_lock_whose_file_a_holder_has_just_removed_holds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock = fcntl.flock

    def take_late(descriptor: int, flags: int) -> None:
        (tmp_path / ".lock").unlink()
        flock(descriptor, flags)

    monkeypatch.setattr("c3l.storage.lock.fcntl.flock", take_late)
    with pytest.raises(RunLockedError), Run.open(tmp_path):
        pass
