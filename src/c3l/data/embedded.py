"""Images that lie in the rows of a table themselves, unpacked into files so that everything else can open them."""

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from c3l.data.magic import HEAD, tell_kind
from c3l.data.media import MAIN, is_image_key, names_file
from c3l.storage.atomic import write_atomic

_BYTES = "bytes"
_ENDINGS = {"a PNG image": "png", "a JPEG image": "jpg", "a WebP image": "webp", "a GIF image": "gif"}


def unpack_images(row: Any, folder: Path) -> Any:
    """The row with a path under ``folder`` in the place of each image that it holds as ``{"bytes": ...}``.

    A file is named by its content, so that one image in many rows is one file, and what is there is not written again.

    Raises:
        StorageError: If the disk refuses.
    """
    if isinstance(row, Mapping):
        row = _without_names(row)
        if isinstance(content := row.get(_BYTES), bytes) and content:
            return {"path": _keep(content, folder)}
        return {key: _unpack_value(str(key), value, folder) for key, value in row.items()}
    if isinstance(row, list):
        return [unpack_images(value, folder) for value in row]
    return row


def _without_names(row: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """A row that holds its images, without the names that they had where they were files."""
    held = [row[key] for key in MAIN if row.get(key)]
    parts = [part for value in held for part in (value if isinstance(value, list) else [value])]
    if not any(isinstance(part, bytes) or (isinstance(part, Mapping) and part.get(_BYTES)) for part in parts):
        return row
    return {key: value for key, value in row.items() if key in MAIN or not names_file(str(key), value)}


def _unpack_value(key: str, value: Any, folder: Path) -> Any:
    """The value of a key; some tables have an image's bytes right under its name."""
    if isinstance(value, bytes) and value and is_image_key(key):
        return _keep(value, folder)
    return unpack_images(value, folder)


def _keep(content: bytes, folder: Path) -> str:
    kind = tell_kind(content[:HEAD])
    ending = _ENDINGS.get(kind.what if kind else "", "img")
    name = f"{sha256(content).hexdigest()[:32]}.{ending}"
    if not (folder / name).exists():
        write_atomic(folder / name, content)
    return name
