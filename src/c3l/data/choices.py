"""Multiple choice: how it is asked, and rows of tables that keep the options apart from question and answer.

ScienceQA, AI2D, A-OKVQA and MMMU have the options as a list and the answer as its place, from 0, or as a letter.
"""

import re
from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Any

from c3l.data.literals import read_literal
from c3l.data.names import fold_name
from c3l.data.rejection import BadRowError

INSTRUCTION = "Answer with the option's letter from the given choices directly."
_SINGLE = "option"  # also the one that was chosen
LISTS = ("choices", "options", "multiple_choices", _SINGLE)
# what options are numbered by, and the number that stands for the first of them; letters are counted from 0
_LABELS = (([*ascii_uppercase], 0), ([*map(str, range(26))], 0), ([*map(str, range(1, 27))], 1))
_ONE_EACH = re.compile(r"(?:choice|option)_?([a-z]|\d{1,2})")  # `choice_a`, `Choice A`, `option1`
_LETTER = re.compile(r"[(\[]?([A-Za-z])[)\].:]?")
_MARKED = re.compile(r"\(?([A-Z])[.):]\s+")
# `A. left`, `(B) right`, each a line or one behind the other; a sign behind the letter is the same for all
_IN_LINES = re.compile(r"^[ \t]*(\(?)([A-Z])([.):])(?=[ \t]*\S)", re.MULTILINE)
_IN_ONE = re.compile(r"(?<!\S)(\(?)([A-Z])([.):])(?=\s*\S)")
_BEFORE = re.compile(r"\b([A-Z])(?=(\W{1,3}))")
_OWN = re.compile(r"\(?([A-Z])(?:[.)]\s+|:\s+|:(?![A-Za-z]\s*$))(?=\S)")  # "A:B" is a ratio
_ABSENT = ("", "nan", "none", "n/a")


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
    if (found := _find_options(row)) is None:
        return question, answer
    options, first = found
    if (letter := _find_letter(answer, options, first)) is None:
        return question, answer
    options = _without_letters(options)
    if _are_in(options, question):
        return question, letter
    return write_question(question, options), letter


def has_unread_options(row: Mapping[str, Any], question: str) -> bool:
    """Whether a row has options that its question does not tell."""
    try:
        found = _find_options(row)
    except BadRowError:
        return True
    if found is None:
        return _has_others(row, question)
    return not _are_in(_without_letters(found[0]), question)


def _has_others(row: Mapping[str, Any], question: str) -> bool:
    """Whether options stand there in a form that is not read; one alone is no choice."""
    each = [value for key, value in row.items() if _label(str(key)) and len(str(key)) > 1]
    lists = [(fold_name(str(key)), value) for key, value in row.items() if fold_name(str(key)) in LISTS]
    return _count(each) > 1 or any(_is_other(value, question, name) for name, value in lists)


def _is_other(value: Any, question: str, name: str) -> bool:
    read = read_literal(value) if isinstance(value, str) else value
    if isinstance(read, Mapping):
        read = [*read.values()]
    if isinstance(read, list):
        return _count(read) > 1
    is_text = isinstance(value, str) and (read is None or isinstance(read, str))
    return is_text and name != _SINGLE and not is_absent(value) and value.strip() not in question


def _count(values: Sequence[Any]) -> int:
    """How many of them say something."""
    return sum(not _is_blank(one) and one not in ([], {}) for one in values)


def _are_in(options: Mapping[str, str], question: str) -> bool:
    """Whether a question tells every option behind its letter, with one to three signs between them."""
    if not all(text in question for text in options.values()):
        return False
    marks = [*_BEFORE.finditer(question)]
    places = [(mark[1], place) for mark in marks for place in range(mark.end() + 1, mark.end(2) + 1)]
    return all(
        any(letter == one and question.startswith(text, place) for letter, place in places)
        for one, text in options.items()
    )


def _find_options(row: Mapping[str, Any]) -> tuple[dict[str, Any], int] | None:
    """Letter -> option as it stands there, and the number that stands for the first: 1 where they are numbered, else 0.

    None if the row has no options, or only one.
    """
    for key, value in row.items():
        if fold_name(str(key)) in LISTS:
            listed, first = _to_list(value)
            if 1 < len(listed) <= len(ascii_uppercase):
                return _check_texts(dict(zip(ascii_uppercase, listed, strict=False))), first
    labelled = ((_label(str(key)), value) for key, value in row.items())
    each = {label: value for label, value in labelled if label and not _is_blank(value)}
    for labels, first in _LABELS:
        if each.keys() >= {*labels[:2]}:
            found = zip(ascii_uppercase, labels, strict=True)
            return _check_texts({letter: each[label] for letter, label in found if label in each}), first
    return None


