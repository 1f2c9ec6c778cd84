"""What a section of the settings is, and which of its values change what comes out."""

from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any, ClassVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationInfo, field_validator

LISTED = BeforeValidator(lambda value: [value] if isinstance(value, str | dict) else value)  # one is a list of one


class Settings(BaseModel):
    """A section: unknown keys are errors, values never change after reading.

    Attributes:
        no_result: The keys that change how something runs and what is seen of it, never what comes out.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())
    no_result: ClassVar[frozenset[str]] = frozenset()

    @field_validator("*", mode="before")
    @classmethod
    def _no_empty_path(cls, value: Any, info: ValidationInfo) -> Any:
        parts = value if isinstance(value, list | tuple) else [value]
        if "" in parts and Path in _kinds_in(cls.model_fields[str(info.field_name)].annotation):
            raise ValueError("got an empty text, expected a path; that of the working directory is `.`")
        return value

    @field_validator("*", mode="before")
    @classmethod
    def _no_yes_for_numbers(cls, value: Any, info: ValidationInfo) -> Any:
        kinds = set(_kinds_in(cls.model_fields[str(info.field_name)].annotation))
        parts = value if isinstance(value, list | tuple) else [value]
        said = next((str(part).lower() for part in parts if isinstance(part, bool)), None)
        if said is not None and kinds & {int, float} and bool not in kinds:
            raise ValueError(f"got {said}, expected a number")  # 1 is no meaning of `yes`
        return value


def _kinds_in(annotation: Any) -> Iterator[Any]:
    """A type, or those that it is made of."""
    yield annotation
    for part in get_args(annotation):
        yield from _kinds_in(part)


def results_of(section: str, settings: Settings, but: Set[str] = frozenset()) -> dict[str, Any]:
    """What of a section changes what comes out, as ``section.key``, which ``--set`` takes.

    Args:
        section: Its name.
        settings: Its values.
        but: Keys that change nothing in this case.
    """
    values = settings.model_dump(exclude={*settings.no_result, *but})
    return {f"{section}.{key}": value for key, value in values.items()}
