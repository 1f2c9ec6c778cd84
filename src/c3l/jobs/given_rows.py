"""Rows that a Python caller has in memory, as the method takes them."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from c3l.data.decoding import decode_image, settle_image
from c3l.data.layouts import TABLE
from c3l.data.rejection import BadRowError, check_text
from c3l.data.shown import check_shown, trim_question
from c3l.data.turns import read_talk
from c3l.errors import BadImageError, DataError
from c3l.method.scoring import Context
from c3l.records import Sample, make_id
from c3l.settings.roots import expand_home
from c3l.settings.schema import ImagesConfig

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(slots=True)
class GivenRows:
    """The rows of a call.

    Attributes:
        rows: Each as a sample, and why it cannot be scored; empty if it can, as far as it was looked at.
        contexts: What stands before the questions, by the ids of the samples; of those that have something there.
        images: How each image is had, by its name.
        sets: The names of several images that are shown together, by a name for all.
        paths: Paths of images that were given so, by their names.
    """

    rows: list[tuple[Sample, str]] = field(default_factory=list)
    contexts: dict[str, Context] = field(default_factory=dict)
    images: dict[str, Callable[[], Any]] = field(default_factory=dict)
    sets: dict[str, tuple[str, ...]] = field(default_factory=dict)
    paths: dict[str, str] = field(default_factory=dict)

    @property
    def samples(self) -> list[Sample]:
        """Those that may be scored, in their order."""
        return [sample for sample, fault in self.rows if not fault]

    def tell_paths(self, name: str) -> tuple[str, ...]:
        """The paths of an image, or of several that are shown together; none where one was given in memory."""
        paths = [self.paths.get(one, "") for one in self.sets.get(name, (name,))]
        return tuple(paths) if all(paths) else ()


def read_given(rows: Iterable[Mapping[str, Any]], rules: ImagesConfig) -> GivenRows:
    """Look at every row once; images in memory are named by what they show, and let go of.

    Raises:
        DataError: If a row is of another form.
    """
    found, seen = GivenRows(), Counter[str]()
    table = _find_table(rows)
    for number, row in enumerate(rows):
        shown, context = _read_images(number, row), _read_context(number, row)
        names = [_name(image, rules, number, place) for place, image in enumerate(shown)]
        for place, (name, image) in enumerate(zip(names, shown, strict=True)):
            look = partial(_look_up, table, number, place) if table is not None else partial(_same, image)
            found.images.setdefault(name, look)
            if isinstance(image, str | Path):
                found.paths[name] = str(image)
        name = names[0] if len(names) == 1 else make_id("several", *names)
        if len(names) > 1:
            found.sets[name] = tuple(names)
        question, answer = _text(number, row, "question"), _text(number, row, "answer")
        fault = _find_half_characters(shown, context, question, answer)
        if not fault:
            question, context, fault = _take_placeholders(question, context, tuple(names))
        said = (question, answer, context.system, *(text for turn in context.earlier for text in turn))
        content = make_id(name, *said)
        sample_id = make_id(content, seen[content])
        seen[content] += 1
        found.rows.append((Sample(sample_id, name, "rows", question, answer, 0, number), fault))
        if context != Context():
            found.contexts[sample_id] = context
    return found


def _find_table(rows: Any) -> Any:
    """What gives a row again by its place, not by a label as the series of pandas do; None where nothing does."""
    if hasattr(rows, "iloc"):
        return rows.iloc
    return rows if hasattr(rows, "__getitem__") and hasattr(rows, "__len__") else None


def open_given(image: Any, rules: ImagesConfig) -> "Image":
    """An image as a row gives it, in RGB and upright.

    Raises:
        BadImageError: If it cannot be read or used.
    """
    if isinstance(image, str | Path):
        try:
            image = expand_home(image).read_bytes()
        except OSError as error:
            raise BadImageError("unreadable_file", f"cannot read {image}: {error.strerror}") from None
        except ValueError as error:  # no name of a file, as with NUL
            raise BadImageError("bad_path", f"cannot read {str(image)!a}: {error}") from None
    return decode_image(image, rules) if isinstance(image, bytes) else settle_image(image, rules)


def _read_images(number: int, row: Any) -> list[Any]:
    """The image of a row that has all that is needed, or its several."""
    if not isinstance(row, Mapping):
        expected = "expected a mapping such as {'image': ..., 'question': ..., 'answer': ...}"
        raise DataError(f"got row {number} of type {type(row).__name__}, {expected}")
    if missing := {"image", "question", "answer"} - row.keys():
        raise DataError(f"got row {number} without {' and '.join(sorted(missing))}, expected all three")
    images = list(map(_unwrap, _list_images(row)))
    if not images:
        raise DataError(f"got row {number} with an empty list of images, expected at least one")
    for image in images:
        if not isinstance(image, str | Path | bytes) and not hasattr(image, "save"):
            expected = "expected a PIL.Image, a path, or the bytes of a file"
            raise DataError(f"got row {number} with an image of type {type(image).__name__}, {expected}")
    return images


def _list_images(row: Mapping[str, Any]) -> Sequence[Any]:
    return row["image"] if isinstance(row["image"], list | tuple) else [row["image"]]


def _unwrap(image: Any) -> Any:
    """What ``datasets`` gives for an image that it does not decode, as bytes or a path; others as they are."""
    return image.get("bytes") or image.get("path") if isinstance(image, Mapping) else image


def _read_context(number: int, row: Mapping[str, Any]) -> Context:
    system = _text(number, row, "system")
    history = row.get("history")
    turns = [] if _is_missing(history) or (isinstance(history, Sized) and not len(history)) else _as_list(history)
    if turns and all(isinstance(turn, Mapping) for turn in turns):
        return _read_turns(number, turns, system)
    pairs: list[tuple[str, str]] = []
    for turn in turns:
        said = _as_list(turn)
        if len(said) != 2 or not all(isinstance(text, str) for text in said):
            raise DataError(f"got row {number} with {turn!r} in `history`, expected pairs of a question and its answer")
        pairs.append((said[0], said[1]))
    return Context(system, tuple(pairs))


def _read_turns(number: int, turns: Sequence[Mapping[str, Any]], system: str) -> Context:
    """Earlier turns as chats and tables have them, read as those of a data file."""
    try:
        talk = read_talk({"messages": [one for turn in turns for one in _spread(turn)], "system": system})
    except BadRowError as error:
        raise DataError(f"got row {number} with turns in `history` that cannot be read: {error.detail}") from None
    if any(talk.shown):
        raise DataError(f"got row {number} with images in `history`, expected texts: list them under `image`")
    return Context(talk.system, talk.pairs)


def _spread(turn: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """A turn as it is; a question with its answer as two."""
    if not set(TABLE) <= turn.keys():
        yield dict(turn)
        return
    for role, key in zip(("user", "assistant"), TABLE, strict=True):
        yield {"role": role, "content": turn[key]}


def _as_list(value: Any) -> list[Any]:
    """What stands in order, as in the arrays of a data frame; anything else as the only one."""
    ordered = isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping | set | frozenset)
    return list(value) if ordered else [value]


def _text(number: int, row: Mapping[str, Any], key: str) -> str:
    """A text, or a number as text; empty where a table has nothing."""
    value: Any = row.get(key)
    if _is_missing(value):
        return ""
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()  # one number or text as an array
    if hasattr(value, "__iter__") and not isinstance(value, str):
        raise DataError(f"got row {number} with {key} of type {type(value).__name__}, expected a text")
    return str(value)


def _is_missing(value: Any) -> bool:
    """Whether a table has nothing there: None, or what pandas and numpy write for it."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, Real) and math.isnan(value)


