"""Which image a row of a data file is about, under the names that tools give it, and what else it names."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from c3l.data.beside import (
    ABOUT_ELSE,
    DOCUMENTS,
    EMPTY,
    ENDINGS,
    FILMS,
    IMAGE_KEY,
    IMAGES,
    ITS_NAME_KEY,
    LONGEST_NAME,
    MAYBE_KEY,
    OTHER_ENDINGS,
    Names,
    ending,
    holds_file,
    is_address,
    is_path_key,
    is_same,
    is_unpacked,
    refuse_beside,
    walk,
)
from c3l.data.names import fold_name
from c3l.data.paths import clean_path
from c3l.data.rejection import BadRowError, is_utf8
from c3l.errors import BadImageError

MAIN = "image images".split()
_OTHER_KEY = re.compile(  # `video`, `audio_path`
    r"(?:input_)?(?:video|audio|speech|sound|voice|wav|mp4|pdf|point_?cloud|pcd|mesh)s?"
    r"(?:_?(?:path|file|url|uri|list|name|id)s?)?"
)
_OF_IMAGE = ("_id", "_name", "_url")  # beside an image they say where it was taken from
_INSIDE = ("path", "image", "url", "image_url", "file_name", "filename", "file", "src", "image_path", "img_path")
_BASE64 = re.compile(r"data:|(?:iVBORw0KGgo|/9j/|R0lGOD|UklGR|Qk0)[A-Za-z0-9+/=\s]{40}")


ImagePaths = str | tuple[str, ...]
"""The path of a row's image, or those of its several images in their order; empty where there is none."""


def list_paths(image: ImagePaths) -> tuple[str, ...]:
    """The paths, one or several."""
    return image if isinstance(image, tuple) else (image,)


def find_image(row: Mapping[str, Any], shown: Sequence[Any] = ()) -> str:
    """As ``find_images``, of a row that may have one.

    Raises:
        BadRowError: As there, and ``several_images``.
    """
    found = find_images(row, shown)
    if isinstance(found, tuple):
        raise BadRowError("several_images", f"the row has {len(found)} images, expected one")
    return found


def find_images(row: Mapping[str, Any], shown: Sequence[Any] = ()) -> ImagePaths:
    """The path of the image of a row, with ``/``, or of its several images; empty if the row names no image.

    Args:
        row: The row.
        shown: What the parts of its turns name beside it.

    Raises:
        BadRowError: ``other_medium`` for a row about a video, sound or document, ``several_images`` where its keys do
            not agree, ``bad_path``, and ``inline_image`` for an image without a path.
    """
    shown_paths = [path for value in shown for path in _paths(value)]
    main = _main(row) or shown_paths
    besides = [*_besides(row, bool(main)), *(("a part of a turn", path) for path in shown_paths)]
    anywhere = False
    if not main and besides:
        chosen = next((key for key, path in besides if not is_address(path)), besides[0][0])
        main = [path for key, path in besides if key == chosen]
        besides = [(key, path) for key, path in besides if key != chosen and not is_address(path)]
        anywhere = is_path_key(chosen)
    if all(map(is_unpacked, main)):  # it has no name of its own that theirs could differ from
        besides = [(key, path) for key, path in besides if is_unpacked(path)]
    names = Names(main)
    for key, path in besides:
        if main and not names.hold(path, anywhere=anywhere or is_path_key(key)):
            raise BadRowError("several_images", f"the row names {main[0][:200]!a}, but another under {key!a}")
    if len(main) > 1 and shown_paths and not _are_same(shown_paths, main):
        raise BadRowError("several_images", "the parts of turns show other images than the row, or in another order")
    if not main and (name := next((key for key, value in row.items() if _names_one(key, value)), None)):
        raise BadRowError("no_image", f"the row has `{name}`, but the path of no image")
    if medium := next(_other_media(row, main), None):
        raise BadRowError("other_medium", f"the row is about its {medium}, expected an image or none")
    if not main and (unread := next(_unread_files(row), None)):
        raise BadRowError(
            "no_image", f"the row has a file under `{unread[:40]}`, which is not read; name an image by `image`"
        )
    if main:
        refuse_beside(row, main)
    return tuple(map(_clean, main)) if len(main) > 1 else _clean(main[0]) if main else ""


def refused_image(row: Mapping[str, Any]) -> str | None:
    """The path of a single image that is refused, as it stands there."""
    value = row.get("image") or row.get("images")
    value = value[0] if isinstance(value, list) and len(value) == 1 else value
    return value if isinstance(value, str) and len(value) < 1000 and is_utf8(value) else None


def is_image_key(kind: str) -> bool:
    """Whether a part of a turn of this type is an image."""
    return IMAGE_KEY.fullmatch(fold_name(kind)) is not None


