"""Pictures: every odd file is read right or refused with its reason, and no path leaves the root."""

import io
import os
import struct
import subprocess
import sys
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
from PIL import Image, ImageFile

from c3l.data import images
from c3l.data.images import BadImageError, image_id_of, inspect_image, list_images, open_image, resolve_under
from c3l.errors import DataError
from c3l.records import ImageRef, Rejected, make_id
from c3l.settings.schema import ImagesConfig

RULES = ImagesConfig()
RED, GREEN, BLUE, WHITE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)
Pixels = dict[tuple[int, int], tuple[int, int, int]]


def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def flat(colour: object, mode: str = "RGB", size: tuple[int, int] = (16, 16)) -> Image.Image:
    return Image.new(mode, size, colour)


def noise() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 48, 3), dtype=np.uint8))


def corner() -> Image.Image:
    """24 x 16, blue with a red upper left quarter: shows every wrong turn."""
    image = flat(BLUE, size=(24, 16))
    image.paste(RED, (0, 0, 12, 8))
    return image


def turned(orientation: int, kind: str = "PNG") -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode(corner(), kind, exif=exif)


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


def png_chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


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


def exif_6() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


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


def test_a_changed_file_is_not_taken_for_the_picture_that_the_run_began_with(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(encode(flat(RED)))
    reference = inspect_image(tmp_path, "x.png", RULES)
    assert isinstance(reference, ImageRef)
    (tmp_path / "x.png").write_bytes(encode(flat(GREEN)))
    with pytest.raises(BadImageError, match="changed_image"):
        open_image(tmp_path, reference, RULES)


def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.png").write_bytes(encode(flat(RED)))

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    verdict = inspect_image(tmp_path, "x.png", RULES)
    assert isinstance(verdict, Rejected) and verdict.reason == "unreadable_file"


def test_a_folder_that_may_not_be_read_is_no_bad_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.png").write_bytes(encode(flat(RED)))

    def refuse(*_: object) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "is_file", refuse)
    with pytest.raises(BadImageError, match=f"unreadable_file: cannot read 'x.png' under {tmp_path}: Permission den"):
        resolve_under(tmp_path, "x.png")


def test_pillow_is_left_to_report_truncation() -> None:
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


def test_listing_is_sorted_recursive_and_leaves_out_what_is_hidden(tmp_path: Path) -> None:
    for name in [
        "b.JPG",
        "a/z.png",
        "a.webp",
        "notes.txt",
        ".hidden.png",
        ".git/x.png",
        "a/.cache/y.png",
        "a/b/c.gif",
    ]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert list_images(tmp_path) == ["a.webp", "a/b/c.gif", "a/z.png", "b.JPG"]
    assert list_images(tmp_path, 2) == ["a.webp", "a/b/c.gif"]
    with pytest.raises(DataError, match="expected a folder"):
        list_images(tmp_path / "missing")


@pytest.fixture
def tricky_root(tmp_path: Path) -> Path:
    """An image root beside a secret, with links and a pipe that lead astray."""
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "sub" / "ok.png").write_bytes(encode(flat(RED)))
    (tmp_path / "secret.png").write_bytes(encode(flat(GREEN)))
    (tmp_path / "root_twin").mkdir()
    (tmp_path / "root_twin" / "x.png").write_bytes(encode(flat(GREEN)))
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    (root / "linked_folder").symlink_to(tmp_path)
    (root / "zero.png").symlink_to("/dev/zero")
    (root / "loop.png").symlink_to(root / "loop.png")
    (root / "dangling.png").symlink_to(root / "nowhere.png")
    (root / "inner.png").symlink_to(root / "sub" / "ok.png")
    os.mkfifo(root / "pipe.png")
    return root


