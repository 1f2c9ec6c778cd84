r"""Read instruction data that others wrote, in LLaVA's layout or another, tolerantly and one row at a time.

What is normalised on the way: in image paths ``\`` becomes ``/``, while ``./`` and white space at the ends go;
the ``<image>`` placeholder of a single picture leaves the text with the white space around it; white space at the
ends of ids, questions, answers and system prompts goes; keys that are not needed are left out. Nothing else changes,
and no row vanishes: each gives a ``Turn`` or a ``BadTurn`` a question, or one ``BadTurn`` if its questions cannot be
told apart.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from c3l.data.columns import find_naming
from c3l.data.embedded import unpack_images
from c3l.data.flags import read_row_mark
from c3l.data.images import image_id_of
from c3l.data.jsonrows import begins_list, iterate_rows
from c3l.data.layouts import PAIRS, TEXTS, TURN_KEYS
from c3l.data.media import MAIN, ImagePaths, find_image, find_images, refused_image
from c3l.data.noted import find_noted
from c3l.data.rejection import BadRow, BadRowError, check_text, is_utf8
from c3l.data.shown import check_shown, show_until, trim_question, without_placeholder
from c3l.data.turns import Talk, check_objects, read_talk
from c3l.errors import DataError
from c3l.markup.placeholders import EXACT, PLACEHOLDER, find_placeholder
from c3l.records import Rejected

# Raise it when the same file gives other turns or conversations: what was made of them is stale then.
READER_VERSION = 8
NO_COLUMNS: Mapping[str, str] = MappingProxyType({})
NOT_TAUGHT = "not_taught"  # the reason for what its own data marks so, which is nobody's mistake

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Turn:
    """One question and its answer from a data file.

    Attributes:
        id: The row's id, text or a whole number; ``row-N`` if it has none. Existing data sets repeat ids; ``row``
            and ``turn`` together do not.
        turn: Number of the question in its row, from 0.
        image: Path of the image as the row gives it, with ``/``; whether it exists is for images.py to say. Of a row
            with several the paths of those that are shown up to this question.
        question: Text without any image placeholder; empty where the image alone is asked about. Of a row with
            several images an ``<image>`` stands where each is shown, or nowhere: then all are shown first.
        answer: Text of the answer.
        row: Number of the row in the file, from 0.
        file: Which file it is from, where there are several.
        system: The system prompt of its row; empty if there is none.
        noted: Words for what of the row is not used, ``c3l.data.noted``.
        earlier: The questions and answers of its row before this one.
        fault: Why one of them cannot be used; empty if all can.
    """

    id: str | int
    turn: int
    image: ImagePaths
    question: str
    answer: str
    row: int
    file: str = ""
    system: str = ""
    noted: tuple[str, ...] = ()
    earlier: tuple[tuple[str, str], ...] = ()
    fault: str = ""


@dataclass(frozen=True, slots=True)
class BadTurn:
    """A question and its answer that cannot be used, or a whole row of them; the fields are what is known of it.

    Attributes:
        id: As of a ``Turn``; ``row-N`` where the row's own cannot be used.
        turn: As of a ``Turn``; None for a whole row.
        image: As of a ``Turn``; a path that is refused stands as the row gives it.
        question: As of a ``Turn``.
        answer: Text of the answer.
        row: Number of the row in the file, from 0.
        reason: A fixed word, the first of several.
        detail: One line for a person.
        file: As of a ``Turn``.
    """

    id: str | int
    turn: int | None
    image: ImagePaths | None
    question: str | None
    answer: str | None
    row: int
    reason: str
    detail: str
    file: str = ""


@dataclass(frozen=True, slots=True)
class ConversationRow:
    """A whole conversation from a data file.

    Attributes:
        id: As of a ``Turn``, as text.
        image: Path of its image as the row gives it, with ``/``; empty if it has none.
        turns: Questions with their answers, at least one.
        row: Number of the row in the file, from 0.
        system: Its system prompt; empty if there is none.
        untaught: Numbers of the turns whose answers are said, but not to be learned.
        noted: Words for what of the row is not used, ``c3l.data.noted``.
    """

    id: str
    image: str
    turns: tuple[tuple[str, str], ...]
    row: int
    system: str = ""
    untaught: frozenset[int] = frozenset()
    noted: tuple[str, ...] = ()


def read_llava(
    path: Path, file: str = "", unpack: Path | None = None, columns: Mapping[str, str] = NO_COLUMNS
) -> Iterator[Turn | BadTurn]:
    """Every question-answer turn of a data file: JSON list or lines, plain or packed, parquet, Arrow, WebDataset.

    Reasons: ``bad_json``, ``row_too_long``, ``bad_row``, ``bad_sample``, ``bad_id``, ``no_image``,
    ``several_images``, ``bad_path``, ``inline_image``, ``other_medium``, ``unknown_layout``, ``bad_turns``,
    ``bad_choice``, ``bad_loss_flag``, ``bad_text``, ``empty_question``, ``empty_answer``, ``placeholder_in_text``,
    ``not_taught``.

    Args:
        path: The file.
        file: What its turns say of where they are from.
        unpack: Where images that lie in the rows themselves are written to; without it they are rejected.
        columns: ``columns``: names that are read, to the columns that stand for them.

    Raises:
        DataError: If the file cannot be read, is of another kind, is not UTF-8, breaks off in the middle of a JSON
            list, begins with something else than JSON, or is one object around the list.
    """
    for number, row in enumerate(_rows(path, unpack, columns)):
        yield from _read_row(number, row, file)


def read_conversations(
    path: Path, file: str = "", unpack: Path | None = None, columns: Mapping[str, str] = NO_COLUMNS
) -> Iterator[ConversationRow | Rejected]:
    """Every row of a LLaVA file as one conversation, with an image or without: as many items as rows.

    Of a row with a bad turn nothing is taken, since what follows leans on it. Reasons as of ``read_llava``;
    ``no_image`` is a row whose text shows an image that it does not have, ``not_taught`` one of which all answers
    are marked so.

    Raises:
        DataError: As ``read_llava``.
    """
    for number, row in enumerate(_rows(path, unpack, columns)):
        yield _read_conversation(number, row, f", in {file}" if file else "")


_NO_CSV = '; CSV is not read: save each row as a line such as {"image": "...", "question": "...", "answer": "..."}'
_SEPARATED = {".csv": _NO_CSV, ".tsv": _NO_CSV}


def _rows(path: Path, unpack: Path | None, columns: Mapping[str, str]) -> Iterator[Any]:
    """The rows by the names that are read, unless the first of them tells that the file is of another kind."""
    naming = find_naming(path, columns)
    rows = iterate_rows(path)
    head = list(islice(rows, 2))
    first_is_bad = bool(head) and isinstance(head[0], BadRow)
    if first_is_bad and (len(head) == 1 or head[0].reason == "bad_json") and not begins_list(path):
        raise DataError(
            f"{path} is no JSON list and no JSON lines ({head[0].detail}); expected a list of rows, or a row a line, "
            f"with nothing around it{_SEPARATED.get(path.suffix.lower(), '')}"
        )
    key = _key_of_list(naming.apply(head[0])) if len(head) == 1 else None
    if key is not None and not begins_list(path):
        raise DataError(f"{path}: got an object, expected a list of rows; save what it has under {key!a} as the file")
    every = map(naming.apply, chain(head, rows))
    yield from every if unpack is None else (unpack_images(row, unpack) for row in every)


def _key_of_list(row: Any) -> str | None:
    """Where an object that is no row holds a list of objects."""
    if not isinstance(row, dict) or row.keys() & {"id", MAIN[0], *TURN_KEYS, TEXTS, *chain(*PAIRS)}:
        return None
    return next(
        (key for key, value in row.items() if isinstance(value, list) and value and isinstance(value[0], dict)), None
    )


def _read_conversation(number: int, row: Any, where: str) -> ConversationRow | Rejected:
    name, image_id = f"row-{number}", ""
    try:
        row = _object(row)
        name = str(_id(row, name))
        mark = read_row_mark(row)
        talk = read_talk(row)
        image = find_image(row, talk.shown)
        image_id = image_id_of(image) if image else ""
        _check_shown(talk, image)
        check_objects(row, talk)
        turns = tuple((_question(talk, turn, image), _answer(talk, turn, image)) for turn in range(len(talk.pairs)))
        if mark == "untaught" or not any(talk.taught):
            raise BadRowError(NOT_TAUGHT, "the row marks all of its answers as not to be learned")
    except BadRowError as bad:
        return Rejected(name, image_id, "data", bad.reason, bad.detail + where)
    untaught = frozenset(turn for turn, taught in enumerate(talk.taught) if not taught)
    noted = (
        *find_noted(row, talk, mark, image),
        *(["untaught"] if untaught else ()),
        *([] if image else ["text_only"]),
    )
    return ConversationRow(name, image, turns, number, talk.system, untaught, noted)


def _object(row: Any) -> dict[str, Any]:
    if isinstance(row, BadRow):
        raise BadRowError(row.reason, row.detail)
    if not isinstance(row, dict):
        raise BadRowError("bad_row", f"got a {type(row).__name__}, expected an object")
    return row


def _read_row(number: int, row: Any, file: str) -> Iterator[Turn | BadTurn]:
    problems: list[BadRowError] = []
    fields = _attempt(problems, _object, row) or {}
    name = _attempt(problems, _id, fields, f"row-{number}")
    name = f"row-{number}" if name is None else name
    told: list[BadRowError] = []
    talk = _attempt(told, read_talk, fields)
    image = _attempt(problems, _find_shown, fields, talk) or ""
    mark = _attempt(problems, read_row_mark, fields) or ""
    problems += told
    if talk is None:
        known = image or refused_image(fields)
        yield BadTurn(name, None, known, None, None, number, problems[0].reason, problems[0].detail, file)
        return
    noted = tuple(find_noted(fields, talk, mark, image))
    said = tuple((trim_question(question, image), answer.strip()) for question, answer in talk.pairs)
    fault = ""
    for turn, (question, answer) in enumerate(said):
        shown = show_until(talk.questions, image, turn)
        read = Turn(name, turn, shown, question, answer, number, file, talk.system, noted, said[:turn], fault)
        judged = _judge(read, talk, problems, unlearned=mark == "untaught", refused=refused_image(fields))
        yield judged
        # a question before the first image is none of ours, and does not spoil what follows
        if not fault and isinstance(judged, BadTurn) and judged.reason not in (NOT_TAUGHT, "no_image"):
            fault = f"turn {turn}, before it, cannot be used ({judged.reason}: {judged.detail})"


def _find_shown(row: Mapping[str, Any], talk: Talk | None) -> ImagePaths:
    """The path of the row's image, which it must have, or of its several."""
    image = find_images(row, talk.shown if talk else ())
    if not image:
        raise BadRowError("no_image", "the row has no image")
    if talk:
        _check_shown(talk, image)
        check_objects(row, talk)
    return image


