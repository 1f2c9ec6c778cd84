"""What lies there of a scored data file, and how to go on with it: the job in ``OUT.state``.

Rows that were rejected for an image which can be opened by now are made again: all rows go aside into the folder, and
come back one by one, scored anew or as they were. Where that image stands for no image by now, all are scored anew.
"""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice, repeat
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from c3l.data.dataset_info import name_entries
from c3l.data.formats import READER_VERSION
from c3l.data.images import open_image
from c3l.data.same_images import SeenImage, find_other, sign_image
from c3l.data.sources import hash_files
from c3l.errors import BadImageError, StaleStageError
from c3l.method.scoring import SCORER_VERSION
from c3l.models.load import choose_dtype, weights_hash
from c3l.progress import Progress
from c3l.records import from_json
from c3l.settings.base import results_of
from c3l.settings.columns import name_columns
from c3l.settings.roots import Address
from c3l.settings.schema import RunConfig
from c3l.storage.atomic import durable, remove, sync_folder
from c3l.storage.job import Job, plain, refuse_changes

EARLIER = "earlier.jsonl"  # in OUT.state: the rows that went aside
_UNREADABLE = ("unreadable_image", "inline_image")  # what an image that is put right, or is unpacked, can mend

ScoreRow = dict[str, Any]


@dataclass(slots=True)
class State:
    """What ``state.json`` holds: the settings, the rows that are safely in ``OUT``, their bytes.

    Attributes:
        settings: What the rows are made with.
        rows: How many there are.
        rejected: How many of them hold no score, by reason.
        noted: How many were scored otherwise than their data asks for, by the words of ``c3l.data.noted``.
        takes_system: Whether the model shows system prompts.
        takes_turns: Whether it shows earlier turns.
        notes: What the model says of itself.
        bytes: The length of ``OUT``.
        done: Whether no row is missing.
        root: The image root.
        picture: The first that was scored, so that its folder is known where it lies by now.
        sha256: Of this image.
        unpack: Whether images that lie in rows were written to files.
        others: Those of the images drawn to stand for no image that opened; None where earlier versions kept none.
    """

    settings: dict[str, Any]
    rows: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    noted: dict[str, int] = field(default_factory=dict)
    takes_system: bool = True
    takes_turns: bool = True
    bytes: int = 0
    done: bool = False
    root: str = ""
    picture: str = ""
    sha256: str = ""
    unpack: bool = False
    notes: list[str] = field(default_factory=list)
    others: list[str] | None = None

    def begin_anew(self) -> "State":
        """The same without any row."""
        return replace(self, rows=0, rejected={}, noted={}, bytes=0, done=False)

    @property
    def scored(self) -> int:
        """The rows that hold a score."""
        return self.rows - sum(self.rejected.values())

    def write(self, job: Job) -> None:
        """Write it whole."""
        job.begin(**{name: getattr(self, name) for name in self.__slots__})


def open_job(out: Path) -> Job:
    """The job that scores into a file: its folder lies beside it."""
    folder = out.with_name(out.name + ".state")
    remedy = f"choose another --out, or remove {folder} and the rows beside it"
    return Job(folder, "score --data", "scorer_version", "state.json", remedy)


def resume(data: Sequence[Path], out: Path, job: Job, config: RunConfig, progress: Progress) -> tuple[RunConfig, State]:
    """The state that lies there, ``out`` cut back to it; or a new one, where no score would be lost by it."""
    sidecar = job.folder
    earlier = sidecar / EARLIER
    state = _read_state(job)
    if state is None and out.exists() and out.stat().st_size:
        raise StaleStageError(f"{out} is there and was not made by this command; choose another --out")
    has_scores = state is not None and (earlier.exists() or (state.scored and out.exists()))
    config = choose_dtype(config, state.settings if state is not None and has_scores else None)
    settings = _settings(data, config)
    new = State(settings, root=str(_resolve(config.images.root)), unpack=config.images.unpack)
    if state is None:
        return config, new
    if not out.exists() and state.settings != settings and earlier.exists():
        remove(earlier)
        has_scores = False
    if not has_scores and (state.done or state.settings != settings or not out.exists()):
        gone = state.rows and not out.exists()
        progress.note(f"{out} is gone: it is made anew" if gone else f"{out} holds no score: it is made again")
        return config, new
    remedy = f"put them back, choose another --out, or remove {out} to start over (its settings are kept in {sidecar})"
    refuse_changes(out, state.settings, settings, remedy)
    _check_root(out, state, _resolve(config.images.root))
    return config, _go_on(out, sidecar, state, config, progress) if out.exists() else state.begin_anew()


