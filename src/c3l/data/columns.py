"""Rows whose columns have names of their own, as rows under the names that are read."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from c3l.data.dataset_info import find_entry, retag_turns
from c3l.data.layouts import CONTEXT, HISTORY, INPUT, PAIRS, SYSTEM_KEYS, TABLE, TEXTS, TURN_KEYS, has_layout
from c3l.data.media import MAIN, names_file
from c3l.data.names import fold_name
from c3l.markup.placeholders import PLACEHOLDER

_MORE = frozenset((HISTORY, INPUT, *CONTEXT))
_SAID = _MORE | {*TURN_KEYS, TEXTS, *(key for pair in PAIRS for key in pair)}
_QUESTION, _ANSWER = TABLE


@dataclass(frozen=True, slots=True)
class Naming:
    """How the columns of a file are named.

    Attributes:
        apply: Gives a row the names that are read.
        columns: Those that the rows should have; empty where nobody named any.
        told: Who named them; empty where nobody did.
        is_caption: Whether answers were named, and no questions: the image alone is asked about.
    """

    apply: Callable[[Any], Any]
    columns: tuple[str, ...] = ()
    told: str = ""
    is_caption: bool = False


def find_naming(path: Path, named: Mapping[str, str]) -> Naming:
    """How the columns of a file are named: by settings, else by an entry of LLaMA-Factory's that lies beside it.

    Args:
        path: The file.
        named: ``columns``.

    Raises:
        DataError: If the entry cannot be followed.
    """
    if named:
        wanted = {TURN_KEYS[0] if name == "turns" else name: column for name, column in named.items()}
        is_caption = _ANSWER in wanted and _QUESTION not in wanted
        return Naming(partial(_rename, wanted), tuple(named.values()), "--columns", is_caption)
    if (entry := find_entry(path)) is None:
        return Naming(_plainly_named)
    rename = partial(_rename, entry.columns)
    return Naming(lambda row: retag_turns(rename(row), entry), told=f"{entry.name!a} in dataset_info.json")


def _rename(wanted: Mapping[str, str], row: Any) -> Any:
    """The row with each column under the name that it is read by; what would be read in its place is left out."""
    if not isinstance(row, Mapping):
        return row
    hidden = {*_hidden(wanted)}
    kept = {
        key: value
        for key, value in row.items()
        if key not in wanted.values()
        and fold_name(str(key)) not in hidden
        and not (wanted.keys() & {*MAIN} and names_file(str(key), value))
    }
    if _ANSWER in wanted and _QUESTION not in wanted:  # captions: the image alone is asked about
        kept[_QUESTION] = PLACEHOLDER
    kept = _plainly_named(kept)
    return kept | {name: row[column] for name, column in wanted.items() if column in row}


def _plainly_named(row: Any) -> Any:
    """The row with the names of its texts as they are read (`History` as `history`), where no other has that name.

    Where it says something under names that are read, `Dialog` and `Output` are other things, and stay.
    """
    if not isinstance(row, Mapping) or row.keys() <= _SAID:
        return row
    read = _MORE if has_layout(row) else _SAID
    return {_plain_name(key, value, row, read): value for key, value in row.items()}


def _plain_name(key: Any, value: Any, row: Mapping[Any, Any], read: frozenset[str]) -> Any:
    name = fold_name(str(key))
    is_said = name in read and (name not in TURN_KEYS or _is_turns(value))
    return name if is_said and name not in row else key


def _is_turns(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], Mapping)


def _hidden(wanted: Iterable[str]) -> Iterable[str]:
    """The keys that would be read instead of those that were named, or beside them."""
    for name in wanted:
        yield name
        yield from next((keys for keys in (_SAID, MAIN, SYSTEM_KEYS) if name in keys), ())
