"""A few images through the draft and its scores, as the run will have them; nothing is written."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from c3l.data.finding import find_some
from c3l.data.images import image_id_of, inspect_image
from c3l.errors import DataError
from c3l.executors.interface import LoadModel
from c3l.executors.local import KeptModel
from c3l.method.generation import Origin, generate, parse
from c3l.method.i2c import unit_of
from c3l.method.other_images import ImageSource, draw_pool
from c3l.method.prompts import choose_templates
from c3l.method.scoring import score_samples
from c3l.models.load import load_model, resolve_dtype
from c3l.progress import Progress, format_seconds
from c3l.records import Generation, ImageRef, Rejected, Sample, ScoredPair
from c3l.run.backends import check_backends
from c3l.run.image_list import tell_unusable
from c3l.run.shards import image_opener
from c3l.settings.schema import RunConfig

Lines = Iterator[str | dict[str, Any]]


@dataclass(frozen=True, slots=True)
class _Seen:
    """The images that are looked at, those that stand for "no image", and what was refused."""

    images: tuple[ImageRef, ...]
    pool: tuple[ImageRef, ...]
    rejected: tuple[Rejected, ...]


@dataclass(slots=True)
class _Made:
    """What came of the images, in the order of the method; seconds by what they went to."""

    texts: list[Generation | Rejected]
    pairs: list[Sample | Rejected]
    scored: list[ScoredPair | Rejected]
    seconds: dict[str, float]


def preview(config: RunConfig, number: int, progress: Progress, load: LoadModel = load_model) -> Lines:
    """Prompt, texts, pairs and scores of so many images, spread over the folder; at the end the counts.

    Each is what a run with these settings has in its draft, since every seed comes from the image itself. Only
    near-duplicates are not looked for, as that takes every image.

    Args:
        config: As of a run.
        number: How many images.
        progress: Who is told how far it is.
        load: Gives the model.

    Raises:
        DataError: If there is no image, or none of those that are looked at can be used.
        BackendError: If there is no such model.
        ConfigError: If the model cannot do what the run will ask of it.
    """
    check_backends(config)
    paths, _ = find_some(config.images.root, config.images.limit, config.images.follow_links)
    chosen = _spread(paths, number)
    yield f"{len(chosen)} of {len(paths)} images in {config.images.root}; nothing is written"
    seen = _inspect(config, paths, chosen)
    made = _make(config.with_dtype(resolve_dtype(config.scorer)), seen, KeptModel(load), progress)
    for template in choose_templates(config.generation):
        yield f"prompt {template.id}:"
        yield from _quote(template.render(config.generation.pairs_per_image))
    yield from (f"{one.id}  rejected: {one.reason}, {one.detail}" for one in seen.rejected)
    for image in seen.images:
        yield ""
        yield from _tell_image(image, made)
    yield ""
    yield ", ".join(f"{what} {format_seconds(seconds)}" for what, seconds in made.seconds.items())
    yield _summarise(chosen, seen, made)


def _spread(paths: Sequence[str], number: int) -> list[str]:
    """So many of them, evenly: neighbours are often of one scene."""
    number = min(number, len(paths))
    return [paths[place * len(paths) // number] for place in range(number)]


def _inspect(config: RunConfig, paths: Sequence[str], chosen: Sequence[str]) -> _Seen:
    by_id = {image_id_of(path): path for path in paths}
    others = draw_pool(by_id, config.scoring, config.seed)  # in the order in which a run shows them
    look = {name: inspect_image(config.images.root, by_id[name], config.images) for name in others}
    found = [inspect_image(config.images.root, path, config.images) for path in chosen]
    rejected = tuple(one for one in found if isinstance(one, Rejected))
    if len(rejected) == len(found):
        raise DataError(tell_unusable(rejected, config.images.root))
    return _Seen(
        tuple(one for one in found if isinstance(one, ImageRef)),
        tuple(one for one in look.values() if isinstance(one, ImageRef)),
        rejected,
    )


def _make(config: RunConfig, seen: _Seen, models: KeptModel, progress: Progress) -> _Made:
    """Load who writes and then who scores, and ask them."""
    templates, open_image = choose_templates(config.generation), image_opener(config)
    made = _Made([], [], [], {})
    writer, start = models(config.model, config.seed), time.monotonic()
    with progress.track("preview", "texts", len(seen.images) * len(templates)) as advance:
        for text in generate(seen.images, writer, open_image, templates, config.generation, Origin(config.seed)):
            made.texts.append(text)
            advance(1)
    made.seconds["writing"] = time.monotonic() - start
    by_id = {template.id: template for template in templates}
    written = (text for text in made.texts if isinstance(text, Generation))
    made.pairs += parse(written, by_id, config.generation.pairs_per_image)
    samples = [pair for pair in made.pairs if isinstance(pair, Sample)]
    del writer  # a scorer of its own may need the room
    scorer, start = models(config.scorer, config.seed), time.monotonic()
    images = {image.image_id: image for image in (*seen.pool, *seen.images)}
    source = ImageSource(images, open_image, [image.image_id for image in seen.pool])
    with progress.track("preview", "pairs", len(samples)) as advance:
        for one in score_samples(samples, source, scorer, config.scoring, config.seed):
            made.scored.append(one)
            advance(1)
    made.seconds["scoring"] = time.monotonic() - start
    made.seconds = {"loading": models.loading_seconds} | made.seconds
    return made


def _tell_image(image: ImageRef, made: _Made) -> Iterator[str]:
    """The image's texts as they are, its pairs by S(I2C), and what was refused of either."""
    yield f"{image.path}  {image.width}x{image.height}"
    for text in made.texts:
        if isinstance(text, Generation) and text.image_id == image.image_id:
            yield f"  wrote, by {text.instruction_id}:"
            yield from _quote(text.text)
    pairs = [one for one in made.scored if isinstance(one, ScoredPair) and one.sample.image_id == image.image_id]
    for one in sorted(pairs, key=lambda one: -one.i2c):
        yield f"  {one.i2c:+.3f} {unit_of(one.form)}  Q: {one.sample.question}  A: {one.sample.answer}"
    for lost in (*made.texts, *made.pairs, *made.scored):
        if isinstance(lost, Rejected) and lost.image_id == image.image_id:
            yield f"  rejected in {lost.stage}: {lost.reason}, {lost.detail}"


def _quote(text: str) -> Iterator[str]:
    yield from (f"    | {line}" for line in text.splitlines())


def _summarise(chosen: Sequence[str], seen: _Seen, made: _Made) -> dict[str, Any]:
    lost = [one for one in (*seen.rejected, *made.texts, *made.pairs, *made.scored) if isinstance(one, Rejected)]
    return {
        "preview": True,
        "images": len(chosen),
        "texts": sum(isinstance(one, Generation) for one in made.texts),
        "pairs": sum(isinstance(one, Sample) for one in made.pairs),
        "scored": sum(isinstance(one, ScoredPair) for one in made.scored),
        "rejected": dict(Counter(one.reason for one in lost)),
    }
