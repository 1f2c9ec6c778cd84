"""Paths from data files are untrusted: none of them may lead outside the image root."""

import os
import re
from pathlib import Path

from c3l.errors import DataError
from c3l.settings.schema import FollowLinks

# A URL, one that holds its picture, or a Windows drive; `Screenshot:1.png` is a name like any other.
_ELSEWHERE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|data:image/|[A-Za-z]:", re.IGNORECASE)


class BadImageError(DataError):
    """A picture, or the path to one, that is refused.

    Attributes:
        reason: A fixed word, the one that the ``Rejected`` record carries.
        detail: One line for a person.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def clean_path(relative: str) -> str:
    """The path with ``/`` only and without ``.`` parts, if it could lie under an image root; reads no disk.

    Raises:
        BadImageError: ``bad_path`` for absolute paths, ``..``, URLs, drives, NUL, lone surrogates, no name.
    """
    path = relative.replace("\\", "/")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    problem = _path_problem(path, parts)
    if problem:
        raise BadImageError("bad_path", f"got {_short(relative)}, {problem}; expected a path below the image root")
    return "/".join(parts)


def _path_problem(path: str, parts: list[str]) -> str:
    if not parts:
        return "which names no file"
    if "\0" in path:
        return "which holds a NUL"
    if not path.isprintable() and any("\ud800" <= letter <= "\udfff" for letter in path):
        return "which is not valid UTF-8"
    if path.startswith("/"):
        return "which is absolute"
    if _ELSEWHERE.match(path):
        return "which is a URL or has a drive letter"
    return "which goes up with '..'" if ".." in parts else ""


def resolve_under(root: Path, relative: str, links: FollowLinks = "inside") -> Path:
    """The existing regular file that ``relative`` names under ``root``, such links followed as are allowed.

    Raises:
        BadImageError: ``bad_path`` if it leaves the root by its text (``clean_path``), ``link_not_followed``,
            ``missing_image``, ``not_a_file`` for folders, pipes and devices.
    """
    named = root / name_under(root, relative)
    try:
        path, base = named.resolve(), root.resolve()
        exists, regular = path.exists(), path.is_file()
        linked = path != base / name_under(root, relative)
    except (OSError, RuntimeError) as error:  # a name too long, a loop of links, a closed folder
        raise BadImageError("bad_path", f"cannot follow {_short(relative)}: {type(error).__name__}") from None
    if linked and not may_follow(path, base, links):
        where = "" if path.is_relative_to(base) else " out of the image root"
        raise BadImageError(
            "link_not_followed",
            f"{_short(relative)} is a link{where}; copy the file into it, or set images.follow_links=all",
        )
    if not exists:
        raise BadImageError("missing_image", f"there is no {_short(relative)} under {root}")
    if not regular:
        raise BadImageError("not_a_file", f"{_short(relative)} is a folder, pipe or device, expected a picture")
    return path


def name_under(root: Path, relative: str) -> str:
    r"""The cleaned path; or, with its ``\``, the name that just this file has under the root.

    Raises:
        BadImageError: As ``clean_path``.
    """
    cleaned = clean_path(relative)
    if "\\" not in relative:
        return cleaned
    literal = "/".join(part for part in relative.split("/") if part not in ("", "."))
    return literal if os.path.isfile(root / literal) else cleaned


def may_follow(path: Path, root: Path, links: FollowLinks) -> bool:
    """Whether a link may be followed that ends at ``path``; both are resolved.

    In the cache of a hub, ``snapshots/REVISION/...`` holds links into the ``blobs`` beside ``snapshots``.
    """
    if links != "inside" or path.is_relative_to(root):
        return links != "none"
    snapshots = next((one for one in (root, *root.parents) if one.name == "snapshots"), None)
    return snapshots is not None and path.is_relative_to(snapshots.parent / "blobs")


def _short(relative: str) -> str:
    return ascii(relative if len(relative) <= 200 else relative[:200] + "...")
