"""The command line: arguments become settings, settings a run, and a run one summary line.

What a command needs is imported in the command, so that ``c3l --help`` answers at once.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from c3l.errors import C3LError, ConfigError, StaleStageError

if TYPE_CHECKING:
    from c3l.config import RunConfig
    from c3l.context import Context

OK, FAILED, BAD_SETTINGS, TOO_MANY_REJECTED = 0, 1, 2, 3

app = typer.Typer(
    help="Write vision-language instruction data with an LVLM, measure how much each answer depends on its "
    "picture (S(I2C), in nats), keep the best, export it.",
    epilog="Exit codes: 0 ok, 1 failed, 2 bad arguments or settings, 3 finished with too many rejections.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="The run folder")]
Config = Annotated[Path | None, typer.Option(help="YAML file of settings; default: the run's own config.yaml")]
ImageRoot = Annotated[str | None, typer.Option(help="Folder of pictures (images.root)")]
Model = Annotated[str | None, typer.Option(help="`builtin`, a folder, or a hub id (model.name)")]
Dtype = Annotated[str | None, typer.Option(help="auto, float32, bfloat16 or float16 (model.dtype)")]
Limit = Annotated[int | None, typer.Option(help="Take only the first N (images.limit)")]
Seed = Annotated[int | None, typer.Option(help="The run's seed")]
Set = Annotated[list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Any setting")]
Round = Annotated[int, typer.Option("--round", min=0, help="0: the draft; 1: what the tuned LVLM writes; ...")]
Leading = Annotated[int, typer.Option("--round", min=1, help="The round that is led to")]
Debug = Annotated[bool, typer.Option("--debug", help="Show where an error comes from; may stand anywhere")]


@dataclass(frozen=True, slots=True)
class Arguments:
    """The options that all stages share."""

    config: Path | None
    overrides: tuple[str, ...]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    words = [_hyphenate(word) for word in (sys.argv[1:] if arguments is None else arguments)]
    debug = "--debug" in words
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # the bars of loading fill log files
    try:
        app([word for word in words if word != "--debug"], prog_name="c3l")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else FAILED
    except Exception as error:
        if debug:
            raise
        return _tell(error)
    return OK


def _hyphenate(word: str) -> str:
    """``--image_root=a_b`` as ``--image-root=a_b``: both spellings of an option are accepted."""
    name, equals, value = word.partition("=")
    return name.replace("_", "-") + equals + value if word.startswith("--") else word


def _tell(error: Exception) -> int:
    """Print an error as one line; returns the exit code."""
    from c3l.progress import printable

    text = str(error) or type(error).__name__
    notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
    if not isinstance(error, C3LError):
        text = f"{type(error).__name__}: {text}; --debug shows where"
    print(printable(f"c3l: {text}{notes}"), file=sys.stderr)
    return BAD_SETTINGS if isinstance(error, (ConfigError, StaleStageError)) else FAILED


@app.callback()
def _root(debug: Debug = False) -> None:
    import logging

    logging.basicConfig(format="c3l: %(message)s", level=logging.WARNING)


@app.command("run")
def _run(
    config: Config = None,
    run: Annotated[Path | None, typer.Option(help="The run folder (run)")] = None,
    image_root: ImageRoot = None,
    model: Model = None,
    dtype: Dtype = None,
    limit: Limit = None,
    seed: Seed = None,
    overrides: Set = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count and estimate")] = False,
) -> None:
    """Walk all stages; what is done already is not done again."""
    arguments = _arguments(config, image_root, model, dtype, limit, seed, overrides)
    settings = _settle(run, arguments)
    if dry_run:
        from c3l.estimates import estimate

        _print_summary(_print_lines(estimate(settings)))
        return
    from c3l.pipeline import run_method

    _walk(settings, run_method)


@app.command("generate")
def _generate(
    run: RunFolder,
    config: Config = None,
    image_root: ImageRoot = None,
    model: Model = None,
    dtype: Dtype = None,
    limit: Limit = None,
    seed: Seed = None,
    overrides: Set = None,
    round: Round = 0,
    reparse: Annotated[bool, typer.Option("--reparse", help="Only read the texts again; no model")] = False,
) -> None:
    """List the pictures, let the LVLM write about them, and read its texts into pairs."""
    from c3l.pipeline import run_generate, run_reparse

    arguments = _arguments(config, image_root, model, dtype, limit, seed, overrides)
    settings = _settle(run, arguments)
    _check_round(settings, round)
    _walk(settings, partial(run_reparse if reparse else run_generate, round=round), needs_model=not reparse)


@app.command("score")
def _score(
    run: Annotated[Path | None, typer.Argument(metavar="[RUN]", help="The run folder")] = None,
    config: Config = None,
    image_root: ImageRoot = None,
    model: Model = None,
    dtype: Dtype = None,
    limit: Limit = None,
    seed: Seed = None,
    overrides: Set = None,
    data: Annotated[Path | None, typer.Option(help="A LLaVA file (JSON or JSONL) to score instead")] = None,
    out: Annotated[Path | None, typer.Option(help="With --data: the JSONL file to write")] = None,
    form: Annotated[str | None, typer.Option(help="The form of S(I2C) (scoring.form)")] = None,
    no_image: Annotated[str | None, typer.Option(help="What `without the image` means (scoring.no_image)")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Pictures a batch (scoring.batch_size)")] = None,
    round: Round = 0,
) -> None:
    """Measure S(I2C) of a run's pairs, or of any LLaVA data set: --data FILE --image-root DIR --out OUT."""
    more = {"scoring.form": form, "scoring.no_image": no_image, "scoring.batch_size": batch_size}
    arguments = _arguments(config, image_root, model, dtype, limit, seed, overrides, more)
    if run is not None and data is None and out is None:
        from c3l.pipeline import run_score

        settings = _settle(run, arguments)
        _check_round(settings, round)
        return _walk(settings, partial(run_score, round=round))
    if run is not None or data is None or out is None or round:
        raise ConfigError("c3l score takes either a run folder, or --data FILE with --image-root DIR and --out OUT")
    if image_root is None:
        raise ConfigError("c3l score --data needs --image-root, the folder that the file's picture paths begin in")
    from c3l.progress import make_progress
    from c3l.score_file import score_file

    summary = score_file(data, out, _settle(None, arguments), make_progress(sys.stderr))
    _print_summary(summary)
    raise typer.Exit(TOO_MANY_REJECTED if summary["above_max_error_rate"] else OK)


