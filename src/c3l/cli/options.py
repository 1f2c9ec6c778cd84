"""What the commands share: their options, how options become settings, and how a command ends."""

import inspect
import json
import shlex
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperOption

from c3l.cli.completion import complete_setting
from c3l.errors import ConfigError, DataError

if TYPE_CHECKING:
    from c3l.progress import Progress
    from c3l.run.context import Context
    from c3l.run.run_folder import Run
    from c3l.settings.load import Override
    from c3l.settings.schema import RunConfig

OK, FAILED, BAD_SETTINGS, TOO_MANY_REJECTED = 0, 1, 2, 3
STOPPED = 130  # what typer ends with at Ctrl-C


def _show_version(asked: bool) -> None:
    from importlib.metadata import version

    if asked:
        print(f"c3l {version('c3l')}")
        raise typer.Exit


RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="The run folder, such as runs/mine")]
MaybeRun = Annotated[Path | None, typer.Argument(metavar="RUN", help="The run folder, such as runs/mine")]
RunOption = Annotated[Path | None, typer.Option("--run", help="The same as an option (run); without either runs/run")]
Round = Annotated[
    int,
    typer.Option("--round", min=0, help="0 is the draft, 1 what the tuned LVLM writes, and so on"),
]
Shard = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="I/N",
        help="Make every Nth shard only, beside processes that make the others; then call it again without",
    ),
]
Leading = Annotated[int, typer.Option("--round", min=1, help="The round that this prepares, from the one before")]
Version = Annotated[
    bool, typer.Option("--version", help="Show the version and end", is_eager=True, callback=_show_version)
]
Debug = Annotated[bool, typer.Option("--debug", help="Show where an error comes from; may stand anywhere")]


class OnceCommand(TyperCommand):
    """A command that refuses what would silently mean something else.

    That is an option given twice, of which the last would win, unless it takes several; and an empty value, as of a
    shell's variable that is not set, which would be the folder one stands in.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As always, after a look at what is given."""
        values, _, given = self.make_parser(ctx).parse_args(args=[*args])
        for param in dict.fromkeys(given):
            value = values.get(param.name)
            if value == "" or (isinstance(value, list) and "" in value):
                shown = getattr(param, "metavar", None) or param.name
                name = param.opts[0] if isinstance(param, TyperOption) else shown
                ctx.fail(f"got {name} with an empty value; is a variable of your shell not set?")
        for param, times in Counter(given).items():
            has_value = isinstance(param, TyperOption) and (not param.is_flag or param.secondary_opts)
            if times > 1 and has_value and not param.multiple:
                ctx.fail(f"got {param.opts[0]} {times} times, expected it once")
        return super().parse_args(ctx, args)


@dataclass(frozen=True, slots=True)
class Arguments:
    """The settings that a command is given.

    Attributes:
        configs: ``--config``, of which a later one wins.
        overrides: Every option that names a setting, in the order in which a later one wins; ``--set`` comes last.
        typed: ``--set``, as it was typed.
    """

    configs: tuple[Path, ...]
    overrides: "tuple[Override, ...]"
    typed: tuple[str, ...]

    def has(self, key: str) -> bool:
        """Whether an option of its own names the setting."""
        return any(one.key == key for one in self.overrides[: len(self.overrides) - len(self.typed)])


@dataclass(frozen=True, slots=True)
class SettingOption:
    """An option of its own for a setting that ``--set`` could name too.

    Attributes:
        key: The setting, ``section.key``.
        name: The option; ``--image-root`` is handed over as ``image_root``.
        kind: Its type.
        declared: What typer is to know of it.
    """

    key: str
    name: str
    kind: Any
    declared: Any


