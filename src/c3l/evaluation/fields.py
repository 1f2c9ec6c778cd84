"""The fields of one row of somebody's JSON, each as what it should be, or an error that says where it stands."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from c3l.data.jsonrows import iterate_rows
from c3l.data.rejection import BadRow, is_utf8
from c3l.errors import DataError


@dataclass(frozen=True, slots=True)
class Fields:
    """A row, asked by names of fields, of which the first that is there counts.

    Attributes:
        path: Its file.
        number: From 1.
        row: Its fields.
        remedy: What to do where one is missing.
    """

    path: Path
    number: int
    row: dict[str, Any]
    remedy: str

    def __contains__(self, name: str) -> bool:
        return self.row.get(name) is not None

    def text(self, *names: str) -> str:
        """A text.

        Raises:
            DataError: If it is none.
        """
        name, value = self._find(names)
        if not isinstance(value, str):
            raise self.refuse(f"has {name} {value!a:.80}, expected text")
        return value

    def choice(self, *names: str) -> str:
        """A text or a number, as text.

        Raises:
            DataError: If it is neither.
        """
        name, value = self._find(names)
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise self.refuse(f"has {name} {value!a:.80}, expected text")
        return str(value)

    def label(self, *names: str) -> str:
        """A text, a number or a boolean, as text in small letters.

        Raises:
            DataError: If it is something else.
        """
        name, value = self._find(names)
        if not isinstance(value, str | int | float):
            raise self.refuse(f"has {name} {value!a:.80}, expected a word")
        return str(value).strip().lower()

    def key(self, *names: str) -> str:
        """What a row is known by: a text or a whole number, which 12.0 is too.

        Raises:
            DataError: If it is something else.
        """
        name, value = self._find(names)
        if isinstance(value, float) and value.is_integer():
            return str(int(value))
        if type(value) is int or (isinstance(value, str) and value.strip()):
            return str(value).strip()
        raise self.refuse(f"has {name} {value!a:.80}, expected text or a whole number")

    def refuse(self, problem: str) -> DataError:
        """An error about this row."""
        return DataError(f"{self.path}: row {self.number} {problem}; {self.remedy}")

    def _find(self, names: tuple[str, ...]) -> tuple[str, Any]:
        name = next((name for name in names if name in self), names[0])
        if name not in self.row:
            raise self.refuse(f"has no {name}")
        value = self.row[name]
        if isinstance(value, str) and not is_utf8(value):
            raise self.refuse(f"has half a character (a lone surrogate) in {name} {value!a:.80}")
        return name, value


def read_fields(path: Path, remedy: str) -> Iterator[Fields]:
    """The rows of a JSON list or of JSON lines.

    Args:
        path: The file.
        remedy: What to do where a row is not what it should be.

    Raises:
        DataError: If a row is no JSON object.
    """
    for number, row in enumerate(iterate_rows(path), 1):
        if isinstance(row, BadRow):
            raise DataError(f"{path}: {row.detail}; {remedy}")
        if not isinstance(row, dict):
            raise DataError(f"{path}: row {number} is {row!a:.80}, expected an object with fields; {remedy}")
        yield Fields(path, number, row, remedy)