def _go_on(out: Path, sidecar: Path, state: State, config: RunConfig, progress: Progress) -> State:
    """The state for the rows that are there; or one to begin anew with, where they go aside to be mended."""
    size = out.stat().st_size
    if size < state.bytes:
        raise StaleStageError(f"{out} is shorter than what was written to it; remove it and {sidecar}")
    if size > state.bytes:
        if not _ends_line(out, state.bytes):  # then what is beyond is no row that was being written
            raise StaleStageError(f"{out} is not what was written to it; put that back, or remove it and {sidecar}")
        durable(os.truncate, out, state.bytes)
    if (sidecar / EARLIER).exists() or not _can_be_mended(out, state, config):
        return state
    progress.note(f"images that could not be opened can be by now: their rows of {out} are made again")
    durable(os.replace, out, sidecar / EARLIER)
    for folder in (sidecar, out.parent):
        durable(sync_folder, folder)
    return replace(state.begin_anew(), unpack=config.images.unpack)


def _ends_line(path: Path, place: int) -> bool:
    """Whether a line ends right before a place; so does nothing, before the first."""
    if not place:
        return True
    with path.open("rb") as file:
        file.seek(place - 1)
        return file.read(1) == b"\n"


def _resolve(root: Path | Address) -> Path | Address:
    return root.resolve() if isinstance(root, Path) else root


def _check_root(out: Path, state: State, root: Path | Address) -> None:
    """Refuse another image root than that of the rows, unless the images have moved there."""
    if str(root) == state.root:
        return
    seen = [SeenImage(state.picture, state.sha256)] if state.picture else []
    if other := find_other(seen, root):
        raise StaleStageError(
            f"{out} has scores of the images that lay under {state.root}, not of those under {root} "
            f"({other[1]}); name their folder with --image-root, or choose another --out"
        )
    state.root = str(root)


def _can_be_mended(out: Path, state: State, config: RunConfig) -> bool:
    """Whether an image can be opened by now that a row was rejected for, or is written to a file."""
    if config.images.unpack and not state.unpack and state.rejected.get("inline_image"):
        return True
    if not state.rejected.get("unreadable_image"):
        return False
    shown = {list_shown(row) for row in read_rows(out) if reason_of(row) == "unreadable_image"}
    return any(all(_opens(config, path) for path in paths) for paths in sorted(shown))


def compare_with_same(job: Job, state: State, pool: Sequence[str], config: RunConfig, progress: Progress) -> State:
    """The state to go on with: one without rows where other images opened to stand for no image than do by now.

    Args:
        job: The job; what went aside in it is removed then.
        state: What lies there.
        pool: Paths of the images that may stand for no image, in the order in which they are shown.
        config: The settings.
        progress: Who is told.
    """
    now, earlier = [path for path in pool if _opens(config, path)], job.folder / EARLIER
    known = state.others is not None or not earlier.exists()
    if known and (state.others in (None, now) or not (state.rows or earlier.exists())):
        return replace(state, others=now)
    progress.note("other images than before stand for no image, of those that open by now: all rows are scored anew")
    if earlier.exists():
        remove(earlier)
    return replace(state.begin_anew(), others=now)


def _opens(config: RunConfig, path: str) -> bool:
    try:
        open_image(config.images.root, path, config.images)
    except BadImageError:
        return False
    return True


def read_rows(path: Path) -> Iterator[ScoreRow]:
    """The rows of a file of scores, one at a time."""
    with path.open(encoding="utf-8", newline="\n") as lines:
        yield from map(json.loads, lines)


def list_shown(row: ScoreRow) -> tuple[str, ...]:
    """The paths of the image that a row is about, or of its several."""
    return (row["image"],) if isinstance(row["image"], str) else tuple(row["image"])


def reason_of(row: ScoreRow) -> str:
    """The word for why the row has no score; empty if it has one."""
    return row["error"].partition(":")[0] if row["status"] == "rejected" else ""


def rows_that_stay(sidecar: Path, start: int) -> Iterator[ScoreRow | None]:
    """From a place on, the rows that went aside and need not be made again; None for all others, without an end."""
    if (sidecar / EARLIER).exists():
        for row in islice(read_rows(sidecar / EARLIER), start, None):
            yield None if reason_of(row) in _UNREADABLE else row
    yield from repeat(None)


def _read_state(job: Job) -> State | None:
    begun = job.read()
    try:
        return None if begun is None else from_json(State, json.dumps(begun))
    except ValidationError:
        raise job.not_ours() from None


def _settings(data: Sequence[Path], config: RunConfig) -> dict[str, Any]:
    # which links are followed decides what opens, and that is made again; but also which images stand for no image
    remade = set() if config.scoring.no_image == "others" else {"follow_links"}
    return plain(
        {
            **results_of("images", config.images, remade),
            **results_of("scoring", config.scoring),
            **results_of("model", config.model),
            "scorer_version": SCORER_VERSION,
            "reader_version": READER_VERSION,
            **name_columns(config.columns),
            **({} if config.columns.named else name_entries(data)),
            "seed": config.seed,
            "data": hash_files(data),
            "weights": weights_hash(config.model),
        }
    )


def remember_image(rows: Sequence[ScoreRow], root: Path | Address, state: State) -> None:
    """Keep in the state which image was the first to be scored."""
    first = next((list_shown(row)[0] for row in rows if row["status"] == "ok"), None)
    if first and not state.picture:
        with suppress(BadImageError):  # it is gone since it was scored
            state.picture, state.sha256 = first, sign_image(root, first).sha256