def _label(key: str) -> str:
    """The letter or number of an option that a key of its own is for; empty for other keys."""
    if len(key) == 1 and key in ascii_uppercase:
        return key
    name = fold_name(key)
    named = _ONE_EACH.fullmatch(name) if name not in LISTS else None  # `choices` is none of an S
    return named[1].upper() if named else ""


def _to_list(value: Any) -> tuple[Sequence[Any], int]:
    """The options in their order, and the number of the first.

    Read are a list, one written as text (MMMU), an object of letters or numbers, ARC's, and one text with letters.
    """
    if isinstance(value, str):
        value = read_literal(value) if value.strip()[:1] in ("[", "{") else _split(value)
    if isinstance(value, Mapping) and isinstance(value.get("text"), list):
        value = value["text"]
    listed, first = _of_keys(value) if isinstance(value, Mapping) else ([*value] if isinstance(value, list) else [], 0)
    while listed and listed[-1] in (None, ""):  # lists of one length
        listed.pop()
    return listed, first


def _of_keys(options: Mapping[Any, Any]) -> tuple[list[Any], int]:
    """The options of an object by its keys; none where these are no letters or numbers from the first on."""
    named = {str(key).strip().upper(): value for key, value in options.items()}
    for labels, first in _LABELS:
        if len(named) == len(options) and named.keys() == {*labels[: len(named)]}:
            return [named[label] for label in labels[: len(named)]], first
    return [], 0


def _split(text: str) -> list[str]:
    """The options of one text that has each behind its letter; none where a letter is missing or stands there twice."""
    text = text.strip()
    for marks in (_IN_LINES, _IN_ONE):
        every = [*marks.finditer(text)]
        own = [mark for mark in every if (mark[1], mark[3]) == (every[0][1], every[0][3])]
        letters = [mark[2] for mark in own]
        if len(own) > 1 and own[0].start() == 0 and letters == [*ascii_uppercase[: len(letters)]]:
            ends = [*(mark.start() for mark in own[1:]), len(text)]
            found = [text[mark.end() : end].strip(" \t\r\n,;|") for mark, end in zip(own, ends, strict=True)]
            return found if all(found) else []
    return []


def _check_texts(options: dict[str, Any]) -> dict[str, Any]:
    for option in options.values():
        if isinstance(option, bool) or not isinstance(option, str | int | float) or not str(option).strip():
            raise BadRowError("bad_choice", f"got an option that is {option!a:.40}, expected text")
    return options


def _without_letters(options: Mapping[str, Any]) -> dict[str, str]:
    """The options as text; without the letters before them where each has its own: the E of `E. coli` is none."""
    texts = {letter: str(option).strip() for letter, option in options.items()}
    own = {letter: match for letter, text in texts.items() if (match := _OWN.match(text)) and match[1] == letter}
    return {letter: text[own[letter].end() :] for letter, text in texts.items()} if len(own) == len(texts) else texts


def _is_blank(value: Any) -> bool:
    """Whether a column has no option in this row; `None` can be one."""
    return value is None or str(value).strip().lower() in ("", "nan")


def is_absent(value: Any) -> bool:
    """Whether a cell of a table is empty; what was empty elsewhere is often `nan`."""
    return value is None or str(value).strip().lower() in _ABSENT


def _find_letter(answer: Any, options: Mapping[str, Any], first: int) -> str | None:
    """The letter of the one option that the answer names by its text, place or letter; None for a free answer."""
    if isinstance(answer, list):
        return _find_letter(answer[0], options, first) if len(answer) == 1 else None
    said = str(int(answer)) if isinstance(answer, float) and answer.is_integer() else str(answer).strip()
    found, is_free = set[str](), False
    if isinstance(answer, int | float) and not isinstance(answer, bool):
        texts = {*_find_text(said, options)}
        numbers = {letter for letter in texts if not isinstance(options[letter], str)}
        found = _find_place(said, options, first) | numbers or texts
    elif isinstance(answer, str):
        letter = _LETTER.fullmatch(said)
        found = {*_find_text(said, options)} | ({letter[1].upper()} & options.keys() if letter else set())
        found = found or _find_place(said, options, first) or _find_marked(said, options)
        is_free = bool(said) and not letter and not said.isdecimal()
    if not found and is_free:
        return None
    if len(found) != 1:
        got = "could be several of" if found else "is none of"
        by = f"by place from {first}, letter or text"
        raise BadRowError("bad_choice", f"the answer {said[:40]!a} {got} the {len(options)} options, {by}")
    return found.pop()


def _find_place(said: str, options: Mapping[str, Any], first: int) -> set[str]:
    """The letter of the option at this place, from 0; or with this number, where they are numbered from 1."""
    if not said.isdecimal() or len(said) > 2 or int(said) < first:
        return set()
    letters = [*ascii_uppercase] if first else [*options]
    return {*letters[int(said) - first : int(said) - first + 1]} & options.keys()


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
