"""The command line: arguments become settings, settings a run, and a run one summary line.

What a command needs is imported in the command, so that ``c3l --help`` answers at once.
"""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from c3l.cli.failures import tell
from c3l.cli.file_commands import evaluate, finetune
from c3l.cli.options import (
    COLUMNS,
    DTYPE,
    FAILED,
    IMAGE_ROOT,
    LIMIT,
    MODEL,
    OK,
    RUN_IMAGES,
    SEED,
    STOPPED,
    Arguments,
    Debug,
    Leading,
    MaybeRun,
    OnceCommand,
    Round,
    RunFolder,
    RunOption,
    SettingOption,
    Shard,
    Version,
    end,
    find_run,
    print_lines,
    print_summary,
    resolve_config,
    resolve_run_config,
    run_stages,
    takes_settings,
    tell_unread,
)
from c3l.cli.push_command import push
from c3l.cli.setting_commands import init, settings
from c3l.cli.streams import settle_streams
from c3l.cli.trial_commands import demo, preview
from c3l.errors import ConfigError

if TYPE_CHECKING:
    from c3l.settings.schema import RunConfig

_REPARSE = (
    "Only read the texts again, without the model. The same pairs: all that follows stays. "
    "Other pairs: refused where scores or a tuning would be lost"
)

_LIMIT_TURNS = replace(
    LIMIT, declared=typer.Option(help="Take only the first N images, with --data turns (images.limit)")
)
_FORM = SettingOption(
    "scoring.form", "--form", str | None, typer.Option(help="How the two passes are compared (scoring.form)")
)
_NO_IMAGE = SettingOption(
    "scoring.no_image",
    "--no-image",
    str | None,
    typer.Option(help="What `without the image` means: drop, blank, noise, mask or others (scoring.no_image)"),
)
_REPORT_TO = SettingOption(
    "report_to",
    "--report-to",
    str | None,
    typer.Option(help="A tracker that is told counts and scores: tensorboard, wandb or trackio (report_to)"),
)
_BATCH_SIZE = SettingOption(
    "scoring.batch_size", "--batch-size", int | None, typer.Option(help="Images a batch (scoring.batch_size)")
)

app = typer.Typer(
    help="Write vision-language instruction data with an LVLM, measure how much each answer depends on its "
    "image (S(I2C)), keep the best, export it.",
    epilog="Exit codes: 0 ok, 1 failed, 2 bad arguments or settings, 3 too many rejections, 130 stopped by Ctrl-C.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    words = [_hyphenate(word) for word in (sys.argv[1:] if arguments is None else arguments)]
    debug = "--debug" in words
    settle_streams()
    if not sys.stderr.isatty():
        for bars in ("HF_HUB_DISABLE_PROGRESS_BARS", "TQDM_DISABLE"):
            os.environ.setdefault(bars, "1")  # the bars of loading fill log files
    try:
        _read_commands()([word for word in words if word != "--debug"], prog_name="c3l")
    except SystemExit as end:
        if end.code == STOPPED:
            print("c3l: stopped; start the same command again to go on", file=sys.stderr)
        return end.code if isinstance(end.code, int) else FAILED
    except Exception as error:
        if debug:
            raise
        return tell(error)
    return OK


@cache
def _read_commands() -> Callable[..., object]:
    """What ``app`` reads from the signatures of all commands, once a process."""
    return typer.main.get_command(app)


def _hyphenate(word: str) -> str:
    """``--image_root=a_b`` as ``--image-root=a_b``: both spellings of an option are accepted."""
    name, equals, value = word.partition("=")
    return name.replace("_", "-") + equals + value if word.startswith("--") else word


@app.callback()
def _root(debug: Debug = False, version: Version = False) -> None:
    import logging

    logging.basicConfig(format="c3l: %(message)s", level=logging.WARNING)


@app.command("run")
@takes_settings(IMAGE_ROOT, MODEL, DTYPE, LIMIT, SEED, _REPORT_TO)
def _run(
    given: Arguments,
    folder: MaybeRun = None,
    run: RunOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count, and estimate time and disk")] = False,
) -> None:
    """Walk all stages; what is done already is not done again."""
    settings = resolve_run_config(folder, run, given)
    if dry_run:
        from c3l.run.estimates import estimate

        print_summary(print_lines(estimate(settings)))
        return
    from c3l.run.pipeline import run_method

    run_stages(settings, run_method)


@app.command("generate")
@takes_settings(IMAGE_ROOT, MODEL, DTYPE, LIMIT, SEED)
def _generate(
    given: Arguments,
    run: RunFolder,
    round: Round = 0,
    reparse: Annotated[bool, typer.Option("--reparse", help=_REPARSE)] = False,
    shard: Shard = None,
) -> None:
    """List the images, let the LVLM write, read pairs in its texts."""
    from c3l.run.pipeline import run_generate, run_reparse

    settings = resolve_config(run, given)
    _check_round(settings, round)
    if reparse and shard is not None:
        raise ConfigError("got --reparse with --shard, but reading texts again needs no model: leave --shard out")
    stages = partial(run_reparse if reparse else run_generate, round=round)
    run_stages(settings, stages, needs_model=not reparse, reparse=reparse, shard=shard)


@app.command("score")
@takes_settings(IMAGE_ROOT, COLUMNS, MODEL, DTYPE, _LIMIT_TURNS, SEED, _FORM, _NO_IMAGE, _BATCH_SIZE)
def _score(
    given: Arguments,
    run: MaybeRun = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            help="A data file (JSON, JSONL, parquet, tar) or a folder of shards to score instead; any number of times"
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="With --data: the JSONL file to write")] = None,
    round: Round = 0,
    shard: Shard = None,
) -> None:
    """Measure S(I2C) of a run's pairs, or of any dataset.

    The latter with --data FILE --image-root DIR --out OUT.
    """
    if run is not None and not data and out is None:
        from c3l.run.pipeline import run_score

        find_run(run)
        settings = resolve_config(run, given)
        _check_round(settings, round)
        return run_stages(settings, partial(run_score, round=round), shard=shard)
    if run is not None or not data or out is None or round or shard is not None:
        raise ConfigError("c3l score takes either a run folder, or --data FILE with --image-root DIR and --out OUT")
    if not given.has("images.root"):
        raise ConfigError("c3l score --data needs --image-root, the folder that the file's image paths begin in")
    from c3l.jobs.score import score_file
    from c3l.progress import make_progress

    progress, settings = make_progress(sys.stderr), resolve_config(None, given)
    sections = ("model", "images", "columns", "scoring", "executor")
    tell_unread(progress, given, "score --data", sections, RUN_IMAGES)
    end(score_file(data, out, settings, progress))


