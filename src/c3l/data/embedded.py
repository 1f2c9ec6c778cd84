"""Images that lie in the rows of a table themselves, unpacked into files so that everything else can open them."""

import binascii
import re
from base64 import b64decode
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from c3l.data.magic import HEAD, tell_kind
from c3l.data.media import MAIN, is_image_key, names_file
from c3l.storage.atomic import write_atomic

_BYTES = "bytes"
_INSIDE = (_BYTES, "data", "base64", "b64")  # the keys under which an image holds itself
_SHORTEST = 60  # characters of an image as base64
_DATA_URI = re.compile(r"data:image/[\w.+-]+(?:;[\w.=-]+)*;base64,")
_ENDINGS = {"a PNG image": "png", "a JPEG image": "jpg", "a WebP image": "webp", "a GIF image": "gif"}


def unpack_images(row: Any, folder: Path) -> Any:
    """The row with a path under ``folder`` in the place of each image that it holds, as bytes or as base64.

    A file is named by its content, so that one image in many rows is one file, and what is there is not written again.
    A row that is nested too deeply to be looked through comes back as it is.

    Raises:
        StorageError: If the disk refuses.
    """
    try:
        if not isinstance(row, Mapping):
            return _unpack_inside(row, folder)
        return {key: _unpack_value(str(key), value, folder) for key, value in _without_names(row).items()}
    except RecursionError:
        return row


def _unpack_inside(value: Any, folder: Path) -> Any:
    """What lies in a row, where an object can be an image: a row with a column `bytes` is none."""
    if isinstance(value, Mapping):
        value = _without_names(value)
        if content := next((found for key in _INSIDE if (found := _content(key, value.get(key)))), None):
            return {"path": _keep(content, folder)}
        return {key: _unpack_value(str(key), one, folder) for key, one in value.items()}
    if isinstance(value, list):
        return [_unpack_value("", one, folder) for one in value]
    return value


def _without_names(row: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """A row that holds its images, without the names that they had where they were files."""
    held = [row[key] for key in MAIN if row.get(key)]
    parts = [part for value in held for part in (value if isinstance(value, list) else [value])]
    if not any(isinstance(part, bytes) or (isinstance(part, Mapping) and part.get(_BYTES)) for part in parts):
        return row
    return {key: value for key, value in row.items() if key in MAIN or not names_file(str(key), value)}


def _unpack_value(key: str, value: Any, folder: Path) -> Any:
    """The value of a key; some tables have an image's bytes right under its name, or a list of several."""
    if isinstance(value, bytes) and value and is_image_key(key):
        return _keep(value, folder)
    if isinstance(value, str):
        content = _decode(key, value)
        return value if content is None else _keep(content, folder)
    if isinstance(value, list) and is_image_key(key):
        return [_unpack_value(key, one, folder) for one in value]
    return _unpack_inside(value, folder)


def _content(key: str, value: Any) -> bytes | None:
    """The image under a key inside an image, if there is one."""
    if isinstance(value, bytes):
        return value if key == _BYTES else None
    return _decode(key, value) if isinstance(value, str) else None


def _decode(key: str, text: str) -> bytes | None:
    """The image that a text holds as a data URI, or under a key of images as base64; None where it is another text."""
    uri = _DATA_URI.match(text)
    if not uri and not (len(text) > _SHORTEST and (is_image_key(key) or key in (*_INSIDE, "url"))):
        return None
    try:
        content = b64decode("".join(text[uri.end() if uri else 0 :].split()), validate=True)
    except (binascii.Error, ValueError):
        return None
    kind = tell_kind(content[:HEAD])
    return content if uri or (kind and kind.what in _ENDINGS) else None


def _keep(content: bytes, folder: Path) -> str:
    kind = tell_kind(content[:HEAD])
    ending = _ENDINGS.get(kind.what if kind else "", "img")
    path = folder / f"{sha256(content).hexdigest()[:32]}.{ending}"
    # every reading of the table has the content at hand: what a power cut tore is written again, not waited for now
    if not path.exists() or path.stat().st_size != len(content):
        write_atomic(path, content, lasting=False)
    return path.name
