"""Score an existing data set: a LLaVA file in, one JSON object a question-answer turn out, in the same order.

The rows are appended in whole chunks. Beside ``OUT`` lies a folder ``OUT.state`` that says what the rows were
made with and how many there are, so that a killed run goes on where it was and a finished one does nothing.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from c3l.config import RunConfig
from c3l.data.atomic import make_folder, sync_folder, write_all, write_atomic
from c3l.data.formats import Turn, read_llava
from c3l.data.images import image_id_of, open_image
from c3l.data.lock import exclusive_lock
from c3l.data.stage import plain, refuse_changes
from c3l.errors import DataError, StaleStageError
from c3l.executors import LoadModel
from c3l.method.i2c import FORMS, compute_i2c
from c3l.method.scoring import SCORER_VERSION, score_samples
from c3l.models.interface import InferenceModel
from c3l.models.load import load_model, resolve_dtype, weights_hash
from c3l.progress import Progress
from c3l.records import ImageRef, Rejected, Sample, ScoredSample, make_id

CHUNK_ROWS = 64
_TURN_ID = re.compile(r"(.*)#(\d+)", re.DOTALL)
_OF_A_TURN = frozenset({"empty_question", "empty_answer", "placeholder_in_text", "bad_text"})

Item = Turn | Rejected


@dataclass(slots=True)
class State:
    """What ``state.json`` holds: the settings, the rows that are safely in ``OUT``, their bytes."""

    settings: dict[str, Any]
    rows: int = 0
    rejected: int = 0
    bytes: int = 0
    done: bool = False

    def write(self, folder: Path) -> None:
        """Write it whole."""
        text = {name: getattr(self, name) for name in self.__slots__}
        write_atomic(folder / "state.json", json.dumps(text) + "\n")


def score_file(
    data: Path, out: Path, config: RunConfig, progress: Progress, load: LoadModel = load_model
) -> dict[str, Any]:
    """Score every turn of ``data`` into ``out``; returns counts for the summary line.

    Args:
        data: A LLaVA file, see ``c3l.data.formats``.
        out: The JSONL file to write or to go on with.
        config: Model, scoring, image rules and root, seed; ``images.limit`` is a number of turns here.
        progress: Who is told how far it is.
        load: Loads the model; called only if there is a turn to score.

    Raises:
        StaleStageError: If ``out`` was made with other settings, or is not of this command.
        RunLockedError: If another process writes to ``out``.
        DataError: If the file or the image root cannot be read.
    """
    if not config.images.root.is_dir():
        raise DataError(f"got --image-root {config.images.root}, expected the folder that picture paths begin in")
    sidecar = out.with_name(out.name + ".state")
    make_folder(sidecar)
    with exclusive_lock(sidecar):
        config, state = _resume(data, out, sidecar, config)
        if not state.done:
            _score_rest(data, out, sidecar, config, state, progress, load)
    share = state.rejected / max(state.rows, 1)
    return {
        "out": str(out),
        "rows": state.rows,
        "ok": state.rows - state.rejected,
        "rejected": state.rejected,
        "above_max_error_rate": share > config.max_error_rate,
    }


def _resume(data: Path, out: Path, sidecar: Path, config: RunConfig) -> tuple[RunConfig, State]:
    """The state that lies there, ``out`` cut back to it; or a new one."""
    path = sidecar / "state.json"
    if not path.exists():
        if out.exists() and out.stat().st_size:
            raise StaleStageError(f"{out} is there and was not made by this command; choose another --out")
        config = config.with_dtype(resolve_dtype(config.model))
        state = State(_settings(data, config))
        state.write(sidecar)
        return config, state
    state = State(**json.loads(path.read_bytes()))
    if config.model.dtype == "auto":
        config = config.with_dtype(state.settings["model.dtype"])
    refuse_changes(out, state.settings, _settings(data, config))
    size = out.stat().st_size if out.exists() else 0
    if size < state.bytes:
        raise StaleStageError(f"{out} is shorter than what was written to it; remove it and {sidecar}")
    if size > state.bytes:
        os.truncate(out, state.bytes)
    return config, state


def _settings(data: Path, config: RunConfig) -> dict[str, Any]:
    with data.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    rules = {f"images.{key}": value for key, value in config.images.model_dump().items()}
    scoring = config.scoring.model_dump(exclude={"batch_size"})
    model = config.model.model_dump(include={"backend", "dtype", "attn_implementation"})
    settings = rules | {f"scoring.{key}": value for key, value in scoring.items()}
    settings |= {f"model.{key}": value for key, value in model.items()}
    settings |= {"scorer_version": SCORER_VERSION, "seed": config.seed}
    return plain(settings | {"data": digest, "weights": weights_hash(config.model)})


def _score_rest(
    data: Path, out: Path, sidecar: Path, config: RunConfig, state: State, progress: Progress, load: LoadModel
) -> None:
    total, pool = _survey(data, config)
    loaded: list[InferenceModel] = []
    items = islice(read_llava(data), state.rows, config.images.limit)
    with ExitStack() as stack:
        file = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        stack.callback(os.close, file)
        advance = stack.enter_context(progress.track("score", "turns", total, state.rows))
        for chunk in _chunks(items):
            if not loaded and any(isinstance(item, Turn) for item in chunk):
                loaded.append(load(config.model, config.seed))
            rows = _score_chunk(chunk, state.rows, config, loaded[0] if loaded else None, pool)
            block = "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows).encode()
            write_all(file, block)
            os.fsync(file)
            state.rows += len(rows)
            state.rejected += sum(row["status"] == "rejected" for row in rows)
            state.bytes += len(block)
            state.write(sidecar)
            advance(len(rows))
        sync_folder(out.parent)
    state.done = True
    state.write(sidecar)


def _chunks(items: Iterator[Item]) -> Iterator[list[Item]]:
    """Items in chunks of about ``CHUNK_ROWS``; the turns of a row stay together, so its picture opens once."""
    chunk: list[Item] = []
    for item in items:
        if len(chunk) >= CHUNK_ROWS and not (isinstance(item, Turn) and item.turn > 0):
            yield chunk
            chunk = []
        chunk.append(item)
    if chunk:
        yield chunk


def _survey(data: Path, config: RunConfig) -> tuple[int, tuple[str, ...]]:
    """The number of turns, and in the ``others`` mode the paths of all pictures."""
    total, paths = 0, set()
    for item in islice(read_llava(data), config.images.limit):
        total += 1
        if config.scoring.no_image == "others" and isinstance(item, Turn):
            paths.add(item.image)
    return total, tuple(sorted(paths))


def _score_chunk(
    chunk: Sequence[Item], start: int, config: RunConfig, model: InferenceModel | None, pool: Sequence[str]
) -> list[dict[str, Any]]:
    turns = {place: item for place, item in enumerate(chunk) if isinstance(item, Turn)}
    outcomes: Iterator[ScoredSample | Rejected] = iter(())
    if model is not None and turns:
        paths = {item.image for item in turns.values()} | set(pool)
        # size and hash are not looked at here: every picture is opened once, when its turns are scored
        images = {image_id_of(path): ImageRef(image_id_of(path), path, "", 0, 0) for path in paths}
        samples = [_sample(item, start + place) for place, item in turns.items()]
        opener = partial(_open, config)
        ids = [image_id_of(path) for path in pool]
        outcomes = score_samples(samples, images, model, opener, config.scoring, config.seed, ids)
    return [
        _row(item, next(outcomes), config) if isinstance(item, Turn) else _rejected_row(item, config) for item in chunk
    ]


def _open(config: RunConfig, image: ImageRef) -> Any:
    return open_image(config.images.root, image.path, config.images)


def _sample(turn: Turn, number: int) -> Sample:
    name = make_id("data", number)
    return Sample(name, image_id_of(turn.image), "data", turn.question, turn.answer, 0, turn.turn)


def _row(turn: Turn, outcome: ScoredSample | Rejected, config: RunConfig) -> dict[str, Any]:
    row = _empty_row(config) | {
        "id": turn.id,
        "turn": turn.turn,
        "image": turn.image,
        "question": turn.question,
        "answer": turn.answer,
    }
    if isinstance(outcome, Rejected):
        return row | {"error": f"{outcome.reason}: {outcome.detail}"}
    numbers = {
        form: compute_i2c(outcome.scores, form)
        for form in FORMS
        if form != "vocabulary_kl" or outcome.scores.token_kl is not None
    }
    return row | numbers | {"i2c": outcome.i2c, "n_answer_tokens": len(outcome.scores.token_ids), "status": "ok"}


def _rejected_row(item: Rejected, config: RunConfig) -> dict[str, Any]:
    """The row of something that the file could not give as a turn; a whole row of it has no turn number."""
    name, turn = item.id, None
    if item.reason in _OF_A_TURN and (parts := _TURN_ID.fullmatch(item.id)):
        name, turn = parts[1], int(parts[2])
    return _empty_row(config) | {"id": name, "turn": turn, "error": f"{item.reason}: {item.detail}"}


def _empty_row(config: RunConfig) -> dict[str, Any]:
    """A rejected row; its keys and their order are those of every row."""
    forms = "vocabulary_kl log_ratio answer_kl weighted_log_ratio discounted_likelihood"
    row = dict.fromkeys(f"id turn image question answer i2c form {forms} n_answer_tokens status error".split())
    return row | {"form": config.scoring.form, "status": "rejected"}
