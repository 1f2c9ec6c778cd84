"""Samples of WebDataset's tar archives as rows: files whose names differ only in their endings belong together.

Nothing is unpacked by the names that an archive gives: an image stays in its row, for ``c3l.data.embedded`` to write.
"""

import json
import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BufferedReader
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, Self

from c3l.data.beside import OTHER_ENDINGS
from c3l.data.finding import ENDINGS
from c3l.data.layouts import TURN_KEYS, name_layout
from c3l.data.media import MAIN
from c3l.data.paths import clean_path
from c3l.data.rejection import BadRow
from c3l.data.remote import MAX_BYTES
from c3l.errors import BadImageError, DataError, one_line
from c3l.markup.placeholders import PLACEHOLDER

MAX_TEXT = 2**24  # bytes of a sample's JSON or text
_NAME = re.compile(r"((?:.*/)?[^./]+)\.([^/]+)")
_HIDDEN = re.compile(r"(?:^|/)(?:\.(?!\.?/)|__[^/]*__(?:/|$)|__MACOSX/)")  # also what webdataset keeps for itself
_BLOCK = 2**20


@dataclass(frozen=True, slots=True)
class _Part:
    """A file of an archive: the sample that it is of, what it is, its bytes or why it has none."""

    key: str
    ending: str
    content: bytes | BadRow


class _WholeInfo(tarfile.TarInfo):
    """A header that raises where it is damaged or missing: otherwise the archive would seem to end there."""

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(tarfile_)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # of every Python, not of its stubs
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"{error} where the next file or the end should be") from None


def iterate_samples(file: BufferedReader, path: Path) -> Iterator[Any]:
    """Each sample as a row, or a ``BadRow``, in order.

    A row is the sample's `.json`, or of its `.txt` a caption; with the sample's image, and its key as `id`.

    Args:
        file: The archive.
        path: Its name, for messages.

    Raises:
        DataError: If it goes on behind its end, or cannot be read at any place.
        TarError: If it is damaged or breaks off.
    """
    if not file.seekable():
        raise DataError(f"{path} is a tar archive packed by zstd; unpack it by zstd -d")
    with tarfile.open(fileobj=file, mode="r:", tarinfo=_WholeInfo) as archive:
        for key, parts in groupby(_read_parts(archive), attrgetter("key")):
            yield _compose(key, list(parts))
    while block := file.read(_BLOCK):
        if block.strip(b"\0"):
            raise DataError(f"{path}: the archive has ended, but the file goes on; is it several files in one?")


def _read_parts(archive: tarfile.TarFile) -> Iterator[_Part]:
    while (member := archive.next()) is not None:
        archive.members.clear()  # type: ignore[attr-defined]  # they would all be kept
        if member.isdir() or _HIDDEN.search(member.name):
            continue
        name = member.name.removeprefix("./")
        named = _NAME.fullmatch(name)
        key, ending = (named[1], named[2].lower()) if named else (name, "")
        yield _Part(key, ending, _find_fault(member, ending) or _read_member(archive, member))


def _read_member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    with archive.extractfile(member) as opened:  # type: ignore[union-attr]  # a regular file has one
        return opened.read()


def _find_fault(member: tarfile.TarInfo, ending: str) -> BadRow | None:
    """Why a file of the archive is not read."""
    name = ascii(member.name[:200])
    try:
        clean_path(member.name)
    except BadImageError as error:
        return BadRow(error.detail, error.reason)
    if not member.isfile() or member.issparse():
        return BadRow(f"{name} is a link, device or sparse file, expected files and folders", "bad_sample")
    if not ending:
        return BadRow(f"{name} has no ending, expected such as 0001.jpg and 0001.json", "bad_sample")
    most = MAX_BYTES if _is_image(ending) else MAX_TEXT
    if member.size > most:
        return BadRow(f"{name} has {member.size:,} bytes, expected at most {most:,}", "row_too_long")
    return None


def _is_image(ending: str) -> bool:
    return f".{ending.rpartition('.')[2]}" in ENDINGS


def _compose(key: str, parts: list[_Part]) -> Any:
    """The row of a sample."""
    held = {part.ending: part.content for part in parts}
    if bad := next((content for content in held.values() if isinstance(content, BadRow)), None):
        return bad
    contents = {ending: content for ending, content in held.items() if isinstance(content, bytes)}
    told, name = ", ".join(f".{part.ending[:20]}" for part in parts[:8]), ascii(key[:200])
    if len(held) < len(parts):
        return BadRow(f"sample {name} has {told}, expected each once", "bad_sample")
    if other := next((ending for ending in held if ending.rpartition(".")[2] in OTHER_ENDINGS), None):
        return BadRow(f"sample {name} has .{other[:20]}, expected an image or none", "other_medium")
    if not held.keys() & {"json", "txt"}:
        return BadRow(f"sample {name} has {told}, expected an image with .json or .txt", "bad_sample")
    try:
        said = _read_said(contents)
    except (ValueError, RecursionError) as error:  # no UTF-8 is a ValueError too
        return BadRow(f"sample {name}: {one_line(error, 200)}", "bad_json")
    if not isinstance(said, dict):
        return BadRow(f"the JSON of sample {name} is a {type(said).__name__}, expected an object", "bad_row")
    row = {**said, "id": key if said.get("id") is None else said["id"]}
    return _add_images(row, key, {ending: content for ending, content in contents.items() if _is_image(ending)})


def _read_said(contents: Mapping[str, bytes]) -> Any:
    """What is said in a sample; a list is that of its turns, and a text its caption where the JSON says nothing.

    Raises:
        ValueError: If it is no JSON, or not UTF-8.
    """
    said = json.loads(contents["json"].decode("utf-8-sig")) if "json" in contents else {}
    said = {TURN_KEYS[0]: said} if isinstance(said, list) else said
    if "txt" not in contents or not isinstance(said, dict) or name_layout(said):
        return said
    caption = contents["txt"].decode("utf-8-sig")
    asked = {"role": "user", "content": PLACEHOLDER}  # about the image alone, as rows with captions have it
    return {**said, "messages": [asked, {"role": "assistant", "content": caption}]}


def _fold_ending(name: str, key: str) -> str:
    """A file's name with what follows the sample's in small letters, as the endings of members are."""
    stem = f"{key.rpartition('/')[2]}."
    return stem + name.removeprefix(stem).lower() if name.startswith(stem) else name


def _add_images(row: dict[str, Any], key: str, contents: Mapping[str, bytes]) -> Any:
    """The row with the images of its sample: those that its JSON names, in its order; all where it names none."""
    said: Any = next((value for name in MAIN if (value := row.get(name))), [])
    named = said if isinstance(said, list) else [said]
    members = {f"{key}.{ending}".rpartition("/")[2]: content for ending, content in contents.items()}
    bases = [_fold_ending(name.rpartition("/")[2], key) if isinstance(name, str) else "" for name in named]
    if named and all(base in members for base in bases):
        images = [{"bytes": members[base]} for base in bases]
    elif not members or len(named) > len(members):
        return row
    elif 0 < len(named) < len(members):
        told = ", ".join(ascii(name[:80]) for name in members)
        detail = f"sample {key[:200]!a} has the images {told}, and its JSON names {len(named)} of another name"
        return BadRow(detail, "several_images")
    else:
        images = [{"bytes": content} for content in members.values()]
    return {**{key: value for key, value in row.items() if key not in MAIN}, "images": images}