IMAGE_ROOT = SettingOption(
    "images.root", "--image-root", str | None, typer.Option(help="Folder of images (images.root)")
)
MODEL = SettingOption(
    "model.name", "--model", str | None, typer.Option(help="`builtin`, a folder, or a hub id (model.name)")
)
DTYPE = SettingOption(
    "model.dtype", "--dtype", str | None, typer.Option(help="auto, float32, bfloat16 or float16 (model.dtype)")
)
LIMIT = SettingOption(
    "images.limit", "--limit", int | None, typer.Option(help="Take only the first N images (images.limit)")
)
COLUMNS = SettingOption(
    "columns", "--columns", str | None, typer.Option(help="question=COL,answer=COL,image=COL (columns)")
)
RUN_IMAGES = ("images.near_duplicates", "images.near_distance")  # read where images are listed, by a run alone
SEED = SettingOption("seed", "--seed", int | None, typer.Option(help="Seed of all that is drawn (seed)"))
RUN_CONFIG = "YAML files of settings, or names of shipped ones; a later one wins; default: the run's own config.yaml"
_SET = typer.Option(
    "--set",
    metavar="SECTION.KEY=VALUE",
    help="Any setting, any number of times; `c3l settings` lists them",
    autocompletion=complete_setting,
)


def takes_settings(*options: SettingOption, config: str = RUN_CONFIG) -> Callable[[Callable[..., Any]], Any]:
    """A command whose first parameter, ``Arguments``, is made of ``--config``, of these options and of ``--set``.

    Args:
        options: Those that it has by names of their own.
        config: The help of ``--config``.
    """
    named = {one.name.removeprefix("--").replace("-", "_"): one for one in options}
    shared = {
        "config": Annotated[list[Path] | None, typer.Option(help=config)],
        **{name: Annotated[one.kind, one.declared] for name, one in named.items()},
        "overrides": Annotated[list[str] | None, _SET],
    }

    def decorate(command: Callable[..., Any]) -> Any:
        def run(**given: Any) -> Any:
            values = {one: given.pop(name) for name, one in named.items()}
            return command(_gather(given.pop("config") or (), values, given.pop("overrides") or ()), **given)

        own = list(inspect.signature(command).parameters.values())[1:]
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        more = [inspect.Parameter(name, kind, default=None, annotation=shared[name]) for name in shared]
        ordered = sorted((*own, *more), key=lambda one: one.default is not inspect.Parameter.empty)
        run.__doc__ = command.__doc__
        run.__signature__ = inspect.Signature(ordered)  # type: ignore[attr-defined]
        run.__annotations__ = {one.name: one.annotation for one in ordered}
        return run

    return decorate


def _gather(configs: Sequence[Path], values: Mapping[SettingOption, object], typed: Sequence[str]) -> Arguments:
    from c3l.settings.load import Override, read_override

    given = {one: value for one, value in values.items() if value is not None}
    every = (
        *(Override(one.key, value, f"{one.name} {value}") for one, value in given.items()),
        *map(read_override, typed),
    )
    _tell_overridden(every)
    return Arguments(tuple(configs), every, tuple(typed))


def _tell_overridden(overrides: "Sequence[Override]") -> None:
    """Say which options are not used since a later one sets the same otherwise."""
    last = {one.key: one for one in overrides}
    for one in overrides:
        if one.value != last[one.key].value:
            print(f"c3l: {one.typed} is not used, since {last[one.key].typed} comes after it", file=sys.stderr)


def resolve_run_config(folder: Path | None, run: Path | None, arguments: Arguments) -> "RunConfig":
    """As ``resolve_config``, of the run that is named as an argument or as ``--run``, or else of the one that is meant.

    Raises:
        ConfigError: Two runs are named, or as ``resolve_config``.
    """
    from c3l.settings.roots import expand_home
    from c3l.settings.schema import RunConfig

    run = run and expand_home(run)  # as in --run=~/mine
    if folder is not None and run is not None and folder != run:
        raise ConfigError(f"got the run folder {folder} and --run {run}, expected one of them")
    chosen = folder or run
    if chosen is None and not arguments.configs:
        named = [one.value for one in arguments.overrides if one.key == "run"]
        chosen = expand_home(str(named[-1])) if named else RunConfig().run
    return resolve_config(chosen, arguments)


