"""The method in order, one line a stage: images in, instruction data that depends on them out.

A stage that is done with the same settings is returned as it lies there, without loading a model. Round 0 is the
draft; in every further round the LVLM is tuned on what the round before wrote, and writes again.
"""

import time
from collections.abc import Callable, Iterable, Iterator

from c3l.data.images import inspect_image
from c3l.data.near_images import reject_near
from c3l.data.roots import has_root
from c3l.errors import DataError, RunLockedError
from c3l.method.batching import map_ahead
from c3l.method.filtering import filter_samples, tell_unused
from c3l.method.generation import parse
from c3l.method.other_images import tell_few_others
from c3l.method.prompts import choose_templates
from c3l.method.selection import select
from c3l.progress import Progress
from c3l.records import (
    ContrastiveGroup,
    FilterDecision,
    Generation,
    ImageRef,
    Rejected,
    Sample,
    name_round,
    name_step,
)
from c3l.report.build import write_report
from c3l.run.backends import check_ahead
from c3l.run.context import Context, open_context
from c3l.run.estimates import find_room
from c3l.run.export_stage import export_stage
from c3l.run.image_list import freeze_list, look_for_near, read_list, tell_changed_folder, tell_unusable
from c3l.run.learn_stages import evaluate_stages, finetune_stage
from c3l.run.page import gather_report, measure_kept
from c3l.run.plan import sign_again
from c3l.run.run_folder import Run, spell_path
from c3l.run.shards import (
    ModelStage,
    begin,
    discard,
    need,
    read_pairs,
    read_scored,
    run_here,
    run_sharded,
    score_pairs,
    write_drafts,
)
from c3l.run.tracking import tell_trackers
from c3l.run.tune_stage import ensure_writer, tune_stage, writer_of
from c3l.settings.abilities import check_form, check_scorer
from c3l.settings.schema import RunConfig
from c3l.storage.stage import Stage, write_records

DECISIONS = "decisions.jsonl"


def run_method(context: Context) -> None:
    """Every stage that is not done yet."""
    rounds = context.config.rounds
    check_ahead(context.run, context.config)
    images = image_stage(context)
    _need_images(context, images)
    if few := tell_few_others(context.config.scoring, images.info.out.get("imageref", 0)):
        context.progress.note(few)
    room = find_room(context.config, images.info.out.get("imageref", 0), context.plan)
    if room.remedy:
        context.progress.note(f"disk: {room.told}: {room.remedy}")
    parsed, scored = write_and_score(context, images, round=0)
    if rounds == 0:
        select_stage(context, scored, round=1)
    for round in range(1, rounds + 1):
        groups = select_stage(context, scored, round=round)
        tune_stage(context, images, parsed, groups, round=round)
        parsed, scored = write_and_score(context, images, round=round)
    kept = filter_stage(context, scored)
    exported = export_stage(context, images, scored, kept)
    if context.config.finetuning.enabled:
        finetune_stage(context, exported)
    evaluate_stages(context)
    report_stage(context)
    tell_trackers(context.run, context.config)


def write_and_score(context: Context, images: Stage, *, round: int) -> tuple[Stage, Stage]:
    """One round: the LVLM, in round 0 that of the config and then the tuned one, writes, and S(I2C) is measured."""
    written = generate_stage(context, images, round=round)
    parsed = parse_stage(context, written, round=round)
    return parsed, score_stage(context, images, parsed, round=round)


def _need_images(context: Context, images: Stage) -> None:
    """Refuse to load a model for nothing.

    Raises:
        DataError: If no image can be used.
    """
    if not images.info.out.get("imageref", 0):
        then = f", after `c3l clean {spell_path(context.run.path)} images`"
        raise DataError(tell_unusable([*images.rejected()], context.config.images.root, then))


def run_generate(context: Context, round: int = 0) -> None:
    """The stages up to the pairs of a round."""
    images = image_stage(context)
    _need_images(context, images)
    if round:
        need(context, name_step("tuned", round))
    written = generate_stage(context, images, round=round)
    if context.part is None:
        parse_stage(context, written, round=round)


def list_images(config: RunConfig, progress: Progress) -> None:
    """The stage of the images, for several processes that will share the run: the first of them makes it."""
    while not _is_listed(config):
        try:
            with open_context(config, progress, needs_model=False) as context:
                image_stage(context)
        except RunLockedError:  # another one is about to; nobody queues for what will be there by then
            time.sleep(0.2)


