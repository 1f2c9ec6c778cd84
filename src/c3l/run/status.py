"""What went into every stage, what came out and why the rest did not: for the report, `status` and the summary."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from c3l.data.near_images import NEAR_DUPLICATE
from c3l.errors import ConfigError
from c3l.method.specificity import show_specificity
from c3l.records import Specificity, name_round, name_step
from c3l.report.contents import StageCounts
from c3l.run.plan import Plan, StagePlan, make_plan
from c3l.run.run_folder import Run, spell_path, stages_of_round
from c3l.settings.evaluation import TaskName
from c3l.settings.load import load_saved
from c3l.settings.schema import RunConfig
from c3l.storage.stage import Stage

# what a stage counts at its entrance and at its exit, by the last part of its name without the number of a round
COUNTED: dict[str, tuple[str, str]] = {
    "images": ("images", "images"),
    "generated": ("prompts", "texts"),
    "parsed": ("texts", "pairs"),
    "scored": ("pairs", "pairs"),
    "groups": ("pairs", "groups"),
    "tuned": ("groups", "groups"),
    "filtered": ("pairs", "pairs"),
    "export": ("pairs", "pairs"),
    "finetuned": ("pairs", "pairs"),
    **dict.fromkeys(get_args(TaskName), ("questions", "reports")),
    "report": ("", ""),
}
State = Literal["done", "part", "missing", "stale"]
# where a rejection means that something went wrong; those of selection and filter are what they are for
MAY_FAIL = ("images", "generated", "parsed", "scored")


@dataclass(frozen=True, slots=True)
class StageState:
    """How far a stage is; ``stale`` if it was made with other settings than those of the run now.

    A ``costly`` stage that is stale is refused by a run, any other is made again.
    """

    name: str
    state: State
    shards: int
    shards_made: int
    counts: StageCounts
    costly: bool


def read_states(run: Run) -> list[StageState]:
    """The stages in order of the method, those of a run that goes on just now included."""
    config = _read_config(run)
    plan = _plan_again(run, config)
    return [_state(run.stored(name), name, plan.get(name)) for name in stage_names(config)]


def stage_names(config: RunConfig) -> list[str]:
    """The stages that a run with these settings has; the draft's positives and negatives are chosen in any case."""
    written = [name for round in range(config.rounds + 1) for name in stages_of_round(round)]
    chosen = [] if config.rounds else [name_step("groups", 1)]
    learned = ["finetuned"] if config.finetuning.enabled else []
    learned += [f"evaluation/{task.task}" for task in config.evaluation.tasks]
    return ["images", *written, *chosen, "filtered", "export", *learned, "report"]


def read_rounds(run: Run) -> int:
    """How many rounds the run's own settings ask for."""
    return _read_config(run).rounds


def _read_config(run: Run) -> RunConfig:
    saved = run.path / "config.yaml"
    return load_saved(saved)


def _plan_again(run: Run, config: RunConfig) -> Plan:
    """What the stages depend on by the run's settings and the weights that it began with; needs no model."""
    draft = run.stored("draft/generated")
    if draft is None or not (run.path / "config.yaml").exists():
        return {}
    began = draft.info.settings
    scored = run.stored("draft/scored")
    if config.model.dtype == "auto":
        later = scored.info.settings if scored else {}
        config = config.with_dtype(began.get("model.dtype") or later.get("model.dtype", "float32"))
    try:
        scorer = scored.info.settings["weights"] if scored and config.scoring.model else None
        return make_plan(config, began["weights"], scorer, run)
    except ConfigError:  # templates of one's own may be gone by now, and what they made can still be looked at
        return {}


def _state(stage: Stage | None, name: str, plan: StagePlan | None) -> StageState:
    costly = plan is not None and plan.costly
    if stage is None:
        return StageState(name, "missing", 0, 0, StageCounts(name, *_counted(name), 0, 0, {}), costly)
    made = stage.info.shards - len(stage.missing())
    state: State = "done" if stage.is_done() else "part"
    if state == "done" and plan is not None and stage.info.fingerprint != plan.fingerprint:
        state = "stale"
    return StageState(name, state, stage.info.shards, made, count(stage), costly)


