"""What every stage of a run depends on, known before any of them runs.

A stage's fingerprint is made of the settings that change its records and of the fingerprint of the stage that
it reads. Batch sizes, shard size and executor change no record, so they are in none.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from c3l.data.decoding import IMAGE_READER_VERSION
from c3l.jobs.evaluate import EVALUATOR_VERSION, describe_benchmark
from c3l.jobs.finetune import FINETUNER_VERSION
from c3l.method.generation import WRITER_VERSION
from c3l.method.parsing import PARSER_VERSION
from c3l.method.prompts import InstructionTemplate, choose_templates
from c3l.method.scoring import SCORER_VERSION
from c3l.records import name_round, name_step
from c3l.run.run_folder import READ_BY, Run
from c3l.settings.base import results_of
from c3l.settings.schema import ExportConfig, RunConfig
from c3l.storage.job import find_changes, fingerprint, plain
from c3l.storage.stage import Stage

TUNER_VERSION = 3
_TUNED_BY = ("weights", "ends_with")  # of a tuned model they are the fingerprint of its tuning


@dataclass(frozen=True, slots=True)
class StagePlan:
    """One stage: what it depends on.

    Attributes:
        name: Such as ``draft/scored``.
        settings: What changes its records, those of the stages before it included; ``section.key`` is what
            ``--set`` takes.
        fingerprint: Hash of its own settings and of the fingerprint of the stage that it reads.
        costly: Whether it took the model or every image to make. A costly stage is never thrown away
            unasked; any other is made again when its settings change.
    """

    name: str
    settings: Mapping[str, Any]
    fingerprint: str
    costly: bool


Plan = Mapping[str, StagePlan]


def make_plan(
    config: RunConfig, weights: str, scorer: str | None = None, run: Run | None = None
) -> dict[str, StagePlan]:
    """The stages of a run in order, by name.

    Args:
        config: The settings, with a dtype that is not ``auto``.
        weights: What ``c3l.models.load.weights_hash`` says of the model.
        scorer: The same of ``config.scorer``, where that is another.
        run: The run folder, which knows what it was made of where that is gone by now.

    Raises:
        ConfigError: If an instruction template is unknown.
    """
    form = {"scoring.form": config.scoring.form}
    rules = results_of("images", config.images) | {"image_reader_version": IMAGE_READER_VERSION}
    if config.images.near_duplicates == "drop":
        rules |= {"images.near_duplicates": "drop", "images.near_distance": config.images.near_distance}
    images = _plan("images", rules, costly=True)
    scorer = weights if scorer is None else scorer
    stages = [images, *_plan_round(config, scorer, weights, 0, images)]
    writer = weights
    for round in range(1, max(config.rounds, 1) + 1):
        choosing = form | results_of("selection", config.selection) | {"seed": config.seed}
        stages.append(_plan(name_step("groups", round), choosing, stages[-1]))
        if config.rounds:
            stages.append(_plan_tuning(config, writer, round, stages[-1]))
            writer = stages[-1].fingerprint
            stages += _plan_round(config, scorer, writer, round, stages[-1])
    scored = next(stage for stage in reversed(stages) if stage.name == f"{name_round(config.rounds)}/scored")
    # as in what was made before it had a seed of its own
    unnamed = {"seed"} if config.filtering.seed is None else set()
    filtering = results_of("filtering", config.filtering, unnamed)
    filtered = _plan("filtered", form | filtering | {"seed": config.seed}, scored)
    export = _plan("export", results_of("export", config.export), filtered)
    # of the export the tuning reads the pairs alone: more formats beside them make no other model
    pairs = _plan("export", results_of("export", ExportConfig()), filtered)
    learning = list(_plan_learning(config, weights, writer, pairs, run))
    stages += [filtered, export, *learning]
    stages.append(_plan("report", {"learning": [stage.fingerprint for stage in learning]}, export))
    return {stage.name: stage for stage in stages}


def check_costly(run: Run, plan: Plan) -> None:
    """Refuse settings that would make a stage stale which took long to make.

    Raises:
        StaleStageError: Names the settings and says what to do.
    """
    for stage in plan.values():
        stored = run.stored(stage.name)
        if stage.costly and stored is not None:
            _refuse_others(run, stage, stored)


def _refuse_others(run: Run, stage: StagePlan, stored: Stage) -> None:
    info = stored.info
    run.stage(
        stage.name,
        fingerprint=stage.fingerprint,
        settings=stage.settings,
        shards=info.shards,
        shard_size=info.shard_size,
    )


def sign_again(run: Run, plan: Plan, parsed: str) -> None:
    """Make finished pairs, read again with the same outcome, those of the plan, and with them what was made of them.

    Up to the pairs of the next round, which are read again by themselves.

    Raises:
        StaleStageError: If a costly stage was made with other settings than how texts are read.
    """
    new: dict[str, str] = {}  # fingerprints by those that they replace: later settings hold those of tunings
    stages: list[tuple[Stage, StagePlan]] = []
    for stage in list(plan.values())[list(plan).index(parsed) :]:
        if stage.name != parsed and stage.name.endswith("/parsed"):
            break
        if (stored := run.stored(stage.name)) is None:
            continue
        before = stored.info.settings
        if stage.name == parsed:  # what a tuned model wrote names it by the tuning as it was signed before
            new |= {before[key]: stage.settings[key] for key in _TUNED_BY if key in before}
        before = before | {key: new.get(before[key], before[key]) for key in _TUNED_BY if key in before}
        if set(find_changes(before, plain(stage.settings))) <= READ_BY:
            new[stored.info.fingerprint] = stage.fingerprint
            stages.append((stored, stage))
        elif stage.costly:
            _refuse_others(run, stage, stored)
    for stored, stage in reversed(stages):  # killed in between, what comes first is still to be signed
        stored.sign_again(stage.fingerprint, stage.settings)


def _plan_tuning(config: RunConfig, writer: str, round: int, groups: StagePlan) -> StagePlan:
    """The contrastive tuning of whoever wrote the round before."""
    recipe = results_of("contrastive", config.contrastive)
    recipe["contrastive.temperature"] = config.contrastive.resolved_temperature  # named or not, the same tuning
    settings = _plan_model(config, writer) | recipe | {"tuner_version": TUNER_VERSION}
    return _plan(name_step("tuned", round), settings, groups, costly=True)


def _plan_learning(
    config: RunConfig, base: str, writer: str, export: StagePlan, run: Run | None
) -> Iterator[StagePlan]:
    """The instruction tuning on the export, and the benchmarks; nothing where the config asks for neither."""
    ends_with = writer
    if config.finetuning.enabled:
        # as in what was made before there was a choice of tokens
        unset = {"taught_share"} if config.finetuning.taught_share is None else set()
        recipe = results_of("finetuning", config.finetuning, unset) | {"finetuning.enabled": True}
        settings = _plan_model(config, base) | recipe | {"finetuner_version": FINETUNER_VERSION}
        tuned = _plan("finetuned", settings, export, costly=True)
        ends_with = tuned.fingerprint
        yield tuned
    for task in config.evaluation.tasks:
        name = f"evaluation/{task.task}"
        asked = _as_stored(describe_benchmark(task, config), run.stored(name) if run is not None else None)
        models = _plan_model(config, base) | {"ends_with": ends_with, "evaluator_version": EVALUATOR_VERSION}
        yield _plan(name, models | asked, costly=True)


def _as_stored(asked: dict[str, Any], stored: Stage | None) -> dict[str, Any]:
    """What a benchmark depends on, as its stage has it: files that are gone by now are those that it was made of."""
    if stored is None:
        return asked
    return asked | {"data": asked["data"] or stored.info.settings.get("data")}


def _plan_model(config: RunConfig, weights: str) -> dict[str, Any]:
    return results_of("model", config.model) | {"weights": weights, "seed": config.seed}


def _plan_round(
    config: RunConfig, scorer: str, writer: str, round: int, source: StagePlan
) -> tuple[StagePlan, StagePlan, StagePlan]:
    """The stages generated, parsed and scored of one round.

    Args:
        config: The settings.
        scorer: What stands for the weights of the model that scores where the writer does not.
        writer: What stands for those of the model that writes in this round.
        round: 0 for the draft.
        source: The stage that the writing depends on: the images, or the tuning of the writer.
    """
    name, model = name_round(round), _plan_model(config, writer)
    templates = choose_templates(config.generation)
    asked = results_of("generation", config.generation) | {
        "generation.instructions": [template.id for template in templates],
        "templates": {template.id: [template.version, _digest(template)] for template in templates},
    }
    if config.model.backend == "openai":  # in which arithmetic is the server's affair
        model = {key: value for key, value in model.items() if key not in ("model.dtype", "model.attn_implementation")}
    generated = _plan(
        f"{name}/generated",
        model | asked | {"round": round, "writer_version": WRITER_VERSION},
        source,
        costly=True,
    )
    reading = {
        "generation.pairs_per_image": config.generation.pairs_per_image,
        "parsers": {template.id: template.parser for template in templates},
        "parser_version": PARSER_VERSION,
    }
    parsed = _plan(f"{name}/parsed", reading, generated)
    blind: dict[str, Any] = {"scoring.no_image": config.scoring.no_image, "scorer_version": SCORER_VERSION}
    if config.scoring.no_image == "others":
        blind["others"] = config.scoring.others
    if round:
        blind["scoring.scorer"] = config.scoring.scorer
    is_base = not round or config.scoring.scorer == "base"
    by = _plan_model(config, scorer if is_base else writer) | results_of("model", config.scorer)
    return generated, parsed, _plan(f"{name}/scored", by | blind, parsed, costly=True)


def _plan(
    name: str, settings: Mapping[str, Any], source: StagePlan | None = None, *, costly: bool = False
) -> StagePlan:
    before, inputs = (source.settings, [source.fingerprint]) if source else ({}, [])
    # the groups' name of earlier versions, so that what was tuned on them stays theirs
    hashed = fingerprint(settings, name.replace("groups", "selected"), *inputs)
    return StagePlan(name, {**before, **settings}, hashed, costly)


def _digest(template: InstructionTemplate) -> str:
    return hashlib.sha256(template.text.encode()).hexdigest()[:16]
