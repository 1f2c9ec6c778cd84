"""What a run, or its rest, will cost: counts from the settings, time and disk from earlier runs or assumed."""

import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from c3l.data.finding import find_some
from c3l.data.roots import has_root
from c3l.errors import C3LError
from c3l.method.prompts import choose_templates
from c3l.models.load import settle_name
from c3l.progress import format_seconds
from c3l.records import name_round, name_step
from c3l.run.context import plan_ahead
from c3l.run.plan import Plan
from c3l.run.run_folder import Run
from c3l.settings.schema import RunConfig
from c3l.storage.stage import Stage

PROMPT_TOKENS, QUESTION_TOKENS, ANSWER_TOKENS = 70, 15, 20
IMAGE_TOKENS = {"builtin": 49}  # the others: LLaVA-1.5's
DEFAULT_IMAGE_TOKENS = 576
TEXT_BYTES, PAIR_BYTES, REPORT_BYTES = 1500, 4000, 8_000_000
MODEL_BYTES = {"builtin": 600_000_000}
DEFAULT_MODEL_BYTES = 14_000_000_000  # the merged folder of a round: 7B weights in two bytes each


@dataclass(frozen=True, slots=True)
class Speed:
    """Tokens a second that are read, written and tuned on, and where they are."""

    read: float
    written: float
    tuned: float
    where: str


# builtin: measured on two cores with AVX2: 85 tokens/s in batches of 16 to 32, 6 pairs/s scored, 7 s a step of 4 groups
SPEEDS = {"builtin": Speed(700, 85, 440, "on two CPU cores")}
# measured with LLaVA-1.5-7B's shapes, benchmarks/results-card.md: 17,000 tokens/s scored, 233 and 1,449 written with 5
# and 40 texts at once, 0.27 s for a group of 5 pairs
DEFAULT_SPEED = Speed(15000, 600, 3400, "for a 7B model on an H200")


@dataclass(frozen=True, slots=True)
class Counts:
    """How much there is still to do, in all rounds together; ``tunings`` that are not done, each on ``groups``."""

    images: int
    texts: int
    pairs: int
    groups: int
    tunings: int
    read_tokens: int
    written_tokens: int
    scored_tokens: int
    tuned_tokens: int


def estimate(config: RunConfig) -> Iterator[str | dict[str, Any]]:
    """Lines for a person, then the figures as a dictionary; loads no model.

    Raises:
        StaleStageError: If the run would refuse these settings.
        DataError: If the image root is not there and ``images.limit`` does not say how many to expect.
    """
    run = Run(config.run)
    plan = plan_ahead(run, config)
    images, source = count_images(config)
    counts = count_work(config, images, plan)
    yield f"{'images':<18}{counts.images:>14,}  {source}"
    if done := [name for name in plan if _share_left(run, name, plan) == 0]:
        yield f"{'done already':<18}{'':>14}  {', '.join(done)}"
    templates = choose_templates(config.generation)
    rounds = f", in {config.rounds + 1} rounds" if config.rounds else ""
    yield f"{'texts to write':<18}{counts.texts:>14,}  {len(templates)} instructions an image{rounds}"
    yield f"{'pairs to score':<18}{counts.pairs:>14,}  at most, {config.generation.pairs_per_image} a text"
    if counts.groups:
        yield f"{'groups to tune on':<18}{counts.groups:>14,}  at most, {_describe_length(config)}"
    forward = counts.read_tokens + counts.written_tokens + counts.scored_tokens + counts.tuned_tokens
    tokens = IMAGE_TOKENS.get(config.model.name, DEFAULT_IMAGE_TOKENS)
    yield f"{'forward tokens':<18}{forward:>14,}  assumed: {tokens} an image, {ANSWER_TOKENS} an answer"
    seconds, clock = _estimate_seconds(config, counts)
    yield f"{'time':<18}{format_seconds(seconds):>14}  {clock}"
    size, free = estimate_bytes(config, counts, plan), find_free_bytes(config.run)
    yield f"{'disk':<18}{size / 1e6:>11,.0f} MB  {free / 1e9:,.1f} GB are free"
    learned = ["finetuned"] * config.finetuning.enabled
    learned += [f"evaluation/{task.task}" for task in config.evaluation.tasks]
    if rest := [name for name in learned if name not in done]:
        yield f"{'not counted':<18}{'':>14}  {', '.join(rest)}"
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
    """How many images, and how that is known."""
    rules, stage = config.images, Run(config.run).stored("images")
    frozen = config.run / "images.jsonl"
    if stage is not None and stage.is_done():
        return stage.info.out.get("imageref", 0), f"good ones that {config.run} began with"
    if frozen.exists():
        return len(frozen.read_bytes().splitlines()), f"that {config.run} began with"
    if rules.limit is None or has_root(rules.root):
        return len(find_some(rules.root, rules.limit, rules.follow_links)[0]), f"in {rules.root}"
    return rules.limit, f"assumed from images.limit: there is no {rules.root} yet"


