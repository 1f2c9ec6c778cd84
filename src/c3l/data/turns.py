"""What is said in a row of a data file: its system prompt, its questions and answers, and which are to be learned."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from c3l.data.flags import is_taught
from c3l.data.layouts import SYSTEM_KEYS, TURN_KEYS, explain_layouts, find_turns, is_gap, spread_turn
from c3l.data.media import is_image_key, is_other_medium
from c3l.data.names import fold_name
from c3l.data.rejection import BadRowError
from c3l.markup.placeholders import PLACEHOLDER

_ROLES = {
    "user": "user human prompter person customer".split(),
    "assistant": "assistant gpt model bot chatgpt chatbot ai gpt4 gpt4v gpt4o bing bard claude gemini llava".split(),
    "system": "system developer".split(),
    "tool": "tool tools function functioncall functionresponse toolcall toolresponse observation ipython".split(),
}
_ROLE = {name: role for role, names in _ROLES.items() for name in names}
_OBJECT = re.compile(r"<ref-object>|<bbox>")
_TEXT_PARTS = ("text", "input_text", "output_text")


@dataclass(frozen=True, slots=True)
class Said:
    """One turn as it was read; ``shown`` is what its parts name as images."""

    role: str
    text: str
    taught: bool | None
    shown: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Talk:
    """What is said in a row.

    Attributes:
        system: The system prompt; empty if there is none.
        pairs: Questions with their answers, at least one, as they stand there.
        taught: For each of these whether the answer is to be learned.
        shown: What parts of turns name as images.
        questions_marked: How many questions are marked as to be learned too.
    """

    system: str
    pairs: tuple[tuple[str, str], ...]
    taught: tuple[bool, ...]
    shown: tuple[Any, ...] = field(default=())
    questions_marked: int = 0

    @property
    def questions(self) -> tuple[str, ...]:
        """What is asked, turn by turn."""
        return tuple(question for question, _ in self.pairs)


def read_talk(row: Mapping[str, Any]) -> Talk:
    """What is said in a row.

    Raises:
        BadRowError: ``unknown_layout`` if no key of turns is there, ``bad_turns``, ``other_medium``, ``bad_loss_flag``.
    """
    said = _read_turns(row)
    system = _system(row, said)
    told = said[1:] if said[0].role == "system" else said
    roles = [one.role for one in told]
    if "system" in roles:
        raise BadRowError("bad_turns", "got a system turn in the middle, expected it before the first question")
    if not roles or roles != ["user", "assistant"] * (len(roles) // 2):
        got = ", ".join(roles[:8]) or "no turn"
        raise BadRowError("bad_turns", f"got {got}, expected user, assistant, user, assistant and so on")
    questions, answers = told[::2], told[1::2]
    return Talk(
        system,
        tuple((question.text, answer.text) for question, answer in zip(questions, answers, strict=True)),
        tuple(answer.taught is not False for answer in answers),
        tuple(value for one in said for value in one.shown),
        sum(question.taught is True for question in questions),
    )


def _read_turns(row: Mapping[str, Any]) -> list[Said]:
    present = {key: row[key] for key in TURN_KEYS if row.get(key) is not None}
    if not present:
        if (found := find_turns(row)) is None:
            raise BadRowError("unknown_layout", explain_layouts(row))
        return [_read_turn(turn) for turn in found]
    full = {key: value for key, value in present.items() if value not in ([], {}, "")} or present
    key, turns = next(iter(full.items()))
    if not isinstance(turns, list) or not turns:
        got = "an empty list" if turns == [] else f"a {type(turns).__name__}"
        raise BadRowError("bad_turns", f"got {got} under `{key}`, expected a list of turns")
    said = _read_list(turns)
    for other, more in full.items():
        if other != key and (not isinstance(more, list) or _read_list(more) != said):
            raise BadRowError("bad_turns", f"the row has other turns under `{other}` than under `{key}`")
    return said


def _read_list(turns: Sequence[Any]) -> list[Said]:
    return [_read_turn(turn) for one in turns for turn in spread_turn(one)]


def _system(row: Mapping[str, Any], said: Sequence[Said]) -> str:
    """The system prompt of a row, from its first turn or a key of its own.

    Raises:
        BadRowError: ``bad_turns`` if it is no text, or there are two.
    """
    found = [said[0].text.strip()] if said[0].role == "system" else []
    for key, value in row.items():
        if fold_name(str(key)) not in SYSTEM_KEYS:
            continue
        if value is not None and not isinstance(value, str):
            raise BadRowError("bad_turns", f"got `{key}` that is a {type(value).__name__}, expected text")
        found.append((value or "").strip())
    distinct = {one: None for one in found if one}
    if len(distinct) > 1:
        raise BadRowError("bad_turns", f"the row has {len(distinct)} system prompts, expected one")
    return next(iter(distinct), "")


def _read_turn(turn: Any) -> Said:
    if not isinstance(turn, dict):
        raise BadRowError("bad_turns", f"got a turn that is a {type(turn).__name__}, expected an object")
    role = _role(_only(turn, "from", "role"))
    if any(turn.get(key) for key in ("tool_calls", "function_call", "tool_call_id")):
        role = "tool"
    if role == "tool":
        raise BadRowError("bad_turns", "got a turn that calls a tool or is its answer, expected question and answer")
    content = _only(turn, "value", "content", "text")
    shown: list[Any] = []
    if isinstance(content, list) and len(content) > 1 and all(isinstance(part, str) for part in content):
        raise BadRowError("bad_turns", f"got {len(content)} texts for one turn: alternatives or parts, nobody can tell")
    if isinstance(content, list) and content:
        content = "".join(_read_parts(content, shown))
    if isinstance(content, int | float) and not isinstance(content, bool) and math.isfinite(content):
        content = str(content)
    if not isinstance(content, str):
        raise BadRowError("bad_turns", f"got the text of a turn as {type(content).__name__}, expected a string")
    if medium := next((key for key, value in turn.items() if value and is_other_medium(str(key))), None):
        raise BadRowError("other_medium", f"a turn is about its `{medium}`, expected an image or none")
    shown += [value for key, value in turn.items() if value and is_image_key(str(key))]
    return Said(role, content, is_taught(turn), tuple(shown))


def _only(turn: Mapping[str, Any], *keys: str) -> Any:
    """What stands under one of the keys; tables of several layouts leave null, NaN or nothing under the others."""
    found = {key: turn[key] for key in keys if not is_gap(turn.get(key))}
    found = {key: value for key, value in found.items() if value != ""} or found
    first = next(iter(found.values()), None)
    if any(_ROLE.get(_squeeze(value), value) != _ROLE.get(_squeeze(first), first) for value in found.values()):
        raise BadRowError("bad_turns", f"a turn says one thing under {' and another under '.join(found)}")
    return first


def _squeeze(name: Any) -> Any:
    """A role in small letters alone: ``Assistant:`` as assistant, ``GPT-4`` as gpt4."""
    return "".join(filter(str.isalnum, name)).lower() if isinstance(name, str) and len(name) < 40 else repr(name)


def _role(value: Any) -> str:
    known = _ROLE.get(_squeeze(value))
    if known is None:
        raise BadRowError("bad_turns", f"got the role {str(value)[:40]!a}, expected user, assistant or system")
    return known


def _read_parts(parts: Sequence[Any], shown: list[Any]) -> Iterator[str]:
    """The text of each part, a placeholder for an image; ``shown`` gets what the images' parts name."""
    for part in parts:
        if isinstance(part, str):
            yield part
            continue
        if not isinstance(part, dict):
            raise BadRowError("bad_turns", f"got a part of a turn that is a {type(part).__name__}, expected an object")
        kind = part.get("type") or next((key for key, value in part.items() if value is not None), "nothing")
        if kind in _TEXT_PARTS:
            yield _part_text(part)
        elif is_image_key(str(kind)):
            shown.append({key: value for key, value in part.items() if key not in ("type", "text", "index")})
            yield PLACEHOLDER
        elif is_other_medium(str(kind)):
            raise BadRowError("other_medium", f"a turn shows a {str(kind)[:40]}, expected images and text")
        else:
            raise BadRowError("bad_turns", f"got a part of the type {str(kind)[:40]!a}, expected text or image")


def _part_text(part: Mapping[str, Any]) -> str:
    text = next((part[key] for key in (*_TEXT_PARTS, "content", "value") if part.get(key) is not None), None)
    if not isinstance(text, str):
        raise BadRowError("bad_turns", f"got the text of a part as {type(text).__name__}, expected a string")
    return text


def check_objects(row: Mapping[str, Any], talk: Talk) -> None:
    """Refuse texts in which ms-swift would write the names and boxes of ``objects``."""
    marks = (_OBJECT.search(text) for pair in talk.pairs for text in pair) if row.get("objects") else ()
    if mark := next(filter(None, marks), None):
        raise BadRowError(
            "placeholder_in_text",
            f"{mark[0]} stands for one of the row's `objects`, which are not read; write it into the text",
        )
