"""Hashes of model folders, cheap to ask for again: a file is read anew only when it, its size or a time changed."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from c3l.settings.cache import cache_folder

HASHED_SUFFIXES = frozenset({".safetensors", ".json", ".jinja", ".model", ".tiktoken", ".txt", ".py"})


def hash_folder(folder: Path) -> str:
    """One hash of a model folder's weights, configuration, tokenizer, processor and chat template."""
    return hash_files(path for path in folder.iterdir() if path.suffix in HASHED_SUFFIXES and path.is_file())


def hash_files(paths: Iterable[Path]) -> str:
    """One hash of the names and contents of these files, in any order.

    Returns:
        64 hexadecimal digits.
    """
    ordered = sorted(paths, key=lambda path: (path.name, str(path)))
    digest = hashlib.sha256()
    for path, hashed in zip(ordered, hash_each(ordered), strict=True):
        digest.update(f"{path.name}\0{hashed}\n".encode())
    return digest.hexdigest()


def hash_each(paths: Sequence[Path]) -> list[str]:
    """The SHA-256 of each file's content, in hexadecimal."""
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