def _check_round(settings: "RunConfig", round: int, most: int | None = None) -> None:
    most = settings.rounds if most is None else most
    if round > most:
        raise ConfigError(
            f"round {round} needs rounds >= {round}, got rounds={settings.rounds}; add `--set rounds={round}`"
        )


def _add_leading(verb: str, summary: str, go: "Callable[[RunConfig, int], None]") -> None:
    """A command for a stage that leads to a round."""

    @takes_settings(IMAGE_ROOT, SEED)
    def command(given: Arguments, run: RunFolder, round: Leading = 1) -> None:
        find_run(run)
        go(resolve_config(run, given), round)

    app.command(verb, help=summary)(command)


def _select(settings: "RunConfig", round: int) -> None:
    from c3l.run.pipeline import run_select

    _check_round(settings, round, max(settings.rounds, 1))
    run_stages(settings, partial(run_select, round=round), needs_model=False)


def _tune(settings: "RunConfig", round: int) -> None:
    from c3l.run.pipeline import run_tune

    _check_round(settings, round)
    if int(os.environ.get("RANK", "0")) > 0:  # started by `torchrun` beside the process that has the run
        from c3l.run.tune_stage import join_tuning

        return join_tuning(settings, round)
    run_stages(settings, partial(run_tune, round=round))


_add_leading("select", "Choose the positive and the negatives of every image.", _select)
_add_leading("tune", "Tune the LVLM towards the positives and away from the negatives.", _tune)


def _add_stage(verb: str, summary: str) -> None:
    """A command for a stage that needs no model."""

    @takes_settings(IMAGE_ROOT, SEED)
    def command(given: Arguments, run: RunFolder) -> None:
        from c3l.run import pipeline

        find_run(run)
        run_stages(resolve_config(run, given), getattr(pipeline, f"run_{verb}"), needs_model=False)

    app.command(verb, help=summary)(command)


_add_stage("filter", "Keep the best pairs by a rule; decisions.jsonl says why each.")
_add_stage("export", "Write the kept pairs in trainers' formats (export.formats).")
_add_stage("report", "Write report.html again.")


app.command("finetune")(finetune)
app.command("evaluate")(evaluate)
app.command("push")(push)


@app.command("status")
def _status(run: RunFolder) -> None:
    """Show how far each stage is, and what was rejected why."""
    from c3l.cli.tables import format_status
    from c3l.run.status import summarise

    folder = find_run(run)
    print_lines(format_status(folder))
    print_summary(summarise(folder))


@app.command("show")
def _show(
    run: RunFolder,
    name: Annotated[str | None, typer.Argument(metavar="ID", help="An image: its id or path, or a part")] = None,
) -> None:
    """Show all images, or with ID one, its pairs and scores."""
    from c3l.cli.tables import format_images, format_pairs

    folder = find_run(run)
    print_lines(format_images(folder) if name is None else format_pairs(folder, name))


@app.command("check")
@takes_settings(IMAGE_ROOT, MODEL, DTYPE, LIMIT, SEED)
def _check(given: Arguments, folder: MaybeRun = None, run: RunOption = None) -> None:
    """Look at images, disk and model before a long run."""
    from c3l.progress import make_progress
    from c3l.run.checks import check

    settings = resolve_run_config(folder, run, given)
    summary = print_lines(check(settings, make_progress(sys.stderr)))
    print_summary(summary)
    raise typer.Exit(OK if summary["ok"] else FAILED)


@app.command("clean")
def _clean(
    run: RunFolder,
    stage: Annotated[
        str, typer.Argument(metavar="STAGE", help="The first that is removed; `c3l status` has their names")
    ] = "images",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask")] = False,
) -> None:
    """Remove a stage and all after it; without STAGE, every stage."""
    from c3l.run.run_folder import STAGES, Run

    folder = find_run(run)
    if stage not in STAGES:
        raise ConfigError(f"got stage {stage!r}, expected one of {', '.join(STAGES)}")
    names = list(STAGES)
    there = [path for name in names[names.index(stage) :] for path in STAGES[name] if (folder.path / path).exists()]
    if there and not yes:
        if sys.stdin is None or not sys.stdin.isatty():
            raise ConfigError(f"c3l clean would remove {', '.join(there)}; say --yes where nobody can be asked")
        typer.confirm(f"Remove {', '.join(there)} of {run}?", abort=True, err=True)
    with Run.open(run) as writable:
        print_summary({"run": str(run), "removed": writable.clean(stage)})


app.command("settings")(settings)
app.command("init")(init)
app.command("preview")(preview)
app.command("demo")(demo)


for _one in app.registered_commands:
    _one.cls = OnceCommand