def _is_listed(config: RunConfig) -> bool:
    there = Run.reader(config.run).stored("images") if config.run.is_dir() else None
    return there is not None and there.is_done()


def run_reparse(context: Context, round: int = 0) -> None:
    """Read the texts of a round again, as the parsers are now; what follows stays if the pairs are the same.

    Raises:
        DataError: If other pairs come out, and scores or a tuning made of the old ones would be lost.
        StaleStageError: If what was made of them was made with other settings besides.
    """
    run, parsed = context.run, f"{name_round(round)}/parsed"
    written = need(context, f"{name_round(round)}/generated")
    stored, read = run.stored(parsed), _reader(context, written)
    changed = [shard for shard in range(written.info.shards) if stored and stored.differs(shard, read(shard))]
    if changed:
        _refuse_loss(run, round, len(changed), written.info.shards)
        run.clean(parsed)
    elif stored:
        sign_again(run, context.plan, parsed)
        context.progress.note(f"{parsed}: the same pairs as before, so what was made of them stays")
    parse_stage(context, written, round=round)


def _refuse_loss(run: Run, round: int, changed: int, shards: int) -> None:
    costly = (f"{name_round(round)}/scored", name_step("tuned", round + 1))
    there = [name for name in costly if run.stored(name) is not None]
    if there:
        raise DataError(
            f"read again, the texts of {name_round(round)} give other pairs in {changed} of {shards} shards, and "
            f"{' and '.join(there)} in {run.path} would be lost; remove that and what follows first, "
            f"with `c3l clean {spell_path(run.path)} {there[0]}`"
        )


def run_score(context: Context, round: int = 0) -> None:
    """The scores of a round, from finished pairs."""
    parsed, images = (need(context, name) for name in (f"{name_round(round)}/parsed", "images"))
    score_stage(context, images, parsed, round=round)


def run_select(context: Context, round: int = 1) -> None:
    """The positives and negatives that lead to a round, from the finished scores of the one before."""
    select_stage(context, need(context, f"{name_round(round - 1)}/scored"), round=round)


def run_tune(context: Context, round: int = 1) -> None:
    """The tuned LVLM that writes in a round, from finished groups."""
    groups = need(context, name_step("groups", round))
    images, parsed = (need(context, name) for name in ("images", f"{name_round(round - 1)}/parsed"))
    tune_stage(context, images, parsed, groups, round=round)


def run_filter(context: Context) -> None:
    """The kept pairs, from the finished scores of the last round."""
    filter_stage(context, need(context, last_scored(context.config)))


def run_export(context: Context) -> None:
    """The data set, from a finished filter."""
    export_stage(context, *(need(context, name) for name in ("images", last_scored(context.config), "filtered")))


def run_report(context: Context) -> None:
    """The page, made again even if nothing changed."""
    for name in ("images", last_scored(context.config), "filtered", "export"):
        need(context, name)
    discard(context.run, "report")
    report_stage(context)


