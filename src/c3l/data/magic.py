"""What kind of file somebody's bytes are, by how they begin: a name says little, and downloads bring anything."""

from dataclasses import dataclass

HEAD = 600  # bytes that are looked at

_EXPORT = "export its rows as JSON lines"
_UNPACK = "unpack it, and name the JSON file in it"
_DOWNLOAD = "download the file itself"


@dataclass(frozen=True, slots=True)
class Kind:
    """What a file is.

    Attributes:
        what: With its article, such as ``a zip archive``.
        remedy: What to do where JSON was expected.
        packing: What unpacks it where it is one packed file: gzip, zstd, bz2 or xz; else empty.
    """

    what: str
    remedy: str
    packing: str = ""


_KINDS = {  # by the bytes at the beginning
    b"\x1f\x8b": Kind("packed by gzip", "gunzip it", "gzip"),
    b"\x28\xb5\x2f\xfd": Kind("packed by zstd", "unpack it by zstd -d", "zstd"),
    b"BZh": Kind("packed by bzip2", "bunzip2 it", "bz2"),
    b"\xfd7zXZ\0": Kind("packed by xz", "unpack it by xz -d", "xz"),
    b"\x04\x22\x4d\x18": Kind("packed by lz4", "unpack it by lz4 -d"),
    b"PK\x03\x04": Kind("a zip archive (or a table or document that is one)", _UNPACK),
    b"PK\x05\x06": Kind("an empty zip archive", _DOWNLOAD),
    b"7z\xbc\xaf\x27\x1c": Kind("a 7z archive", _UNPACK),
    b"Rar!": Kind("a rar archive", _UNPACK),
    b"PAR1": Kind("a parquet file", _EXPORT),
    b"ARROW1": Kind("an Arrow file", _EXPORT),
    b"\xff\xff\xff\xff": Kind("an Arrow stream", _EXPORT),
    b"FEA1": Kind("a feather file", _EXPORT),
    b"ORC": Kind("an ORC file", _EXPORT),
    b"Obj\x01": Kind("an Avro file", _EXPORT),
    b"SQLite format 3\0": Kind("an SQLite database", _EXPORT),
    b"\x89HDF\r\n\x1a\n": Kind("an HDF5 file", _EXPORT),
    b"\x93NUMPY": Kind("a NumPy array", _EXPORT),
    b"\xd0\xcf\x11\xe0": Kind("an old Office document", _EXPORT),
    b"version https://git-lfs": Kind(
        "a pointer of Git LFS, not the file that it stands for", "fetch it by git lfs pull"
    ),
    b"\x89PNG": Kind("a PNG image", _DOWNLOAD),
    b"\xff\xd8\xff": Kind("a JPEG image", _DOWNLOAD),
    b"GIF8": Kind("a GIF image", _DOWNLOAD),
    b"II*\0": Kind("a TIFF image", _DOWNLOAD),
    b"MM\0*": Kind("a TIFF image", _DOWNLOAD),
    b"8BPS": Kind("a Photoshop image", _DOWNLOAD),
    b"\xff\x0a": Kind("a JPEG XL image", _DOWNLOAD),
    b"\0\0\0\x0cJXL ": Kind("a JPEG XL image", _DOWNLOAD),
    b"\0\0\0\x0cjP": Kind("a JPEG 2000 image", _DOWNLOAD),
    b"\0\0\x01\0": Kind("an icon", _DOWNLOAD),
    b"%PDF": Kind("a PDF document", _EXPORT),
    b"%!PS": Kind("a PostScript document", _EXPORT),
    b"{\\rtf": Kind("an RTF document", _EXPORT),
    b"ID3": Kind("a sound", _DOWNLOAD),
    b"OggS": Kind("a sound or film", _DOWNLOAD),
    b"fLaC": Kind("a sound", _DOWNLOAD),
    b"\x1aE\xdf\xa3": Kind("a film", _DOWNLOAD),
    b"\x7fELF": Kind("a program", _DOWNLOAD),
    b"\xff\xfe\0\0": Kind("text in UTF-32", "save it as UTF-8"),
    b"\xff\xfe": Kind("text in UTF-16", "save it as UTF-8"),
    b"\xfe\xff": Kind("text in UTF-16", "save it as UTF-8"),
}
TAR = Kind("a tar archive", _UNPACK)
_RIFF = {b"WEBP": Kind("a WebP image", _DOWNLOAD), b"WAVE": Kind("a sound", _DOWNLOAD)}
_BOXES = {b"avif": "an AVIF image", b"avis": "an AVIF image", b"hei": "a HEIC image", b"mif1": "a HEIC image"}
_MARKUP = {b"<!doctype html": "a web page", b"<html": "a web page", b"<head": "a web page", b"<svg": "an SVG drawing"}


def tell_kind(head: bytes) -> Kind | None:
    """What a file is whose first ``HEAD`` bytes these are; None for what may be JSON or other plain text."""
    if head[257:262] == b"ustar":
        return TAR
    if head[4:8] == b"ftyp":
        box = next((what for mark, what in _BOXES.items() if head[8:].startswith(mark)), "a film")
        return Kind(box, _DOWNLOAD)
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12], Kind("a film or sound", _DOWNLOAD))
    known = next((kind for mark, kind in _KINDS.items() if head.startswith(mark)), None)
    return known or _tell_text(head) or _tell_binary(head)


def _tell_text(head: bytes) -> Kind | None:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(b"<?xml"):
        return Kind("an XML document", _EXPORT)
    page = next((what for mark, what in _MARKUP.items() if text.startswith(mark)), None)
    remedy = "the server may want you to log in: " + _DOWNLOAD if page == "a web page" else _DOWNLOAD
    return Kind(page, remedy) if page else None


def _tell_binary(head: bytes) -> Kind | None:
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return Kind("a pickle, which is never opened since it can run code", _EXPORT)
    if head[8:10] == b'{"' and head[6:8] == b"\0\0":
        return Kind("a safetensors file", _EXPORT)
    if head and not head.strip(b"\0"):
        return Kind("nothing but zero bytes", "its copy or download broke off: " + _DOWNLOAD)
    if head[1:2] == b"\0" or head[:1] == b"\0":
        wide = head[:1] in b"[{" or head[1:2] in b"[{"
        return Kind("text in UTF-16", "save it as UTF-8") if wide else Kind("no text", _DOWNLOAD)
    return None
