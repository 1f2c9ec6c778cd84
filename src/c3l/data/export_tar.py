"""Tars as WebDataset reads them: `ID.jpg`, the image's own bytes, beside `ID.json`, its row in LLaVA's layout."""

import io
import json
import re
import tarfile
from collections.abc import Iterator, Sequence
from itertools import count, takewhile
from pathlib import Path

from c3l.data.export_rows import ExportRow, JsonRow
from c3l.data.export_text import llava_row, to_json, unify
from c3l.data.images import read_image_bytes
from c3l.errors import ConfigError, DataError
from c3l.settings.roots import Address
from c3l.storage.atomic import atomic_path, make_folder, remove

MOST_BYTES, MOST_ROWS = 2**30, 10_000  # a tar that has as much takes no further row

_KEY = re.compile(r"[\w-]{1,90}", re.ASCII)  # readers cut a name at its first dot, and an old tar holds 100 bytes
_ENDINGS = {  # by the first bytes, since a name may lie; what Pillow reads
    b"\xff\xd8\xff": "jpg",
    b"\x89PNG": "png",
    b"RIFF": "webp",
    b"GIF8": "gif",
    b"BM": "bmp",
    b"II": "tiff",
    b"MM": "tiff",
    b"P": "ppm",
}


def write_tars(folder: Path, pairs: Sequence[ExportRow], image_root: Path | Address | None) -> None:
    """Write `00000.tar`, `00001.tar` and so on; the same rows give the same bytes.

    Args:
        folder: Where they go; tars of an earlier export in it that are not written again are removed, and nothing else.
        pairs: The rows.
        image_root: Where the images lie.

    Raises:
        BadImageError: If an image is gone or not the one that the run began with.
        DataError: If ``image_root`` is no folder, or an id is no name for a file.
        ConfigError: If there is no ``image_root``.
    """
    if image_root is None:
        raise ConfigError("the export format webdataset holds the images themselves, so it needs --image-root")
    make_folder(folder)
    pending, number = list(pairs), 0
    while pending or not number:
        with atomic_path(_place(folder, number)) as temporary:
            pending = pending[_fill(temporary, pending, image_root) :]
        number += 1
    for old in reversed(_list_own(folder, number)):  # the last first: what a kill leaves can be told by its number
        remove(old)


def _place(folder: Path, number: int) -> Path:
    return folder / f"{number:05d}.tar"


def _list_own(folder: Path, start: int = 0) -> list[Path]:
    """The tars from a number on without a gap, as they are written; other tars in the folder are somebody's own."""
    return list(takewhile(Path.is_file, (_place(folder, number) for number in count(start))))


def _fill(path: Path, pairs: Sequence[ExportRow], image_root: Path | Address) -> int:
    """Write one tar; returns how many rows it took."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for taken, pair in enumerate(pairs):
            if taken and (tar.offset >= MOST_BYTES or taken >= MOST_ROWS):
                return taken
            if not _KEY.fullmatch(pair.id):
                raise DataError(f"got the id {pair.id!r}, expected letters, digits, - and _ alone: it names files")
            content = read_image_bytes(image_root, pair.image, "all")  # its hash says that it is the run's
            ending = next(ending for magic, ending in _ENDINGS.items() if content.startswith(magic))
            _add(tar, f"{pair.id}.{ending}", content)
            _add(tar, f"{pair.id}.json", to_json(llava_row(pair)).encode())
    return len(pairs)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)  # of nobody, at no time
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def read_tars(folder: Path) -> Iterator[JsonRow]:
    """The rows of a folder that was written here, each as `id`, `messages`, `images`.

    Raises:
        DataError: If a tar is damaged, or an image does not stand before its row.
    """
    for path in _list_own(folder):
        try:
            with tarfile.open(path) as tar:
                yield from _read_rows(tar, path)
                _check_end(tar, path)
        except tarfile.TarError as error:
            raise DataError(f"{path} is not a whole tar: {error}") from None


def _read_rows(tar: tarfile.TarFile, path: Path) -> Iterator[JsonRow]:
    picture = ""
    for entry in tar:
        key, _, ending = entry.name.partition(".")
        if ending != "json":
            picture = entry.name if entry.size else ""
            continue
        file = tar.extractfile(entry)
        row = unify(json.loads(file.read() if file else b"null"))
        if row["id"] != key or picture.partition(".")[0] != key:
            raise DataError(f"{path}: {entry.name} is of row {row['id']} after the image {picture!r}")
        yield row


def _check_end(tar: tarfile.TarFile, path: Path) -> None:
    """What ``tarfile`` reads as an end may be a damaged entry: a tar ends with two blocks of zeros, and no more."""
    with path.open("rb") as file:
        file.seek(tar.offset)
        rest = file.read(tarfile.RECORDSIZE)
    if len(rest) < 2 * tarfile.BLOCKSIZE or rest.strip(b"\0"):
        raise DataError(f"{path} is not a whole tar: it is damaged after {tar.offset} bytes")
