"""Write the kept pairs in the layouts that trainers read, and read them back to check.

One row a pair, under the id of its sample: pairs are scored, and kept or dropped, one by one. The ``<image>``
placeholder enters the text here and nowhere else. The same input gives the same bytes.
"""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from c3l.data import parquet
from c3l.errors import DataError
from c3l.markup.placeholders import PLACEHOLDER, PLACEHOLDERS
from c3l.records import ImageRef, Provenance, ScoredPair
from c3l.settings.roots import Address
from c3l.settings.schema import ExportConfig, ExportFormat
from c3l.storage.atomic import write_atomic

FILES: dict[ExportFormat, str] = {
    "llava": "llava.json",
    "llava_jsonl": "llava.jsonl",
    "llamafactory": "llamafactory.json",
    "swift": "swift.jsonl",
    "trl": "trl.parquet",
    "finevision": "finevision.parquet",
    "ids": "ids.txt",
}
DATASET_INFO = {  # what LLaMA-Factory looks up under `dataset: c3l`; give it `media_dir: IMAGE_ROOT`
    "c3l": {
        "file_name": FILES["llamafactory"],
        "formatting": "sharegpt",
        "columns": {"messages": "messages", "images": "images"},
        "tags": {
            "role_tag": "role",
            "content_tag": "content",
            "user_tag": "user",
            "assistant_tag": "assistant",
        },
    }
}

_SCORE_TYPES = {
    "i2c": "float64",
    "form": "string",
    "no_image": "string",
    "model": "string",
    "weights": "string",
    "n_answer_tokens": "int64",
}

JsonRow = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ExportRow:
    """What a layout needs of a kept pair; ``scores`` is empty without ``with_scores``, ``i2c`` is always there."""

    id: str
    image: ImageRef
    question: str
    answer: str
    i2c: float
    scores: Mapping[str, str | float | int]


def export(
    rows: Iterable[ScoredPair],
    images: Mapping[str, ImageRef],
    folder: Path,
    config: ExportConfig,
    provenance: Provenance,
    image_root: Path | Address | None = None,
) -> list[Path]:
    """Write the rows, in their order, in every format of ``config``; each file whole or not at all.

    Args:
        rows: The kept pairs.
        images: The pictures by ``image_id``.
        folder: Where the files go; ``FILES`` has their names.
        config: Formats, and whether rows carry their scores.
        provenance: The model that scored.
        image_root: Needed by ``trl`` and ``finevision``, whose files hold the pictures themselves.

    Raises:
        DataError: If a picture is unknown or gone, an id comes twice, or a text holds a placeholder.
        ConfigError: If such a file is asked for without its packages or without ``image_root``.
    """
    pairs = [_pair(row, images, provenance if config.with_scores else None) for row in rows]
    _check_unique(folder, (pair.id for pair in pairs))
    return [path for name in config.formats for path in _write(name, pairs, folder, image_root)]


def verify(path: Path, name: ExportFormat) -> int:
    """Read an exported file back and check each row; returns the number of rows.

    Raises:
        DataError: If the layout is another one, placeholders and pictures differ in number, turns are not one
            question and one answer, a text is empty, or an id comes twice.
    """
    try:
        rows = list(_READERS[name](path))
        _check_unique(path, (str(row["id"]) for row in rows))
        for row in rows:
            _check_row(path, row, name)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is not a whole {name} file: {type(error).__name__}: {error}") from None
    return len(rows)


def _pair(row: ScoredPair, images: Mapping[str, ImageRef], provenance: Provenance | None) -> ExportRow:
    sample = row.sample
    if sample.image_id not in images:
        raise DataError(f"sample {sample.sample_id} is about picture {sample.image_id}, which the run does not list")
    if not math.isfinite(row.i2c):
        raise DataError(f"sample {sample.sample_id} has S(I2C) {row.i2c}, expected a finite number; reject it")
    if any(placeholder in text for text in (sample.question, sample.answer) for placeholder in PLACEHOLDERS):
        raise DataError(f"sample {sample.sample_id} holds one of {', '.join(PLACEHOLDERS)} in its text; reject it")
    scores = _scores(row, provenance) if provenance else {}
    return ExportRow(sample.sample_id, images[sample.image_id], sample.question, sample.answer, row.i2c, scores)


def _scores(row: ScoredPair, provenance: Provenance) -> dict[str, str | float | int]:
    return {
        "i2c": row.i2c,
        "form": row.form,
        "no_image": row.no_image,
        "model": provenance.model,
        "weights": provenance.weights,
        "n_answer_tokens": len(row.scores.token_ids),
    }


def _write(name: ExportFormat, pairs: list[ExportRow], folder: Path, image_root: Path | Address | None) -> list[Path]:
    path = folder / FILES[name]
    if name == "trl":
        types = _SCORE_TYPES if any(pair.scores for pair in pairs) else {}
        parquet.write_trl(path, ((_trl_row(pair), pair.image) for pair in pairs), types, image_root)
        return [path]
    if name == "finevision":
        parquet.write_finevision(path, _finevision_rows(pairs), image_root)
        return [path]
    write_atomic(path, _TEXTS[name](pairs))
    if name != "llamafactory":
        return [path]
    info = folder / "dataset_info.json"
    write_atomic(info, json.dumps(DATASET_INFO, indent=2) + "\n")
    return [path, info]


