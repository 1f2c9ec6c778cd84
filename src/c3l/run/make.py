"""A whole run from Python: images in, pairs and what was decided about them out, all of it kept in a run folder."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from c3l.data.export_layouts import FILES
from c3l.errors import TooManyRejectedError
from c3l.jobs.pairs import Decision, PairScore, describe_pair
from c3l.progress import SilentProgress, make_progress
from c3l.records import FilterDecision, ImageRef
from c3l.run.context import open_context
from c3l.run.pipeline import DECISIONS, last_scored, run_method
from c3l.run.run_folder import Run
from c3l.run.shards import read_scored
from c3l.run.status import summarise, tell_lost
from c3l.settings.load import Override, check_list, load_config
from c3l.settings.schema import RunConfig
from c3l.storage.stage import read_records


@dataclass(frozen=True, slots=True)
class Made:
    """What a run made.

    Attributes:
        decisions: One for each pair that was scored in the last round, image by image.
        files: The dataset, in each format that was asked for.
        report: The page about the run.
    """

    decisions: list[Decision]
    files: list[Path]
    report: Path

    @property
    def kept(self) -> list[PairScore]:
        """The pairs of the dataset."""
        return [one.pair for one in self.decisions if one.kept]


def make(
    images: str | Path,
    model: str | Path = "builtin",
    *,
    run: str | Path,
    config: str | Path | None = None,
    settings: Sequence[str] = (),
    quiet: bool = False,
) -> Made:
    """Write pairs about images, score them, keep the best and export them, as ``c3l run`` does.

    A call that was stopped goes on when it is made again with the same settings; a finished one only reads the folder.

    Examples:
        >>> made = c3l.make("my/images", "llava-hf/llava-1.5-7b-hf", run="runs/mine", settings=["rounds=0"])
        >>> [(one.question, one.answer, one.i2c) for one in made.kept]

    Args:
        images: A folder of images, searched with its subfolders, or an address such as ``s3://bucket/prefix``.
        model: ``builtin``, a folder, or a hub id.
        run: The run folder, which keeps everything.
        config: A YAML file of settings.
        settings: As ``--set`` takes them, such as ``rounds=0`` for a run without tuning; they win over ``config``.
        quiet: Whether to print no progress to stderr.

    Raises:
        ConfigError: If a setting is unknown or out of range.
        BackendError: If the model cannot be loaded.
        StaleStageError: If the run folder holds work that was made with other settings.
        TooManyRejectedError: If more than ``max_error_rate`` of what a stage made was rejected; the run is finished
            nevertheless, and a higher ``max_error_rate`` lets it be read.
    """
    named = {"images.root": images, "model.name": model, "run": run}
    overrides = [Override(key, value, f"{key}={value}") for key, value in named.items()]
    asked = load_config(None if config is None else Path(config), [*overrides, *check_list(settings)])
    with open_context(asked, SilentProgress() if quiet else make_progress(sys.stderr)) as context:
        run_method(context)
    folder = Run.reader(asked.run)
    if lost := tell_lost(summarise(folder), asked):
        raise TooManyRejectedError(lost)
    files = [folder.path / "export" / FILES[name] for name in asked.export.formats]
    return Made(list(_decide(folder, asked)), [one for one in files if one.exists()], folder.path / "report.html")


def _decide(run: Run, config: RunConfig) -> Iterator[Decision]:
    """The pairs of the last round with what the filter decided, by their ids."""
    images, scored = run.stored("images"), run.stored(last_scored(config))
    if images is None or scored is None:
        return
    paths = {one.image_id: f"{config.images.root}/{one.path}" for one in images.read(ImageRef)}
    decided = {one.sample_id: one for one in read_records(run.path / DECISIONS, FilterDecision)}
    maker = scored.info.provenance
    for pair in read_scored(scored, config.scoring.form):
        its = decided[pair.sample.sample_id]
        who = (maker.model, maker.weights) if maker else ("", "")
        yield Decision(describe_pair(pair, paths[pair.sample.image_id], *who), its.kept, its.reason, its.rank)