def count_work(config: RunConfig, images: int, plan: Plan) -> Counts:
    """Texts, pairs and tokens that the run lacks, if every text has all its pairs, and answers an ordinary length."""
    run, k = Run(config.run), config.generation.pairs_per_image
    each = images * len(choose_templates(config.generation))
    texts, pairs, tunings = 0, 0, 0
    for round in range(config.rounds + 1):
        name = name_round(round)
        parsed = run.stored(f"{name}/parsed")
        found = parsed.info.out.get("sample", 0) if parsed is not None and parsed.is_done() else each * k
        texts += math.ceil(each * _share_left(run, f"{name}/generated", plan))
        pairs += math.ceil(found * _share_left(run, f"{name}/scored", plan))
        tunings += bool(round and _share_left(run, name_step("tuned", round), plan))
    image = IMAGE_TOKENS.get(config.model.name, DEFAULT_IMAGE_TOKENS)
    written = min(k * (QUESTION_TOKENS + ANSWER_TOKENS), config.generation.max_new_tokens)
    pair = QUESTION_TOKENS + ANSWER_TOKENS
    shared = math.ceil(image / (k * config.scoring.batch_size))  # what all pairs of a batch begin with
    blind = {"drop": pair, "others": config.scoring.others * (shared + pair)}.get(config.scoring.no_image, image + pair)
    tuned = each * k * (image + PROMPT_TOKENS + pair) * _count_passes(config, images)
    return Counts(
        images=images,
        texts=texts,
        pairs=pairs,
        groups=images * tunings,
        tunings=tunings,
        read_tokens=texts * (image + PROMPT_TOKENS),
        written_tokens=texts * written,
        scored_tokens=pairs * (image + pair + blind),
        tuned_tokens=math.ceil(tuned * tunings),
    )


def _share_left(run: Run, name: str, plan: Plan) -> float:
    """How much of a stage is not made yet with the settings of now, from 0 to 1."""
    stage = run.stored(name)
    if stage is None or name not in plan or stage.info.fingerprint != plan[name].fingerprint:
        return 1
    if stage.is_done():
        return 0
    return len(stage.missing()) / stage.info.shards if stage.info.shards else 1


def _count_passes(config: RunConfig, images: int) -> float:
    """How often a tuning goes over the groups."""
    rules = config.contrastive
    if rules.max_steps is None:
        return rules.epochs
    return rules.max_steps * rules.batch_size * rules.gradient_accumulation / max(images, 1)


def _describe_length(config: RunConfig) -> str:
    steps = config.contrastive.max_steps
    return f"{steps} steps" if steps else f"{config.contrastive.epochs:g} epochs"


def estimate_bytes(config: RunConfig, counts: Counts, plan: Plan) -> int:
    """What is still to come into the run folder."""
    models = counts.tunings * _count_model_bytes(config.model.name)
    report = math.ceil(REPORT_BYTES * _share_left(Run(config.run), "report", plan))
    return counts.texts * TEXT_BYTES + counts.pairs * PAIR_BYTES + report + models


def _count_model_bytes(name: str) -> int:
    """What a model takes on a disk: that of a folder as it is there."""
    there = sum(file.stat().st_size for file in Path(name).glob("*.safetensors"))
    return there or MODEL_BYTES.get(name, DEFAULT_MODEL_BYTES)


def find_free_bytes(folder: Path) -> int:
    """Room on the disk where the folder is, or will be."""
    folder = folder.absolute()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


@dataclass(frozen=True, slots=True)
class Room:
    """What a run, or its rest, needs of a disk, and what is free there, in bytes."""

    needed: int
    free: int

    @property
    def told(self) -> str:
        """Both, for a person."""
        return f"about {self.needed / 1e6:,.0f} MB are needed, {self.free / 1e6:,.0f} MB are free"

    @property
    def remedy(self) -> str:
        """What to do; empty where there is room enough."""
        enough = self.needed < self.free
        return "" if enough else "free some, put --run on another disk, or take fewer images with --limit"


def find_room(config: RunConfig, images: int, plan: Plan) -> Room:
    """The room that a run about so many images needs and has."""
    return Room(estimate_bytes(config, count_work(config, images, plan), plan), find_free_bytes(config.run))


def _estimate_seconds(config: RunConfig, counts: Counts) -> tuple[float, str]:
    for path in [config.run, *sorted(config.run.parent.glob("*/"))]:
        try:
            measured = _measure(path, config)
        except (OSError, C3LError):  # other runs are a hint
            if path == config.run:
                raise
            continue
        if measured:
            writing, scoring, tuning = measured
            seconds = counts.texts * writing + counts.pairs * scoring + counts.groups * tuning
            return seconds, f"as measured in {path}"
    speed = SPEEDS.get(config.model.name, DEFAULT_SPEED)
    reading = (counts.read_tokens + counts.scored_tokens) / speed.read
    seconds = reading + counts.written_tokens / speed.written + counts.tuned_tokens / speed.tuned
    rates = f"{speed.read:,.0f} tokens/s read, {speed.written:,.0f}/s written, {speed.tuned:,.0f}/s tuned on"
    return seconds, f"assumed {speed.where}: {rates}"


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
        if stage is None or maker is None or not stage.info.inputs:
            return None
        if settle_name(maker.model) != settle_name(config.model.name):
            return None
        rates.append(_seconds_each(stage))
    return rates[0], rates[1], rates[2]


def _seconds_each(stage: Stage) -> float:
    timed: float = stage.info.recorded.get("shards_timed", stage.info.shards) / max(stage.info.shards, 1)
    return stage.info.seconds / ((stage.info.inputs or 1) * timed)
