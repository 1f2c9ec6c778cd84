"""The run folder: one writer, stages cut into shards, and a resume that is a set difference.

A shard that exists is whole; ``stage.json`` is written last, so a stage that has one is done. ``begun.json``
is written first, so that shards of different settings never mix. docs/run-folder.md has every file and field.
"""

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from c3l.errors import DataError, StaleStageError
from c3l.records import MAX_ROUNDS, from_json, name_round, name_step
from c3l.settings.evaluation import TaskName
from c3l.settings.schema import RunConfig
from c3l.storage.atomic import remove
from c3l.storage.job import explain_changes, find_changes, plain, show_value
from c3l.storage.lock import own_folder, remove_leftovers, shared_lock
from c3l.storage.stage import Stage, StageInfo, not_ours


def stages_of_round(round: int) -> list[str]:
    """The names of the stages of one round, in order: what leads to it, and what is written in it."""
    before = [name_step("groups", round), name_step("tuned", round)] if round else []
    return before + [f"{name_round(round)}/{part}" for part in ("generated", "parsed", "scored")]


def _paths(stage: str) -> tuple[str, ...]:
    return (stage, stage.replace("groups", "selected")) if stage.startswith("groups") else (stage,)


STAGES: dict[str, tuple[str, ...]] = {  # in order; what `clean` removes of each
    "images": ("images.jsonl", "images"),
    # of an earlier version, in which groups were called selected, and decisions selection
    **{name: _paths(name) for round in range(MAX_ROUNDS + 1) for name in stages_of_round(round)},
    "filtered": ("filtered", "decisions.jsonl", "selection.jsonl"),
    "export": ("export",),
    "finetuned": ("finetuned",),
    **{f"evaluation/{task}": (f"evaluation/{task}",) for task in get_args(TaskName)},
    "report": ("report.html", "report"),
}


READ_BY = {"parsers", "parser_version"}
"""The settings of a stage that say how texts are read: others may give the same pairs."""


class Run:
    """A run folder. ``Run.open`` to write, ``Run.reader`` to look."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator["Run"]:
        """The run folder, created if need be, for one writer at a time; a killed one's leftovers are removed.

        Where nothing came of it, a folder that was not there before is gone again, and one that was is nobody's run.

        Raises:
            RunLockedError: If another process writes to it.
            DataError: If it is a file, or no run folder but holds what a run would write over and ``clean`` remove.
        """
        _check_free(path)
        with own_folder(path, lambda: (path / "config.yaml").exists() or bool(_find_stages(path))):
            remove_leftovers(path)
            yield cls(path)

    @classmethod
    @contextmanager
    def share(cls, path: Path) -> Iterator["Run"]:
        """The run folder, which is there, for one of several writers, each of whom makes shards of its own.

        Raises:
            RunLockedError: If a process writes to it alone.
            DataError: If there is no such folder.
        """
        run = cls.reader(path)
        with shared_lock(path):
            yield run

    @classmethod
    def reader(cls, path: Path) -> "Run":
        """The run folder, to read only; needs no lock.

        Raises:
            DataError: If there is no such folder.
        """
        if not path.is_dir():
            raise DataError(f"there is no run folder {path}; name another, or make it with `c3l run`")
        return cls(path)

    def stage(
        self,
        name: str,
        *,
        fingerprint: str,
        settings: Mapping[str, Any],
        shards: int,
        shard_size: int | None = None,
    ) -> "Stage":
        """The stage as it lies there, if it was made with the same settings; else a new one.

        A finished stage keeps its own number of shards. An unfinished one must be cut as it was begun.

        Raises:
            StaleStageError: If it was made, or begun, with other settings; names them and says what to do.
        """
        now = StageInfo(name, fingerprint, plain(settings), shards, shard_size)
        stored = self.stored(name)
        if stored is None:
            return Stage(self.path, now)
        if stored.info.fingerprint != fingerprint:
            raise StaleStageError(_explain_settings(self.path, stored.info, now))
        if not stored.is_done() and (stored.info.shards, stored.info.shard_size) != (shards, shard_size):
            raise StaleStageError(_explain_cut(self.path, stored.info, now))
        return stored

    def stored(self, name: str) -> "Stage | None":
        """The stage as it lies there, done or only begun, whatever its settings; None if there is nothing.

        Nothing is what an earlier version filtered: its decisions had another name, and cost nothing to make again.
        """
        if name == "filtered" and not (self.path / "decisions.jsonl").exists():
            return None
        for file in ("stage.json", "begun.json"):
            path = self.path / name / file
            try:
                return Stage(self.path, from_json(StageInfo, path.read_bytes()))
            except (FileNotFoundError, NotADirectoryError):
                continue
            except ValidationError:
                raise not_ours(str(path)) from None
        return None

    def clean(self, stage: str) -> list[str]:
        """Remove a stage and all those after it, the last first; returns the names of what was removed.

        Raises:
            DataError: If there is no stage of that name.
        """
        if stage not in STAGES:
            raise DataError(f"got stage {stage!r}, expected one of {', '.join(STAGES)}")
        names = list(STAGES)
        paths = [path for name in reversed(names[names.index(stage) :]) for path in STAGES[name]]
        there = [path for path in paths if (self.path / path).exists()]
        for path in there:
            remove(self.path / path)
        return there


def _check_free(folder: Path) -> None:
    """Refuse a folder whose `images` or `export` are somebody's own: the lock file tells that a run is there."""
    there = next(one for one in (folder, *folder.parents) if one.exists())
    if not there.is_dir():
        raise DataError(f"got {folder} as the run folder, but {there} is a file; name another run folder")
    taken = _find_stages(folder)
    if taken and not (folder / ".lock").exists():
        raise DataError(f"{folder} is no run folder, and its {', '.join(taken)} would be lost; name another run folder")


