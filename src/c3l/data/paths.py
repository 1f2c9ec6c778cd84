"""Paths from data files are untrusted: none of them may lead outside the image root."""

import re
from pathlib import Path

from c3l.errors import DataError

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


def resolve_under(root: Path, relative: str) -> Path:
    """The existing regular file that ``relative`` names under ``root``, links followed.

    Raises:
        BadImageError: ``bad_path`` if it leaves the root, by its text (``clean_path``) or by a link;
            ``missing_image``; ``not_a_file`` for folders, pipes and devices.
    """
    cleaned = clean_path(relative)
    try:
        path = (root / cleaned).resolve()
        inside = path.is_relative_to(root.resolve())
        exists, regular = path.exists(), path.is_file()
    except (OSError, RuntimeError) as error:  # a name too long, a loop of links, a closed folder
        raise BadImageError("bad_path", f"cannot follow {_short(relative)}: {type(error).__name__}") from None
    if not inside:
        raise BadImageError("bad_path", f"{cleaned!a} is a link out of the image root; copy the file into it")
    if not exists:
        raise BadImageError("missing_image", f"there is no {cleaned!a} under {root}")
    if not regular:
        raise BadImageError("not_a_file", f"{cleaned!a} is a folder, pipe or device, expected a picture")
    return path


def _short(relative: str) -> str:
    return ascii(relative if len(relative) <= 200 else relative[:200] + "...")
