"""Decoding: every odd file is read right or refused with its reason."""

import os
import struct
import subprocess
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
from PIL import Image, ImageFile
from tests.data.drawn import BLACK, BLUE, GREEN, RED, WHITE, corner, encode, exif_6, flat, noise, png_chunk, turned

from c3l.data import decoding
from c3l.data.images import inspect_image, open_image
from c3l.errors import BadImageError
from c3l.records import ImageRef, Rejected, make_id
from c3l.settings.schema import ImagesConfig

RULES = ImagesConfig()
Pixels = dict[tuple[int, int], tuple[int, int, int]]


def grey_16(value: int = 40000, kind: str = "PNG", **options: object) -> bytes:
    return encode(Image.fromarray(np.full((16, 16), value, np.uint16)), kind, **options)


def grey_16_with_hole() -> bytes:
    values = np.full((16, 16), 40000, np.uint16)
    values[0, 0] = 1000
    return encode(Image.fromarray(values), transparency=1000)


def palette_with_hole() -> bytes:
    image = flat(1, "P")
    image.putpalette([*RED, *GREEN])
    image.putpixel((0, 0), 0)
    return encode(image, transparency=0)


def animated(kind: str) -> bytes:
    return encode(flat(RED), kind, save_all=True, append_images=[flat(GREEN), flat(BLUE)], lossless=True)