def _find_stages(folder: Path) -> list[str]:
    return [path for paths in STAGES.values() for path in paths if (folder / path).exists()]


def spell_path(path: object) -> str:
    """A path as a word of a command that a person copies."""
    return shlex.quote(str(path))


_SET_AS = {"others": "scoring.others"}  # a stage's settings that --set calls otherwise


def explain_stage(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Each setting of a stage that differs, old -> new, as ``--set`` calls it."""
    return explain_changes(_as_set(old), _as_set(new))


def _as_set(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {_SET_AS.get(key, key): value for key, value in settings.items()}


def spell_overrides(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """The ``--set`` options that turn the settings of a stage from the old into the new; may be empty."""
    old, new = _as_set(old), _as_set(new)
    settable = [key for key in find_changes(old, new) if "." in key or key == "seed"]
    values = {key: new[key] if key in new else _find_default(key) for key in settable}
    return " ".join(f"--set {shlex.quote(f'{key}={show_value(value)}')}" for key, value in plain(values).items())


def _find_default(key: str) -> Any:
    """The value that a setting has if it is not named, as where a stage knows it only if it changes something."""
    section, _, name = key.partition(".")
    return getattr(getattr(RunConfig(), section, None), name, None)


def _explain_settings(run: Path, old: StageInfo, new: StageInfo) -> str:
    back = spell_overrides(new.settings, old.settings)
    remedy = f"put it back with `{back}`, " if back else ""
    changed = {*find_changes(old.settings, new.settings)}
    if changed & READ_BY and changed <= READ_BY | {"weights"}:  # the latter of what a tuned model wrote
        round = next((one for one in range(1, MAX_ROUNDS + 1) if old.stage.startswith(f"{name_round(one)}/")), 0)
        which = f" --round {round}" if round else ""
        remedy += f"keep it where the pairs are the same with `c3l generate {spell_path(run)} --reparse{which}`, "
    return (
        f"stage {old.stage} in {run} was made with other settings: {explain_stage(old.settings, new.settings)}; "
        f"{remedy}name another run folder, or remove it with `c3l clean {spell_path(run)} {old.stage}`"
    )


def _explain_cut(run: Path, old: StageInfo, new: StageInfo) -> str:
    return (
        f"stage {old.stage} in {run} was begun with {old.shards} shards of size {old.shard_size}, "
        f"now {new.shards} of size {new.shard_size}; put shard_size back to finish it, "
        f"or remove it with `c3l clean {spell_path(run)} {old.stage}`"
    )
