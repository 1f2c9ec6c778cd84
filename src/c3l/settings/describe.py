"""The settings as a list, made from their models: for `c3l settings`, `docs/settings.md` and messages."""

import difflib
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from c3l.errors import ConfigError
from c3l.settings.base import Settings
from c3l.settings.roots import Address, HomePath
from c3l.settings.schema import RunConfig

WIDTH = 100
SOURCES = (
    "paper (arXiv 2405.12752), CLAPS (Lee et al., ICLR 2021), LLaVA-1.5 (its recipe), "
    "ours (measured in docs/experiments.md) or choice"
)

_BOUNDS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
_TYPES = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    Path: "path",
    HomePath: "path",
    Address: "address",
}


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting; ``default`` as YAML writes it, or ``required``."""

    key: str
    default: str
    values: str
    description: str


@dataclass(frozen=True, slots=True)
class Section:
    """Settings that stand together; the name of those that are in no section is empty."""

    name: str
    description: str
    settings: tuple[Setting, ...]


def list_sections(model: type[Settings] = RunConfig, name: str = "") -> Iterator[Section]:
    """A section and those inside it; ``a.b[]`` is each section of the list ``a.b``."""
    start = f"{name}." if name else ""
    # what is the section's own before what all of its kind have
    fields = sorted(model.model_fields.items(), key=lambda item: item[0] not in model.__annotations__)
    settings = (_describe(start + key, field) for key, field in fields if not _section(field.annotation))
    yield Section(name, (model.__doc__ or "").replace("``", "`"), tuple(settings))
    for key, field in fields:
        if inner := _section(field.annotation):
            yield from list_sections(inner, start + key)
        elif get_origin(field.annotation) is tuple and (inner := _section(get_args(field.annotation)[0])):
            yield from list_sections(inner, f"{start}{key}[]")


def find_sections(name: str) -> list[Section]:
    """The section of this name and those inside it, or a setting alone.

    Raises:
        ConfigError: There is neither; what is nearest is told.
    """
    sections = list(list_sections())
    inside = [one for one in sections if one.name == name or one.name.startswith((f"{name}.", f"{name}["))]
    found = inside or [Section("", "", (it,)) for one in sections for it in one.settings if it.key == name]
    if not found:
        names = [one.name for one in sections if one.name]
        keys = [it.key for one in sections for it in one.settings]
        near = " or ".join(find_elsewhere(name) or difflib.get_close_matches(name, [*names, *keys], n=1))
        hint = f"; did you mean {near}?" if near else ""
        raise ConfigError(f"got {name!r}, expected a setting or one of the sections {', '.join(names)}{hint}")
    return found


def find_elsewhere(name: str) -> list[str]:
    """The settings of other sections with the same last word."""
    keys = (it.key for section in list_sections() for it in section.settings)
    return [key for key in keys if key != name and key.rpartition(".")[2] == name.rpartition(".")[2]]


def format_sections(sections: list[Section]) -> Iterator[str]:
    """Lines of at most ``WIDTH`` columns for the terminal."""
    for number, section in enumerate(sections):
        if number:
            yield ""
        if section.description:
            yield from textwrap.wrap(f"{section.name}: {section.description}".removeprefix(": "), WIDTH)
        for it in section.settings:
            for text, first in ((f"{it.key} = {it.default}   ({it.values})", "  "), (it.description, "      ")):
                yield from textwrap.wrap(
                    text, WIDTH, initial_indent=first, subsequent_indent="      ", break_on_hyphens=False
                )


def format_page() -> Iterator[str]:
    """The lines of ``docs/settings.md``."""
    yield from (
        "# Settings",
        "",
        "For everybody who changes what c3l does: every setting, its default, what it may be, and what it means.",
        "",
        "Give a setting in a YAML file (`scoring: {form: log_ratio}`, read by `--config FILE`) or on the command line",
        "(`--set scoring.form=log_ratio`), which wins. A list is written `[a, b]`, or `a` for one value; `null` means",
        "not set. `c3l init` writes a file of all settings to begin with. An editor with a YAML language server (in",
        "VS Code its YAML extension) checks such a file while you write it.",
        "",
        f"Where a number that changes a result comes from is said with it: {SOURCES}.",
        "",
        "This page is written by `c3l settings --markdown > docs/settings.md`; do not edit it, a test compares it with",
        "the code.",
    )
    for section in list_sections():
        yield from ("", f"## {section.name or 'The run'}", "", section.description, "")
        yield from ("| setting | default | values | what |", "|---|---|---|---|")
        for it in section.settings:
            yield f"| `{it.key}` | `{it.default}` | {it.values} | {it.description} |"


def _section(annotation: Any) -> type[Settings] | None:
    return annotation if isinstance(annotation, type) and issubclass(annotation, Settings) else None


def _describe(key: str, field: FieldInfo) -> Setting:
    default = "required" if field.is_required() else _write(field.default)
    bounds = [
        f"{sign} {getattr(limit, name)}"
        for limit in field.metadata
        for name, sign in _BOUNDS.items()
        if hasattr(limit, name)
    ]
    return Setting(key, default, ", ".join((_name(field.annotation), *bounds)), field.description or "")


def _write(value: object) -> str:
    """A default as YAML."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(_write, value))}]"
    return str(value).lower() if isinstance(value, bool) else "null" if value is None else str(value)


def _name(annotation: Any) -> str:
    """What values a type takes."""
    inner = get_args(annotation)
    if get_origin(annotation) is Literal:
        return ", ".join(inner)
    if get_origin(annotation) in (UnionType, Union):  # of a Literal the other
        return " or ".join("null" if one is NoneType else _name(one) for one in inner)
    if get_origin(annotation) is tuple:
        what = "sections" if _section(inner[0]) else _name(inner[0]) + "s" * (inner[0] in _TYPES)
        return f"list of {what}" if inner[-1] is Ellipsis else f"list of {len(inner)} {what}"
    return _TYPES[annotation]