def _llava_row(pair: ExportRow) -> JsonRow:
    turns = [
        {"from": "human", "value": f"{PLACEHOLDER}\n{pair.question}"},
        {"from": "gpt", "value": pair.answer},
    ]
    return {"id": pair.id, "image": pair.image.path, "conversations": turns, **pair.scores}


def _messages_row(pair: ExportRow) -> JsonRow:
    messages = _messages(PLACEHOLDER + pair.question, pair.answer)
    return {"id": pair.id, "messages": messages, "images": [pair.image.path], **pair.scores}


def _trl_row(pair: ExportRow) -> JsonRow:
    return {"id": pair.id, "messages": _messages(pair.question, pair.answer), **pair.scores}


def _finevision_rows(pairs: Iterable[ExportRow]) -> Iterator[tuple[JsonRow, ImageRef]]:
    """A row a picture, in the order in which the pictures come first."""
    about: dict[str, list[ExportRow]] = {}
    for pair in pairs:
        about.setdefault(pair.image.image_id, []).append(pair)
    for group in about.values():
        row = {
            "texts": [{"user": pair.question, "assistant": pair.answer} for pair in group],
            "source": "c3l",
            "ids": [pair.id for pair in group],
            "i2c_scores": [pair.i2c for pair in group],
            "i2c_min": min(pair.i2c for pair in group),
        }
        yield row, group[0].image


def _read_finevision(path: Path) -> Iterator[JsonRow]:
    for row in parquet.read_parquet(path):
        for name, text in zip(row["ids"], row["texts"], strict=True):
            yield {"id": name, "messages": _messages(text["user"], text["assistant"]), "images": row["images"]}


def _messages(question: str, answer: str) -> list[JsonRow]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def _json_list(rows: Iterable[JsonRow]) -> Iterator[str]:
    """Lines of a JSON list with one row a line, so that versions can be compared."""
    mark = "["
    for row in rows:
        yield mark + _dumps(row)
        mark = ","
    yield "]" if mark == "," else "[]"


def _dumps(row: JsonRow) -> str:
    return json.dumps(row, ensure_ascii=False, allow_nan=False)


_TEXTS: dict[ExportFormat, Callable[[list[ExportRow]], Iterable[str]]] = {
    "llava": lambda pairs: _json_list(map(_llava_row, pairs)),
    "llava_jsonl": lambda pairs: (_dumps(_llava_row(pair)) for pair in pairs),
    "llamafactory": lambda pairs: _json_list(map(_messages_row, pairs)),
    "swift": lambda pairs: (_dumps(_messages_row(pair)) for pair in pairs),
    "ids": lambda pairs: (pair.id for pair in pairs),
}


def _read_list(path: Path) -> Iterator[JsonRow]:
    return map(_unify, json.loads(path.read_bytes()))


def _read_lines(path: Path) -> Iterator[JsonRow]:
    return map(_unify, map(json.loads, path.read_bytes().splitlines()))


def _read_ids(path: Path) -> Iterator[JsonRow]:
    return ({"id": line.decode("utf-8")} for line in path.read_bytes().splitlines())


def _unify(row: JsonRow) -> JsonRow:
    """A row of any layout as `id`, `messages`, `images`."""
    if "conversations" not in row:
        return row
    roles = {"human": "user", "gpt": "assistant"}
    messages = [{"role": roles.get(turn["from"]), "content": turn["value"]} for turn in row["conversations"]]
    return {"id": row["id"], "messages": messages, "images": [row["image"]] if "image" in row else []}


_READERS: dict[ExportFormat, Callable[[Path], Iterable[JsonRow]]] = {
    "llava": _read_list,
    "llava_jsonl": _read_lines,
    "llamafactory": _read_list,
    "swift": _read_lines,
    "trl": parquet.read_parquet,
    "finevision": _read_finevision,
    "ids": _read_ids,
}


def _check_row(path: Path, row: JsonRow, name: ExportFormat) -> None:
    if name == "ids":
        return
    roles = [message["role"] for message in row["messages"]]
    texts = [message["content"] for message in row["messages"]]
    found = sum(text.count(PLACEHOLDER) for text in texts)
    images = len(row["images"])
    if found != (0 if name in ("trl", "finevision") else images) or images != 1:
        raise DataError(f"{path}: row {row['id']} has {found} {PLACEHOLDER} for {images} pictures")
    if roles != ["user", "assistant"] or not all(text.replace(PLACEHOLDER, "").strip() for text in texts):
        raise DataError(f"{path}: row {row['id']} has turns of {roles}, expected a question and an answer with text")


def _check_unique(path: Path, ids: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in ids:
        if not name or name in seen:
            raise DataError(f"{path}: id {name!r} comes twice or is empty, expected one row a pair")
        seen.add(name)
