"""The commands that try something out before a run of one's own: preview."""

import sys
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
    resolve_run_config,
    takes_settings,
)


@takes_settings(IMAGE_ROOT, MODEL, DTYPE, LIMIT, SEED)
def preview(
    given: Arguments,
    folder: MaybeRun = None,
    run: RunOption = None,
    images: Annotated[int, typer.Option("--images", min=1, help="How many pictures, spread over the folder")] = 3,
) -> None:
    """Show texts, pairs and scores of a few pictures.

    As a run with the same settings would have them; writes nothing.
    """
    from c3l.progress import make_progress
    from c3l.run.preview import preview

    settings = resolve_run_config(folder, run, given)
    print_summary(print_lines(preview(settings, images, make_progress(sys.stderr))))
