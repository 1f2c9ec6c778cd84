"""What the report of a run is made from, read from its folder as often as the page needs it, and never held whole."""

import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import chain
from typing import Any, Generic, TypeVar

from c3l.data.export_layouts import FILES, list_written
from c3l.data.export_rows import public_name
from c3l.data.images import open_image
from c3l.method.i2c import compute_i2c, unit_of
from c3l.method.other_images import count_others
from c3l.method.specificity import measure_specificity
from c3l.records import EvalReport, FilterDecision, HeldOut, ImageRef, Provenance, Rejected, TuningStep, name_round
from c3l.report.contents import ReportContents, TuningCurves
from c3l.report.facts import Facts, measure
from c3l.run.run_folder import Run
from c3l.run.shards import read_scored
from c3l.run.status import MAY_FAIL, count, is_evaluation, kind_of, stage_names
from c3l.settings.load import dump_config
from c3l.settings.schema import RunConfig
from c3l.storage.stage import Stage, read_records

THUMBNAIL_SIDE = 480

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Reread(Generic[T]):
    """Records that are read from their files anew by every pass over them."""

    read: Callable[[], Iterable[T]]

    def __iter__(self) -> Iterator[T]:
        """The first record again."""
        return iter(self.read())


def gather_report(run: Run, config: RunConfig) -> ReportContents:
    """What the report shows of a run whose stages up to the export are done."""
    names = [name for name in stage_names(config) if name != "report"]
    stages = {name: stage for name in names if (stage := run.stored(name)) is not None}
    *earlier, last = (stages[f"{name_round(round)}/scored"] for round in range(config.rounds + 1))
    form = config.scoring.form
    rows = stages["export"].info.recorded.get("rows", {})
    written = list_written(config.export.formats, rows)
    return ReportContents(
        title=run.path.resolve().name,
        folder=str(run.path),
        settings=dump_config(config),
        provenance=_makers(stages),
        stages=[count(stage) for stage in stages.values()],
        images={image.image_id: image for image in stages["images"].read(ImageRef)},
        scored=Reread(lambda: read_scored(last, form)),
        decisions=Reread(lambda: read_records(run.path / "decisions.jsonl", FilterDecision)),
        rejected=Reread(lambda: _rejections(stages)),
        exported=stages["export"].info.inputs or 0,
        exports={name: f"export/{FILES[name]}" for name in written},
        rows={name: rows[FILES[name]] for name in written if FILES[name] in rows},
        open_thumbnail=lambda image: _draw_thumbnail(config, image),
        compute_i2c=compute_i2c,
        unit_of=unit_of,
        measure_specificity=partial(
            measure_specificity,
            no_image=config.scoring.no_image,
            others=count_others(config.scoring, stages["images"].info.out.get("imageref", 0)),
        ),
        earlier=Reread(lambda: chain.from_iterable(read_scored(stage, form) for stage in earlier)),
        tunings=[_curves(stage) for name, stage in stages.items() if kind_of(name) == "tuned"],
        evaluations=[one for name, stage in stages.items() if is_evaluation(name) for one in stage.read(EvalReport)],
    )


def measure_kept(contents: ReportContents, facts: Facts) -> dict[str, Any]:
    """How specific all pairs of the last round are, and the kept ones; nothing where there is no pair."""
    groups = {"all": facts.pairs, "kept": facts.kept}
    return {name: asdict(measure(contents, group)) for name, group in groups.items() if group}


def _curves(stage: Stage) -> TuningCurves:
    trained = int(stage.info.recorded["groups_trained_on"])
    return TuningCurves(stage.info.stage, trained, list(stage.read(TuningStep)), list(stage.read(HeldOut)))


def _makers(stages: dict[str, Stage]) -> dict[str, Provenance]:
    made = {name: stage.info.provenance for name, stage in stages.items()}
    return {name: replace(maker, model=public_name(maker.model)) for name, maker in made.items() if maker is not None}


def _rejections(stages: dict[str, Stage]) -> Iterator[Rejected]:
    for name, stage in stages.items():
        if kind_of(name) in (*MAY_FAIL, "groups", "tuned"):
            yield from stage.rejected()


def _draw_thumbnail(config: RunConfig, image: ImageRef) -> bytes:
    picture = open_image(config.images.root, image, config.images)
    picture.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=82)
    return file.getvalue()
