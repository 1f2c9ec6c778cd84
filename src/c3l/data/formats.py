r"""Read instruction data that others wrote in LLaVA's layout, tolerantly and one row at a time.

What is normalised on the way: in image paths ``\`` becomes ``/``, while ``./`` and white space at the ends go;
the ``<image>`` placeholder leaves the text with the white space around it; white space at the ends of ids,
questions and answers goes; system turns and keys that are not needed are left out. Nothing else changes, and no
row vanishes: each gives a ``Turn`` or a ``BadTurn`` a question, or one ``BadTurn`` if its questions cannot be told
apart.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

from c3l.data.images import image_id_of
from c3l.data.jsonrows import BadRow, begins_list, iterate_rows
from c3l.data.paths import BadImageError, clean_path
from c3l.errors import DataError
from c3l.records import Rejected

R = TypeVar("R")

PLACEHOLDER = "<image>"
PLACEHOLDERS = (
    PLACEHOLDER,
    "<video>",
    "<audio>",
)  # what trainers count in the text, so what no text may hold

_AROUND = re.compile(r"\s*<image>\s*")
_ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}


@dataclass(frozen=True, slots=True)
class Turn:
    """One question and its answer from a data file.

    Attributes:
        id: The row's id, text or a whole number; ``row-N`` if it has none. Existing data sets repeat ids; ``row``
            and ``turn`` together do not.
        turn: Number of the question in its row, from 0.
        image: Path of the picture as the row gives it, with ``/``; whether it exists is for images.py to say.
        question: Text without any image placeholder.
        answer: Text of the answer.
        row: Number of the row in the file, from 0.
    """

    id: str | int
    turn: int
    image: str
    question: str
    answer: str
    row: int


@dataclass(frozen=True, slots=True)
class BadTurn:
    """A question and its answer that cannot be used, or a whole row of them; the fields are what is known of it.

    Attributes:
        id: As of a ``Turn``; ``row-N`` where the row's own cannot be used.
        turn: As of a ``Turn``; None for a whole row.
        image: As of a ``Turn``; a path that is refused stands as the row gives it.
        question: Text without any ``<image>``.
        answer: Text of the answer.
        row: Number of the row in the file, from 0.
        reason: A fixed word, the first of several.
        detail: One line for a person.
    """

    id: str | int
    turn: int | None
    image: str | None
    question: str | None
    answer: str | None
    row: int
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class ConversationRow:
    """A whole conversation from a data file.

    Attributes:
        id: As of a ``Turn``, as text.
        image: Path of its picture as the row gives it, with ``/``; empty if it has none.
        turns: Questions with their answers, at least one.
        row: Number of the row in the file, from 0.
    """

    id: str
    image: str
    turns: tuple[tuple[str, str], ...]
    row: int


class _Bad(Exception):
    """Why a row or turn is refused."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        self.detail = detail


def read_llava(path: Path) -> Iterator[Turn | BadTurn]:
    """Every question-answer turn of a LLaVA file: a JSON list or JSON lines, plain, ``.gz`` or ``.zst``.

    Reasons: ``bad_json``, ``bad_row``, ``bad_id``, ``no_image``, ``several_images``, ``bad_path``,
    ``bad_turns``, ``bad_text``, ``empty_question``, ``empty_answer``, ``placeholder_in_text``.

    Raises:
        DataError: If the file cannot be read, is not UTF-8, breaks off in the middle of a JSON list, begins with
            something else than JSON, or is one object around the list.
    """
    for number, row in enumerate(_rows(path)):
        yield from _read_row(number, row)


def read_conversations(path: Path) -> Iterator[ConversationRow | Rejected]:
    """Every row of a LLaVA file as one conversation, with a picture or without: as many items as rows.

    Of a row with a bad turn nothing is taken, since what follows leans on it. Reasons as of ``read_llava``;
    ``no_image`` is a row whose text shows a picture that it does not have.

    Raises:
        DataError: As ``read_llava``.
    """
    for number, row in enumerate(_rows(path)):
        yield _read_conversation(number, row)


def _rows(path: Path) -> Iterator[Any]:
    """The rows, unless the first of them tells that the file is of another kind."""
    rows = iterate_rows(path)
    head = list(islice(rows, 2))
    if head and isinstance(head[0], BadRow):
        raise DataError(
            f"{path} is no JSON list and no JSON lines ({head[0].detail}); expected a list of rows, or a row a line, "
            "with nothing around it"
        )
    key = _key_of_list(head[0]) if len(head) == 1 else None
    if key is not None and not begins_list(path):
        raise DataError(f"{path}: got an object, expected a list of rows; save what it has under {key!a} as the file")
    yield from chain(head, rows)


def _key_of_list(row: Any) -> str | None:
    """Where an object that is no row holds a list of objects."""
    if not isinstance(row, dict) or row.keys() & {"id", "image", "conversations", "messages"}:
        return None
    return next(
        (key for key, value in row.items() if isinstance(value, list) and value and isinstance(value[0], dict)), None
    )


def _read_conversation(number: int, row: Any) -> ConversationRow | Rejected:
    name, image_id = f"row-{number}", ""
    try:
        row = _object(row)
        name = str(_id(row, name))
        image = _image(row) if _images(row) else ""
        image_id = image_id_of(image) if image else ""
        pairs = _pairs(row)
        if not image and any(PLACEHOLDER in question for question, _ in pairs):
            raise _Bad("no_image", "the text shows a picture, the row has none")
        turns = tuple((_question(question), _answer(answer)) for question, answer in pairs)
    except _Bad as bad:
        return Rejected(name, image_id, "data", bad.reason, bad.detail)
    return ConversationRow(name, image, turns, number)