TRICKS = {
    "../secret.png": "bad_path",
    "sub/../../secret.png": "bad_path",
    "sub/../sub/ok.png": "bad_path",
    "..": "bad_path",
    "..\\secret.png": "bad_path",
    "sub\\..\\..\\secret.png": "bad_path",
    "./../secret.png": "bad_path",
    "../root_twin/x.png": "bad_path",
    "/etc/passwd": "bad_path",
    "//etc/passwd": "bad_path",
    "\\\\server\\share\\x.png": "bad_path",
    "/dev/zero": "bad_path",
    "/proc/self/mem": "bad_path",
    "C:\\Windows\\win.ini": "bad_path",
    "c:secret.png": "bad_path",
    "http://example.org/x.png": "bad_path",
    "https:/example.org/x.png": "missing_image",
    "file:///etc/passwd": "bad_path",
    "data:image/png;base64,AAAA": "bad_path",
    "sub/ok.png\0.jpg": "bad_path",
    "\0": "bad_path",
    "": "bad_path",
    ".": "bad_path",
    "///": "bad_path",
    "bad\udcff.png": "bad_path",
    "a" * 5000 + ".png": "bad_path",
    "link.png": "link_not_followed",
    "linked_folder/secret.png": "link_not_followed",
    "zero.png": "link_not_followed",
    "loop.png": "bad_path",
    "dangling.png": "missing_image",
    "%2e%2e/secret.png": "missing_image",
    "~/secret.png": "missing_image",
    "$HOME/secret.png": "missing_image",
    "..%2fsecret.png": "missing_image",
    "sub": "not_a_file",
    "pipe.png": "not_a_file",
}


@pytest.mark.parametrize("trick", TRICKS)
def test_no_path_reads_outside_the_root(trick: str, tricky_root: Path) -> None:
    with pytest.raises(BadImageError) as caught:
        resolve_under(tricky_root, trick)
    assert caught.value.reason == TRICKS[trick]
    verdict = inspect_image(tricky_root, trick, RULES)
    assert isinstance(verdict, Rejected) and verdict.reason == TRICKS[trick]
    assert verdict.image_id == image_id_of(trick)
    verdict.detail.encode()  # must go into a JSON file


@pytest.mark.parametrize("path", ["sub/ok.png", "sub\\ok.png", "./sub//ok.png", "inner.png"])
def test_harmless_spellings_find_the_picture(path: str, tricky_root: Path) -> None:
    assert resolve_under(tricky_root, path) == (tricky_root / "sub" / "ok.png").resolve()
    reference = inspect_image(tricky_root, path, RULES)
    assert isinstance(reference, ImageRef)
    assert reference.path == ("inner.png" if path == "inner.png" else "sub/ok.png")
    assert reference.image_id == make_id(reference.path)


def test_a_pipe_that_takes_the_place_of_a_picture_does_not_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "x.png")
    monkeypatch.setattr(Path, "is_file", lambda self: True)
    verdict = inspect_image(tmp_path, "x.png", RULES)
    assert isinstance(verdict, Rejected) and verdict.reason == "not_a_file"


def test_a_name_with_a_colon_is_a_name(tmp_path: Path) -> None:
    for name in ("Screenshot:1.png", "2024-01-01 at 10:30.png", "mailto:x.png"):
        (tmp_path / name).write_bytes(encode(flat(RED)))
        assert resolve_under(tmp_path, name) == (tmp_path / name).resolve()
        assert isinstance(inspect_image(tmp_path, name, RULES), ImageRef)


@pytest.mark.parametrize("name", ["holidays", "lost+found"])
def test_a_folder_that_cannot_be_read_is_named_and_not_left_out(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / "a.png").touch()
    scan = os.scandir

    def refuse(folder: str) -> object:
        if Path(folder).name == name:
            raise PermissionError(13, "Permission denied", str(folder))
        return scan(folder)

    monkeypatch.setattr(os, "scandir", refuse)  # modes do not stop root, who may run this
    if name == "lost+found":
        assert list_images(tmp_path) == ["a.png"]
        return
    with pytest.raises(DataError, match=f"cannot read the folder {tmp_path / name}: Permission denied"):
        list_images(tmp_path)


