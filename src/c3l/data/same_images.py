"""Whether images are still those that were seen before, wherever their folder lies by now."""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from c3l.data.images import read_image_bytes
from c3l.data.roots import resolve_under
from c3l.errors import BadImageError
from c3l.settings.roots import Address
from c3l.settings.schema import FollowLinks

_HASHED = 8  # images of which every byte is compared


@dataclass(frozen=True, slots=True)
class SeenImage:
    """An image that was read before.

    Attributes:
        path: Under the image root.
        sha256: Of its bytes; empty if that is not known.
        size: Of its file in bytes; None if that is not known.
    """

    path: str
    sha256: str
    size: int | None = None


def sign_image(root: Path | Address, path: str, links: FollowLinks = "all") -> SeenImage:
    """The image as it is now.

    Raises:
        BadImageError: If it cannot be read.
    """
    content = read_image_bytes(root, path, links)
    return SeenImage(path, sha256(content).hexdigest(), len(content))


def find_other(
    seen: Iterable[SeenImage], root: Path | Address, links: FollowLinks = "all", *, may_be_gone: bool = False
) -> tuple[str, str] | None:
    """The path of the first image under the root that is not the one that was seen, and why; None if all are.

    Looks at the size of every file, and at the bytes of the first few.

    Args:
        seen: The images as they were.
        root: The folder that their paths begin in.
        links: ``images.follow_links``.
        may_be_gone: Whether one that is gone is still no other.
    """
    hashed = 0
    for image in seen:
        try:
            size = resolve_under(root, image.path, links).stat().st_size
            compared = bool(image.sha256) and hashed < _HASHED
            other = image.size not in (None, size)
            other = other or (compared and sign_image(root, image.path, links).sha256 != image.sha256)
        except BadImageError as error:
            if may_be_gone:
                continue
            return image.path, error.detail
        hashed += compared
        if other:
            return image.path, f"{image.path!a} is another than was seen before"
    return None