def _object(row: Any) -> dict[str, Any]:
    if isinstance(row, BadRow):
        raise _Bad("bad_json", row.detail)
    if not isinstance(row, dict):
        raise _Bad("bad_row", f"got a {type(row).__name__}, expected an object")
    return row


def _read_row(number: int, row: Any) -> Iterator[Turn | BadTurn]:
    problems: list[_Bad] = []
    fields = _attempt(problems, _object, row) or {}
    name = _attempt(problems, _id, fields, f"row-{number}")
    name = f"row-{number}" if name is None else name
    image = _attempt(problems, _image, fields) or _refused_image(fields)
    pairs = _attempt(problems, _pairs, fields)
    if pairs is None:
        yield BadTurn(name, None, image, None, None, number, problems[0].reason, problems[0].detail)
        return
    for turn, (question, answer) in enumerate(pairs):
        read = Turn(name, turn, image or "", _without_placeholder(question), answer.strip(), number)
        yield _judge(read, problems)


def _judge(turn: Turn, of_row: Sequence[_Bad]) -> Turn | BadTurn:
    """The turn if it can be used, else what is known of it and why not."""
    problems = [*of_row]
    _attempt(problems, _usable, turn.question, "question")
    _attempt(problems, _usable, turn.answer, "answer")
    if not problems:
        return turn
    question, answer = (text if _is_utf8(text) else None for text in (turn.question, turn.answer))
    reason, detail = problems[0].reason, problems[0].detail
    return BadTurn(turn.id, turn.turn, turn.image or None, question, answer, turn.row, reason, detail)


def _attempt(problems: list[_Bad], read: Callable[..., R], *what: Any) -> R | None:
    """What is read; or None, and the problem is noted."""
    try:
        return read(*what)
    except _Bad as bad:
        problems.append(bad)
        return None


def _id(row: dict[str, Any], name: str) -> str | int:
    value = row.get("id")
    if value is None:
        return name
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise _Bad("bad_id", f"got an id that is a {type(value).__name__}, expected text or a whole number")
    return value if isinstance(value, int) else _utf8(value.strip(), "id") or name


def _refused_image(row: dict[str, Any]) -> str | None:
    """The path of a single picture that is refused, as it stands there."""
    images = _images(row)
    single = images[0] if len(images) == 1 and isinstance(images[0], str) else None
    return single if single is not None and _is_utf8(single) else None


def _images(row: dict[str, Any]) -> list[Any]:
    value = row.get("image") or row.get("images")
    images = value if isinstance(value, list) else [value]
    return [image for image in images if image not in (None, "")]


def _image(row: dict[str, Any]) -> str:
    images = _images(row)
    if not images:
        raise _Bad("no_image", "the row has no picture")
    if len(images) > 1:
        raise _Bad("several_images", f"the row has {len(images)} pictures, expected one")
    if not isinstance(images[0], str):
        raise _Bad("bad_path", f"got a picture that is a {type(images[0]).__name__}, expected a path")
    try:
        return clean_path(images[0].strip())
    except BadImageError as error:
        raise _Bad(error.reason, error.detail) from None


def _pairs(row: dict[str, Any]) -> list[tuple[str, str]]:
    turns = row.get("conversations") or row.get("messages")
    if not isinstance(turns, list) or not turns:
        raise _Bad("bad_turns", "the row has no list of turns under `conversations` or `messages`")
    texts = [_role_and_text(turn) for turn in turns]
    if texts[0][0] == "system":
        del texts[0]
    roles = [role for role, _ in texts]
    if not roles or roles != ["user", "assistant"] * (len(roles) // 2):
        got = ", ".join(roles[:8]) or "no turn"
        raise _Bad("bad_turns", f"got {got}, expected user, assistant, user, assistant and so on")
    return [(texts[at][1], texts[at + 1][1]) for at in range(0, len(texts), 2)]


def _role_and_text(turn: Any) -> tuple[str, str]:
    if not isinstance(turn, dict):
        raise _Bad("bad_turns", f"got a turn that is a {type(turn).__name__}, expected an object")
    role, text = turn.get("from", turn.get("role")), turn.get("value", turn.get("content"))
    known = _ROLES.get(role.strip().lower()) if isinstance(role, str) else None
    if known is None:
        raise _Bad("bad_turns", f"got the role {str(role)[:40]!a}, expected one of {', '.join(_ROLES)}")
    if not isinstance(text, str):
        raise _Bad("bad_turns", f"got the text of a turn as {type(text).__name__}, expected a string")
    return known, text


def _question(text: str) -> str:
    return _usable(_without_placeholder(text), "question")


def _without_placeholder(text: str) -> str:
    return _AROUND.sub(lambda match: "\n" if "\n" in match.group() else " ", text).strip()


def _answer(text: str) -> str:
    return _usable(text.strip(), "answer")


def _usable(text: str, what: str) -> str:
    if not text:
        raise _Bad(f"empty_{what}", f"the {what} has no text")
    if any(placeholder in text for placeholder in PLACEHOLDERS):
        raise _Bad("placeholder_in_text", f"the {what} holds one of {', '.join(PLACEHOLDERS)}")
    return _utf8(text, what)


def _utf8(text: str, what: str) -> str:
    if not _is_utf8(text):
        raise _Bad("bad_text", f"the {what} holds half a character (a lone surrogate)")
    return text


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
