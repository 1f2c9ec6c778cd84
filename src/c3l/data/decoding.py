"""A file's bytes become the image that everything else sees, or are refused with a fixed reason word.

Untrusted bytes end here: an explicit list of formats, and sizes checked by the header before any decoding.
"""

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from c3l.data.magic import HEAD, tell_kind
from c3l.data.pngchunks import without_texts
from c3l.errors import BadImageError, name_error
from c3l.settings.schema import ImagesConfig

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
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


def decode_image(content: bytes, rules: ImagesConfig) -> Image.Image:
    """A file's image as RGB: upright by EXIF, first frame, 16-bit grey scaled to 8, transparency over white.

    Raises:
        BadImageError: If the bytes are no image that is taken, with the reason.
    """
    with _header(content) as image:
        return _settle(image, rules, content)


def settle_image(image: Image.Image, rules: ImagesConfig) -> Image.Image:
    """As ``decode_image``, from an image that is open already, which stays as it is.

    Raises:
        BadImageError: As ``decode_image``.
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
        except Exception as error:  # as in _settle: the header is as hostile as the rest
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
