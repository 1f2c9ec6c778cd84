"""A config to begin with: every setting explained, the first ones to change ready, the others commented out."""

import shlex
import textwrap
from collections.abc import Iterator

from c3l.settings.describe import SOURCES, WIDTH, Section, Setting, list_sections

FIRST = (
    "run",
    "rounds",
    "model.name",
    "images.root",
    "images.limit",
    "generation.pairs_per_image",
    "filtering.fraction",
    "export.formats",
)


def format_starter(modeline: str, name: str) -> Iterator[str]:
    """The lines of a config that is all defaults.

    Args:
        modeline: Its first line, by which an editor finds the schema.
        name: What the file will be called.
    """
    yield modeline
    command = f"c3l run --config {shlex.quote(name)}"
    yield from _comment(f"Settings of a run: `{command}`. `c3l settings` lists them as well.", 0)
    yield from _comment("A line `#key: value` is a setting and its default; take the # away and change it.", 0)
    yield from _comment(f"Where a number that changes a result comes from is said with it: {SOURCES}.", 0)
    for section in list_sections():
        yield ""
        yield from _format_elements(section) if section.name.endswith("[]") else _format_section(section)


def _format_section(section: Section) -> Iterator[str]:
    depth = section.name.count(".") + 1 if section.name else 0
    if section.name:
        header = section.name.rpartition(".")[2] + ":"
        yield from _comment(section.description, depth - 1)
        yield "  " * (depth - 1) + (header if depth == 1 else f"#{header}")  # an empty one inside another is no section
    for it in section.settings:
        yield from _comment(_tell(it), depth)
        mark = "" if it.key in FIRST else "#"
        yield f"{'  ' * depth}{mark}{it.key.rpartition('.')[2]}: {it.default}"


def _format_elements(section: Section) -> Iterator[str]:
    """Each element of a list of sections has these; there is no default to begin with."""
    depth = section.name.count(".")
    name = section.name.removesuffix("[]").rpartition(".")[2]
    yield from _comment(f"One of {name}: {section.description}", depth)
    for it in section.settings:
        yield from _comment(f"- {it.key.rpartition('.')[2]}, {it.default}: {_tell(it)}", depth)


def _tell(it: Setting) -> str:
    return f"{it.description} ({it.values})"


def _comment(text: str, depth: int) -> list[str]:
    indent = "  " * depth + "# "
    return textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
