"""Where images lie: a folder, or an address such as ``s3://bucket/prefix``."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator
from pydantic_core import PydanticCustomError


class Address(str):
    """What fsspec opens: ``s3://bucket/prefix``, ``gs://``, ``hf://``."""

    __slots__ = ()


def read_root(given: Any) -> "Path | Address":
    """A root as it is meant."""
    if isinstance(given, Path | Address):
        return given
    if not isinstance(given, str):
        raise PydanticCustomError("path_type", "not a folder or an address")
    return Address(given.rstrip("/")) if "://" in given else Path(given)


ImageRoot = Annotated[Path | Address, PlainValidator(read_root), PlainSerializer(str)]
