"""Records as lines of JSON, and back."""

from typing import Any, TypeVar

from pydantic import TypeAdapter

T = TypeVar("T")
_ADAPTERS: dict[type[Any], TypeAdapter[Any]] = {}


def _adapter(cls: type[Any]) -> TypeAdapter[Any]:
    if cls not in _ADAPTERS:
        _ADAPTERS[cls] = TypeAdapter(cls)
    return _ADAPTERS[cls]


def to_json(record: Any) -> str:
    """One record as one line of JSON, keys in the order of its fields."""
    return _adapter(type(record)).dump_json(record).decode()


def from_json(cls: type[T], line: str | bytes) -> T:
    """The record of class ``cls`` that a line of JSON holds.

    Raises:
        pydantic.ValidationError: If the line is not such a record.
    """
    record: T = _adapter(cls).validate_json(line)
    return record