def png_header_only(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", b"") + png_chunk(b"IEND", b"")


def with_broken_exif() -> bytes:
    return encode(corner(), exif=b"Exif\0\0MM\0*\xff\xff\xff\xff\x01\x12")


def flipped_byte() -> bytes:
    content = bytearray(encode(noise()))
    content[len(content) // 2] ^= 0xFF
    return bytes(content)


def webp_bomb() -> bytes:
    content = bytearray(animated("WEBP"))
    content[24:30] = (16382).to_bytes(3, "little") * 2
    return bytes(content)


BOMB = encode(Image.new("1", (12000, 12000)))

REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "zero_bytes": (lambda: b"", "empty_file"),
    "html": (lambda: b"<!DOCTYPE html><html><body>404 Not Found</body></html>", "not_an_image"),
    "json_error": (lambda: b'{"error": "rate limited"}', "not_an_image"),
    "zeros": (lambda: bytes(4096), "not_an_image"),
    "svg": (lambda: b'<svg xmlns="http://www.w3.org/2000/svg"/>', "not_an_image"),
    "eps": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n", "not_an_image"),
    "ico_is_not_a_listed_format": (lambda: encode(flat(RED), "ICO"), "not_an_image"),
    "psd_header": (lambda: b"8BPS\x00\x01" + bytes(100), "not_an_image"),
    "truncated_jpeg": (lambda: encode(noise(), "JPEG")[:-400], "truncated_image"),
    "jpeg_header_only": (lambda: encode(noise(), "JPEG")[:100], "truncated_image"),
    "truncated_png": (lambda: encode(noise())[:3000], "truncated_image"),
    "truncated_gif": (lambda: encode(noise(), "GIF")[:1500], "truncated_image"),
    "truncated_bmp": (lambda: encode(noise(), "BMP")[:-500], "truncated_image"),
    "truncated_tiff": (lambda: encode(noise(), "TIFF")[:-500], "truncated_image"),
    "truncated_ppm": (lambda: encode(noise(), "PPM")[:-500], "truncated_image"),
    "truncated_webp": (lambda: encode(noise(), "WEBP")[:-500], "truncated_image"),
    "png_without_pixels": (lambda: png_header_only(16, 16), "truncated_image"),
    "png_flipped_byte": (flipped_byte, "broken_image"),
    "webp_garbage": (lambda: b"RIFF\x20\x00\x00\x00WEBPVP8 " + bytes(24), "broken_image"),
    "bomb_1_bit": (lambda: BOMB, "too_many_pixels"),
    "bomb_png_header": (lambda: png_header_only(60000, 60000), "too_many_pixels"),
    "bomb_webp_canvas": (webp_bomb, "too_many_pixels"),
    "one_pixel": (lambda: encode(flat(RED, size=(1, 1))), "too_small"),
    "strip": (lambda: encode(flat(RED, size=(20000, 1))), "too_small"),
    "long_strip": (lambda: encode(flat(RED, size=(400, 10))), "too_narrow"),
    "tall_strip": (lambda: encode(flat(RED, size=(10, 400))), "too_narrow"),
    "float_tiff": (lambda: encode(flat(0.5, "F"), "TIFF"), "unsupported_mode"),
    "32_bit_tiff": (lambda: encode(flat(70000, "I"), "TIFF"), "unsupported_mode"),
    "lab_tiff": (lambda: encode(flat(0, "LAB"), "TIFF"), "unsupported_mode"),
    "white_is_zero_16_bit_tiff": (lambda: grey_16(kind="TIFF", tiffinfo={262: 0}), "unsupported_mode"),
}
READ: dict[str, tuple[Callable[[], bytes], tuple[int, int], Pixels]] = {
    "rgb": (lambda: encode(corner()), (24, 16), {(0, 0): RED, (23, 15): BLUE}),
    **{
        f"exif_{orientation}": (lambda o=orientation: turned(o), size, {at: RED, away: BLUE})  # type: ignore[misc]
        for orientation, size, at, away in [
            (1, (24, 16), (0, 0), (23, 15)),
            (2, (24, 16), (23, 0), (0, 15)),
            (3, (24, 16), (23, 15), (0, 0)),
            (4, (24, 16), (0, 15), (23, 0)),
            (5, (16, 24), (0, 0), (15, 23)),
            (6, (16, 24), (15, 0), (0, 23)),
            (7, (16, 24), (15, 23), (0, 0)),
            (8, (16, 24), (0, 23), (15, 0)),
        ]
    },
    "exif_6_tiff_turned_once": (lambda: turned(6, "TIFF"), (16, 24), {(15, 0): RED, (0, 23): BLUE}),
    "exif_6_webp": (lambda: encode(corner(), "WEBP", lossless=True, exif=exif_6()), (16, 24), {(15, 0): RED}),
    "exif_9_means_nothing": (lambda: turned(9), (24, 16), {(0, 0): RED}),
    "exif_broken": (with_broken_exif, (24, 16), {(0, 0): RED}),
    "grey_16_png": (grey_16, (16, 16), {(3, 3): (156, 156, 156)}),
    "grey_16_tiff": (lambda: grey_16(kind="TIFF"), (16, 16), {(3, 3): (156, 156, 156)}),
    "grey_16_pgm": (lambda: grey_16(kind="PPM"), (16, 16), {(3, 3): (156, 156, 156)}),
    "grey_16_white": (lambda: grey_16(65535), (16, 16), {(3, 3): WHITE}),
    "grey_16_with_hole": (grey_16_with_hole, (16, 16), {(0, 0): WHITE, (3, 3): (156, 156, 156)}),
    "rgba_hidden_colour": (lambda: encode(flat((255, 0, 0, 0), "RGBA")), (16, 16), {(3, 3): WHITE}),
    "rgba_half": (lambda: encode(flat((0, 0, 0, 128), "RGBA")), (16, 16), {(3, 3): (127, 127, 127)}),
    "grey_alpha": (lambda: encode(flat((0, 0), "LA")), (16, 16), {(3, 3): WHITE}),
    "rgb_colour_key": (lambda: encode(corner(), transparency=RED), (24, 16), {(0, 0): WHITE, (23, 15): BLUE}),
    "palette": (lambda: encode(corner().quantize(4)), (24, 16), {(0, 0): RED, (23, 15): BLUE}),
    "palette_with_hole": (palette_with_hole, (16, 16), {(0, 0): WHITE, (3, 3): GREEN}),
    "one_bit": (lambda: encode(flat(1, "1")), (16, 16), {(3, 3): WHITE}),
    "one_bit_with_hole": (lambda: encode(flat(0, "1"), transparency=0), (16, 16), {(3, 3): WHITE}),
    "grey": (lambda: encode(flat(77, "L")), (16, 16), {(3, 3): (77, 77, 77)}),
    "cmyk_tiff": (lambda: encode(flat((0, 255, 255, 0), "CMYK"), "TIFF"), (16, 16), {(3, 3): RED}),
    "cmyk_jpeg": (lambda: encode(flat((0, 0, 0, 255), "CMYK"), "JPEG"), (16, 16), {(3, 3): BLACK}),
    "gif_first_frame": (lambda: animated("GIF"), (16, 16), {(3, 3): RED}),
    "apng_first_frame": (lambda: animated("PNG"), (16, 16), {(3, 3): RED}),
    "webp_first_frame": (lambda: animated("WEBP"), (16, 16), {(3, 3): RED}),
    "tiff_first_page": (lambda: animated("TIFF"), (16, 16), {(3, 3): RED}),
    "ppm_named_jpg": (lambda: encode(corner(), "PPM"), (24, 16), {(0, 0): RED}),
}


def test_there_are_at_least_forty_odd_images() -> None:
    assert len(REFUSED) + len(READ) >= 40


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_image_is_refused_with_its_reason(case: str, tmp_path: Path) -> None:
    make, reason = REFUSED[case]
    (tmp_path / "x.jpg").write_bytes(make())
    verdict = inspect_image(tmp_path, "x.jpg", RULES)
    assert isinstance(verdict, Rejected)
    assert (verdict.id, verdict.image_id, verdict.stage, verdict.reason) == (
        "x.jpg",
        make_id("x.jpg"),
        "images",
        reason,
    )
    assert verdict.detail and "\n" not in verdict.detail
    with pytest.raises(BadImageError, match=reason):
        open_image(tmp_path, "x.jpg", RULES)


@pytest.mark.parametrize("case", READ)
def test_an_odd_image_is_read_right(case: str, tmp_path: Path) -> None:
    make, size, pixels = READ[case]
    (tmp_path / "x.jpg").write_bytes(make())
    reference = inspect_image(tmp_path, "x.jpg", RULES)
    assert isinstance(reference, ImageRef), reference
    image = open_image(tmp_path, reference, RULES)
    assert image.mode == "RGB"
    assert image.size == size == (reference.width, reference.height)
    assert {at: image.getpixel(at) for at in pixels} == pixels


def test_the_bomb_is_refused_without_being_decoded(tmp_path: Path) -> None:
    """Measured in a process of its own: decoding the bomb costs more than 400 MB."""
    (tmp_path / "bomb.png").write_bytes(BOMB)
    code = (
        "import sys; from pathlib import Path; from c3l.settings.schema import ImagesConfig\n"
        "from c3l.data.images import inspect_image\n"
        "peak = lambda: int(next(l for l in open('/proc/self/status') if l.startswith('VmHWM')).split()[1])\n"
        "before = peak(); verdict = inspect_image(Path(sys.argv[1]), 'bomb.png', ImagesConfig())\n"
        "print(verdict.reason, (peak() - before) // 1024, 'torch' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    reason, megabytes, torch_loaded = done.stdout.split()
    assert (reason, torch_loaded) == ("too_many_pixels", "False")
    assert int(megabytes) <= 50


def test_pillow_is_left_to_report_truncation() -> None:
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


def test_threads_that_open_pictures_at_once_leave_the_warnings_as_they_were():
    before, inside = list(warnings.filters), Barrier(2, timeout=200)

    def silence(first):
        if not first:
            inside.wait()  # enters after the other one, and leaves after it
        with decoding._no_warnings:
            if first:
                inside.wait()
            warnings.warn("nobody hears this", stacklevel=1)
            inside.wait()

    with ThreadPoolExecutor(2) as pool, pytest.warns(match="heard"):
        list(pool.map(silence, (True, False)))
        warnings.warn("this is heard", stacklevel=1)
    assert warnings.filters == before


@pytest.mark.parametrize(
    ("content", "what"),
    [(encode(corner(), "AVIF"), "AVIF image"), (b"%PDF-1.7", "PDF document"), (b"<html>", "web page")],
)
def test_what_is_no_picture_is_called_by_what_it_is(content: bytes, what: str, tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(content)
    with pytest.raises(BadImageError, match=f"not_an_image: the file is an? {what}, expected one of JPEG"):
        open_image(tmp_path, "x.jpg", RULES)