def _check_shown(talk: Talk, image: ImagePaths) -> None:
    """Compare the placeholders in the questions with the images that there are; the system prompt may have none."""
    check_shown(talk.questions, image)
    _check_placeholder(check_text(talk.system, "system prompt"), "system prompt")


def _judge(
    turn: Turn, talk: Talk, of_row: Sequence[BadRowError], *, unlearned: bool, refused: str | None
) -> Turn | BadTurn:
    """The turn if it can be used, else what is known of it and why not."""
    problems = [*of_row]
    if turn.image == ():
        problems.append(BadRowError("no_image", f"no image is shown up to this question, by any {PLACEHOLDER}"))
    _attempt(problems, _question, talk, turn.turn, turn.image)
    _attempt(problems, _answer, talk, turn.turn, turn.image)
    if unlearned or not talk.taught[turn.turn]:
        problems.append(BadRowError(NOT_TAUGHT, "its row marks the answer as not to be learned"))
    if not problems:
        return turn
    question, answer = (text if is_utf8(text) else None for text in (turn.question, turn.answer))
    image = turn.image or refused
    reason, detail = problems[0].reason, problems[0].detail
    return BadTurn(turn.id, turn.turn, image, question, answer, turn.row, reason, detail, turn.file)


def _attempt(problems: list[BadRowError], read: Callable[..., R], *what: Any) -> R | None:
    """What is read; or None, and the problem is noted."""
    try:
        return read(*what)
    except BadRowError as bad:
        problems.append(bad)
        return None