def _check_round(settings: "RunConfig", round: int, most: int | None = None) -> None:
    most = settings.rounds if most is None else most
    if round > most:
        raise ConfigError(f"got --round {round}, expected at most {most}: set rounds={round} for more")


def _add_leading(verb: str, summary: str, go: "Callable[[RunConfig, int], None]") -> None:
    """A command for a stage that leads to a round."""

    def command(
        run: RunFolder,
        config: Config = None,
        image_root: ImageRoot = None,
        seed: Seed = None,
        overrides: Set = None,
        round: Leading = 1,
    ) -> None:
        go(_settle(run, _arguments(config, image_root, None, None, None, seed, overrides)), round)

    app.command(verb, help=summary)(command)


def _select(settings: "RunConfig", round: int) -> None:
    from c3l.pipeline import run_select

    _check_round(settings, round, max(settings.rounds, 1))
    _walk(settings, partial(run_select, round=round), needs_model=False)


def _tune(settings: "RunConfig", round: int) -> None:
    from c3l.pipeline import run_tune

    _check_round(settings, round)
    if int(os.environ.get("RANK", "0")) > 0:  # started by `torchrun` beside the process that has the run
        from c3l.tuning import join_tuning

        return join_tuning(settings, round)
    _walk(settings, partial(run_tune, round=round))


_add_leading("select", "Of every picture, the pair with the highest S(I2C) and its negatives.", _select)
_add_leading("tune", "Tune the LVLM towards the positives and away from the negatives.", _tune)


def _add_stage(verb: str, summary: str) -> None:
    """A command for a stage that needs no model."""

    def command(
        run: RunFolder,
        config: Config = None,
        image_root: ImageRoot = None,
        seed: Seed = None,
        overrides: Set = None,
    ) -> None:
        from c3l import pipeline

        arguments = _arguments(config, image_root, None, None, None, seed, overrides)
        _walk(_settle(run, arguments), getattr(pipeline, f"run_{verb}"), needs_model=False)

    app.command(verb, help=summary)(command)


_add_stage("filter", "Keep the best pairs by a rule; selection.jsonl says why each was kept or not.")
_add_stage("export", "Write the kept pairs for trainers: llava, llamafactory, swift, trl, ids.")
_add_stage("report", "Write report.html again.")


@app.command("status")
def _status(run: RunFolder) -> None:
    """Show how far each stage is, and what was rejected why."""
    from c3l.counts import summarise
    from c3l.data.store import Run
    from c3l.display import format_status

    folder = Run.reader(run)
    _print_lines(format_status(folder))
    _print_summary(summarise(folder))


