"""The commands that work on data files of any origin, without a run: finetune and evaluate."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from c3l.cli.options import (
    COLUMNS,
    DTYPE,
    IMAGE_ROOT,
    MODEL,
    RUN_IMAGES,
    SEED,
    Arguments,
    SettingOption,
    end,
    print_lines,
    resolve_config,
    takes_settings,
    tell_unread,
)
from c3l.errors import ConfigError

if TYPE_CHECKING:
    from c3l.records import EvalReport
    from c3l.settings.schema import RunConfig

_TASKS = "pope, mmbench, seed_bench or llava_bench"
_READ = "YAML files of settings, a later one wins; read are: model, seed, max_error_rate, the rules of images, and"


_JUDGE_MODEL = SettingOption(
    "evaluation.judge.model",
    "--judge-model",
    str | None,
    typer.Option(help="llava_bench: the judge (evaluation.judge.model)"),
)
_JUDGE_ENDPOINT = SettingOption(
    "evaluation.judge.endpoint",
    "--judge-endpoint",
    str | None,
    typer.Option(help="llava_bench: where it is served, a base URL"),
)
_BATCH_SIZE = SettingOption(
    "evaluation.batch_size",
    "--batch-size",
    int | None,
    typer.Option(help="Questions a batch (evaluation.batch_size)"),
)
_BLIND = SettingOption(
    "evaluation.blind",
    "--blind",
    bool | None,
    typer.Option("--blind/--no-blind", help="Ask all without the image too (evaluation.blind)"),
)


_NEEDED_ROOT = replace(
    IMAGE_ROOT, declared=typer.Option(help="Needed: folder that the file's image paths begin in (images.root)")
)


@takes_settings(_NEEDED_ROOT, COLUMNS, MODEL, DTYPE, SEED, config=f"{_READ} columns and finetuning")
def finetune(
    given: Arguments,
    data: Annotated[
        list[Path],
        typer.Option(
            help="A data file (JSON, JSONL, parquet, tar) or a folder of shards, such as a run's export/llava.json; "
            "any number of times"
        ),
    ],
    out: Annotated[Path, typer.Option(help="The folder to write: adapter, merged model, log")],
) -> None:
    """Tune an LVLM on instruction data.

    Leaves an adapter and a merged model; finetuning.* are its settings.
    """
    from c3l.jobs.finetune import finetune_files
    from c3l.progress import make_progress

    progress = make_progress(sys.stderr)
    if not given.has("images.root"):
        raise ConfigError("c3l finetune needs --image-root, the folder that the file's image paths begin in")
    settings = resolve_config(None, given)
    sections = ("model", "images", "columns", "finetuning")
    tell_unread(progress, given, "finetune", sections, ("images.limit", *RUN_IMAGES))
    end(finetune_files(data, out, settings, progress))


@takes_settings(
    MODEL, DTYPE, SEED, _JUDGE_MODEL, _JUDGE_ENDPOINT, _BATCH_SIZE, _BLIND,
    config=f"{_READ} executor and evaluation without its tasks",
)  # fmt: skip
def evaluate(
    given: Arguments,
    task: Annotated[str | None, typer.Option(help=_TASKS)] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(help="Its own files: of pope each split's, given several times; of llava_bench the folder"),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The folder to write: predictions.jsonl, scores.json")] = None,
    image_root: Annotated[
        str | None, typer.Option(help="Folder that its image paths begin in; mmbench needs none")
    ] = None,
    baseline: Annotated[Path | None, typer.Option(help="Another model's --out, for paired differences")] = None,
    by: Annotated[str | None, typer.Option(help="seed_bench: generation or likelihood")] = None,
    frames: Annotated[str | None, typer.Option(help="seed_bench: folder of video frames under --image-root")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Take only the first N questions; a higher N later goes on")
    ] = None,
    rescore: Annotated[
        bool,
        typer.Option("--rescore", help="Only compute the figures anew, of the same --task, --data and --out; no model"),
    ] = False,
    print_commands: Annotated[
        bool, typer.Option("--print-commands", help="Only print how lmms-eval and VLMEvalKit evaluate --model")
    ] = False,
) -> None:
    """Measure an LVLM on a benchmark's own files.

    Every figure comes with its interval, and with the score without any image beside it.
    """
    settings = resolve_config(None, given)
    if print_commands:
        return _print_commands(settings, task)
    if task is None or not data or out is None:
        raise ConfigError(f"c3l evaluate needs --task ({_TASKS}), --data and --out")
    from c3l.evaluation.display import format_reports
    from c3l.jobs.evaluate import Wanted, evaluate_files, failed_too_often
    from c3l.progress import make_progress
    from c3l.settings.evaluation import BenchmarkConfig
    from c3l.settings.load import make_section

    wanted = {"task": task, "data": data, "image_root": image_root, "by": by, "frames": frames}
    chosen = make_section(BenchmarkConfig, {key: value for key, value in wanted.items() if value is not None})
    progress = make_progress(sys.stderr)
    unread = ("images.root", "images.limit", "images.unpack", *RUN_IMAGES, "evaluation.tasks")
    tell_unread(progress, given, "evaluate", ("model", "images", "evaluation", "executor"), unread)
    reports = evaluate_files(chosen, out, settings, progress, wanted=Wanted(baseline, rescore, limit))
    print_lines(format_reports(reports))
    end({**_summarise(out, reports), "above_max_error_rate": failed_too_often(reports[0], settings)})


def _print_commands(settings: "RunConfig", task: str | None) -> None:
    from c3l.evaluation.commands import LMMS_EVAL, format_commands

    if task is not None and task not in LMMS_EVAL:
        raise ConfigError(f"got the task {task!r}, expected {_TASKS}")
    for line in format_commands(_name_folder(settings), [task] if task else list(LMMS_EVAL)):
        print(line)


def _name_folder(settings: "RunConfig") -> Path:
    """What other tools know the model by: they know no ``builtin``."""
    if settings.model.backend == "openai":
        raise ConfigError(
            f"got --print-commands with the served model {settings.model.name}, expected a model folder or hub id: "
            "other toolkits are given the server's own name and endpoint, as their pages say"
        )
    if settings.model.name != "builtin":
        return Path(settings.model.weights_name)
    from c3l.models.builtin.assemble import assemble

    return assemble()


def _summarise(out: Path, reports: "list[EvalReport]") -> dict[str, Any]:
    from c3l.evaluation.describing import LOST

    first = reports[0]
    return {
        "out": str(out),
        "benchmark": first.benchmark,
        "items": first.items,
        "failed": first.failed,
        "unread": {one.rule: one.unparsed for one in reports},
        **{name: first.settings[name] for name in LOST if name in first.settings},
        "scores": {one.rule: {one.figures[0].name: one.figures[0].seen.value} for one in reports},
    }
