"""Which image files lie under an image root, told by their names alone, and what of it is left out."""

import os
from collections.abc import Iterator
from pathlib import Path

from c3l.data.paths import clean_path
from c3l.data.remote import list_address
from c3l.data.roots import may_follow
from c3l.errors import BadImageError, DataError
from c3l.settings.roots import Address
from c3l.settings.schema import FollowLinks, ImagesConfig

ENDINGS = tuple(f".{one}" for one in "jpg jpeg jpe jfif png webp gif bmp tif tiff pbm pgm ppm pnm".split())


def list_images(root: Path | Address, limit: int | None = None, links: FollowLinks = "inside") -> list[str]:
    """Paths of the images under ``root``, relative, with ``/``, sorted; the first ``limit`` of them.

    An image is a file with one of ``ENDINGS``. Hidden files and folders are left out; a linked folder is entered where
    ``links`` allows it and its images are not listed under another name already.

    Raises:
        DataError: If ``root`` is not a folder, or a folder under it cannot be read.
    """
    return find_images(root, limit, links)[0]


def find_images(
    root: Path | Address, limit: int | None = None, links: FollowLinks = "inside"
) -> tuple[list[str], tuple[str, ...]]:
    """As ``list_images``, and a sentence about each kind of thing that was left out.

    Raises:
        DataError: As ``list_images``.
    """
    if isinstance(root, Address):
        return _find_behind(root, limit)
    _check_root(root)
    found: list[Path] = []
    left_out: list[Path] = []
    unfollowed: list[Path] = []
    entered = {root.resolve()}
    for folder, folders, names in os.walk(root, onerror=_refuse_folder, followlinks=True):
        inner = [Path(folder, name) for name in sorted(folders) if not name.startswith(".")]
        folders[:] = [path.name for path in inner if _may_enter(path, root, links, entered, unfollowed)]
        for name in names:
            if not name.startswith("."):
                (found if Path(name).suffix.lower() in ENDINGS else left_out).append(Path(folder, name))
    paths = sorted(path.relative_to(root).as_posix() for path in found)
    return paths[:limit], (*_explain_left_out(root, left_out), *_explain_links(root, unfollowed))


def find_some(root: Path | Address, limit: int | None, links: FollowLinks) -> tuple[list[str], tuple[str, ...]]:
    """As ``find_images``, where there has to be an image.

    Raises:
        DataError: As ``list_images``, or if there is none.
    """
    paths, left_out = find_images(root, limit, links)
    if not paths:
        more = f" ({'; '.join(left_out)})" if left_out else ""
        raise DataError(f"there is no image under {root}{more}; set images.root or --image-root")
    return paths, left_out


def _find_behind(root: Address, limit: int | None) -> tuple[list[str], tuple[str, ...]]:
    """As ``find_images``, behind an address."""
    names = [name for name in list_address(root) if not any(part.startswith(".") for part in name.split("/"))]
    found = sorted(name for name in names if Path(name).suffix.lower() in ENDINGS and _is_clean(name))
    left_out = [Path(name) for name in {*names}.difference(found)]
    return found[:limit], tuple(_explain_left_out(root, left_out))


def _is_clean(name: str) -> bool:
    """Whether a path leads below its root, and to nothing else when it is cleaned."""
    try:
        return clean_path(name) == name
    except BadImageError:
        return False


def _may_enter(path: Path, root: Path, links: FollowLinks, entered: set[Path], unfollowed: list[Path]) -> bool:
    """Whether a folder is looked into; a linked one once, and not if it is a part of the root under another name."""
    if not path.is_symlink():
        return True
    target, base = path.resolve(), root.resolve()
    hidden = target.is_relative_to(base) and any(part.startswith(".") for part in target.relative_to(base).parts)
    if base.is_relative_to(target) or (any(map(target.is_relative_to, entered)) and not hidden) or target in entered:
        return False
    if not may_follow(target, base, links):
        unfollowed.append(path)
        return False
    entered.add(target)
    return True


def _explain_left_out(root: Path | Address, files: list[Path]) -> Iterator[str]:
    if files:
        yield (
            f"{len(files)} files under {root} are left out, such as {min(files).name}; the name of an image ends in "
            f"{', '.join(ENDINGS)}: save others as JPEG or PNG"
        )


def _explain_links(root: Path, folders: list[Path]) -> Iterator[str]:
    if folders:
        yield (
            f"{len(folders)} linked folders under {root} are left out, such as {min(folders).name}; "
            "images.follow_links=all enters them"
        )


def _check_root(root: Path) -> None:
    if os.path.isdir(root):  # Path.is_dir raises where a folder above it is closed
        return
    if root == ImagesConfig().root:
        raise DataError(
            f"images.root is not set, and its default {root} is not a folder here; "
            "name the folder of your images with --image-root"
        )
    where = "" if root.is_absolute() else f" (that is {root.absolute()})"
    raise DataError(f"got image root {root}{where}, expected a folder of images; set images.root or --image-root")


def _refuse_folder(error: OSError) -> None:
    # what a file system's check recovers belongs to root alone, and is nobody's image
    if Path(error.filename).name != "lost+found":
        raise DataError(
            f"cannot read the folder {error.filename}: {error.strerror}; make it readable, or move it out of the "
            "image root"
        ) from None
