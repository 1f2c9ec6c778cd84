"""What went into every stage, what came out and why the rest did not: for the report, `status` and the summary."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from c3l.config import RunConfig, dump_config
from c3l.data.images import open_image
from c3l.data.store import Run, Stage, read_records
from c3l.method.i2c import compute_i2c
from c3l.records import ImageRef, Provenance, Rejected, Selected
from c3l.report.contents import ReportContents, StageCounts
from c3l.stages import read_scored

THUMBNAIL_SIDE = 480

# what each stage counts at its entrance and at its exit
COUNTED: dict[str, tuple[str, str]] = {
    "images": ("pictures", "pictures"),
    "draft/generated": ("prompts", "texts"),
    "draft/parsed": ("texts", "pairs"),
    "draft/scored": ("pairs", "pairs"),
    "selected": ("pairs", "groups"),
    "filtered": ("pairs", "pairs"),
    "export": ("pairs", "pairs"),
    "report": ("", ""),
}
# where a rejection means that something went wrong; the filter's are what it is for
MAY_FAIL = ("images", "draft/generated", "draft/parsed", "draft/scored")


@dataclass(frozen=True, slots=True)
class StageState:
    """How far a stage is."""

    name: str
    state: Literal["done", "part", "missing"]
    shards: int
    shards_made: int
    counts: StageCounts


def read_states(run: Run) -> list[StageState]:
    """The stages in order of the method, those of a run that goes on just now included."""
    return [_state(run.stored(name), name) for name in COUNTED]


def _state(stage: Stage | None, name: str) -> StageState:
    if stage is None:
        return StageState(name, "missing", 0, 0, StageCounts(name, *COUNTED[name], 0, 0, {}))
    made = stage.info.shards - len(stage.missing())
    state: Literal["done", "part"] = "done" if stage.is_done() else "part"
    return StageState(name, state, stage.info.shards, made, count(stage))


def count(stage: Stage) -> StageCounts:
    """The counts of a finished stage, out of its ``stage.json``."""
    info = stage.info
    came_in = info.inputs or 0
    came_out = came_in if info.stage == "export" else sum(info.out.values())
    return StageCounts(info.stage, *COUNTED[info.stage], came_in, came_out, info.rejected, info.seconds)


def find_error_rate(states: list[StageState]) -> tuple[float, str]:
    """The largest share of rejections among what a stage made, and the stage."""
    worst = (0.0, "")
    for one in states:
        lost = sum(one.counts.rejected.values())
        if one.name in MAY_FAIL and lost:
            worst = max(worst, (lost / (lost + one.counts.count_out), one.name))
    return worst


def summarise(run: Run) -> dict[str, Any]:
    """The run in one flat dictionary, for the last line that programs read."""
    states = {one.name: one for one in read_states(run)}
    out = {name: one.counts.count_out for name, one in states.items()}
    rate, where = find_error_rate(list(states.values()))
    return {
        "run": str(run.path),
        "done": [name for name, one in states.items() if one.state == "done"],
        "images": out["images"],
        "texts": out["draft/generated"],
        "pairs": out["draft/parsed"],
        "scored": out["draft/scored"],
        "kept": out["filtered"],
        "exported": out["export"],
        "error_rate": round(rate, 4),
        "error_stage": where,
        "stage_seconds": round(sum(one.counts.seconds or 0 for one in states.values()), 3),
    }


def gather_report(run: Run, config: RunConfig) -> ReportContents:
    """What the report shows of a run whose stages up to the export are done."""
    stages = {name: stage for name in COUNTED if (stage := run.stored(name)) is not None}
    scored = list(read_scored(stages["draft/scored"], config.scoring.form))
    speaks_of = {one.sample.image_id for one in scored}
    pictures = stages["images"].read(ImageRef)
    return ReportContents(
        title=run.path.name,
        settings=dump_config(config),
        provenance=_makers(stages),
        stages=[count(stage) for name, stage in stages.items() if name not in ("selected", "report")],
        images={image.image_id: image for image in pictures if image.image_id in speaks_of},
        scored=scored,
        selected=list(read_records(run.path / "selection.jsonl", Selected)),
        rejected=list(_rejections(stages)),
        exported=stages["export"].info.inputs or 0,
        open_thumbnail=lambda image: _draw_thumbnail(config, image),
        compute_i2c=compute_i2c,
    )


def _makers(stages: dict[str, Stage]) -> dict[str, Provenance]:
    made = {name: stage.info.provenance for name, stage in stages.items() if name in MAY_FAIL}
    return {name: maker for name, maker in made.items() if maker is not None}


def _rejections(stages: dict[str, Stage]) -> Iterator[Rejected]:
    for name in MAY_FAIL:
        yield from stages[name].rejected()


def _draw_thumbnail(config: RunConfig, image: ImageRef) -> bytes:
    picture = open_image(config.images.root, image, config.images)
    picture.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=82)
    return file.getvalue()
