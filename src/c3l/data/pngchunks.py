"""PNG files without the texts and profiles in them, which say nothing about the pixels.

Pillow refuses a whole image for a text or colour profile above a megabyte, as tools for drawing by models write them:
its limits are against texts that swell when they are unpacked, and hold for the process. So they are taken out before.
"""

import re
import zlib
from collections.abc import Iterator

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_LEFT_OUT = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
_XMP = b"XML:com.adobe.xmp"
_TELLS_EXIF = (b"exif", b"Raw profile type exif")  # other names that Pillow looks for the orientation under
_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)[0-9]')
_MOST = 2**26  # bytes of an unpacked text that is looked through


def without_texts(content: bytes) -> bytes:
    """The same image without texts and colour profile, but for what says which way up it is; others as they are."""
    if not content.startswith(_SIGNATURE) or not any(name in content for name in _LEFT_OUT):
        return content
    return _SIGNATURE + b"".join(_kept(memoryview(content)))


def _kept(content: memoryview) -> Iterator[bytes | memoryview]:
    """The chunks that stay; from where the file breaks the rules on, it stays as it is and tells of itself."""
    at = len(_SIGNATURE)
    while at + 12 <= len(content):
        end = at + 12 + int.from_bytes(content[at : at + 4], "big")
        if end > len(content):
            break
        name = bytes(content[at + 4 : at + 8])
        yield from _keep(name, content[at:end]) if name in _LEFT_OUT else [content[at:end]]
        at = end
    yield content[at:]


def _keep(name: bytes, chunk: memoryview) -> Iterator[bytes | memoryview]:
    """The chunk if it tells the EXIF data; of XMP, which may be long, the orientation alone."""
    keyword, _, text = bytes(chunk[8:-4]).partition(b"\0")
    if name != b"iCCP" and keyword in _TELLS_EXIF:
        yield chunk
    elif name == b"iTXt" and keyword == _XMP and (found := _ORIENTATION.search(_unpack(text))):
        data = _XMP + b"\0\0\0\0\0" + found[0]
        yield len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")


def _unpack(text: bytes) -> bytes:
    """What an international text says after its two flags, language and translated keyword."""
    said = text[2:].partition(b"\0")[2].partition(b"\0")[2]
    if text[:1] != b"\x01":
        return said
    try:
        return zlib.decompressobj().decompress(said, _MOST)
    except zlib.error:
        return b""
