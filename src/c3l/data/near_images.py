"""Images that look like an earlier one: the same in another size, quality or brightness, found by a perceptual hash.

The hash is ``imagehash.phash`` (64 bits of the lowest frequencies), compared by how many bits differ.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL.Image import Image

from c3l.data.images import open_image
from c3l.errors import BadImageError, ConfigError
from c3l.records import ImageRef, Rejected
from c3l.settings.schema import ImagesConfig

NEAR_DUPLICATE = "near_duplicate"
"""The reason for which an image is rejected that looks like an earlier one."""

BITS = 64

MapHashes = Callable[[Callable[[str], np.uint64 | None], Iterable[str]], Iterable[np.uint64 | None]]


@dataclass(frozen=True, slots=True)
class NearImage:
    """An image like an earlier one, and how many bits of their hashes differ."""

    path: str
    first: str
    distance: int


def find_near(
    paths: Sequence[str], rules: ImagesConfig, advance: Callable[[int], None], map_hashes: MapHashes = map
) -> dict[str, NearImage]:
    """The images that look like one before them, by path; those that do not open are left to others.

    Each is compared with the images that are no near-duplicates themselves, and belongs to the nearest, of several to
    the first: so what is found depends on the order of the paths alone.

    Args:
        paths: In that order.
        rules: What is near, and how images are opened.
        advance: Told of each image that was looked at.
        map_hashes: Works as ``map`` does, such as by several threads.

    Raises:
        ConfigError: If imagehash is not installed.
    """
    hash_image = _load_hash()

    def look(path: str) -> np.uint64 | None:
        try:
            return hash_image(open_image(rules.root, path, rules))
        except BadImageError:
            return None

    hashes, kept, near = np.zeros(len(paths), np.uint64), list[str](), dict[str, NearImage]()
    for path, value in zip(paths, map_hashes(look, paths), strict=True):
        advance(1)
        if value is None:
            continue
        distances = np.bitwise_count(hashes[: len(kept)] ^ value)  # (kept,) uint8
        place = int(distances.argmin()) if kept else -1
        if kept and distances[place] <= rules.near_distance:
            near[path] = NearImage(path, kept[place], int(distances[place]))
        else:
            hashes[len(kept)] = value
            kept.append(path)
    return near


def reject_near(found: ImageRef | Rejected, near: Mapping[str, NearImage]) -> ImageRef | Rejected:
    """The image, or its rejection if it looks like an earlier one."""
    if isinstance(found, Rejected) or found.path not in near:
        return found
    one = near[found.path]
    detail = f"like {one.first!a}, {one.distance} of {BITS} bits differ"
    return Rejected(found.path, found.image_id, "images", NEAR_DUPLICATE, detail)


def tell_near(near: Mapping[str, NearImage], rules: ImagesConfig) -> str:
    """One line: how many there are, and the first."""
    told = f"{len(near)} near-duplicates of an earlier image, by at most {rules.near_distance} of {BITS} bits"
    if near:
        first = next(iter(near.values()))
        told += f", such as {first.path!a} of {first.first!a}"
        told += "; images.near_duplicates=drop leaves them out" if rules.near_duplicates == "count" else ", left out"
    return told


def _load_hash() -> Callable[[Image], np.uint64]:
    try:
        from imagehash import phash
    except ImportError:
        raise ConfigError("images.near_duplicates needs imagehash: pip install 'c3l[dedup]'") from None
    return lambda image: np.packbits(phash(image).hash).view(np.uint64)[0]
