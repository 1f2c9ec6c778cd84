"""The commands that try something out before a run of one's own: preview, demo."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from c3l.cli.options import (
    DTYPE,
    IMAGE_ROOT,
    LIMIT,
    MODEL,
    SEED,
    Arguments,
    MaybeRun,
    RunOption,
    print_lines,
    print_summary,
    resolve_config,
    resolve_run_config,
    run_stages,
    takes_settings,
)

_ON_TOP = "YAML files of settings, or names of shipped ones, on top of the shipped demo; a later one wins"


@takes_settings(IMAGE_ROOT, MODEL, DTYPE, LIMIT, SEED)
def preview(
    given: Arguments,
    folder: MaybeRun = None,
    run: RunOption = None,
    images: Annotated[int, typer.Option("--images", min=1, help="How many images, spread over the folder")] = 3,
) -> None:
    """Show texts, pairs and scores of a few images.

    As a run with the same settings would have them; writes nothing.
    """
    from c3l.progress import make_progress
    from c3l.run.preview import preview

    settings = resolve_run_config(folder, run, given)
    print_summary(print_lines(preview(settings, images, make_progress(sys.stderr))))


@takes_settings(IMAGE_ROOT, MODEL, DTYPE, LIMIT, SEED, config=_ON_TOP)
def demo(
    given: Arguments,
    run: Annotated[Path | None, typer.Argument(metavar="RUN", help="The run folder; else runs/demo")] = None,
) -> None:
    """Run the whole method on the example images.

    With the LVLM that c3l carries, in minutes on two CPU cores; the settings are those of the shipped config `demo`.
    """
    from c3l.progress import make_progress
    from c3l.run.pipeline import run_method
    from c3l.settings.load import Override
    from c3l.settings.shipped import EXAMPLE_IMAGES, list_configs

    pictures = Override("images.root", str(EXAMPLE_IMAGES), "the example images")
    settings = resolve_config(
        run, replace(given, configs=(list_configs()["demo"], *given.configs), overrides=(pictures, *given.overrides))
    )
    make_progress(sys.stderr).note(f"the report will be {settings.run / 'report.html'}")
    run_stages(settings, run_method)
