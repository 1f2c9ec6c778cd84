"""Score an existing data set: LLaVA files in, one JSON object a question-answer turn out, in the same order.

The rows are appended in whole chunks. Beside ``OUT`` lies a folder ``OUT.state`` that says what the rows were
made with and how many there are, so that a killed run goes on where it was and a finished one does nothing. It is
there from the first rows on: what fails before them leaves nothing behind. Without ``OUT`` all starts over.
"""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from c3l.data.formats import NOT_TAUGHT, BadTurn, Turn, read_llava
from c3l.data.images import image_id_of
from c3l.data.media import list_paths
from c3l.data.noted import tell_noted
from c3l.data.recognise import recognise
from c3l.data.roots import has_root, resolve_under, settle_root
from c3l.data.sources import check_files, list_files, name_files
from c3l.errors import BadImageError, DataError, StorageError, TooManyRejectedError, tell_rejected
from c3l.executors.choose import make_executor
from c3l.executors.interface import Executor, LoadModel, ShardTask, in_order
from c3l.jobs.score_rows import Item, find_source, make_context, make_rejected_row, make_row, make_sample
from c3l.jobs.score_state import (
    EARLIER,
    ScoreRow,
    State,
    compare_with_same,
    open_job,
    read_rows,
    reason_of,
    remember_image,
    resume,
    rows_that_stay,
)
from c3l.jobs.score_summary import summarise_rows, tell_summary
from c3l.method.other_images import draw_pool, tell_few_others
from c3l.method.scoring import score_samples
from c3l.method.specificity import show_specificity
from c3l.models.interface import InferenceModel
from c3l.progress import Progress, find_width
from c3l.records import Rejected, ScoredPair, make_id
from c3l.settings.abilities import check_scorer
from c3l.settings.roots import Address
from c3l.settings.schema import RunConfig
from c3l.storage.atomic import durable, make_folder, remove
from c3l.storage.job import Job
from c3l.storage.journal import append_lines

CHUNK_ROWS = 64


def score_file(
    data: Sequence[Path], out: Path, config: RunConfig, progress: Progress, load: LoadModel | None = None
) -> dict[str, Any]:
    """Score every turn of ``data`` into ``out``; returns counts for the summary line.

    Turns that the data marks as not to be learned are not scored, and count as no error.

    Args:
        data: LLaVA files, see ``c3l.data.formats``, one after the other.
        out: The JSONL file to write or to go on with.
        config: Model, scoring, image rules and root, seed; ``images.limit`` is a number of turns here.
        progress: Who is told how far it is, and how many rows were rejected for which reason.
        load: Loads the model in this process, if not as the settings say; called only if there is a turn to score.

    Raises:
        StaleStageError: If ``out`` was made with other settings, or is not of this command.
        RunLockedError: If another process writes to ``out``.
        DataError: If a file or the image root cannot be read, or no file has a row.
        StorageError: If ``out`` cannot be written.
        ConfigError: If the model's backend cannot give the numbers of the form.
    """
    data = list_files(data)
    check_scorer(config)
    if out.is_dir():  # such as `.` and `/`, beside which no folder can lie
        raise StorageError(f"got --out {out}, which is a folder; expected the JSONL file to write")
    config = config.model_copy(update={"model": config.scorer})
    if config.images.unpack_root:
        make_folder(config.images.unpack_root)
    images = config.images.model_copy(update={"root": settle_root(config.images.root)})  # workers elsewhere find it too
    config = config.model_copy(update={"images": images})
    job = open_job(out)
    _check_paths(data, out, job.folder, config.images.root)
    with job.open():
        config, state = resume(data, out, job, config, progress)
        if not state.done:
            written = _Output(out, job, state)
            with closing(make_executor(config.executor, load)) as executor:
                _score_rest(data, written, config, progress, executor)
            state = written.state
    if state.rejected:
        example = _find_example(read_rows(out), max(state.rejected, key=state.rejected.__getitem__))
        where = f"`error` in their rows of {out}"
        progress.note(tell_rejected(state.rejected, f"of {state.rows} turns", where, example))
    for told in tell_noted(state.noted, "scored", f"{state.rows} turns"):
        progress.note(told)
    summary = summarise_rows(read_rows(out), config.scoring, state.others or ()) if state.scored else None
    if summary:
        for told in tell_summary(summary, find_width()):
            progress.note(told)
    meant = state.rows - state.rejected.get(NOT_TAUGHT, 0)
    return {
        "out": str(out),
        "rows": state.rows,
        "ok": state.scored,
        "rejected": state.rejected,
        "noted": state.noted,
        **({"notes": state.notes} if state.notes else {}),
        **({"specificity": show_specificity(summary.specificity)} if summary else {}),
        "above_max_error_rate": meant - state.scored > config.max_error_rate * meant or not state.scored,
    }


