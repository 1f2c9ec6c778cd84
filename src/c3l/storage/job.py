"""Work that survives a kill: a folder says what it was begun with, and is gone on with only if that is still so.

A job writes its settings before anything else and its result last. In between it leaves whole files, or lines of a
journal, so that who comes next does what is missing. A stage of a run (``storage/stage.py``) is
a job that is cut into shards, under its run's lock and with a fingerprint that holds those of the stages before it.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from c3l.errors import DataError, StaleStageError
from c3l.storage.atomic import TEMPORARY, remove, write_atomic
from c3l.storage.lock import own_folder, remove_leftovers

# What is compared by its hash, which tells a person nothing.
_HASHED = {
    "data": "the data file changed",
    "questions": "the questions changed",
    "weights": "the model changed",
    "pool": "the images that stand for no image changed",
}


class Job:
    """A folder of work of one command.

    Attributes:
        folder: Where it lies.
    """

    def __init__(
        self,
        folder: Path,
        command: str,
        mark: str,
        begun: str = "settings.json",
        remedy: str = "choose another --out",
    ) -> None:
        """Name a job; nothing is read or written.

        Args:
            folder: Where it lies, or will lie.
            command: Who writes it, for messages.
            mark: A setting that the settings of all jobs of this command have, and those of no other.
            begun: The file that says what it was begun with.
            remedy: What to do where the folder is another's.
        """
        self.folder = folder
        self._command, self._mark, self._begun, self._remedy = command, mark, folder / begun, remedy

    @contextmanager
    def open(self) -> Iterator["Job"]:
        """The folder for one writer, made if need be; what a killed one left over is removed.

        Where nothing is begun in it, it is left as it was found.

        Raises:
            DataError: If it holds other work.
            RunLockedError: If another process writes to it.
            StorageError: If the disk refuses.
        """
        if self.read() is None:  # not even a lock comes into the folder of others
            self._refuse_strange()
        with own_folder(self.folder, self._begun.exists):
            remove_leftovers(self.folder)
            yield self

    def read(self) -> dict[str, Any] | None:
        """What the job was begun with: its ``settings`` and what was written beside them; None if it is not begun.

        Raises:
            DataError: If the file that says so is another's, or damaged.
        """
        try:
            found: Any = json.loads(self._begun.read_bytes())
            if "settings" not in found:  # of an earlier version
                found = {**found, "settings": found.get("made_with", found)}
            if self._mark in found["settings"]:
                return dict(found)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, TypeError, AttributeError):
            pass
        raise self.not_ours()

    def begin(self, settings: Mapping[str, Any], **more: Any) -> None:
        """Say what the job is made with, before its first file; and what else is to be known of it."""
        write_atomic(self._begun, json.dumps({"settings": plain(settings), **more}, indent=1) + "\n")

    def not_ours(self) -> DataError:
        """The error for a file that says something else than what this job was begun with."""
        return self._refuse(f"{self._begun.name}, which is another's, older or damaged,")

    def forget(self) -> None:
        """Say no longer what was begun: the last step of removing a job."""
        if self._begun.exists():
            remove(self._begun)

    def _refuse_strange(self) -> None:
        expected = (".lock", "begun.json")  # ours, and what a run says of its stage
        names = [path.name for path in self.folder.iterdir()] if self.folder.is_dir() else []
        strange = [name for name in names if name not in expected and not name.endswith(TEMPORARY)]
        if strange:
            raise self._refuse(min(strange))

    def _refuse(self, held: str) -> DataError:
        return DataError(
            f"{self.folder} holds {held} and was not made by c3l {self._command}, expected a new or empty folder, or "
            f"one that it began; {self._remedy}"
        )


def fingerprint(settings: Mapping[str, Any], *inputs: str) -> str:
    """Hash of settings (plain values and paths, in any order) and input fingerprints (in their order)."""
    text = json.dumps([plain(settings), *inputs], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as JSON gives them back."""
    found: dict[str, Any] = json.loads(json.dumps(values, default=_path_text))
    return found


def find_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The names of the settings that differ, or that only one of the two has."""
    return [key for key in dict.fromkeys((*old, *new)) if old.get(key) != new.get(key)]


def explain_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Each setting that differs, old -> new."""
    changes = [
        _HASHED.get(key) or f"{key}: {show_value(old.get(key))} -> {show_value(new.get(key))}"
        for key in find_changes(old, new)
    ]
    return ", ".join(changes) or "another input"


def show_value(value: object) -> str:
    """A setting as ``--set`` takes it."""
    return value if isinstance(value, str) else json.dumps(value)


def refuse_changes(
    out: Path,
    before: Mapping[str, Any],
    now: Mapping[str, Any],
    remedy: str = "put them back, or choose another --out",
) -> None:
    """Refuse to go on with what was made with other settings.

    Raises:
        StaleStageError: Names each setting, old and new.
    """
    now = plain(now)
    if find_changes(before, now):
        raise StaleStageError(f"{out} was made with other settings: {explain_changes(before, now)}; {remedy}")


def _path_text(value: object) -> str:
    if isinstance(value, Path):
        return value.as_posix()
    raise TypeError(f"got a {type(value).__name__} among settings, expected plain values and paths")
