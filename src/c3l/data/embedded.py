"""Images that lie in the rows of a table themselves, unpacked into files so that everything else can open them."""

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from c3l.data.magic import HEAD, tell_kind
from c3l.storage.atomic import write_atomic

_BYTES = "bytes"
_ENDINGS = {"a PNG picture": "png", "a JPEG picture": "jpg", "a WebP picture": "webp", "a GIF picture": "gif"}


def unpack_images(row: Any, folder: Path) -> Any:
    """The row with a path under ``folder`` in the place of each image that it holds as ``{"bytes": ...}``.

    A file is named by its content, so that one image in many rows is one file, and what is there is not written again.

    Raises:
        StorageError: If the disk refuses.
    """
    if isinstance(row, Mapping):
        if isinstance(content := row.get(_BYTES), bytes) and content:
            return {"path": _keep(content, folder)}
        return {key: unpack_images(value, folder) for key, value in row.items()}
    if isinstance(row, list):
        return [unpack_images(value, folder) for value in row]
    return row


def _keep(content: bytes, folder: Path) -> str:
    kind = tell_kind(content[:HEAD])
    ending = _ENDINGS.get(kind.what if kind else "", "img")
    name = f"{sha256(content).hexdigest()[:32]}.{ending}"
    if not (folder / name).exists():
        write_atomic(folder / name, content)
    return name