def _check_paths(data: Sequence[Path], out: Path, sidecar: Path, root: Path | Address) -> None:
    """What can be known of the paths without reading anything."""
    check_files(data)
    if not has_root(root):
        raise DataError(f"got --image-root {root}, expected the folder that image paths begin in")
    nearest = next(path for path in (sidecar, *sidecar.parents) if path.exists())
    if not nearest.is_dir():
        raise StorageError(f"got --out {out}, but {nearest} is a file, expected a folder; choose another --out")


@dataclass(frozen=True, slots=True)
class Shown:
    """Whether the model's chat template shows system prompts, and earlier turns."""

    system: bool
    turns: bool


@dataclass(frozen=True, slots=True)
class Chunk:
    """What some turns are scored with.

    Attributes:
        items: The turns, and what could not be read.
        stay: The row of each that need not be made again.
        start: The number of the first.
        pool: Paths of the images that may stand for no image.
        shown: What the model shows, where it is not asked.
    """

    items: tuple[Item, ...]
    stay: tuple[ScoreRow | None, ...]
    start: int
    pool: tuple[str, ...]
    shown: Shown

    def needs_model(self) -> bool:
        """Whether a turn is to be scored."""
        return any(isinstance(item, Turn) and not row for item, row in zip(self.items, self.stay, strict=True))


@dataclass(frozen=True, slots=True)
class ChunkRows:
    """The rows of a chunk, what is noted of them, and what the model shows."""

    rows: tuple[ScoreRow, ...]
    noted: Mapping[str, int]
    shown: Shown


@dataclass(slots=True)
class _Output:
    """The file that rows go to, the job beside it, and its state."""

    file: Path
    job: Job
    state: State


def _score_rest(data: Sequence[Path], out: _Output, config: RunConfig, progress: Progress, executor: Executor) -> None:
    job = out.job
    if layout := recognise(data, config.columns.named):
        progress.note(layout)
    total, pool = _survey(data, config, progress)
    if not total:
        names = " and ".join(map(str, data))
        raise DataError(f"no row in {names}, expected a JSON list or JSON lines of conversations about images")
    if config.scoring.no_image == "others":
        out.state = compare_with_same(job, out.state, pool, config, progress)
    state, earlier = out.state, job.folder / EARLIER
    if not state.rows and not earlier.exists():
        _check_images(data, config)
    tasks = _read_tasks(data, job, config, state, pool)
    with progress.track("score", "turns", total, state.rows) as advance:
        for result in in_order(executor.run(score_chunk, tasks, lambda count: None)):
            [made] = result.records
            if result.provenance is not None:
                state.notes = list(result.provenance.notes)
            state.takes_system, state.takes_turns = made.shown.system, made.shown.turns
            remember_image(made.rows, config.images.root, state)
            _write_rows(made.rows, Counter(made.noted), out)
            advance(len(made.rows))
    if earlier.exists():
        remove(earlier)
    state.done = True
    state.write(job)


def _check_images(data: Sequence[Path], config: RunConfig) -> None:
    """Look whether any image is there, before a model is loaded for nothing."""
    root, problem = config.images.root, ""
    if isinstance(root, Address) or config.max_error_rate == 1:
        return
    turns = (item for item in islice(_read(data, config), config.images.limit) if isinstance(item, Turn))
    for path in chain.from_iterable(list_paths(turn.image) for turn in turns):
        try:
            resolve_under(root, path, config.images.follow_links)
        except BadImageError as error:
            problem = problem or str(error)
        else:
            return
    if problem:
        raise TooManyRejectedError(
            f"got the image root {root}, where no turn has its image ({problem}); set images.root or --image-root to "
            "the folder that image paths begin in"
        )


def _read_tasks(
    data: Sequence[Path], job: Job, config: RunConfig, state: State, pool: tuple[str, ...]
) -> Iterator[ShardTask]:
    """The chunks that are still to be scored, as they are read."""
    start = state.rows
    items = islice(_read(data, config), start, config.images.limit)
    staying = rows_that_stay(job.folder, start)
    for number, chunk in enumerate(_chunks(items)):
        stay = tuple(islice(staying, len(chunk)))
        given = Chunk(tuple(chunk), stay, start, pool, Shown(state.takes_system, state.takes_turns))
        yield ShardTask("score --data", number, 0, config, given)
        start += len(chunk)


def score_chunk(task: ShardTask, load: Callable[[], InferenceModel]) -> Iterator[ChunkRows]:
    """The rows of one chunk, which is the input."""
    chunk: Chunk = task.inputs
    model = load() if chunk.needs_model() else None
    shown = chunk.shown if model is None else Shown(model.takes_system, model.takes_turns)
    rows = _score(chunk, task.config, model)
    with_turns = shown.turns and task.config.scoring.context == "turns"
    yield ChunkRows(tuple(rows), Counter(_note(chunk.items, rows, Shown(shown.system, with_turns))), shown)


