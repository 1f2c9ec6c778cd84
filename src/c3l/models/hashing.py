"""Hashes of model folders, cheap to ask for again."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from c3l.settings.cache import hash_each

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
