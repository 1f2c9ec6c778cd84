"""Where images lie, a folder or an address: whether it is there, and the file that a path names under it."""

import os
from pathlib import Path

from c3l.data.paths import clean_path, shorten_path
from c3l.data.remote import fetch, has_address
from c3l.errors import BadImageError, DataError
from c3l.settings.roots import Address
from c3l.settings.schema import FollowLinks


def has_root(root: Path | Address) -> bool:
    """Whether there is such a folder, or anything behind the address.

    Raises:
        ConfigError: If what opens the address is not installed.
        DataError: If its server does not answer.
    """
    return has_address(root) if isinstance(root, Address) else os.path.isdir(root)  # a broken disk too holds none


def check_root(root: Path | Address) -> None:
    """Look whether the images are there at all: without their disk or server each of them would seem to be gone.

    Raises:
        ConfigError: If what opens the address is not installed.
        DataError: If the root is no folder, a closed one, or an empty one, as that of a disk that is not mounted.
    """
    try:
        if has_root(root) and not _is_empty(root):
            return
        got = "is gone or empty"
    except OSError as error:
        got = f"cannot be read ({error.strerror})"
    raise DataError(
        f"got the image root {root}, which {got}, expected images; put them back, or say where they lie now with "
        "--image-root"
    )


def _is_empty(root: Path | Address) -> bool:
    if isinstance(root, Address):
        return False
    with os.scandir(root) as entries:  # not all of them, there may be millions
        return next(entries, None) is None


def settle_root(root: Path | Address) -> Path | Address:
    """The root as another working directory finds it; a folder that is not there stays as it was named."""
    return root.absolute() if isinstance(root, Path) and root.is_dir() else root


def resolve_under(root: Path | Address, relative: str, links: FollowLinks = "inside") -> Path:
    """The existing regular file that ``relative`` names under ``root``, such links followed as are allowed.

    Of an address it is the file in the cache, fetched if it is not there.

    Raises:
        BadImageError: ``bad_path`` if it leaves the root by its text (``clean_path``), ``link_not_followed``,
            ``missing_image``, ``unreadable_file`` in a closed folder, ``not_a_file`` for folders, pipes and devices.
        DataError: If the server of an address does not answer.
    """
    if isinstance(root, Address):
        return fetch(root, relative)
    named = root / name_under(root, relative)
    try:
        path, base = named.resolve(), root.resolve()
        exists, regular = path.exists(), path.is_file()
        linked = path != base / name_under(root, relative)
    except PermissionError as error:
        detail = f"cannot read {shorten_path(relative)} under {root}: {error.strerror}"
        raise BadImageError("unreadable_file", detail) from None
    except (OSError, RuntimeError) as error:  # a name too long, a loop of links
        raise BadImageError("bad_path", f"cannot follow {shorten_path(relative)}: {type(error).__name__}") from None
    if linked and not may_follow(path, base, links):
        where = "" if path.is_relative_to(base) else " out of the image root"
        raise BadImageError(
            "link_not_followed",
            f"{shorten_path(relative)} is a link{where}; copy the file into it, or set images.follow_links=all",
        )
    if not exists:
        raise BadImageError("missing_image", f"there is no {shorten_path(relative)} under {root}")
    if not regular:
        raise BadImageError("not_a_file", f"{shorten_path(relative)} is a folder, pipe or device, expected an image")
    return path


def name_under(root: Path | Address, relative: str) -> str:
    r"""The cleaned path; or, with its ``\``, the name that just this file has under the root.

    Raises:
        BadImageError: As ``clean_path``.
    """
    cleaned = clean_path(relative)
    if "\\" not in relative or isinstance(root, Address):
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
