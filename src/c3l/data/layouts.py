"""Rows that hold a question and its answer under keys of their own, as the turns that other rows have.

FineVision and the Cauldron have `texts`, ms-swift `query` and `response`, TRL `prompt` and `completion`, LLaMA-Factory
and Alpaca `instruction` and `output`, tables `question` and `answer`.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from c3l.data.choices import ask_choice, is_absent
from c3l.data.literals import read_literal
from c3l.data.rejection import BadRowError

TURN_KEYS = ("conversations", "messages", "conversation", "dialog", "dialogue", "chat", "turns")
SYSTEM_KEYS = (
    *("system", "system_prompt", "system_message", "system_instruction", "system_instructions", "sys_prompt"),
    *("developer_message", "developer_prompt", "developer_instruction", "developer_instructions"),
)
PAIRS = (("query", "response"), ("prompt", "completion"), ("instruction", "output"), ("question", "answer"))
PREFERENCE, TABLE = PAIRS[1], PAIRS[-1]
HISTORY, INPUT, TEXTS = "history", "input", "texts"
CONTEXT = ("hint", "context")
_BOTH = (("user", "assistant"), ("human", "assistant"))  # a question and its answer as one turn
_TURN = (("from", "value"), ("role", "content"), *_BOTH)
# what such rows have that says nothing about the image, by whose they are
_WHOSE = {TEXTS: "FineVision, The Cauldron", "query": "ms-swift", "prompt": "TRL", "instruction": "Alpaca"}
_WHOSE_TURNS = {"from": "LLaVA, ShareGPT", "role": "messages", "human": "ms-swift"}


def name_layout(row: Mapping[str, Any]) -> str | None:
    """By which keys the row says what it says, and whose layout that is; None if it has none of them."""
    for key in TURN_KEYS:
        if row.get(key) is not None:
            turn = next((one for one in row[key] if isinstance(one, dict)), {}) if isinstance(row[key], list) else {}
            names = next((names for names in _TURN if {*names} <= turn.keys()), ())
            of = f" of {' and '.join(f'`{name}`' for name in names)}" if names else ""
            return f"`{key}`{of}" + (f" ({_WHOSE_TURNS[names[0]]})" if names and names[0] in _WHOSE_TURNS else "")
    if _has_texts(row):
        return f"`{TEXTS}` of `user` and `assistant` ({_WHOSE[TEXTS]})"
    if (found := _find_pair(row) or _find_unasked(row)) is None:
        return None
    return f"`{found[0]}` and `{found[1]}`" + (f" ({_WHOSE[found[0]]})" if found[0] in _WHOSE else "")


def has_layout(row: Mapping[str, Any]) -> bool:
    """Whether the row says something under names that are read."""
    return any(row.get(key) for key in TURN_KEYS) or _has_texts(row) or _find_pair(row) is not None


def explain_layouts(row: Mapping[str, Any]) -> str:
    """What the row has, and which keys would have been read."""
    keys = ", ".join(f"`{str(key)[:40]}`" for key in [*row][:12]) or "no key"
    return (
        f"got a row of {keys}, expected LLaVA's `conversations` (turns of `from` and `value`), `messages` (turns of "
        "`role` and `content`), `texts`, or two of `query` and `response`, `prompt` and `completion`, `instruction` "
        "and `output`, `question` and `answer`; write its texts so, or name its columns: "
        "--columns question=...,answer=...,image=..."
    )


def spread_turn(turn: Any) -> Sequence[Any]:
    """A turn as it is; one that holds a question and its answer, as ms-swift and FineVision have it, as two."""
    names = next((names for names in _BOTH if isinstance(turn, dict) and {*names} <= turn.keys()), None)
    if names is None or "role" in turn or "from" in turn:
        return [turn]
    question, answer = _pair(turn[names[0]], turn[names[1]])
    return [question, {**{key: value for key, value in turn.items() if key not in names}, **answer}]


def find_turns(row: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """The turns, each with ``role`` and ``content``; None if the row has no such keys.

    Raises:
        BadRowError: ``bad_turns`` if what lies under them is of another kind, or a question would be left out.
    """
    if _has_texts(row):
        return [turn for one in row[TEXTS] for turn in spread_turn(one)]
    if (found := _find_pair(row) or _find_unasked(row)) is None:
        return None
    before = [turn for earlier in _history(row) for turn in _pair(*earlier)]
    question, answer = _question(row, found[0]), _value(row, found[1])
    if found != TABLE:
        _check_other_question(row, found, question)
    if found == TABLE and isinstance(question, str):
        question, answer = ask_choice(row, _after_context(row, question), answer)
    return [*before, *_messages(question, "user"), *_messages(answer, "assistant")]


def _after_context(row: Mapping[str, Any], question: str) -> str:
    """The question below what tables give to be read before it, as LLaVA's ScienceQA and MMBench have it."""
    found = (value.strip() for key in CONTEXT if isinstance(value := row.get(key), str) and not is_absent(value))
    return "\n".join([*(one for one in dict.fromkeys(found) if one not in question), question])


