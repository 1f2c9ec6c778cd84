"""What LLaMA-Factory is told of a file by `dataset_info.json` beside it: its layout, columns and tags of turns."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from c3l.data.layouts import TURN_KEYS
from c3l.errors import DataError

_NAME = "dataset_info.json"
# what is read, to LLaMA-Factory's word for its column and the name that this has if nothing else is said
_ALPACA = {"instruction": ("prompt", "instruction"), "input": ("query", "input"), "output": ("response", "output"),
           "history": ("history", None)}  # fmt: skip
_SHAREGPT = {TURN_KEYS[0]: ("messages", "conversations")}
_BOTH = {"system": ("system", None), "images": ("images", None), "tools": ("tools", None)}
_TAGS = {"role_tag": "from", "content_tag": "value", "user_tag": "human", "assistant_tag": "gpt",
         "system_tag": "system", "observation_tag": "observation", "function_tag": "function_call"}  # fmt: skip
_ROLES = {"user_tag": "user", "assistant_tag": "assistant", "system_tag": "system", "observation_tag": "tool",
          "function_tag": "tool"}  # fmt: skip
_TURN_KEYS = frozenset("from role value content text".split())


@dataclass(frozen=True, slots=True)
class Entry:
    """What is said of a file.

    Attributes:
        name: The data set's.
        columns: The name that is read, to the column.
        tags: LLaMA-Factory's words for the keys of a turn and for who speaks, to what stands there; empty: not tagged.
    """

    name: str
    columns: Mapping[str, str]
    tags: Mapping[str, str]


def find_entry(path: Path) -> Entry | None:
    """What is said of a file, if something is.

    Raises:
        DataError: If it is said to hold something else than questions and answers, or two things are said.
    """
    try:
        every = json.loads((path.parent / _NAME).read_bytes())
    except (OSError, ValueError):
        return None
    named = every.items() if isinstance(every, dict) else ()  # `datasets` writes another file of this name
    found = [
        _read_entry(path, name, one)
        for name, one in named
        if isinstance(one, dict) and one.get("file_name") == path.name
    ]
    if any((one.columns, one.tags) != (found[0].columns, found[0].tags) for one in found):
        names = " and ".join(ascii(one.name) for one in found)
        raise DataError(f"{path.parent / _NAME} says different things of {path.name} under {names}; use --columns")
    return found[0] if found else None


def name_entries(files: Sequence[Path]) -> dict[str, str]:
    """What is said of files, for the record of what something was made with; nothing where nothing is.

    Raises:
        DataError: As ``find_entry``.
    """
    entries = [find_entry(path) for path in files]
    said = [None if entry is None else [entry.columns, entry.tags] for entry in entries]
    return {_NAME: sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]} if any(said) else {}


def _read_entry(path: Path, name: str, entry: Mapping[str, Any]) -> Entry:
    where = f"{path.parent / _NAME}: {name[:60]!a}"
    columns, tags, formatting = (entry.get(key) for key in ("columns", "tags", "formatting"))
    if formatting not in (None, "alpaca", "sharegpt", "openai"):
        raise DataError(f"{where} has the formatting {str(formatting)[:40]!a}, expected alpaca, sharegpt or openai")
    if entry.get("ranking") or "kto_tag" in _texts(columns, where):
        raise DataError(f"{where} is a set of preferences, expected questions and answers; name them by --columns")
    if _texts(columns, where).keys() & {"videos", "audios"}:
        raise DataError(f"{where} has videos or sounds, expected images; to leave them out name --columns")
    layout = _ALPACA if formatting in (None, "alpaca") else _SHAREGPT
    named = _texts(columns, where)
    words = {name: named.get(word) or usual for name, (word, usual) in {**layout, **_BOTH}.items()}
    read = {name: column for name, column in words.items() if column}
    return Entry(name, read, {} if layout is _ALPACA else {**_TAGS, **_texts(tags, where)})


def _texts(value: Any, where: str) -> dict[str, str]:
    value = {} if value is None else value
    if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
        raise DataError(f"{where} has columns or tags that are no names, expected text for each")
    return value


def retag_turns(row: Any, entry: Entry) -> Any:
    """The row with `role` and `content` in its turns, and who speaks by the words that are read."""
    turns = row.get(TURN_KEYS[0]) if isinstance(row, dict) and entry.tags else None
    if not isinstance(turns, list):
        return row
    roles = {entry.tags[tag]: role for tag, role in _ROLES.items()}
    return {**row, TURN_KEYS[0]: [_retag(turn, entry.tags, roles) for turn in turns]}


def _retag(turn: Any, tags: Mapping[str, str], roles: Mapping[str, str]) -> Any:
    if not isinstance(turn, dict):
        return turn
    said = {tags["role_tag"], tags["content_tag"], *_TURN_KEYS}
    speaker = turn.get(tags["role_tag"])
    rest = {key: value for key, value in turn.items() if key not in said}
    role = roles.get(speaker, speaker) if isinstance(speaker, str) else speaker
    return {**rest, "role": role, "content": turn.get(tags["content_tag"])}
