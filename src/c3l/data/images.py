"""Find images, open them the way everything else sees them, and say what is bad about the rest.

Untrusted files end here: an explicit list of formats, sizes checked by the header before any decoding, and
one fixed reason word for everything that is refused.
"""

import hashlib
import io
import os
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from c3l.data.magic import HEAD, tell_kind
from c3l.data.paths import BadImageError, clean_path
from c3l.data.pngchunks import without_texts
from c3l.data.remote import MAX_BYTES, list_address
from c3l.data.roots import may_follow, name_under, resolve_under
from c3l.errors import DataError, name_error
from c3l.records import ImageRef, Rejected, make_id
from c3l.settings.roots import Address
from c3l.settings.schema import FollowLinks, ImagesConfig

__all__ = [
    "ENDINGS",
    "BadImageError",
    "find_images",
    "find_some",
    "image_id_of",
    "inspect_image",
    "list_images",
    "open_image",
    "read_image_bytes",
    "resolve_under",
]

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
ENDINGS = tuple(f".{one}" for one in "jpg jpeg jpe jfif png webp gif bmp tif tiff pbm pgm ppm pnm".split())
# Raise it when the same file gives other pixels, or is taken where it was rejected: finished lists are stale then.
IMAGE_READER_VERSION = 2
BACKGROUND = (255, 255, 255)

_PLAIN_MODES = ("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr")
_ALPHA_MODES = ("LA", "La", "PA", "RGBA", "RGBa")
_GREY_16_MODES = ("I;16", "I;16L", "I;16B", "I;16N")
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def image_id_of(relative: str) -> str:
    """The image's name everywhere else: a hash of its path relative to the image root."""
    return make_id(relative.encode(errors="backslashreplace").decode())


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
    """The image as RGB: upright by EXIF, first frame, 16-bit grey scaled to 8, transparency over white.

    Raises:
        BadImageError: With the reason that ``inspect_image`` would give, or ``changed_image`` if the bytes
            are no longer those of the ``ImageRef``.
    """
    return decode_image(read_image_bytes(root, image, rules.follow_links), rules)


def read_image_bytes(root: Path | Address, image: ImageRef | str, links: FollowLinks = "inside") -> bytes:
    """The bytes of an image file; they must still be those of the ``ImageRef``.

    Raises:
        BadImageError: For a bad path, an unreadable, empty, too large or changed file.
    """
    relative = image if isinstance(image, str) else image.path
    content = _read_regular(resolve_under(root, relative, links), relative)
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


def decode_image(content: bytes, rules: ImagesConfig) -> Image.Image:
    """As ``open_image``, from a file's bytes.

    Raises:
        BadImageError: With the reason that ``inspect_image`` would give.
    """
    with _header(content) as image:
        return _settle(image, rules, content)


def settle_image(image: Image.Image, rules: ImagesConfig) -> Image.Image:
    """As ``open_image``, from an image that is open already, which stays as it is.

    Raises:
        BadImageError: With the reason that ``inspect_image`` would give.
    """
    return _settle(image, rules)


def _settle(image: Image.Image, rules: ImagesConfig, content: bytes = b"") -> Image.Image:
    """RGB and upright; ``content`` is the file that it is being read from, if it is known."""
    _check_size(image.size, rules)
    try:
        image.load()
        if image.mode == "I" and not content:  # whatever it was read from: grey of 16 bits
            image = Image.fromarray(np.clip(np.asarray(image), 0, 65535).astype(np.uint16))
        return _to_rgb(_upright(image))
    except BadImageError:
        raise
    except Exception as error:  # decoders of hostile bytes raise almost anything; each makes a rejection
        raise _broken(content, error) from None


class _NoWarnings:
    """``catch_warnings`` for threads that overlap: the first in silences, the last out puts back what was there."""

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0
        self._saved = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._saved = warnings.catch_warnings()
                self._saved.__enter__()
                warnings.simplefilter("ignore")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._saved.__exit__(None, None, None)


_no_warnings = _NoWarnings()


@contextmanager
def _header(content: bytes) -> Iterator[Image.Image]:
    with _no_warnings:  # of sizes and tags; what matters is checked here
        try:
            image = Image.open(io.BytesIO(without_texts(content)), formats=FORMATS)
        except Image.DecompressionBombError as error:
            raise BadImageError("too_many_pixels", name_error(error)) from None
        except UnidentifiedImageError:
            kind = tell_kind(content[:HEAD])
            got = f"the file is {kind.what}, expected one" if kind else "the bytes are none"
            raise BadImageError("not_an_image", f"{got} of {', '.join(FORMATS)}") from None
        except Exception as error:  # as in decode_image: the header is as hostile as the rest
            raise _broken(content, error) from None
        with image:
            yield image


def _broken(content: bytes, error: Exception) -> BadImageError:
    riff_ends_early = content[:4] == b"RIFF" and len(content) < 8 + int.from_bytes(content[4:8], "little")
    truncated = riff_ends_early or isinstance(error, EOFError) or "truncated" in str(error).lower()
    return BadImageError("truncated_image" if truncated else "broken_image", name_error(error))


def _check_size(size: tuple[int, int], rules: ImagesConfig) -> None:
    width, height = size
    if width * height > rules.max_pixels:
        raise BadImageError("too_many_pixels", f"got {width}x{height}, expected at most {rules.max_pixels:,} pixels")
    if min(size) < rules.min_side:
        raise BadImageError("too_small", f"got {width}x{height}, sides of at least {rules.min_side}")
    if max(size) > rules.max_aspect * min(size):
        raise BadImageError("too_narrow", f"got {width}x{height}, at most {rules.max_aspect:g} to 1")


def _upright(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # unreadable EXIF says nothing about how to turn the image, and the pixels are whole
        return image
    turn = _TURNS.get(orientation) if isinstance(orientation, int) else None
    if turn is None:
        return image
    turned = image.transpose(turn)
    turned.format = image.format
    return turned


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in _GREY_16_MODES or (image.mode == "I" and image.format == "PPM"):
        return _scale_grey_16(image)
    if image.mode not in _PLAIN_MODES + _ALPHA_MODES:
        raise BadImageError("unsupported_mode", f"got mode {image.mode}, expected 8 bits a channel or grey of 16")
    if image.has_transparency_data:
        background = Image.new("RGBA", image.size, (*BACKGROUND, 255))
        return Image.alpha_composite(background, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def _scale_grey_16(image: Image.Image) -> Image.Image:
    tags = getattr(image, "tag_v2", {})  # of a TIFF; 12 bits and white as zero come unscaled in the same mode
    if tags.get(258, (16,)) != (16,) or tags.get(262, 1) != 1:
        raise BadImageError("unsupported_mode", "got TIFF grey of 12 bits or with white as 0, expected 16 bits")
    levels = np.rint(np.arange(65536) * (255 / 65535)).astype(np.uint8)
    values = np.asarray(image).astype(np.uint16, copy=False)
    grey = levels[values]
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey[values == transparent] = 255
    return Image.fromarray(grey).convert("RGB")
