"""What a run will cost, before it starts: counts from the settings, time and disk from earlier runs or assumed."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from c3l.config import RunConfig
from c3l.data.images import list_images
from c3l.data.store import Run, Stage
from c3l.method.prompts import choose_templates
from c3l.progress import format_seconds

PROMPT_TOKENS, QUESTION_TOKENS, ANSWER_TOKENS = 70, 15, 20
IMAGE_TOKENS = {"builtin": 49}  # the others: LLaVA-1.5's
DEFAULT_IMAGE_TOKENS = 576
# tokens a second, read and written
SPEEDS = {"builtin": (1000.0, 100.0, "on two CPU cores")}
DEFAULT_SPEED = (4000.0, 200.0, "for a 7B model on one large GPU")
TRAINING_COST = 4  # a token that is tuned on, in tokens read: forward, backward, and recomputing or optimiser
TEXT_BYTES, PAIR_BYTES, REPORT_BYTES = 1500, 4000, 8_000_000
MODEL_BYTES = {"builtin": 600_000_000}
DEFAULT_MODEL_BYTES = 14_000_000_000  # the merged folder of a round: 7B weights in two bytes each


@dataclass(frozen=True, slots=True)
class Counts:
    """How much there is to do, in all rounds together."""

    images: int
    texts: int
    pairs: int
    groups: int
    read_tokens: int
    written_tokens: int
    scored_tokens: int
    tuned_tokens: int


def estimate(config: RunConfig) -> Iterator[str | dict[str, Any]]:
    """Lines for a person, then the figures as a dictionary; loads no model.

    Raises:
        DataError: If the image root is not there and ``images.limit`` does not say how many to expect.
    """
    images, source = count_images(config)
    counts = count_work(config, images)
    yield f"{'pictures':<18}{counts.images:>14,}  {source}"
    templates = choose_templates(config.generation)
    rounds = f", in {config.rounds + 1} rounds" if config.rounds else ""
    yield f"{'texts to write':<18}{counts.texts:>14,}  {len(templates)} instructions a picture{rounds}"
    yield f"{'pairs to score':<18}{counts.pairs:>14,}  at most, {config.generation.pairs_per_image} a text"
    if counts.groups:
        yield f"{'groups to tune on':<18}{counts.groups:>14,}  at most, {config.contrastive.epochs:g} epochs"
    forward = counts.read_tokens + counts.written_tokens + counts.scored_tokens + counts.tuned_tokens
    tokens = IMAGE_TOKENS.get(config.model.name, DEFAULT_IMAGE_TOKENS)
    yield f"{'forward tokens':<18}{forward:>14,}  assumed: {tokens} a picture, {ANSWER_TOKENS} an answer"
    seconds, clock = _estimate_seconds(config, counts)
    yield f"{'time':<18}{format_seconds(seconds):>14}  {clock}"
    size, free = estimate_bytes(config, counts), find_free_bytes(config.run)
    yield f"{'disk':<18}{size / 1e6:>11,.0f} MB  {free / 1e9:,.1f} GB are free"
    if config.finetuning.enabled or config.evaluation.tasks:
        names = ["finetuning"] * config.finetuning.enabled + [task.task for task in config.evaluation.tasks]
        yield f"{'not counted':<18}{'':>14}  {', '.join(names)}"
    yield {
        "dry_run": True,
        "images": counts.images,
        "texts": counts.texts,
        "pairs": counts.pairs,
        "groups": counts.groups,
        "forward_tokens": forward,
        "seconds": round(seconds),
        "bytes": size,
    }


def count_images(config: RunConfig) -> tuple[int, str]:
    """How many pictures, and how that is known."""
    rules = config.images
    if rules.limit is None or rules.root.is_dir():
        return len(list_images(rules.root, rules.limit)), f"in {rules.root}"
    return rules.limit, f"assumed from images.limit: there is no {rules.root} yet"


def count_work(config: RunConfig, images: int) -> Counts:
    """Texts, pairs and tokens, if every text has all its pairs and every answer an ordinary length."""
    each = images * len(choose_templates(config.generation))
    texts = each * (config.rounds + 1)
    k, image = config.generation.pairs_per_image, IMAGE_TOKENS.get(config.model.name, DEFAULT_IMAGE_TOKENS)
    written = min(k * (QUESTION_TOKENS + ANSWER_TOKENS), config.generation.max_new_tokens)
    pair = QUESTION_TOKENS + ANSWER_TOKENS
    blind = {"drop": pair, "others": config.scoring.others * (image + pair)}.get(config.scoring.no_image, image + pair)
    tuned = each * k * (image + PROMPT_TOKENS + pair) * config.contrastive.epochs
    return Counts(
        images=images,
        texts=texts,
        pairs=texts * k,
        groups=images * config.rounds,
        read_tokens=texts * (image + PROMPT_TOKENS),
        written_tokens=texts * written,
        scored_tokens=texts * k * (image + pair + blind),
        tuned_tokens=round(tuned * config.rounds),
    )


def estimate_bytes(config: RunConfig, counts: Counts) -> int:
    """What the run folder will hold."""
    models = config.rounds * MODEL_BYTES.get(config.model.name, DEFAULT_MODEL_BYTES)
    return counts.texts * TEXT_BYTES + counts.pairs * PAIR_BYTES + REPORT_BYTES + models


def find_free_bytes(folder: Path) -> int:
    """Room on the disk where the folder is, or will be."""
    folder = folder.absolute()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _estimate_seconds(config: RunConfig, counts: Counts) -> tuple[float, str]:
    for path in [config.run, *sorted(config.run.parent.glob("*/"))]:
        if measured := _measure(path, config):
            writing, scoring, tuning = measured
            seconds = counts.texts * writing + counts.pairs * scoring + counts.groups * tuning
            return seconds, f"as measured in {path}"
    read, written, where = SPEEDS.get(config.model.name, DEFAULT_SPEED)
    forward = counts.read_tokens + counts.scored_tokens + TRAINING_COST * counts.tuned_tokens
    seconds = forward / read + counts.written_tokens / written
    return seconds, f"assumed {where}: {read:,.0f} tokens/s read, {written:,.0f}/s written"


def _measure(path: Path, config: RunConfig) -> tuple[float, float, float] | None:
    """Seconds a text, a pair and a group in an earlier run of the same model; None if there is none."""
    if not path.is_dir():
        return None
    rates = []
    for name in ("draft/generated", "draft/scored", "tuned"):
        if name == "tuned" and not config.rounds:
            rates.append(0.0)
            continue
        stage = Run(path).stored(name)
        maker = stage.info.provenance if stage else None
        if stage is None or maker is None or not stage.info.inputs or maker.model != config.model.name:
            return None
        rates.append(_seconds_each(stage))
    return rates[0], rates[1], rates[2]


def _seconds_each(stage: Stage) -> float:
    timed: float = stage.info.recorded.get("shards_timed", stage.info.shards) / max(stage.info.shards, 1)
    return stage.info.seconds / ((stage.info.inputs or 1) * timed)
