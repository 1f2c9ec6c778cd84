"""Look before a long run: images, settings, disk, the model, its prompt, and whether the image moves a score."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from PIL import Image, ImageChops, ImageOps, ImageStat

from c3l.data.finding import find_images
from c3l.data.images import inspect_image, open_image
from c3l.data.near_images import find_near, tell_near
from c3l.errors import BackendError, C3LError, ConfigError, DataError
from c3l.executors.interface import LoadModel
from c3l.method.batching import map_ahead
from c3l.method.i2c import compute_i2c, unit_of
from c3l.method.prompts import choose_templates
from c3l.models.interface import InferenceModel, Pair, ScoreRequest, Unfit
from c3l.models.load import load_model
from c3l.progress import Progress
from c3l.records import AnswerScores, ImageRef, Rejected
from c3l.run.backends import check_ahead
from c3l.run.context import plan_ahead
from c3l.run.estimates import find_room
from c3l.run.plan import Plan
from c3l.run.run_folder import Run
from c3l.settings.abilities import check_scorer
from c3l.settings.schema import RunConfig

PROBE = Pair("probe", "What is in this picture?", "There is a dog on the grass.")
LISTED_BAD = 5
LEAST_MOVE = 1e-3  # nats; choice, beside twice what rounding moves

Lines = Iterator[str | dict[str, Any]]


def check(config: RunConfig, progress: Progress, load: LoadModel = load_model) -> Lines:
    """Lines for a person as each check ends, then ``{"ok": ..., "failed": [...]}``; writes nothing.

    Without an image that can be used neither disk nor model are looked at, and without the model no score.
    """
    failed: list[str] = []
    good: list[ImageRef] = []
    bad: list[Rejected] = []
    try:
        paths, left_out = find_images(config.images.root, config.images.limit, config.images.follow_links)
        good, bad = _inspect(config, paths, progress)
        yield from _tell_images(config, good, bad)
        yield from (f"    {told}" for told in left_out)
        if config.images.near_duplicates != "ignore":
            with progress.track("near-duplicates", "images", len(paths)) as advance:
                near = find_near(paths, config.images, advance, map_ahead)
                yield f"    {tell_near(near, config.images)}"
    except (DataError, ConfigError) as error:
        failed.append("images")
        yield f"images: {error} {_mark(False)}"
    if (bad or not good) and not failed:
        failed.append("images")
    plan: Plan = {}
    try:  # as a run does before its first stage
        plan = plan_ahead(Run(config.run), config)
        check_ahead(Run(config.run), config)
    except C3LError as error:
        failed.append("settings")
        yield f"settings: {error} {_mark(False)}"
    if good and plan:  # without one there is a setting that nothing can be done with
        yield from _check_disk(config, good, plan, failed)
        yield from _check_model(config, load, good, failed)
    yield {"ok": not failed, "failed": failed, "images": len(good), "bad_images": len(bad)}


def _check_disk(config: RunConfig, good: Sequence[ImageRef], plan: Plan, failed: list[str]) -> Iterator[str]:
    room = find_room(config, len(good), plan)
    yield f"disk: {room.told} {_mark(not room.remedy)}"
    if room.remedy:
        failed.append("disk")
        yield f"    {room.remedy}"


def _check_model(config: RunConfig, load: LoadModel, good: Sequence[ImageRef], failed: list[str]) -> Iterator[str]:
    try:
        model = load(config.model, config.seed)
    except C3LError as error:
        failed.append("model")
        yield f"model: {error} {_mark(False)}"
        return
    maker = model.provenance
    yield f"model: {maker.model}, weights {maker.weights[:12]}, {maker.dtype} on {maker.device} {_mark(True)}"
    yield from (f"    {note}" for note in maker.notes)
    image, other = _two_images(config, good)
    ok, lines = _check_prompt(config, model, image)
    yield from lines
    if not ok:
        failed.append("prompt")
    try:
        check_scorer(config)
        scorer = model if config.scoring.model is None else load(config.scorer, config.seed)
        ok, lines = _check_score(config, scorer, image, other)
    except (BackendError, ConfigError) as error:
        ok, lines = False, [f"score: {error} {_mark(False)}"]
    yield from lines
    if not ok:
        failed.append("score")


def _inspect(config: RunConfig, paths: Sequence[str], progress: Progress) -> tuple[list[ImageRef], list[Rejected]]:
    good: list[ImageRef] = []
    bad: list[Rejected] = []
    with progress.track("images", "images", len(paths)) as advance:
        for found in map_ahead(lambda path: inspect_image(config.images.root, path, config.images), paths):
            if isinstance(found, ImageRef):
                good.append(found)
            else:
                bad.append(found)
            advance(1)
    return good, bad


def _tell_images(config: RunConfig, good: Sequence[ImageRef], bad: Sequence[Rejected]) -> Iterator[str]:
    yield f"images: {len(good)} good, {len(bad)} bad {_mark(bool(good) and not bad)}"
    reasons: dict[str, list[Rejected]] = defaultdict(list)
    for one in bad:
        reasons[one.reason].append(one)
    for reason, ones in reasons.items():
        more = f" and {len(ones) - LISTED_BAD} more" if len(ones) > LISTED_BAD else ""
        yield f"    {len(ones)} {reason}: {', '.join(one.id for one in ones[:LISTED_BAD])}{more}"
    if not good:
        yield f"    none under {config.images.root} can be used; name another folder with --image-root"
    elif bad:
        yield "    a run rejects these and goes on with the others; mend them first if it should not"


def _two_images(config: RunConfig, good: Sequence[ImageRef]) -> tuple[Image.Image, Image.Image]:
    """The first image, and what is least like it of its negative and the image in the middle, which may be a copy.

    Both of one size: another number of tokens would move the scores of a model that sees nothing.
    """
    picture = open_image(config.images.root, good[0], config.images)
    middle = open_image(config.images.root, good[len(good) // 2], config.images).resize(picture.size)

    def differ(other: Image.Image) -> float:
        return sum(ImageStat.Stat(ImageChops.difference(picture, other)).mean)

    return picture, max(middle, ImageOps.invert(picture), key=differ)


def _check_prompt(config: RunConfig, model: InferenceModel, image: Image.Image) -> tuple[bool, list[str]]:
    """Whether the chat template keeps the instruction whole, and adds something for an image."""
    prompt = choose_templates(config.generation)[0].render(config.generation.pairs_per_image)
    seen, blind = model.show_prompt(prompt, image), model.show_prompt(prompt, None)
    whole = all(_squeeze(prompt) in _squeeze("".join(tokens)) for tokens in (seen, blind))
    ok = whole and len(seen) > len(blind)
    lines = [
        f"prompt: {len(seen)} tokens with an image, {len(blind)} without {_mark(ok)}",
        f"    with: {_fold_repeats(seen)}",
        f"    without: {_fold_repeats(blind)}",
    ]
    if not whole:
        lines.append("    the chat template changes the instruction: compare it above, and mend the model's template")
    if len(seen) <= len(blind):
        lines.append("    an image adds no token: the chat template leaves it out; mend it, or take another --model")
    return ok, lines


def _check_score(
    config: RunConfig, model: InferenceModel, picture: Image.Image, other: Image.Image
) -> tuple[bool, list[str]]:
    """Whether another image changes the score of the same answer."""
    scoring = config.scoring
    grey = (Image.new("RGB", picture.size, "grey"),) if scoring.no_image == "others" else ()
    shown = {"mine": picture, "its": other, "again": picture}
    requests = [ScoreRequest(image, (replace(PROBE, pair_id=name),), 0, grey) for name, image in shown.items()]
    scores = model.score(requests, scoring.no_image)
    if unfit := [one for one in scores.values() if isinstance(one, Unfit)]:
        return False, [f"score: the model cannot be shown a question and an answer, {unfit[0]} {_mark(False)}"]
    mine, its, again = (one for name in shown if isinstance(one := scores[name], AnswerScores))
    if not (mine.is_finite() and its.is_finite()):
        return False, [f"score: not a finite number, try model.dtype=float32 {_mark(False)}"]
    moved, rounded = _largest_move(mine, its), _largest_move(mine, again)
    ok = moved > max(LEAST_MOVE, 2 * rounded)
    values = f"{compute_i2c(mine, scoring.form):+.4f} and {compute_i2c(its, scoring.form):+.4f} {unit_of(scoring.form)}"
    lines = [
        f'score: S(I2C) {scoring.form} of "{PROBE.completion}" is {values} for two images {_mark(ok)}',
        f"    the other image moves a token's log-probability by up to {moved:.4f} nats, rounding by {rounded:.4f}",
    ]
    if not ok:
        lines.append("    the image does not reach the model, so scores would mean nothing: take another --model")
    return ok, lines


def _largest_move(mine: AnswerScores, its: AnswerScores) -> float:
    pairs = zip(mine.logprobs_with_image, its.logprobs_with_image, strict=True)
    return max(abs(one - two) for one, two in pairs)


def _fold_repeats(tokens: Sequence[str]) -> str:
    """Tokens as text, a token that repeats written once with its number: the image's are hundreds."""
    parts = []
    for token, group in groupby(tokens):
        times = len(list(group))
        parts.append(token * times if times < 4 else f"[{token} x {times}]")
    return "".join(parts)


def _squeeze(text: str) -> str:
    return "".join(text.split())


def _mark(ok: bool) -> str:
    return "- ok" if ok else "- NOT OK"