def is_other_medium(kind: str) -> bool:
    """Whether a part of a turn of this type is a video, a sound or a document."""
    return _OTHER_KEY.fullmatch(fold_name(kind)) is not None or fold_name(kind) in ("file", "input_file", "media")


def names_file(key: str, value: Any) -> bool:
    """Whether a key beside a row's images names an image's file: ``file_name``, ``image_path``, ``image_id``."""
    named = IMAGE_KEY.fullmatch(fold_name(key)) or MAYBE_KEY.fullmatch(fold_name(key))
    return named is not None and all(isinstance(one, str) for one in (value if isinstance(value, list) else [value]))


def _main(row: Mapping[str, Any]) -> list[str]:
    """The images under ``image`` or ``images``; both hold the same where tables of two layouts were joined."""
    first, second = ([*_paths(row.get(key))] for key in MAIN)
    if first and second and not _are_same(first, second):
        raise BadRowError("several_images", "the row has other images under `image` than under `images`")
    return first or second


def _besides(row: Mapping[str, Any], has_main: bool) -> Iterator[tuple[str, str]]:
    """What other keys name, each with its key: beside an image only what looks like the path of another."""
    for key, value in row.items():
        if key in MAIN or value in EMPTY:
            continue
        if IMAGE_KEY.fullmatch(fold_name(key)) and not has_main:
            yield from ((key, path) for path in _paths(value))
        elif IMAGE_KEY.fullmatch(fold_name(key)) or MAYBE_KEY.fullmatch(fold_name(key)):
            paths = (path for _, path in walk(value) if isinstance(path, str) and ending(path) in IMAGES)
            yield from ((key, path) for path in paths if not (has_main and is_address(path)))


def _other_media(row: Mapping[str, Any], main: Sequence[str]) -> Iterator[str]:
    endings = FILMS if main else OTHER_ENDINGS
    for key, value in row.items():
        if value in EMPTY or (main and fold_name(key).endswith((*_OF_IMAGE, *DOCUMENTS))):
            continue
        if _OTHER_KEY.fullmatch(fold_name(key)):
            yield f"`{key}`"
        elif MAYBE_KEY.fullmatch(fold_name(key)):
            yield from (f"`{key}` {path[:100]!a}" for path in _texts(value) if ending(path) in endings)


def _unread_files(row: Mapping[str, Any]) -> Iterator[str]:
    """The keys of a row without an image whose values are images, films or documents all the same."""
    for key, value in row.items():
        inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
        texts = [one for part in inside for one in (part.values() if isinstance(part, dict) else [part])]
        names = (one for one in texts if isinstance(one, str) and len(one) < LONGEST_NAME and " " not in one.strip())
        if (
            (fold_name(key) not in ABOUT_ELSE and any(ending(one) in ENDINGS for one in names))
            or any(isinstance(one, str) and _BASE64.match(one) for one in texts)
            or holds_file(value)
        ):
            yield key


def _names_one(key: str, value: Any) -> bool:
    return value not in EMPTY and ITS_NAME_KEY.fullmatch(fold_name(key)) is not None


def _texts(value: Any) -> Iterator[str]:
    yield from (one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str))


def _paths(value: Any) -> Iterator[str]:
    """The paths in a value of an image's key: a text, an object that holds one, or a list of them."""
    if value in EMPTY:
        return
    if isinstance(value, list):
        for one in value:
            yield from _paths(one) if not isinstance(one, list) else _refuse(one)
    elif isinstance(value, str):
        if _BASE64.match(value):
            raise _inline()
        yield value
    elif isinstance(value, dict):
        yield from _path_inside(value)
    else:
        yield from _refuse(value)


def _path_inside(value: Mapping[str, Any]) -> Iterator[str]:
    held = value.get("bytes")
    if (isinstance(held, bytes) and held) or (isinstance(held, str) and _BASE64.match(held)):
        raise _inline()  # its path is where it was elsewhere
    found = next((value[key] for key in _INSIDE if value.get(key) not in EMPTY), None)
    if found is not None:
        yield from _paths(found)
    elif any(value.get(key) not in EMPTY for key in ("bytes", "data", "base64", "b64", "array")):
        raise _inline()
    elif any(one not in EMPTY for one in value.values()):
        yield from _refuse(value)


def _refuse(value: Any) -> Iterator[str]:
    if isinstance(value, bytes):
        raise _inline()
    raise BadRowError("bad_path", f"got an image that is a {type(value).__name__}, expected a path")


def _inline() -> BadRowError:
    return BadRowError(
        "inline_image",
        "the image itself is in the row; --set images.unpack=true writes such images to files under --image-root",
    )


def _are_same(paths: Sequence[str], others: Sequence[str]) -> bool:
    return len(paths) == len(others) and all(map(is_same, paths, others))


def _clean(path: str) -> str:
    try:
        return clean_path(path.strip())
    except BadImageError as error:
        raise BadRowError(error.reason, error.detail) from None
