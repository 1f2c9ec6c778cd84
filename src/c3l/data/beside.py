"""What a row names beside its image: the same picture again, another one, a film, a document; or only a word like it.

A name alone refuses no row: beside an image a file counts as another picture, film or sound if the name of its key says
so (`image2`, `question_audio`), bytes if they begin as one does. What may be one is counted, ``c3l.data.noted``.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import PurePosixPath
from typing import Any

from c3l.data.magic import HEAD, tell_kind
from c3l.data.names import fold_name
from c3l.data.rejection import BadRowError

IMAGES = frozenset("jpg jpeg jpe jfif png webp gif bmp tif tiff pbm pgm ppm pnm avif heic jp2 svg".split())
FILMS = frozenset("mp4 avi mov mkv webm m4v mpg mpeg wmv flv wav mp3 flac ogg m4a aac opus".split())
DOCUMENTS = frozenset(["pdf"])
OTHER_ENDINGS = FILMS | DOCUMENTS
ENDINGS = IMAGES | OTHER_ENDINGS
IMAGE_KEY = re.compile(  # `image_path`, `img`, `input_image_files`
    r"(?:input_|source_)?(?:image|img|picture|pic|photo|frame)s?(?:_?(?:path|file|url|uri|link|list)s?)?"
)
ITS_NAME_KEY = re.compile(r"(?:image|img|picture|photo)s?_?(?:file_?)?(?:name|id|src|source)s?")  # `image_id`
MAYBE_KEY = re.compile(  # an image's only if the value ends like one
    rf"{ITS_NAME_KEY.pattern}|(?:file|media)_?(?:name|path|url)s?|files?|paths?|urls?|medias?|attachments?"
)
EMPTY: tuple[Any, ...] = (None, "", False, [], {})
LONGEST_NAME, _DEEPEST = 1000, 5
# texts, and where a row comes from: files under these are not what it is about
ABOUT_ELSE = frozenset(
    "id name source origin dataset reference citation license split conversations messages conversation".split()
)
# texts of a row, and where its image comes from; beside an image a file's name is a word there
_SAID = frozenset(
    "query response prompt completion question answer answers instruction output texts text caption captions title "
    "dialog dialogue chat turns description hint context history system ocr ocr_tokens tokens words tags labels label "
    "metadata meta info meta_info meta_data extra".split()
)
# what is made of an image, or is the same in small
_MAPS = frozenset(
    "mask masks map maps seg segm segmentation depth disparity normals edges canny heatmap saliency matte annotation "
    "annotations".split()
)
_COPIES = frozenset("thumbnail thumbnails thumb preview decoded".split())
_WORDS, _MADE = ABOUT_ELSE | _SAID, _MAPS | _COPIES
# what is said of the one image: where it was taken from, what it is called elsewhere
_OF_ONE = frozenset(
    "name names filename filenames id ids key keys hash md5 sha sha1 sha256 local original orig origin source src "
    "caption captions title description label labels class category tag tags license author format type domain "
    "dataset bytes binary raw feature features embedding embeddings".split()
)
_PATHS = frozenset("path paths file files filename filenames name names id ids url urls uri uris link links".split())
# the words for a picture; an option that is a file is one too
_PICTURE_WORDS = frozenset(
    "image images img imgs picture pictures pic pics photo photos frame frames choice choices option options".split()
)
_FILM_WORDS = frozenset(
    "video videos clip clips film films movie movies audio audios speech sound sounds voice voices wav mp3 mp4".split()
)
_PICTURE_KINDS = frozenset(
    f"{name} image" for name in "a PNG|a JPEG|a GIF|a TIFF|a WebP|an AVIF|a HEIC|a JPEG 2000".split("|")
)
_FILM_KINDS = frozenset(["a sound", "a film", "a sound or film", "a film or sound"])
_FILE_KINDS = _PICTURE_KINDS | _FILM_KINDS | {"a PDF document"}
_ADDRESS = re.compile(r"//|www\.|[\w.-]+\.(?:com|org|net|edu|gov|io|co)/|[^/]*://")
_OF_FILES = ENDINGS | {"img"}  # also of what was unpacked and is of no known kind
_UNPACKED = re.compile(r"[0-9a-f]{32}\.(?:png|jpg|webp|gif|img)")  # as ``c3l.data.embedded`` names what it writes


@dataclass(frozen=True, slots=True)
class Beside:
    """A file beside the image of a row.

    Attributes:
        key: The key of the row that it lies under.
        words: The words of this key, and of those inside.
        medium: ``image``, ``film``, also for a sound, ``document``, or ``unknown``.
        is_content: Whether it lies there itself, not only its name.
    """

    key: str
    words: frozenset[str]
    medium: str
    is_content: bool

    @property
    def counts(self) -> bool:
        """Whether the row is about it as well."""
        if self.medium == "film":
            return self.is_content or bool(self.words & _FILM_WORDS and not self.words & _OF_ONE)
        is_other = self.is_content or self.words & _PICTURE_WORDS
        return self.medium == "image" and bool(is_other) and not self.words & _OF_ONE


def refuse_beside(row: Mapping[str, Any], main: Sequence[str]) -> None:
    """Refuse a row that is about more than its image.

    Raises:
        BadRowError: ``several_images``, or ``other_medium``.
    """
    for one in _list_beside(row, main):
        if one.counts and one.medium == "image":
            told = f"the row names {main[0][:200]!a}, but another image lies under `{one.key[:40]}`"
            raise BadRowError("several_images", told)
        if one.counts:
            raise BadRowError("other_medium", f"the row has a film or sound under `{one.key[:40]}` beside its image")


def has_files(row: Mapping[str, Any], main: Sequence[str]) -> bool:
    """Whether files are named beside the image of a row, which are not read."""
    return any(not one.counts for one in _list_beside(row, main))


def has_maps(row: Mapping[str, Any]) -> bool:
    """Whether masks, depth or other maps of pixels lie beside the image of a row, which are not shown."""
    return any(
        isinstance(one, bytes) or (_is_file(one) and ending(one) in IMAGES)
        for key, value in row.items()
        if split_words(str(key)) & _MAPS and value not in EMPTY
        for _, one in walk(value)
    )


def _list_beside(row: Mapping[str, Any], main: Sequence[str]) -> Iterator[Beside]:
    """Files beside an image, but for those that are the same, are made of it, or are only words."""
    names = Names(main)
    for key, value in row.items():
        name, words = fold_name(str(key)), split_words(str(key))
        if key in ("image", "images") or name in _WORDS or words & _MADE or value in EMPTY:
            continue
        is_compared = IMAGE_KEY.fullmatch(name) or MAYBE_KEY.fullmatch(name)  # when the image was found
        for inside, one in walk(value):
            if isinstance(one, str) and ending(one) not in _OF_FILES:
                continue
            every = words | (inside - {"bytes"})
            if every & _COPIES or not (medium := _tell_medium(one, every)):
                continue
            is_content = isinstance(one, bytes) or ("path" in inside and is_unpacked(one) and ending(one) in IMAGES)
            found = Beside(str(key), every, medium, is_content)
            if isinstance(one, bytes) or not (
                is_address(one) or names.hold(one) or (medium == "image" and (is_compared or _is_its_name(found, main)))
            ):
                yield found


def _is_its_name(found: Beside, main: Sequence[str]) -> bool:
    """Whether a name may be that of the image itself, which has none of its own where it was unpacked."""
    if found.is_content or found.words & _OF_ONE:
        return not found.is_content
    is_path = bool(found.words & _PATHS) and not _second(found.words)
    return all(map(is_unpacked, main)) and (is_path or not found.counts)


def _second(words: frozenset[str]) -> bool:
    """Whether a key of an image has a word for which of several: `second_image_path`."""
    return bool(words - _PATHS - _PICTURE_WORDS)


def holds_file(value: Any) -> bool:
    """Whether a value has bytes that begin as an image, film, sound or document, or had them before unpacking."""
    return any(
        (isinstance(one, bytes) and _tell_kind(one) in _FILE_KINDS)
        or (isinstance(one, str) and "path" in inside and is_unpacked(one))
        for inside, one in walk(value)
    )


def _tell_kind(content: bytes) -> str:
    """What bytes are, by how they begin; empty for anything."""
    kind = tell_kind(content[:HEAD])
    return kind.what if kind else ""


def _tell_medium(one: str | bytes, words: frozenset[str]) -> str:
    """As of ``Beside``; `unknown` for bytes under a key of images or films that begin as neither; empty for words."""
    if isinstance(one, bytes):
        what = _tell_kind(one)
        is_named = words & (_PICTURE_WORDS | _FILM_WORDS) and not words & _OF_ONE
        known = "image" if what in _PICTURE_KINDS else "film" if what in _FILM_KINDS else ""
        return known or ("unknown" if is_named else "")
    if is_unpacked(one) and ending(one) not in IMAGES:  # of bytes that begin as no image
        return "film" if words & _FILM_WORDS else "image"
    if not _is_file(one):
        return ""
    return "image" if ending(one) in IMAGES else "film" if ending(one) in FILMS else "document"


@lru_cache(4096)
def split_words(key: str) -> frozenset[str]:
    """The words of a key, without numbers behind them: of `Image2` it is `image`."""
    return frozenset(word.rstrip("0123456789") or word for word in fold_name(key).split("_"))


def is_path_key(key: str) -> bool:
    """Whether a key says where a file is, rather than which picture: `image_path`, `file_name`, `image_url`."""
    return bool(split_words(key) & _PATHS)


def walk(value: Any, inside: frozenset[str] = frozenset(), depth: int = 0) -> Iterator[tuple[frozenset[str], Any]]:
    """The texts and bytes in a value, whatever holds them, each with the words of the keys around it."""
    if isinstance(value, (str, bytes)):
        yield inside, value
    elif depth < _DEEPEST and isinstance(value, list):
        for one in value:
            yield from walk(one, inside, depth + 1)
    elif depth < _DEEPEST and isinstance(value, Mapping):
        for key, one in value.items():
            yield from walk(one, inside | split_words(str(key)), depth + 1)


def _is_file(text: Any) -> bool:
    """Whether a text looks like the name of a file with an image, a film, a sound or a document."""
    return isinstance(text, str) and len(text) < LONGEST_NAME and " " not in text.strip() and ending(text) in ENDINGS


def ending(path: str) -> str:
    """What a name ends with, in small letters, without the dot."""
    return path.partition("?")[0].rpartition(".")[2].strip().lower() if "." in path else ""


def is_address(path: str) -> bool:
    """Whether a path is one of the web."""
    return _ADDRESS.match(path.strip()) is not None


def is_unpacked(path: str) -> bool:
    """Whether a path is one that was given to an image which lay in its row."""
    return _UNPACKED.fullmatch(path) is not None


class Names:
    """Names of images, to ask whether others may be of the same: of many images each is looked at once."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._paths = frozenset(paths)

    def hold(self, path: str, *, anywhere: bool = False) -> bool:
        """Whether a name may be of one of the images: an ending or the folders above may differ, or be left out.

        Args:
            path: The name.
            anywhere: Whether the last folder may differ, too, since one of them says where the file is on some machine.
                Under two keys of pictures `left/1.png` and `right/1.png` are two.
        """
        if path in self._paths:
            return True
        stem, folder = _split_path(path)
        folders = self._folders.get(stem, set())
        return bool(folders) and (anywhere or not folder or "" in folders or folder in folders)

    @cached_property
    def _folders(self) -> dict[str, set[str]]:
        """Stem -> the last folders of the images that have it, empty for one that may be any."""
        found: dict[str, set[str]] = {}
        for stem, folder in map(_split_path, self._paths):
            found.setdefault(stem, set()).add(folder)
        return found


def is_same(path: str, other: str) -> bool:
    """Whether two names may be of one image, as ``Names.hold``."""
    return Names([other]).hold(path)


def _split_path(path: str) -> tuple[str, str]:
    """A name without ending and folders, and its last folder; empty where it may be any, as in an address."""
    one = PurePosixPath(path.strip().replace("\\", "/").partition("?")[0])
    return one.stem, "" if is_address(path) else one.parent.name