def count(stage: Stage) -> StageCounts:
    """The counts of a stage, out of its ``stage.json``; 0 of one that is only begun."""
    info = stage.info
    came_in = info.inputs or 0
    # the records of these are not what they count
    itself = kind_of(info.stage) in ("export", "tuned") or is_evaluation(info.stage)
    if info.stage == "finetuned":
        summary = info.recorded
        return StageCounts(
            info.stage,
            *_counted(info.stage),
            came_in,
            summary.get("trained", 0),
            summary.get("rejected", {}),
            info.seconds,
        )
    came_out = came_in - sum(info.rejected.values()) if itself else sum(info.out.values())
    return StageCounts(info.stage, *_counted(info.stage), came_in, came_out, info.rejected, info.seconds)


def is_evaluation(stage: str) -> bool:
    """Whether the stage asks a benchmark."""
    return stage.startswith("evaluation/")


def kind_of(stage: str) -> str:
    """What the stage does, whatever its round: the last part of its name, without a number."""
    return re.sub(r"-\d+$", "", stage.rpartition("/")[2])


def _counted(stage: str) -> tuple[str, str]:
    return COUNTED[kind_of(stage)]


def find_error_rate(states: list[StageState]) -> tuple[float, str]:
    """The largest share of rejections among what a stage made, and the stage."""
    worst = (0.0, "")
    for one in states:
        lost = sum(times for reason, times in one.counts.rejected.items() if reason != NEAR_DUPLICATE)  # as asked for
        if kind_of(one.name) in MAY_FAIL and lost:
            worst = max(worst, (lost / (lost + one.counts.count_out), one.name))
    return worst


def summarise(run: Run) -> dict[str, Any]:
    """The run in one flat dictionary, for the last line that programs read."""
    states = {one.name: one for one in read_states(run)}
    out = {name: 0 if one.state == "stale" else one.counts.count_out for name, one in states.items()}
    rounds = read_rounds(run)
    begun = [name for name in map(name_round, range(rounds + 1)) if run.stored(f"{name}/generated")]
    last = begun[-1] if begun else name_round(0)
    rate, where = find_error_rate(list(states.values()))
    return {
        "run": str(run.path),
        "done": [name for name, one in states.items() if one.state == "done"],
        "images": out["images"],
        "rounds": rounds,
        "texts": out[f"{last}/generated"],
        "pairs": out[f"{last}/parsed"],
        "scored": out[f"{last}/scored"],
        "kept": out["filtered"],
        "exported": out["export"],
        **({"specificity": specificity} if (specificity := _find_specificity(run, states)) else {}),
        "error_rate": round(rate, 4),
        "error_stage": where,
        **({"notes": notes} if (notes := _gather_notes(run, states)) else {}),
        "stage_seconds": round(sum(one.counts.seconds or 0 for one in states.values()), 3),
    }


def tell_lost(summary: Mapping[str, Any], config: RunConfig) -> str:
    """One line where a run lost more than it may; empty where it did not."""
    if summary["error_rate"] <= config.max_error_rate:
        return ""
    return (
        f"{summary['error_rate']:.0%} of what {summary['error_stage']} made was rejected, above "
        f"max_error_rate {config.max_error_rate:.0%}; `c3l status {spell_path(config.run)}` has the reasons"
    )


def _find_specificity(run: Run, states: Mapping[str, StageState]) -> dict[str, Any]:
    """That of the report, unless it is of other settings than those of now."""
    if states["report"].state != "done":
        return {}
    return {name: show_specificity(one) for name, one in read_specificity(run).items()}


def _gather_notes(run: Run, stages: Iterable[str]) -> list[str]:
    """What is done otherwise with the models of the run than with most, each once."""
    makers = (stage.info.provenance for name in stages if (stage := run.stored(name)) is not None)
    return list(dict.fromkeys(note for maker in makers if maker is not None for note in maker.notes))


def read_specificity(run: Run) -> dict[str, Specificity]:
    """What the report of a run found, by ``all`` and ``kept``; empty where there is none."""
    report = run.stored("report")
    found = report.info.recorded.get("specificity", {}) if report is not None and report.is_done() else {}
    return {name: Specificity(**fields) for name, fields in found.items()}