def _write_rows(rows: Sequence[ScoreRow], noted: Counter[str], out: _Output) -> None:
    """Append rows to the file, which from the first ones on is this command's, and count them and what is noted."""
    state = out.state
    if not state.rows:
        state.write(out.job)
        if out.file.exists():
            durable(os.truncate, out.file, 0)
    lines = [json.dumps(row, ensure_ascii=False, allow_nan=False) for row in rows]
    append_lines(out.file, lines)
    state.rows += len(rows)
    reasons = Counter(reason_of(row) for row in rows if row["status"] == "rejected")
    state.rejected = dict(Counter(state.rejected) + reasons)
    state.noted = dict(Counter(state.noted) + noted)
    state.bytes += sum(len(line.encode()) + 1 for line in lines)
    state.write(out.job)


def _find_example(rows: Iterable[ScoreRow], reason: str) -> str:
    """Why the first row was rejected that was for this reason."""
    return next((row["error"] for row in rows if row["status"] == "rejected" and reason_of(row) == reason), "")


def _read(data: Sequence[Path], config: RunConfig) -> Iterator[Item]:
    files = zip(data, name_files(data), strict=True)
    unpack, columns = config.images.unpack_root, config.columns.named
    read = chain.from_iterable(read_llava(path, name, unpack, columns) for path, name in files)
    return read if config.scoring.context == "none" else map(_refuse_fault, read)


def _refuse_fault(item: Item) -> Item:
    """A turn that leans on one that cannot be used is none either."""
    if isinstance(item, BadTurn) or not item.fault:
        return item
    known = item.id, item.turn, item.image, item.question, item.answer, item.row
    return BadTurn(*known, "bad_earlier_turn", item.fault, item.file)


def _note(chunk: Sequence[Item], rows: Sequence[ScoreRow], shown: Shown) -> Iterator[str]:
    """Words for what was scored otherwise than its row asks for, or not for a reason of ours."""
    for item, row in zip(chunk, rows, strict=True):
        if isinstance(item, Turn) and row["status"] == "ok":
            yield from item.noted
            if item.system and not shown.system:
                yield "without_system"
            if item.earlier and not shown.turns:
                yield "without_earlier_turns"
        elif "link_not_followed:" in (row["error"] or ""):
            yield "link_not_followed"


def _chunks(items: Iterator[Item]) -> Iterator[list[Item]]:
    """Items in chunks of about ``CHUNK_ROWS``; the turns of a row stay together, so its image opens once."""
    chunk: list[Item] = []
    for item in items:
        if len(chunk) >= CHUNK_ROWS and not item.turn:
            yield chunk
            chunk = []
        chunk.append(item)
    if chunk:
        yield chunk


def _survey(data: Sequence[Path], config: RunConfig, progress: Progress) -> tuple[int, tuple[str, ...]]:
    """The number of turns, and the paths of the images that may stand for no image."""
    total, most, paths, shows_others = 0, 1, dict[str, str](), config.scoring.no_image == "others"
    # the first rows get the scores that they get among all, so all are read for other images
    for item in islice(_read(data, config), None if shows_others else config.images.limit):
        total += 1
        if shows_others and isinstance(item, Turn):
            paths |= {image_id_of(path): path for path in list_paths(item.image)}
            most = max(most, len(list_paths(item.image)))
    total = min(total, config.images.limit or total)
    if total and (few := tell_few_others(config.scoring, len(paths) - most + 1)):
        progress.note(few)
    return total, tuple(paths[image_id] for image_id in draw_pool(paths, config.scoring, config.seed, most))


def _score(chunk: Chunk, config: RunConfig, model: InferenceModel | None) -> list[ScoreRow]:
    items, stay, start, pool = chunk.items, chunk.stay, chunk.start, chunk.pool
    turns = {place: item for place, item in enumerate(items) if isinstance(item, Turn) and not stay[place]}
    outcomes: Iterator[ScoredPair | Rejected] = iter(())
    if model is not None and turns:
        samples = [make_sample(item, start + place) for place, item in turns.items()]
        contexts = {make_id("data", start + place): make_context(item, config, model) for place, item in turns.items()}
        source = find_source(turns.values(), pool, config)
        outcomes = score_samples(samples, source, model, config.scoring, config.seed, contexts)
    return [
        row
        or (make_row(item, next(outcomes), config) if isinstance(item, Turn) else make_rejected_row(item, item, config))
        for item, row in zip(items, stay, strict=True)
    ]
