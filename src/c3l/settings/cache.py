"""Where c3l keeps what it can make or fetch again, such as the hashes of large files."""

import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from c3l.errors import BackendError


def cache_folder() -> Path:
    """The folder: $C3L_CACHE, else $XDG_CACHE_HOME/c3l, else ~/.cache/c3l.

    Raises:
        BackendError: If there is no home folder.
    """
    if chosen := os.environ.get("C3L_CACHE"):
        return Path(chosen)
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "c3l"
    try:
        return Path.home() / ".cache" / "c3l"
    except RuntimeError:  # no HOME, and a user whom the machine does not know, as in containers
        raise BackendError(
            "there is no home folder to keep models, hashes and images in: set C3L_CACHE to a folder"
        ) from None


def hash_each(paths: Sequence[Path]) -> list[str]:
    """The SHA-256 of each file's content, in hexadecimal; read anew only where a file, its size or a time changed."""
    known = _read_known()
    before = dict(known)
    hashes = [_hash_file(path, known) for path in paths]
    if known != before:
        write_cached(_known_file(), known)
    return hashes


def _hash_file(path: Path, known: dict[str, str]) -> str:
    path = path.resolve()
    state = path.stat()
    # archives set the time of a file as they like, but not when it was put here
    key = f"{path}|{state.st_size}|{state.st_mtime_ns}|{state.st_ctime_ns}|{state.st_ino}"
    if key not in known:
        with path.open("rb") as file:
            known[key] = hashlib.file_digest(file, "sha256").hexdigest()
    return known[key]


def _known_file() -> Path:
    return cache_folder() / "hashes.json"


def _read_known() -> dict[str, str]:
    known = read_cached(_known_file())
    return known if isinstance(known, dict) else {}


def read_cached(file: Path) -> Any:
    """What ``write_cached`` wrote; None where there is nothing, or nothing that can be read."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None  # only a cache: without it all is made again


def write_cached(file: Path, content: Any) -> None:
    """Keep something as JSON in the cache folder, whole or not at all."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor, partial = tempfile.mkstemp(dir=file.parent, prefix=f".{file.stem}-")
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            json.dump(content, stream)
        Path(partial).replace(file)
    except OSError:
        return  # a home without room or rights costs time, not results
