"""The commands about settings: list them, and write a config to begin with."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from c3l.cli.options import print_lines, print_summary
from c3l.errors import ConfigError

STARTER = Path("c3l.yaml")
_WHOLE = "--markdown and --json-schema are of all settings, a section or setting is listed without them"


def settings(
    name: Annotated[str | None, typer.Argument(metavar="SECTION", help="Only this section, or setting")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="As docs/settings.md has it")] = False,
    json_schema: Annotated[
        bool, typer.Option("--json-schema", help="As configs/schema.json, by which editors complete and check a config")
    ] = False,
) -> None:
    """List every setting: default, meaning, what it may be."""
    whole = [how for how, asked in {"--markdown": markdown, "--json-schema": json_schema}.items() if asked]
    if whole and (len(whole) > 1 or name is not None):
        raise ConfigError(f"got {' and '.join([*whole, *filter(None, [name])])}, expected one of them: {_WHOLE}")
    if json_schema:
        from c3l.settings.json_schema import format_json_schema

        print(format_json_schema(), end="")
        return
    from c3l.settings.describe import find_sections, format_page, format_sections, list_sections

    if markdown:
        lines = format_page()
    else:
        lines = format_sections(list(list_sections()) if name is None else find_sections(name.replace("-", "_")))
    print_lines(lines)


def init(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write")] = STARTER,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there")] = False,
) -> None:
    """Write a config to begin with, every setting explained."""
    from c3l.settings.json_schema import MODELINE
    from c3l.settings.shipped import SCHEMA
    from c3l.settings.starter import format_starter
    from c3l.storage.atomic import write_atomic

    if str(path) == "-":
        raise ConfigError("got -, expected the name of a file to write, such as c3l.yaml")
    if path.exists() and not path.is_file():
        raise ConfigError(
            f"got {path}, which is {'a folder' if path.is_dir() else 'no file'}; expected a file to write"
        )
    if path.exists() and not force:
        raise ConfigError(f"{path} is there already; name another file, or write over it with --force")
    # where it is installed: a path beside the user's file would need a copy of the schema, which goes stale
    write_atomic(path, format_starter(f"{MODELINE}{SCHEMA.as_posix()}", path.name))
    print(f"name your images and your model in {path}, then `c3l check --config {shlex.quote(str(path))}`")
    print_summary({"config": str(path)})
