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
_ABSENT = ("", "nan", "none", "n/a")
_LONGEST = 10_000


def write_question(question: str, options: Mapping[str, str], hint: str = "") -> str:
    """The prompt in LLaVA's layout: hint, question, an option a line, what to answer with."""
    lines = [hint, question] if hint else [question]
    return "\n".join([*lines, *(f"{letter}. {text}" for letter, text in options.items()), INSTRUCTION])


def ask_choice(row: Mapping[str, Any], question: str, answer: Any) -> tuple[str, Any]:
    """Question and answer of a row; where it has options these stand in the question, and the answer is a letter.

    Raises:
        BadRowError: ``bad_choice`` where the options are no texts, or the answer is none of them or could be two.
    """
    if (options := _find_options(row)) is None:
        return question, answer
    letter = _find_letter(answer, options)
    if all(re.search(rf"\b{one}\b\W{{1,3}}{re.escape(text)}", question) for one, text in options.items()):
        return question, letter  # they stand there already
    return write_question(question, options), letter


def _find_options(row: Mapping[str, Any]) -> dict[str, str] | None:
    """Letter -> text; None if the row has no options."""
    for key, value in row.items():
        if fold_name(str(key)) in LISTS and (listed := _to_list(value)):
            return _check_options(str(key), listed)
    each = ((_ONE_EACH.fullmatch(str(key)), value) for key, value in row.items() if not is_absent(value))
    found = {(named[1] or named[2]).upper(): value for named, value in each if named}
    return {letter: _text(found[letter]) for letter in sorted(found)} if {"A", "B"} <= found.keys() else None


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
    return value if isinstance(value, list) else ()


def _check_options(key: str, listed: Sequence[Any]) -> dict[str, str]:
    if not 2 <= len(listed) <= len(ascii_uppercase):
        raise BadRowError(
            "bad_choice", f"got {len(listed)} options under `{key}`, expected 2 to {len(ascii_uppercase)}"
        )
    return {letter: _text(one) for letter, one in zip(ascii_uppercase, listed, strict=False)}


def _text(option: Any) -> str:
    if isinstance(option, bool) or not isinstance(option, str | int | float) or not str(option).strip():
        raise BadRowError("bad_choice", f"got an option that is {option!a:.40}, expected text")
    return re.sub(r"^\(?[A-Z][.):]\s+", "", str(option).strip())


def is_absent(value: Any) -> bool:
    """Whether a cell of a table is empty; what was empty elsewhere is often `nan`."""
    return value is None or str(value).strip().lower() in _ABSENT


def _find_letter(answer: Any, options: Mapping[str, str]) -> str:
    """The letter of the one option that the answer names by its place, letter or text."""
    letters, found = [*options], set[str]()
    said = str(int(answer)) if isinstance(answer, float) and answer.is_integer() else str(answer).strip()
    if isinstance(answer, str | int | float) and not isinstance(answer, bool):
        found = {letter for letter, text in options.items() if text.casefold() == said.casefold()}
        if said.isascii() and said.isdecimal():
            found |= {*letters[int(said) : int(said) + 1]} if len(said) < 3 else set()
        elif (match := _LETTER.fullmatch(said)) or (match := re.match(r"\(?([A-Z])[.):]\s", said)):
            found |= {match[1].upper()} & {*letters}
    if len(found) != 1:
        got = "could be several of" if found else "is none of"
        raise BadRowError(
            "bad_choice", f"the answer {said[:40]!a} {got} the {len(options)} options, by place from 0, letter or text"
        )
    return found.pop()
