"""Texts in PNG files: however long, they neither spoil a picture nor hide which way up it is."""

import zlib
from pathlib import Path

import pytest
from tests.data.drawn import RED, corner, encode, exif_6, noise, png_chunk, turned

from c3l.data.images import open_image
from c3l.errors import BadImageError
from c3l.settings.schema import ImagesConfig

RULES = ImagesConfig()


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
