"""A job: who may go on with it, what is refused by name, and what is left where nothing came of it."""

import json
from pathlib import Path

import pytest

from c3l.errors import DataError, RunLockedError, StaleStageError
from c3l.storage.job import Job, explain_changes, fingerprint, refuse_changes

SETTINGS = {"work_version": 2, "x.paths": (Path("a") / "b",), "x.share": None}


def make(folder: Path) -> Job:
    return Job(folder, "work", "work_version")


def test_a_job_reads_what_it_was_begun_with_and_what_was_said_beside(tmp_path: Path) -> None:
    with make(tmp_path / "out").open() as job:
        assert job.read() is None
        job.begin(SETTINGS, model={"name": "tiny"})
    stored = {"work_version": 2, "x.paths": ["a/b"], "x.share": None}
    assert make(tmp_path / "out").read() == {"settings": stored, "model": {"name": "tiny"}}


@pytest.mark.parametrize("older", [{"work_version": 1}, {"made_with": {"work_version": 1}, "model": {}}])
def test_what_earlier_versions_wrote_is_read(tmp_path: Path, older: dict[str, object]) -> None:
    (tmp_path / "settings.json").write_text(json.dumps(older))
    begun = make(tmp_path).read()
    assert begun is not None
    assert begun["settings"] == {"work_version": 1}


@pytest.mark.parametrize(
    "content", ["{", "[]", "7", "null", '{"settings": 3}', '{"other_version": 1}', '{"settings": {}}']
)
def test_the_folder_of_another_command_is_refused_untouched(tmp_path: Path, content: str) -> None:
    (tmp_path / "settings.json").write_text(content)
    with pytest.raises(DataError, match=r"holds settings\.json, .* not made by c3l work"), make(tmp_path).open():
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["settings.json"]


def test_a_folder_with_files_of_somebody_is_refused_untouched(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match=r"holds notes\.txt and was not made by c3l work"), make(tmp_path).open():
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_where_nothing_came_of_it_nothing_is_left_and_a_begun_one_stays(tmp_path: Path) -> None:
    with make(tmp_path / "a/b").open():
        pass
    assert not (tmp_path / "a").exists()
    with make(tmp_path / "a/b").open() as job:
        job.begin(SETTINGS)
        (job.folder / ".left.c3l-tmp").write_text("by a kill")
    with make(tmp_path / "a/b").open():
        assert sorted(path.name for path in (tmp_path / "a/b").iterdir()) == [".lock", "settings.json"]


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    with make(tmp_path / "out").open(), pytest.raises(RunLockedError), make(tmp_path / "out").open():
        pass


def test_other_settings_are_refused_by_name_as_set_takes_them(tmp_path: Path) -> None:
    refuse_changes(tmp_path, {"x.paths": ["a/b"], "x.share": None}, {"x.paths": (Path("a/b"),)})
    with pytest.raises(StaleStageError, match=r"x\.share: null -> 0\.5, the model changed; put them back"):
        refuse_changes(tmp_path, {"x.share": None, "weights": "0"}, {"x.share": 0.5, "weights": "1"})
    assert explain_changes({"a": 1}, {"a": 1}) == "another input"


def test_a_fingerprint_hangs_on_values_and_inputs_and_not_on_the_order_of_keys() -> None:
    assert fingerprint({"a": 1, "b": (2,)}, "x", "y") == fingerprint({"b": [2], "a": 1}, "x", "y")
    others = [fingerprint({"a": 1, "b": (2,)}, "y", "x"), fingerprint({"a": 1, "b": (3,)}, "x", "y")]
    assert len({fingerprint({"a": 1, "b": (2,)}, "x", "y"), *others}) == 3
