"""The images that a benchmark's items show: paths under a root, or data URLs."""

import base64
import binascii
from collections.abc import Sequence
from pathlib import Path

from PIL.Image import Image

from c3l.data.decoding import decode_image
from c3l.data.images import open_image
from c3l.data.roots import resolve_under
from c3l.data.same_images import SeenImage, sign_image
from c3l.errors import BadImageError, TooManyRejectedError
from c3l.evaluation.task import Item
from c3l.settings.schema import FollowLinks, ImagesConfig

IMAGE_ROOT = "--image-root of c3l evaluate, or image_root of evaluation.tasks in a run's settings,"
_ENDINGS = ("", ".jpg", ".png", ".jpeg", ".JPEG", ".JPG", ".webp")


def open_item_image(root: Path, image: str, rules: ImagesConfig) -> Image:
    """The RGB image of an item: a path under the root, or a data URL.

    Raises:
        BadImageError: If it cannot be opened.
    """
    if not _is_within(image):
        return open_image(root, image, rules)
    try:
        content = base64.b64decode(image.partition(",")[2], validate=True)
    except binascii.Error as error:
        raise BadImageError("broken_image", f"the image in the file is not base64: {error}") from None
    return decode_image(content, rules)


def find_ending(root: Path, image: str) -> str:
    """The path of an image that a file names without its ending, or with that of another release.

    The name itself where that is there, or where nothing is: then the runner tells.
    """
    stem = image[: -len(Path(image).suffix)] if Path(image).suffix.lower() in _ENDINGS[1:] else image
    names = (image, *(stem + ending for ending in _ENDINGS[1:]))
    return next((name for name in names if _is_within(name) or _is_there(root, name)), image)


def _is_there(root: Path, image: str) -> bool:
    try:
        return resolve_under(root, image, "all").is_file()  # one that may not be followed is told of where it is opened
    except BadImageError:
        return False


def check_images(items: Sequence[Item], root: Path, most: float, links: FollowLinks = "inside") -> None:
    """Look whether the images are there, before a model is loaded for nothing.

    Args:
        items: What is asked.
        root: The folder that their paths begin in.
        most: The share of items that may be without, ``max_error_rate``.
        links: ``images.follow_links``.

    Raises:
        TooManyRejectedError: If more are.
    """
    problems: dict[str, str] = {}
    for image in dict.fromkeys(item.image for item in items if not _is_within(item.image)):
        try:
            resolve_under(root, image, links)
        except BadImageError as error:
            problems[image] = str(error)
    lost = [problems[item.image] for item in items if item.image in problems]
    if len(lost) > most * len(items):
        raise TooManyRejectedError(
            f"got the image root {root}, where {len(lost)} of {len(items)} questions have no image ({lost[0]}), "
            f"above max_error_rate {most:.0%}; set {IMAGE_ROOT} to the folder that image paths begin in"
        )


def sign_item_image(root: Path, image: str, links: FollowLinks = "inside") -> str:
    """What tells an image from another of the same name: its file's size and SHA-256, ``size:hash``.

    Empty for an image that is in the benchmark's own file, whose hash is known, and for one that cannot be read.
    """
    if _is_within(image):
        return ""
    try:
        signed = sign_image(root, image, links)
    except BadImageError:
        return ""
    return f"{signed.size}:{signed.sha256}"


def read_signature(image: str, signature: str) -> SeenImage:
    """The image that was signed by ``sign_item_image``."""
    size, _, sha256 = signature.partition(":")
    return SeenImage(image, sha256, int(size) if size.isdecimal() else -1)  # of no image, where it was edited


def _is_within(image: str) -> bool:
    """Whether it is the image itself, not a path."""
    return image.startswith("data:")
