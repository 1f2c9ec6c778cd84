"""The hand-labelled photographs: which set each belongs to, and that no held-out picture is one that training sees."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from studies.picture_world import things

LIST = Path(__file__).with_name("photographs.json")
Split = Literal["train", "test"]


def read_list() -> list[dict[str, Any]]:
    """The rows of ``photographs.json``: ``file`` (package:path), names, subset and the hash of the file's bytes."""
    rows: list[dict[str, Any]] = json.loads(LIST.read_text(encoding="utf-8"))["photographs"]
    return rows


def photographs(world: Path, subset: str) -> list[tuple[Path, tuple[str, ...], tuple[str, ...]]]:
    """Those of a subset: file, names without article, other names that hold."""
    return [
        (locate(world, row), _bare(row["names"]), _bare(row["also"])) for row in read_list() if row["subset"] == subset
    ]


def backgrounds(world: Path, split: Split) -> list[tuple[Path, tuple[str, ...], tuple[str, ...]]]:
    """The background photographs of one split."""
    rows = (row for row in read_list() if row["subset"] == "background")
    return [found for row, found in zip(rows, photographs(world, "background"), strict=True) if split_of(row) == split]


def split_of(row: Mapping[str, Any]) -> Split:
    """Whether training sees it; one background in five is held out, by its path alone: a shorter list moves none."""
    if row["subset"] != "background":
        return "train" if row["subset"] == "train" else "test"
    path = row["file"].replace(":", "/", 1)
    return "test" if int(hashlib.sha256(path.encode()).hexdigest(), 16) % 5 == 0 else "train"


def locate(world: Path, row: Mapping[str, Any]) -> Path:
    """Where ``fetch`` put the file of a row."""
    return Path(world / str(row["file"]).replace(":", "/", 1))


def check_apart(world: Path) -> None:
    """Look at the bytes of all photographs and cut-outs of a world: none may be both trained on and held out.

    Raises:
        SystemExit: If one is.
    """
    files: list[tuple[str, Path]] = [(split_of(row), locate(world, row)) for row in read_list()]
    files += [(thing.split, world / "things" / thing.file) for thing in things.load(world)]
    if both := find_overlap((split, hash_bytes(path), str(path)) for split, path in files):
        raise SystemExit(
            f"got the same picture both trained on and held out, {len(both)} times: {' and '.join(both[0])}"
        )


def find_overlap(pictures: Iterable[tuple[str, str, str]]) -> list[tuple[str, ...]]:
    """The names of the pictures that stand in both splits by their hash; given (split, hash, name) of each."""
    found: dict[str, list[tuple[str, str]]] = {}
    for split, content, name in pictures:
        found.setdefault(content, []).append((split, name))
    return [tuple(name for _, name in same) for same in found.values() if len({split for split, _ in same}) > 1]


def hash_bytes(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _bare(names: list[str]) -> tuple[str, ...]:
    return tuple(name.split(" ", 1)[1] if name.split(" ")[0] in ("a", "an", "the", "some") else name for name in names)
