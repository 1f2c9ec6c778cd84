"""Multiple choice: how it is asked, and rows of tables that keep the options apart from question and answer.

ScienceQA, AI2D, A-OKVQA and MMMU have the options as a list and the answer as its place, from 0, or as a letter.
"""

import ast
import re
from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Any

from c3l.data.names import fold_name
from c3l.data.rejection import BadRowError

INSTRUCTION = "Answer with the option's letter from the given choices directly."
LISTS = ("choices", "options", "multiple_choices")
_ONE_EACH = re.compile(r"(?:(?i:choice|option)_?)([A-Za-z])|([A-Z])")  # `choice_a`, `A`
_LETTER = re.compile(r"[(\[]?([A-Za-z])[)\].:]?")
_MARKED = re.compile(r"\(?([A-Z])[.):]\s+")
_ABSENT = ("", "nan", "none", "n/a")
_LONGEST = 10_000


def write_question(question: str, options: Mapping[str, str], hint: str = "") -> str:
    """The prompt in LLaVA's layout: hint, question, an option a line, what to answer with."""
    lines = [hint, question] if hint else [question]
    return "\n".join([*lines, *(f"{letter}. {text}" for letter, text in options.items()), INSTRUCTION])


def ask_choice(row: Mapping[str, Any], question: str, answer: Any) -> tuple[str, Any]:
    """Question and answer of a row; where it has options these stand in the question, and the answer is a letter.

    A text that is none of the options is a free answer: question and answer stay as they are.

    Raises:
        BadRowError: ``bad_choice`` where the options are no texts, or the answer is a place or letter that none of
            them has, or could be two.
    """
    if (options := _find_options(row)) is None or (letter := _find_letter(answer, options)) is None:
        return question, answer
    options = _without_letters(options)
    if _are_in(options, question):
        return question, letter
    return write_question(question, options), letter


def has_unread_options(row: Mapping[str, Any], question: str) -> bool:
    """Whether a row has options that its question does not tell."""
    try:
        options = _find_options(row)
    except BadRowError:
        return True
    return options is not None and not _are_in(_without_letters(options), question)


def _are_in(options: Mapping[str, str], question: str) -> bool:
    return all(re.search(rf"\b{one}\b\W{{1,3}}{re.escape(text)}", question) for one, text in options.items())


def _find_options(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """Letter -> option as it stands there; None if the row has no options, or only one."""
    for key, value in row.items():
        if fold_name(str(key)) in LISTS and 1 < len(listed := _to_list(value)) <= len(ascii_uppercase):
            return _check_texts(dict(zip(ascii_uppercase, listed, strict=False)))
    each = ((_ONE_EACH.fullmatch(str(key)), value) for key, value in row.items() if not _is_blank(value))
    found = {(named[1] or named[2]).upper(): value for named, value in each if named}
    return _check_texts({letter: found[letter] for letter in sorted(found)}) if {"A", "B"} <= found.keys() else None


def _to_list(value: Any) -> Sequence[Any]:
    """The options in their order: of a list, of one written as text (MMMU), of an object of letters or of ARC's."""
    if isinstance(value, str) and len(value) < _LONGEST and value.strip()[:1] == "[":
        try:
            value = ast.literal_eval(value.strip())
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            return ()
    if isinstance(value, Mapping) and isinstance(value.get("text"), list):
        value = value["text"]
    if isinstance(value, Mapping) and [*map(str, value)] == [*ascii_uppercase[: len(value)]]:
        value = [*value.values()]
    listed = [*value] if isinstance(value, list) else []
    while listed and listed[-1] in (None, ""):  # lists of one length
        listed.pop()
    return listed


def _check_texts(options: dict[str, Any]) -> dict[str, Any]:
    for option in options.values():
        if isinstance(option, bool) or not isinstance(option, str | int | float) or not str(option).strip():
            raise BadRowError("bad_choice", f"got an option that is {option!a:.40}, expected text")
    return options


def _without_letters(options: Mapping[str, Any]) -> dict[str, str]:
    """The options as text; without the letters before them where each has its own: the E of `E. coli` is none."""
    texts = {letter: str(option).strip() for letter, option in options.items()}
    own = {letter: re.match(rf"\(?{letter}[.):]\s+(?=\S)", text) for letter, text in texts.items()}
    return {letter: text[match.end() :] if all(own.values()) and (match := own[letter]) else text
            for letter, text in texts.items()}  # fmt: skip


def _is_blank(value: Any) -> bool:
    """Whether a column has no option in this row; `None` can be one."""
    return value is None or str(value).strip().lower() in ("", "nan")


def is_absent(value: Any) -> bool:
    """Whether a cell of a table is empty; what was empty elsewhere is often `nan`."""
    return value is None or str(value).strip().lower() in _ABSENT


def _find_letter(answer: Any, options: Mapping[str, Any]) -> str | None:
    """The letter of the one option that the answer names by its text, place or letter; None for a free answer."""
    said = str(int(answer)) if isinstance(answer, float) and answer.is_integer() else str(answer).strip()
    found, is_free = set[str](), False
    if isinstance(answer, int | float) and not isinstance(answer, bool):
        texts = {*_find_text(said, options)}
        numbers = {letter for letter in texts if not isinstance(options[letter], str)}
        found = _find_place(said, options) | numbers or texts
    elif isinstance(answer, str):
        letter = _LETTER.fullmatch(said)
        found = {*_find_text(said, options)} | ({letter[1].upper()} & options.keys() if letter else set())
        found = found or _find_place(said, options) or _find_marked(said, options)
        is_free = bool(said) and not letter and not said.isdecimal()
    if not found and is_free:
        return None
    if len(found) != 1:
        got = "could be several of" if found else "is none of"
        raise BadRowError(
            "bad_choice", f"the answer {said[:40]!a} {got} the {len(options)} options, by place from 0, letter or text"
        )
    return found.pop()


def _find_place(said: str, options: Mapping[str, Any]) -> set[str]:
    """The letter of the option at this place, from 0."""
    is_place = said.isdecimal() and len(said) < 3
    return {*[*options][int(said) : int(said) + 1]} if is_place else set()


def _find_text(said: str, options: Mapping[str, Any]) -> list[str]:
    """The letters of the options with this text: as it stands there, else without letters, articles and full stops."""
    bare = _without_letters(options)
    for alike in (str.strip, str.casefold, _fold):
        for texts in (options, bare):
            if found := [letter for letter, text in texts.items() if alike(str(text).strip()) == alike(said)]:
                return found
    return []


def _find_marked(said: str, options: Mapping[str, Any]) -> set[str]:
    """The letter before an option's text: `B. cat`, but not `B. cereus` where that is none of them."""
    if not (match := _MARKED.match(said)) or match[1] not in options:
        return set()
    text = _without_letters(options)[match[1]]
    return {match[1]} if _fold(said[match.end() :]).startswith(_fold(text)) else set()


def _fold(text: str) -> str:
    """In small letters, without what stands around an answer, and its article."""
    text = " ".join(text.casefold().split()).strip("\"'`*\u201c\u201d ").rstrip(".!,;: ") or text
    return re.sub(r"^(?:an?|the) ", "", text)
