"""What every stage of a run depends on, known before any of them runs.

A stage's fingerprint is made of the settings that change its records and of the fingerprint of the stage that
it reads. Batch sizes, shard size and executor change no record, so they are in none.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from c3l.config import RunConfig
from c3l.data.store import Run, fingerprint
from c3l.method.parsing import PARSER_VERSION
from c3l.method.prompts import InstructionTemplate, choose_templates
from c3l.method.scoring import SCORER_VERSION


@dataclass(frozen=True, slots=True)
class StagePlan:
    """One stage: what it depends on.

    Attributes:
        name: Such as ``draft/scored``.
        settings: What changes its records, those of the stages before it included; ``section.key`` is what
            ``--set`` takes.
        fingerprint: Hash of its own settings and of the fingerprint of the stage that it reads.
        costly: Whether it took the model or every picture to make. A costly stage is never thrown away
            unasked; any other is made again when its settings change.
    """

    name: str
    settings: Mapping[str, Any]
    fingerprint: str
    costly: bool


Plan = Mapping[str, StagePlan]


def make_plan(config: RunConfig, weights: str) -> dict[str, StagePlan]:
    """The stages of a run in order, by name.

    Args:
        config: The settings, with a dtype that is not ``auto``.
        weights: What ``c3l.models.load.weights_hash`` says of the model.

    Raises:
        ConfigError: If an instruction template is unknown.
    """
    rules = config.images.model_dump(include={"root", "limit", "max_pixels", "min_side", "max_aspect"})
    images = _plan("images", _named("images", rules), costly=True)
    stages = [images, *_plan_round(config, weights, "draft", 0, images)]
    scored = stages[-1]
    form = {"scoring.form": config.scoring.form}
    stages.append(_plan("selected", form, scored))
    filtering = _named("filtering", config.filtering.model_dump())
    filtered = _plan("filtered", form | filtering | {"seed": config.seed}, scored)
    export = _plan("export", _named("export", config.export.model_dump()), filtered)
    stages += [filtered, export, _plan("report", {}, export)]
    return {stage.name: stage for stage in stages}


def check_costly(run: Run, plan: Plan) -> None:
    """Refuse settings that would make a stage stale which took long to make.

    Raises:
        StaleStageError: Names the settings and says what to do.
    """
    for stage in plan.values():
        stored = run.stored(stage.name)
        if stage.costly and stored is not None:
            run.stage(
                stage.name,
                fingerprint=stage.fingerprint,
                settings=stage.settings,
                shards=stored.info.shards,
                shard_size=stored.info.shard_size,
            )


def _plan_round(
    config: RunConfig, weights: str, name: str, round: int, images: StagePlan
) -> tuple[StagePlan, StagePlan, StagePlan]:
    """The stages generated, parsed and scored of one round."""
    model = {
        "model.backend": config.model.backend,
        "model.dtype": config.model.dtype,
        "model.attn_implementation": config.model.attn_implementation,
        "weights": weights,
        "seed": config.seed,
    }
    templates = choose_templates(config.generation)
    sampling = config.generation.model_dump(include={"pairs_per_image", "temperature", "top_p", "max_new_tokens"})
    asked = {
        "generation.instructions": [template.id for template in templates],
        "templates": {template.id: [template.version, _digest(template)] for template in templates},
    }
    generated = _plan(
        f"{name}/generated",
        model | asked | {"round": round} | _named("generation", sampling),
        images,
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
    return generated, parsed, _plan(f"{name}/scored", model | blind, parsed, costly=True)


def _plan(
    name: str, settings: Mapping[str, Any], source: StagePlan | None = None, *, costly: bool = False
) -> StagePlan:
    before, inputs = (source.settings, [source.fingerprint]) if source else ({}, [])
    return StagePlan(name, {**before, **settings}, fingerprint(settings, name, *inputs), costly)


def _named(section: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{section}.{key}": value for key, value in values.items()}


def _digest(template: InstructionTemplate) -> str:
    return hashlib.sha256(template.text.encode()).hexdigest()[:16]
