"""One image by its path under the image root: its name, its bytes, its pixels, and why it is refused if it is."""

import hashlib
import os
import stat
from pathlib import Path
from weakref import WeakValueDictionary

from PIL import Image

from c3l.data.decoding import decode_image
from c3l.data.remote import MAX_BYTES
from c3l.data.roots import check_root, name_under, resolve_under
from c3l.errors import BadImageError
from c3l.records import ImageRef, Rejected, make_id
from c3l.settings.roots import Address
from c3l.settings.schema import FollowLinks, ImagesConfig

_SHOWN: WeakValueDictionary[tuple[str, str, ImagesConfig], Image.Image] = WeakValueDictionary()


def image_id_of(relative: str) -> str:
    """The image's name everywhere else: a hash of its path relative to the image root."""
    return make_id(relative.encode(errors="backslashreplace").decode())


def inspect_image(root: Path | Address, relative: str, rules: ImagesConfig) -> ImageRef | Rejected:
    """What the image is, after decoding all of it once; or why it is refused."""
    try:
        content = read_image_bytes(root, relative, rules.follow_links)
        width, height = decode_image(content, rules).size
        path = name_under(root, relative)
    except BadImageError as error:
        name = relative.encode(errors="backslashreplace").decode()
        return Rejected(name, image_id_of(relative), "images", error.reason, error.detail)
    return ImageRef(image_id_of(path), path, hashlib.sha256(content).hexdigest(), width, height)


def open_image(root: Path | Address, image: ImageRef | str, rules: ImagesConfig) -> Image.Image:
    """The image as RGB, as ``decode_image`` gives it.

    Raises:
        BadImageError: With the reason that ``inspect_image`` would give, or ``changed_image`` if the bytes
            are no longer those of the ``ImageRef``.
    """
    return decode_image(read_image_bytes(root, image, rules.follow_links), rules)


def open_image_again(root: Path | Address, image: ImageRef | str, rules: ImagesConfig) -> Image.Image:
    """As ``open_image``, but the same object as before while somebody holds it and the file has the same bytes.

    For an image that is shown from shard to shard: the file is read each time, so that one that is changed or gone by
    now is told, but it is not decoded again, and a model that keeps what it made of the object finds it again.
    """
    content = read_image_bytes(root, image, rules.follow_links)
    relative = image if isinstance(image, str) else image.path
    key = relative, hashlib.sha256(content).hexdigest(), rules
    opened = _SHOWN.get(key)
    if opened is None:
        opened = _SHOWN[key] = decode_image(content, rules)
    return opened


def read_image_bytes(root: Path | Address, image: ImageRef | str, links: FollowLinks = "inside") -> bytes:
    """The bytes of an image file; they must still be those of the ``ImageRef``.

    Raises:
        BadImageError: For a bad path, an unreadable, empty, too large or changed file.
        DataError: If it is not this image alone that cannot be read, as the image root is gone (``check_root``).
    """
    relative = image if isinstance(image, str) else image.path
    try:
        content = _read_regular(resolve_under(root, relative, links), relative)
    except BadImageError as error:
        if error.reason in ("missing_image", "unreadable_file"):
            check_root(root)  # what cannot be read just now is not to be rejected for good
        raise
    if not content:
        raise BadImageError("empty_file", f"{relative!a} has zero bytes")
    if isinstance(image, ImageRef) and hashlib.sha256(content).hexdigest() != image.sha256:
        raise BadImageError("changed_image", f"{relative!a} is not what this run began with; put it back")
    return content


def _read_regular(path: Path, relative: str) -> bytes:
    # O_NONBLOCK: should the file have become a pipe since it was checked, opening must not wait for a writer
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise BadImageError("not_a_file", f"{relative!a} is a pipe or device, expected an image")
            if status.st_size > MAX_BYTES:
                raise BadImageError("file_too_large", f"got {status.st_size:,} bytes, expected at most {MAX_BYTES:,}")
            return file.read()
    except OSError as error:
        raise BadImageError("unreadable_file", f"cannot read {relative!a}: {error.strerror}") from None