def _find_pair(row: Mapping[str, Any]) -> tuple[str, str] | None:
    """Under which two keys question and answer stand; an empty answer is one where no other stands beside it."""
    asked = [pair for pair in PAIRS if _question(row, pair[0])]
    full = (pair for pair in asked if _value(row, pair[1]))
    return next(full, next((pair for pair in asked if pair[1] in row), None))


def _find_unasked(row: Mapping[str, Any]) -> tuple[str, str] | None:
    """Under which two keys an answer stands with an empty question, or both are empty."""
    there = [pair for pair in PAIRS if row.keys() >= {*pair}]
    return next((pair for pair in there if _value(row, pair[1])), next(iter(there), None))


def is_gap(value: Any) -> bool:
    """Whether there is nothing: null, or what tables write for it."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def _value(row: Mapping[str, Any], key: str) -> Any:
    """What stands under a key; None for a gap."""
    value = row.get(key)
    return None if is_gap(value) else value


def _check_other_question(row: Mapping[str, Any], found: tuple[str, str], question: Any) -> None:
    """Refuse a row whose `question` would be left out for another key; one with an answer is another pair.

    Raises:
        BadRowError: ``bad_turns``.
    """
    other, own = (_value(row, key) for key in TABLE)
    if not isinstance(other, str) or is_absent(other) or own:
        return
    asked, wanted = _words(" ".join(_texts([question, *_history(row)]))), _words(other)
    if " " in wanted and wanted not in asked and asked not in wanted:
        raise BadRowError(
            "bad_turns",
            f"the row has `{TABLE[0]}` beside `{found[0]}`, which is read; name the one that is asked by "
            f"--columns question=...,answer={found[1]}, or write both as one text",
        )


def _texts(value: Any) -> Iterator[str]:
    """The texts in a question, one or those of its turns and their parts."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | Mapping):
        for one in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(one)


def _words(text: str) -> str:
    """The words of a text in small letters, without placeholders such as `<image>`."""
    return " ".join(re.findall(r"\w+", re.sub(r"<[^<>\s]{1,24}>", " ", text).casefold()))


def _has_texts(row: Mapping[str, Any]) -> bool:
    """Whether there are texts of two: other tables have what is written in the image under that name."""
    texts, both = row.get(TEXTS), {"user", "assistant"}
    return (
        bool(texts) and isinstance(texts, list) and all(isinstance(one, dict) and both <= one.keys() for one in texts)
    )


def _pair(question: Any, answer: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    return {"role": "user", "content": question}, {"role": "assistant", "content": answer}


def _question(row: Mapping[str, Any], asked: str) -> Any:
    """The question; Alpaca writes what it is about under another key."""
    question, more = _value(row, asked), row.get(INPUT) if asked == "instruction" else None
    if not more or not isinstance(more, str):
        return question
    return f"{question}\n{more}" if question and isinstance(question, str) else question or more


def _history(row: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
    """The earlier turns, as LLaMA-Factory and ms-swift have them: pairs of texts, also a list of them written as text.

    Something else is no history, nor is a text that is another list: that of a patient.

    Raises:
        BadRowError: ``bad_turns`` for a list of something else.
    """
    history = row.get(HISTORY)
    if isinstance(history, str) and history.strip()[:1] == "[":
        read = read_literal(history)
        history = read if isinstance(read, list) and read and isinstance(read[0], list | tuple | dict) else None
    if not isinstance(history, list):
        return []
    if not all(isinstance(one, list | tuple) and len(one) == 2 for one in history):
        raise BadRowError("bad_turns", f"got something else under `{HISTORY}` than a list of questions with answers")
    return history


def _messages(value: Any, role: str) -> list[dict[str, Any]]:
    """A text as a turn; TRL has lists of turns too."""
    if isinstance(value, list) and value and all(isinstance(one, dict) and "role" in one for one in value):
        return list(value)
    return [{"role": role, "content": "" if value is None else value}]
