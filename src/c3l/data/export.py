"""Write the kept pairs in the layouts that trainers read, and read them back to check.

One row a pair, under the id of its sample: pairs are scored, and kept or dropped, one by one. A placeholder for the
image enters a text in the exporters and nowhere else. The same input gives the same bytes.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from c3l.data import export_preferences
from c3l.data.export_layouts import DATASET_INFO, FILES, LAYOUTS
from c3l.data.export_rows import ExportSource, JsonRow, check_unique, make_rows
from c3l.errors import DataError
from c3l.markup.placeholders import PLACEHOLDER
from c3l.settings.schema import ExportConfig, ExportFormat
from c3l.storage.atomic import write_atomic


def export(source: ExportSource, folder: Path, config: ExportConfig) -> list[Path]:
    """Write the rows, in their order, in every format of ``config``; each file whole or not at all.

    A format for preferences of which there is none is not written: a trainer has no use for an empty file. A pair whose
    texts hold the marks of data-juicer's turns is left out there, and only there. What a `dataset_info.json` lists
    beside the files written here stays in it.

    Args:
        source: The pairs, their images, the preferences.
        folder: Where the files go; ``FILES`` has their names.
        config: Formats, and whether rows carry their scores.

    Raises:
        DataError: If an image is unknown or gone, an id comes twice, or a text holds a placeholder; if there is a
            `dataset_info.json` that is none.
        ConfigError: If such a file is asked for without its packages or without ``image_root``.
    """
    rows = make_rows(source, with_scores=config.with_scores)
    check_unique(folder, (pair.id for pair in rows.pairs))
    info = folder / "dataset_info.json"
    chosen = [name for name in config.formats if (kind := LAYOUTS[name].kind) is None or rows.preferences.get(kind)]
    infos = dict(DATASET_INFO[name] for name in chosen if name in DATASET_INFO)
    listed = _read_listed(info) if infos else {}  # before anything is written
    for name in chosen:
        LAYOUTS[name].write(folder / FILES[name], rows)
    written = [folder / FILES[name] for name in chosen]
    if infos:
        written.append(info)
        write_atomic(info, json.dumps(listed | infos, indent=2) + "\n")
    return written


def _read_listed(path: Path) -> dict[str, Any]:
    """The data sets that LLaMA-Factory's list in the folder has already; none if there is no list."""
    try:
        listed = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise DataError(f"got {path} that is no JSON ({error}), expected an object: mend it or move it") from None
    if not isinstance(listed, dict):
        got = type(listed).__name__
        raise DataError(f"got {path} that holds a {got}, expected an object of data sets by their names: move it away")
    return listed


def verify(path: Path, name: ExportFormat) -> int:
    """Read an exported file back and check each row; returns the number of rows.

    Raises:
        DataError: If the layout is another one, placeholders and images differ in number, turns are not one
            question and one answer (or two different ones, of preferences), a text is empty, or an id comes twice.
    """
    layout = LAYOUTS[name]
    try:
        ids: list[str] = []
        rows = _noted(layout.read(path), ids)  # one at a time: some hold their images
        if layout.kind is not None:
            export_preferences.check_rows(path, rows)
        elif name != "ids":
            _check_rows(path, rows, placeholder=layout.has_placeholder)
        for _ in rows:
            pass
        check_unique(path, ids)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is not a whole {name} file: {type(error).__name__}: {error}") from None
    return len(ids)


def _noted(rows: Iterable[JsonRow], ids: list[str]) -> Iterator[JsonRow]:
    """The same rows, their ids kept."""
    for row in rows:
        ids.append(str(row["id"]))
        yield row


def _check_rows(path: Path, rows: Iterable[JsonRow], *, placeholder: bool) -> None:
    for row in rows:
        roles = [message["role"] for message in row["messages"]]
        texts = [message["content"] for message in row["messages"]]
        found = sum(text.count(PLACEHOLDER) for text in texts)
        images = len(row["images"])
        if found != (images if placeholder else 0) or images != 1:
            raise DataError(f"{path}: row {row['id']} has {found} {PLACEHOLDER} for {images} images")
        if roles != ["user", "assistant"] or not all(text.replace(PLACEHOLDER, "").strip() for text in texts):
            raise DataError(
                f"{path}: row {row['id']} has turns of {roles}, expected a question and an answer with text"
            )
