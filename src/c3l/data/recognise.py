"""Which layout data files are in, told before any work by their first rows, or refused by what these have."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from c3l.data.columns import Naming, find_naming
from c3l.data.jsonrows import iterate_rows
from c3l.data.layouts import explain_layouts, name_layout
from c3l.data.names import fold_name
from c3l.errors import DataError

_ASKED = frozenset({"question", "query"})  # a `prompt` beside a caption may be what the image was made from
_FILES, _ROWS = 8, 16  # how many are looked at, of many files and of each


def recognise(files: Sequence[Path], named: Mapping[str, str]) -> str:
    """One line about the layout of the files.

    Args:
        files: The files; of very many only the first few are looked at.
        named: ``columns``.

    Raises:
        DataError: If none of a file's first rows is in a layout that is read, or has a column that was named; or if
            they have a question that would be left out, since only answers were named.
    """
    layouts: dict[str, None] = {}
    for path in files[:_FILES]:
        naming = find_naming(path, named)
        rows = [row for row in islice(iterate_rows(path), _ROWS) if isinstance(row, dict) and row]
        if rows:
            by = f", columns by {naming.told}" if naming.told else ""
            layouts |= {layout + by: None for layout in _find_layouts(path, rows, naming)}
    return f"data: layout {'; '.join(layouts)}" if layouts else ""


def _find_layouts(path: Path, rows: Sequence[Mapping[str, Any]], naming: Naming) -> Iterator[str]:
    """The layouts of these rows.

    Raises:
        DataError: As ``recognise``.
    """
    there = {str(key): None for row in rows for key in row}
    if absent := [column for column in naming.columns if column not in there]:
        seen = ", ".join(f"`{key[:40]}`" for key in [*there][:24])
        raise DataError(f"{path}: got --columns with {', '.join(map(ascii, absent))}, but its rows have {seen}")
    _check_question(path, rows, naming)
    found = [layout for row in rows if (layout := name_layout(naming.apply(row)))]
    if not found:
        told = f" ({naming.told} names its columns)" if naming.told else ""
        raise DataError(f"{path}: {explain_layouts(rows[0])}{told}")
    yield from found


def _check_question(path: Path, rows: Sequence[Mapping[str, Any]], naming: Naming) -> None:
    """Refuse to ask about the image alone where the rows have a question of their own.

    Raises:
        DataError: With the columns to name.
    """
    if not naming.is_caption:
        return
    asked = {str(key): None for row in rows for key, value in row.items() if _is_question(str(key), value)}
    if own := next((key for key in asked if key not in naming.columns), None):
        raise DataError(
            f"{path}: got --columns with an answer and no question, but its rows have {own[:40]!a}; name it too "
            f"(question={own[:40]}), or take the column out for captions"
        )


def _is_question(key: str, value: Any) -> bool:
    return fold_name(key) in _ASKED and bool(value) and isinstance(value, str | list)