def image_stage(context: Context) -> Stage:
    """The run's images, listed once and for all, then each decoded once.

    Raises:
        DataError: If there is no image, or the image root of those that are not looked at yet is gone.
    """
    config, stored = context.config, context.run.stored("images")
    if stored is None:
        freeze_list(context)
    size = stored.info.shard_size if stored and stored.info.shard_size else config.shard_size
    if size != config.shard_size:
        context.progress.note(f"shard_size stays {size}, with which this run began")
    if stored is not None and stored.is_done():
        images = begin(context, "images", stored.info.shards, size)
        tell_changed_folder(context)
        return images
    paths = read_list(context.run)
    near = look_for_near(context, paths)
    with context.progress.track("images", "images", len(paths)) as advance:

        def inspect(shard: int) -> Iterator[ImageRef | Rejected]:
            some = paths[shard * size : (shard + 1) * size]
            for found in map_ahead(lambda path: inspect_image(config.images.root, path, config.images), some):
                yield reject_near(found, near)
                advance(1)

        shards = -(-len(paths) // size)
        return run_here(context, "images", inspect, inputs=len(paths), shards=shards, shard_size=size)


def generate_stage(context: Context, images: Stage, *, round: int) -> Stage:
    """What the LVLM writes about every image, raw."""
    config = context.config.generation
    stage = ModelStage(
        name=f"{name_round(round)}/generated",
        source=images,
        read=lambda shard: tuple(images.read_shard(shard, ImageRef)),
        work=write_drafts,
        round=round,
        model=writer_of(context.run, context.config, round),
        inputs=images.info.out.get("imageref", 0) * len(choose_templates(config)),
        unit="texts",
        recorded={"generation.batch_size": config.batch_size},
    )
    return run_sharded(context, stage, lambda: ensure_writer(context.run, context.config, round))


def parse_stage(context: Context, written: Stage, *, round: int) -> Stage:
    """The question-answer pairs in what was written; needs no model."""
    return run_here(
        context,
        f"{name_round(round)}/parsed",
        _reader(context, written),
        inputs=written.info.out.get("generation", 0),
        shards=written.info.shards,
        shard_size=written.info.shard_size,
    )


def _reader(context: Context, written: Stage) -> Callable[[int], Iterator[Sample | Rejected]]:
    """A function from the number of a shard to the pairs in its texts."""
    config = context.config.generation
    templates = {template.id: template for template in choose_templates(config)}
    return lambda shard: parse(written.read_shard(shard, Generation), templates, config.pairs_per_image)


def score_stage(context: Context, images: Stage, parsed: Stage, *, round: int) -> Stage:
    """Each pair's per-token numbers with and without the image, and S(I2C) in the form of now."""
    check_scorer(context.config)
    scorer = round if context.config.scoring.scorer == "tuned" else 0
    stage = ModelStage(
        name=f"{name_round(round)}/scored",
        source=parsed,
        read=read_pairs(context.config, images, parsed),
        work=score_pairs,
        round=round,
        model=context.config.scorer if scorer == 0 else writer_of(context.run, context.config, scorer),
        inputs=parsed.info.out.get("sample", 0),
        unit="pairs",
        recorded={"scoring.batch_size": context.config.scoring.batch_size},
    )
    return run_sharded(context, stage, lambda: ensure_writer(context.run, context.config, scorer))


def select_stage(context: Context, scored: Stage, *, round: int) -> Stage:
    """Of every image, the positive and its negatives, out of what the round before wrote."""
    config = context.config
    check_form(config)

    def choose(_: int) -> Iterable[ContrastiveGroup | Rejected]:
        return select(read_scored(scored, config.scoring.form), config.selection, config.seed)

    return run_here(context, name_step("groups", round), choose, inputs=scored.info.out.get("scoredsample", 0))


def last_scored(config: RunConfig) -> str:
    """The stage whose pairs are filtered: those of the last round."""
    return f"{name_round(config.rounds)}/scored"


def filter_stage(context: Context, scored: Stage) -> Stage:
    """The pairs that are kept; ``decisions.jsonl`` has every scored pair and what was decided about it."""
    config, selection = context.config, context.run.path / DECISIONS
    check_form(config)
    if unused := tell_unused(config.filtering):
        context.progress.note(f"filtered: {unused}")
    if not selection.exists():
        discard(context.run, "filtered")

    def decide(_: int) -> Iterator[FilterDecision | Rejected]:
        decisions = filter_samples(read_scored(scored, context.config.scoring.form), config.filtering, config.seed)
        write_records(selection, decisions)
        outside = f"outside_{config.filtering.rule}"
        for one in decisions:
            yield one if one.kept else Rejected(one.sample_id, one.image_id, "filtering", outside, one.reason)

    stage = run_here(context, "filtered", decide, inputs=scored.info.out.get("scoredsample", 0))
    if stage.info.inputs and not stage.info.out:
        context.progress.note(
            f"filtered: filtering.rule={config.filtering.rule} keeps none of {stage.info.inputs} pairs; "
            f"`c3l show {spell_path(context.run.path)}` has their scores, set another rule or another limit"
        )
    return stage


def report_stage(context: Context) -> Stage:
    """The page about the run; not done while the image root is gone, as it then shows no image."""
    check_form(context.config)
    page = context.run.path / "report.html"
    if not page.exists():
        discard(context.run, "report")
    stage = begin(context, "report", 0)
    if stage.is_done():
        return stage
    there = has_root(context.config.images.root)
    if not there:
        context.progress.note(
            f"report: there is no image root {context.config.images.root}, so it shows no image; "
            f"`c3l report {spell_path(context.run.path)} --image-root` tells where they are now"
        )
    start = time.monotonic()
    contents = gather_report(context.run, context.config)
    facts = write_report(page, contents)
    if there:
        stage.finish(None, time.monotonic() - start, recorded={"specificity": measure_kept(contents, facts)})
    return stage