@app.command("show")
def _show(
    run: RunFolder,
    name: Annotated[str | None, typer.Argument(metavar="[ID]", help="A picture: its id or path, or a part")] = None,
) -> None:
    """Show a picture's pairs with their scores; without ID, all pictures."""
    from c3l.data.store import Run
    from c3l.display import format_pairs, format_pictures

    folder = Run.reader(run)
    _print_lines(format_pictures(folder) if name is None else format_pairs(folder, name))


@app.command("check")
def _check(
    config: Config = None,
    run: Annotated[Path | None, typer.Option(help="The run folder (run)")] = None,
    image_root: ImageRoot = None,
    model: Model = None,
    dtype: Dtype = None,
    limit: Limit = None,
    seed: Seed = None,
    overrides: Set = None,
) -> None:
    """Look at the pictures, the disk and the model before a long run, and score one picture."""
    from c3l.checks import check
    from c3l.progress import make_progress

    settings = _settle(run, _arguments(config, image_root, model, dtype, limit, seed, overrides))
    summary = _print_lines(check(settings, make_progress(sys.stderr)))
    _print_summary(summary)
    raise typer.Exit(OK if summary["ok"] else FAILED)


@app.command("clean")
def _clean(
    run: RunFolder,
    stage: Annotated[str, typer.Argument(metavar="[STAGE]", help="Remove it and all stages after it")] = "images",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask")] = False,
) -> None:
    """Remove a stage and those after it, so that they are made again; without STAGE, all of them."""
    from c3l.data.store import STAGES, Run

    folder = Run.reader(run)
    if stage not in STAGES:
        raise ConfigError(f"got stage {stage!r}, expected one of {', '.join(STAGES)}")
    names = list(STAGES)
    there = [path for name in names[names.index(stage) :] for path in STAGES[name] if (folder.path / path).exists()]
    if there and not yes:
        if not sys.stdin.isatty():
            raise ConfigError(f"c3l clean would remove {', '.join(there)}; say --yes where nobody can be asked")
        typer.confirm(f"Remove {', '.join(there)} of {run}?", abort=True, err=True)
    with Run.open(run) as writable:
        _print_summary({"run": str(run), "removed": writable.clean(stage)})


def _arguments(
    config: Path | None,
    image_root: str | None,
    model: str | None,
    dtype: str | None,
    limit: int | None,
    seed: int | None,
    overrides: Sequence[str] | None,
    more: Mapping[str, object] | None = None,
) -> Arguments:
    """The options as overrides; ``--set`` comes last, so it wins."""
    named = {"images.root": image_root, "model.name": model, "model.dtype": dtype, "images.limit": limit, "seed": seed}
    given = {key: value for key, value in {**named, **(more or {})}.items() if value is not None}
    return Arguments(config, (*(f"{key}={json.dumps(value)}" for key, value in given.items()), *(overrides or ())))


def _settle(run: Path | None, arguments: Arguments) -> "RunConfig":
    """The settings: those of the config file, or of the run folder, or the defaults; then the overrides."""
    from c3l.config import load_config

    config, overrides = arguments.config, arguments.overrides
    if run is not None:
        overrides = (*overrides, f"run={json.dumps(str(run))}")
        saved = run / "config.yaml"
        config = config or (saved if saved.exists() else None)
    return load_config(config, overrides)


def _walk(config: "RunConfig", stages: "Callable[[Context], None]", *, needs_model: bool = True) -> None:
    """Run stages, print the summary, and exit with 3 where too much was rejected."""
    from c3l.context import open_context
    from c3l.counts import summarise
    from c3l.data.store import Run
    from c3l.progress import make_progress

    progress = make_progress(sys.stderr)
    with open_context(config, progress, needs_model=needs_model) as context:
        stages(context)
    summary = summarise(Run.reader(config.run))
    above = summary["error_rate"] > config.max_error_rate
    if above:
        progress.note(
            f"{summary['error_rate']:.0%} of what {summary['error_stage']} made was rejected, above "
            f"max_error_rate {config.max_error_rate:.0%}; `c3l status {config.run}` has the reasons"
        )
    _print_summary(summary)
    raise typer.Exit(TOO_MANY_REJECTED if above else OK)


def _print_lines(lines: "Iterator[str | dict[str, Any]]") -> dict[str, Any]:
    """Print lines as they come; a dictionary among them is the summary, and is returned."""
    from c3l.progress import printable

    summary: dict[str, Any] = {}
    for line in lines:
        if isinstance(line, dict):
            summary = line
        else:
            print(printable(line), flush=True)
    return summary


def _print_summary(summary: Mapping[str, Any]) -> None:
    print(json.dumps(summary), flush=True)