def resolve_config(run: Path | None, arguments: Arguments) -> "RunConfig":
    """The settings: those of the config files, or of the run folder, or the defaults; then the overrides.

    Raises:
        ConfigError: The run folder is a file, or an override names another; or as ``load_config``.
    """
    from c3l.settings.load import Override, load_config, load_saved

    configs, overrides = arguments.configs, arguments.overrides
    if run is None:
        return load_config(configs, overrides)
    if run.is_file():
        raise ConfigError(
            f"got the file {run} as the run folder; settings are read by --config {shlex.quote(str(run))}"
        )
    others = [one for one in overrides if one.key == "run"]
    if others and Path(str(others[-1].value)) != run:
        raise ConfigError(f"got the run folder {run} and {others[-1].typed}, expected one of them")
    overrides = (*overrides, Override("run", str(run), f"the run folder {run}"))
    return load_config(configs, overrides) if configs else load_saved(run / "config.yaml", overrides)


def tell_unread(
    progress: "Progress", given: Arguments, command: str, sections: Sequence[str], but: Sequence[str] = ()
) -> None:
    """Say which ``--set`` a command without a run does not read.

    Args:
        progress: Who is told.
        given: What the command was given.
        command: Its name.
        sections: Those that it reads.
        but: Keys of them that it does not read.
    """
    read = (*sections, "seed", "max_error_rate")
    keys = [one.key for one in given.overrides[len(given.overrides) - len(given.typed) :]]
    if unread := [key for key in keys if key.partition(".")[0] not in read or key in but]:
        without = f", without {', '.join(but)}" if but else ""
        progress.note(f"{command} does not read {', '.join(unread)}: of --set it reads {', '.join(read)}{without}")


def find_run(path: Path) -> "Run":
    """A run folder to look at.

    Raises:
        DataError: If there is none, or nothing in it is of a run.
    """
    from c3l.run.run_folder import STAGES, Run

    run = Run.reader(path)
    if not (path / "config.yaml").exists() and all(run.stored(name) is None for name in STAGES):
        raise DataError(
            f"{path} is no run folder, it holds neither config.yaml nor a stage; name one that c3l run made, such as "
            "runs/mine"
        )
    return run


def run_stages(
    config: "RunConfig",
    stages: "Callable[[Context], None]",
    *,
    needs_model: bool = True,
    reparse: bool = False,
    shard: str | None = None,
) -> None:
    """Run stages, or a part of their shards, print the summary, and exit with 3 where too much was rejected."""
    from c3l.progress import make_progress
    from c3l.run.context import open_context, read_part
    from c3l.run.pipeline import list_images
    from c3l.run.run_folder import Run
    from c3l.run.status import summarise, tell_lost

    progress = make_progress(sys.stderr)
    part = None if shard is None else read_part(shard)
    if part is not None:
        list_images(config, progress)
    with open_context(config, progress, needs_model=needs_model, reparse=reparse, part=part) as context:
        stages(context)
    summary = summarise(Run.reader(config.run))
    lost = tell_lost(summary, config)
    if lost:
        progress.note(lost)
    print_summary(summary)
    raise typer.Exit(TOO_MANY_REJECTED if lost else OK)


def print_lines(lines: "Iterator[str | dict[str, Any]]") -> dict[str, Any]:
    """Print lines as they come; a dictionary among them is the summary, and is returned."""
    from c3l.progress import printable

    summary: dict[str, Any] = {}
    for line in lines:
        if isinstance(line, dict):
            summary = line
        else:
            print(printable(line), flush=True)
    return summary


def end(summary: Mapping[str, Any]) -> NoReturn:
    """Print the summary of a command without a run, and exit with 3 where too much was rejected."""
    print_summary(summary)
    raise typer.Exit(TOO_MANY_REJECTED if summary["above_max_error_rate"] else OK)


def print_summary(summary: Mapping[str, Any]) -> None:
    """Print the last line of a command, which programs read."""
    print(json.dumps(summary), flush=True)
