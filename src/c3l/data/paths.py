"""Paths from data files are untrusted: none of them may lead outside the image root."""

import re

from c3l.errors import BadImageError

# A URL, one that holds its image, or a Windows drive; `Screenshot:1.png` is a name like any other.
_ELSEWHERE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|data:image/|[A-Za-z]:", re.IGNORECASE)


def clean_path(relative: str) -> str:
    """The path with ``/`` only and without ``.`` parts, if it could lie under an image root; reads no disk.

    Raises:
        BadImageError: ``bad_path`` for absolute paths, ``..``, URLs, drives, NUL, lone surrogates, no name.
    """
    path = relative.replace("\\", "/")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    problem = _path_problem(path, parts)
    if problem:
        raise BadImageError(
            "bad_path", f"got {shorten_path(relative)}, {problem}; expected a path below the image root"
        )
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


def shorten_path(relative: str) -> str:
    """The path as messages show it."""
    return ascii(relative if len(relative) <= 200 else relative[:200] + "...")