def _take_placeholders(question: str, context: Context, names: tuple[str, ...]) -> tuple[str, Context, str]:
    """The texts as they are asked: without the ``<image>`` of one image, which stands first; and what is wrong."""
    asked = [*(text for text, _ in context.earlier), question]
    image = names if len(names) > 1 else names[0]
    try:
        check_shown(asked, image)
    except BadRowError as error:
        return question, context, f"{error.reason}: {error.detail}"
    *earlier, question = (trim_question(text, image) for text in asked)
    turns = tuple((text, answer) for text, (_, answer) in zip(earlier, context.earlier, strict=True))
    return question, Context(context.system, turns), ""


def _find_half_characters(shown: Sequence[Any], context: Context, question: str, answer: str) -> str:
    """What is wrong with a row whose texts, or the path of whose image, no file can hold; empty where nothing is."""
    paths = (("image", str(image)) for image in shown if isinstance(image, str | Path))
    earlier = (("history", text) for turn in context.earlier for text in turn)
    said = ("question", question), ("answer", answer), ("system", context.system)
    try:
        for what, text in (*said, *earlier, *paths):
            check_text(text, what)
    except BadRowError as error:
        return str(error)
    return ""


def _look_up(table: Any, number: int, place: int) -> Any:
    return _unwrap(_list_images(table[number])[place])


def _same(image: Any) -> Any:
    return image


def _name(image: Any, rules: ImagesConfig, number: int, place: int) -> str:
    """What tells images apart: paths by their text, others by what they show."""
    if isinstance(image, str | Path):
        return make_id("path", str(image))
    if isinstance(image, bytes):
        return make_id("image", sha256(image).hexdigest())
    try:
        seen = settle_image(image, rules)
    except BadImageError:  # it is told where it is opened
        return make_id("unreadable", number, place)
    return make_id("image", *seen.size, sha256(seen.tobytes()).hexdigest())
