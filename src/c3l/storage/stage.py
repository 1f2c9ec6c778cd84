"""A stage of a run: records in shards, done when ``stage.json`` lies beside them."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from c3l.errors import C3LError, StorageError
from c3l.records import Provenance, Rejected, from_json, to_json
from c3l.storage.atomic import write_atomic
from c3l.storage.job import plain

# In these, by the last part of their name, each input comes out as one record or is one rejection.
_ONE_TO_ONE = frozenset({"images", "generated", "scored", "filtered"})

_KIND = b'{"kind":"'

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StageInfo:
    """What ``stage.json`` holds, and, of a stage that is not done, ``begun.json``.

    Attributes:
        stage: Name of the stage.
        fingerprint: Hash of everything that its records depend on.
        settings: The result-affecting settings, to say what changed: ``section.key`` as ``--set`` takes it,
            and names without a dot for what is no setting, such as ``weights``.
        shards: How many files the records are cut into.
        shard_size: Inputs a shard, if the caller said so; shapes the files, not the records.
        inputs: How many inputs went in.
        out: Number of records that came out, by kind.
        rejected: Number of rejections, by reason.
        seconds: Time spent, as the caller measured it.
        provenance: The model; None for stages without one.
        recorded: Anything else worth knowing that affects no result, such as the batch size.
    """

    stage: str
    fingerprint: str
    settings: dict[str, Any]
    shards: int
    shard_size: int | None = None
    inputs: int | None = None
    out: dict[str, int] = field(default_factory=dict)
    rejected: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    provenance: Provenance | None = None
    recorded: dict[str, Any] = field(default_factory=dict)


class Stage:
    """One stage of a run: its shards, and what is said about them."""

    def __init__(self, run: Path, info: StageInfo) -> None:
        self.info = info
        self.folder = run / info.stage

    def is_done(self) -> bool:
        """Whether ``stage.json`` and every shard are there."""
        return (self.folder / "stage.json").exists() and not self.missing()

    def missing(self) -> list[int]:
        """Numbers of the shards that are still to be made."""
        # listed, not asked for one by one: there may be tens of thousands, on a disk behind a network
        there = set(os.listdir(self.folder)) if self.folder.is_dir() else set()
        return [number for number in range(self.info.shards) if self.shard_path(number).name not in there]

    def shard_path(self, number: int) -> Path:
        """Where a shard lies, or will lie."""
        return self.folder / f"{number:05d}.jsonl"

    def write_shard(self, number: int, records: Iterable[Any]) -> None:
        """Write one shard whole: records of any class of c3l.records, and ``Rejected`` ones among them.

        Raises:
            ValueError: If there is no such shard, or it is there already.
            StorageError: If the disk refuses.
        """
        if not 0 <= number < self.info.shards or self.shard_path(number).exists():
            raise ValueError(f"got shard {number} of {self.info.stage}, expected one of {self.missing()[:5]}")
        self.mark_begun()
        write_records(self.shard_path(number), records)

    def differs(self, number: int, records: Iterable[Any]) -> bool:
        """Whether a shard that is there holds anything but these records."""
        path = self.shard_path(number)
        return path.exists() and path.read_bytes() != "".join(f"{line}\n" for line in map(_to_line, records)).encode()

    def mark_begun(self) -> None:
        """Say what the stage is made with before its first shard, and by which model as soon as that is known."""
        path, text = self.folder / "begun.json", to_json(self.info) + "\n"
        if not path.exists() or path.read_bytes() != text.encode():
            write_atomic(path, text)

    def sign_again(self, fingerprint: str, settings: Mapping[str, Any]) -> None:
        """Say that these are what the stage is made with: others that give the same records."""
        for file in ("begun.json", "stage.json"):
            path = self.folder / file
            if path.exists():
                info = from_json(StageInfo, path.read_bytes())
                self.info = replace(info, fingerprint=fingerprint, settings=plain(settings))
                write_atomic(path, to_json(self.info) + "\n")

    def finish(
        self,
        provenance: Provenance | None,
        seconds: float,
        *,
        inputs: int | None = None,
        recorded: Mapping[str, Any] | None = None,
    ) -> StageInfo:
        """Count what the shards hold and write ``stage.json``: from now on the stage is done.

        Raises:
            ValueError: If a shard is missing.
            C3LError: If a stage that answers each input with one record has more or fewer.
        """
        if missing := self.missing():
            raise ValueError(f"stage {self.info.stage} is not whole, shards {missing[:5]} are missing")
        out: Counter[str] = Counter(_kind(line) for path in self._present() for _, line in _lines(path))
        self._check_balance(inputs, out)
        del out["rejected"]
        self.info = replace(
            self.info,
            inputs=inputs,
            out=dict(sorted(out.items())),
            rejected=dict(sorted(Counter(row.reason for row in self.rejected()).items())),
            seconds=round(seconds, 3),
            provenance=provenance,
            recorded=plain(recorded or {}),
        )
        write_atomic(self.folder / "stage.json", [to_json(self.info)])
        return self.info

    def _check_balance(self, inputs: int | None, out: Counter[str]) -> None:
        rejected, total = out["rejected"], out.total()
        if inputs is None or inputs == total or self.info.stage.rpartition("/")[2] not in _ONE_TO_ONE:
            return
        raise C3LError(
            f"stage {self.info.stage} got {inputs} inputs, expected as many records, and holds {total}: "
            f"{total - rejected} out and {rejected} rejected; remove it with `c3l clean` and make it again"
        )

    def read(self, cls: type[T]) -> Iterator[T]:
        """The records of one class, in the order of shards and lines.

        Raises:
            StorageError: If a line is not what c3l wrote; names file and line.
        """
        return chain.from_iterable(read_records(path, cls) for path in self._present())

    def read_shard(self, number: int, cls: type[T]) -> Iterator[T]:
        """The records of one class in one shard."""
        return read_records(self.shard_path(number), cls)

    def rejected(self) -> Iterator[Rejected]:
        """What went in and did not come out."""
        return self.read(Rejected)

    def _present(self) -> Iterator[Path]:
        paths = map(self.shard_path, range(self.info.shards))
        return (path for path in paths if path.exists())


def write_records(path: Path, records: Iterable[Any]) -> None:
    """Write a file of records of any class of c3l.records, one a line, its class first under ``kind``.

    Raises:
        StorageError: If the disk refuses.
    """
    write_atomic(path, map(_to_line, records))


def read_records(path: Path, cls: type[T]) -> Iterator[T]:
    """The records of one class in a file of ``write_records``, in the order of its lines.

    Raises:
        StorageError: If a line is not what c3l wrote; names file and line.
    """
    wanted = cls.__name__.lower()
    for place, line in _lines(path):
        if _kind(line) != wanted:
            continue
        try:
            yield from_json(cls, line)
        except ValidationError:
            raise not_ours(place) from None


def _lines(path: Path) -> Iterator[tuple[str, bytes]]:
    with path.open("rb") as file:
        for row, line in enumerate(file, 1):
            place = f"{path} line {row}"
            if not (line.startswith(_KIND) and line.endswith(b"}\n")):
                raise not_ours(place)
            yield place, line


def _to_line(record: Any) -> str:
    return f'{{"kind":"{type(record).__name__.lower()}",{to_json(record)[1:]}'


def _kind(line: bytes) -> str:
    return line.removeprefix(_KIND).partition(b'"')[0].decode(errors="replace")


def not_ours(place: str) -> StorageError:
    """The error for a file, or a line of one, that is damaged."""
    return StorageError(
        f"{place} is not what c3l wrote, it was edited or damaged; remove its stage with `c3l clean` and make it again"
    )