def test_threads_that_open_pictures_at_once_leave_the_warnings_as_they_were():
    before, inside = list(warnings.filters), Barrier(2, timeout=200)

    def silence(first):
        if not first:
            inside.wait()  # enters after the other one, and leaves after it
        with images._no_warnings:
            if first:
                inside.wait()
            warnings.warn("nobody hears this", stacklevel=1)
            inside.wait()

    with ThreadPoolExecutor(2) as pool, pytest.warns(match="heard"):
        list(pool.map(silence, (True, False)))
        warnings.warn("this is heard", stacklevel=1)
    assert warnings.filters == before


def chunk_of_text(kind: bytes, keyword: bytes, text: bytes, *, packed: bool = False) -> bytes:
    if kind == b"iTXt":
        text = bytes([packed, 0]) + b"\0\0" + (zlib.compress(text) if packed else text)
    elif packed:
        text = b"\0" + zlib.compress(text)
    return png_chunk(kind, keyword + b"\0" + text)


def with_chunks(content: bytes, *chunks: bytes) -> bytes:
    return content[:33] + b"".join(chunks) + content[33:-12] + b"".join(chunks) + content[-12:]


XMP = b'<x:xmpmeta><tiff:Orientation="6"/>' + b" " * 3_000_000 + b"</x:xmpmeta>"
LONG = b"x" * 3_000_000
TEXTS = {
    "tEXt": chunk_of_text(b"tEXt", b"workflow", LONG),
    "zTXt": chunk_of_text(b"zTXt", b"workflow", LONG, packed=True),
    "iTXt": chunk_of_text(b"iTXt", b"workflow", LONG),
    "packed iTXt": chunk_of_text(b"iTXt", b"workflow", LONG, packed=True),
    "iCCP": chunk_of_text(b"iCCP", b"profile", LONG, packed=True),
    "many": chunk_of_text(b"tEXt", b"prompt", LONG) * 25,
    "bomb": chunk_of_text(b"zTXt", b"a", bytes(2**27), packed=True),
    "unknown packing": png_chunk(b"zTXt", b"a\0\7xxxx"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_texts_and_profiles_of_any_length_do_not_spoil_a_whole_picture(name: str, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(with_chunks(turned(6), TEXTS[name]))
    image = open_image(tmp_path, "x.png", RULES)
    assert image.size == (16, 24)
    assert image.getpixel((15, 0)) == RED
    (tmp_path / "torn.png").write_bytes(with_chunks(encode(noise()), TEXTS[name])[:-300])
    with pytest.raises(BadImageError, match=r"truncated_image|broken_image"):
        open_image(tmp_path, "torn.png", RULES)


@pytest.mark.parametrize("packed", [True, False])
def test_a_long_text_that_turns_the_picture_turns_it(packed: bool, tmp_path: Path) -> None:
    xmp = chunk_of_text(b"iTXt", b"XML:com.adobe.xmp", XMP, packed=packed)
    for content in (encode(corner()), encode(corner())[:33] + xmp + encode(corner())[33:]):
        (tmp_path / "x.png").write_bytes(content)
        turns = xmp in content
        image = open_image(tmp_path, "x.png", RULES)
        assert image.size == ((16, 24) if turns else (24, 16))
        assert image.getpixel((15, 0) if turns else (0, 0)) == RED
    raw = b"\nexif\n      20\n" + exif_6().tobytes().hex().encode()
    old = chunk_of_text(b"zTXt", b"Raw profile type exif", raw, packed=True)
    (tmp_path / "x.png").write_bytes(encode(corner())[:33] + old + encode(corner())[33:])
    assert open_image(tmp_path, "x.png", RULES).size == (16, 24)


@pytest.mark.parametrize(
    ("content", "what"),
    [(encode(corner(), "AVIF"), "AVIF image"), (b"%PDF-1.7", "PDF document"), (b"<html>", "web page")],
)
def test_what_is_no_picture_is_called_by_what_it_is(content: bytes, what: str, tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(content)
    with pytest.raises(BadImageError, match=f"not_an_image: the file is an? {what}, expected one of JPEG"):
        open_image(tmp_path, "x.jpg", RULES)


def test_a_name_with_a_backslash_is_a_name_where_there_is_such_a_file(tmp_path: Path) -> None:
    (tmp_path / "back\\slash.png").write_bytes(encode(flat(RED)))
    assert list_images(tmp_path) == ["back\\slash.png"]
    reference = inspect_image(tmp_path, "back\\slash.png", RULES)
    assert isinstance(reference, ImageRef) and reference.path == "back\\slash.png"
    assert open_image(tmp_path, reference, RULES).getpixel((0, 0)) == RED
    with pytest.raises(BadImageError, match="bad_path"):
        resolve_under(tmp_path, "..\\back\\slash.png")


@pytest.fixture
def linked_root(tmp_path: Path) -> Path:
    """Pictures behind links of every kind."""
    root, store = tmp_path / "root", tmp_path / "store"
    for folder in (root / "real", root / ".hidden", store / "inner"):
        folder.mkdir(parents=True)
    for path in (root / "real/a.png", root / ".hidden/h.png", store / "b.png", store / "inner/c.png"):
        path.write_bytes(encode(flat(RED)))
    (root / "to_a.png").symlink_to(root / "real/a.png")
    (root / "to_b.png").symlink_to(store / "b.png")
    (root / "again").symlink_to(root / "real")
    (root / "shown").symlink_to(root / ".hidden")
    (root / "stored").symlink_to(store)
    (root / "twice").symlink_to(store / "inner")
    (store / "loop").symlink_to(store)
    (store / "up").symlink_to(tmp_path)
    return root


def test_links_are_followed_as_far_as_the_setting_says(linked_root: Path) -> None:
    found, told = images.find_images(linked_root)
    assert found == ["real/a.png", "shown/h.png", "to_a.png", "to_b.png"]
    assert told == (
        f"2 linked folders under {linked_root} are left out, such as stored; images.follow_links=all enters them",
    )
    none, told = images.find_images(linked_root, links="none")
    assert none == ["real/a.png", "to_a.png", "to_b.png"] and told[0].startswith("3 linked folders")
    every, told = images.find_images(linked_root, links="all")
    assert every == ["real/a.png", "shown/h.png", "stored/b.png", "stored/inner/c.png", "to_a.png", "to_b.png"]
    assert not told
    allowed = {
        links: {
            path for path in (*every, "again/a.png") if isinstance(inspect_image(linked_root, path, rules), ImageRef)
        }
        for links in ("none", "inside", "all")
        for rules in [ImagesConfig(follow_links=links)]
    }
    assert allowed["none"] == {"real/a.png"}
    assert allowed["inside"] == {"real/a.png", "shown/h.png", "to_a.png", "again/a.png"}
    assert allowed["all"] == {*every, "again/a.png"}
    with pytest.raises(BadImageError, match=r"link_not_followed: 'to_b.png' is a link out of the image root; .*=all"):
        open_image(linked_root, "to_b.png", RULES)
    with pytest.raises(BadImageError, match="bad_path"):
        open_image(linked_root, "../store/b.png", ImagesConfig(follow_links="all"))


def test_a_snapshot_in_a_hubs_cache_is_a_folder_like_any_other(tmp_path: Path) -> None:
    repository = tmp_path / "hub/datasets--who--what"
    snapshot = repository / "snapshots/0123abc"
    (repository / "blobs").mkdir(parents=True)
    (snapshot / "train").mkdir(parents=True)
    (repository / "blobs/9f86").write_bytes(encode(flat(RED)))
    (tmp_path / "hub/secret.png").write_bytes(encode(flat(GREEN)))
    (snapshot / "train/a.png").symlink_to("../../../blobs/9f86")
    (snapshot / "train/s.png").symlink_to("../../../../secret.png")
    for root, path in ((snapshot, "train/a.png"), (snapshot / "train", "a.png")):
        assert open_image(root, path, RULES).getpixel((0, 0)) == RED
        with pytest.raises(BadImageError, match="link_not_followed"):
            open_image(root, path.replace("a.png", "s.png"), RULES)
    with pytest.raises(BadImageError, match="link_not_followed"):
        open_image(snapshot, "train/a.png", ImagesConfig(follow_links="none"))
    (tmp_path / "linked").symlink_to(snapshot)
    assert open_image(tmp_path / "linked", "train/a.png", RULES).getpixel((0, 0)) == RED
