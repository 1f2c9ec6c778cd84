"""Paths among the settings; where images lie is a folder, or an address such as ``s3://bucket/prefix``."""

import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, PlainSerializer, PlainValidator
from pydantic_core import PydanticCustomError


def expand_home(path: str | Path) -> Path:
    """The path with somebody's home for a ``~`` at its beginning; one that names nobody's, as `~$a.png`, as it is."""
    return Path(os.path.expanduser(path))


HomePath = Annotated[Path, AfterValidator(expand_home)]


class Address(str):
    """What fsspec opens: ``s3://bucket/prefix``, ``gs://``, ``hf://``."""

    __slots__ = ()


def read_root(given: Any) -> "Path | Address":
    """A root as it is meant."""
    if isinstance(given, Address):
        return given
    if not isinstance(given, str | Path):
        raise PydanticCustomError("path_type", "not a folder or an address")
    if isinstance(given, str) and "://" in given:
        return Address(given.rstrip("/"))
    return expand_home(given)


ImageRoot = Annotated[Path | Address, PlainValidator(read_root), PlainSerializer(str)]