def _id(row: Mapping[str, Any], name: str) -> str | int:
    value = row.get("id")
    if value is None:
        return name
    if isinstance(value, float) and value.is_integer():  # a table with a gap makes 12.0 of 12
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise BadRowError("bad_id", f"got an id that is a {type(value).__name__}, expected text or a whole number")
    return value if isinstance(value, int) else check_text(value.strip(), "id") or name


def _question(talk: Talk, turn: int, image: ImagePaths) -> str:
    asked = talk.pairs[turn][0]
    text = without_placeholder(asked)
    if not text and not (image and EXACT.search(asked)):  # about the image alone, as rows with captions have it
        raise BadRowError("empty_question", "the question has no text")
    _check_placeholder(text, "question")
    return check_text(text, "question")


def _answer(talk: Talk, turn: int, image: ImagePaths) -> str:
    text = talk.pairs[turn][1].strip()
    if not text:
        raise BadRowError("empty_answer", "the answer has no text")
    _check_placeholder(text, "answer", markup=bool(image))
    return check_text(text, "answer")


def _check_placeholder(text: str, what: str, *, markup: bool = True) -> None:
    if found := find_placeholder(text, markup=markup):
        raise BadRowError(
            "placeholder_in_text",
            f"the {what} holds {found[:60]!a}; an image is shown by one {PLACEHOLDER} in a question, or by none",
        )
