"""The content relevance module: how much each answer depends on its image. Samples in, scored samples out."""

import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from heapq import nsmallest
from itertools import islice
from threading import Lock
from types import MappingProxyType

from PIL.Image import Image, Resampling
from PIL.Image import new as new_image

from c3l.errors import BackendError, DataError
from c3l.markup.placeholders import EXACT
from c3l.method.batching import map_ahead, run_batches
from c3l.method.generation import OpenImage
from c3l.method.i2c import compute_i2c
from c3l.models.interface import InferenceModel, Pair, ScoreRequest, Shown, Unfit
from c3l.records import AnswerScores, Form, ImageRef, Rejected, Sample, ScoredPair, ScoredSample, make_id
from c3l.settings.schema import ScoringConfig

logger = logging.getLogger(__name__)

# Raise it when the same pair, image and model get other stored numbers: finished scores are stale then.
SCORER_VERSION = 4

Outcome = ScoredPair | Rejected

# Other images drawn beyond the m that are needed, to stand in for those that do not open.
_SPARE_OTHERS = 8


@dataclass(frozen=True, slots=True)
class ImageSource:
    """The images that samples are about.

    Attributes:
        refs: By id: those of the samples, and those of the pool.
        open: Opens one as RGB, or raises DataError.
        pool: Ids of all images of the run, from which the ``others`` mode draws.
        sets: Of samples about several images the ids of these, in order, by what such a sample has as ``image_id``.
    """

    refs: Mapping[str, ImageRef]
    open: OpenImage
    pool: Sequence[str] = ()
    sets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def list_ids(self, image_id: str) -> tuple[str, ...]:
        """The ids of the image, or of the several, of a sample with this one."""
        return self.sets.get(image_id, (image_id,))


@dataclass(frozen=True, slots=True)
class Context:
    """What stands before a question: the system prompt, and the questions and answers of earlier turns."""

    system: str = ""
    earlier: tuple[tuple[str, str], ...] = ()


_NOTHING = Context()


@dataclass(frozen=True, slots=True)
class _OpenedPairs:
    """One image with its samples; without a request it cannot be scored, for the reason and detail in `problem`."""

    samples: Mapping[int, Sample]
    request: ScoreRequest | None
    problem: tuple[str, str] = ("", "")


def score_samples(
    samples: Sequence[Sample],
    images: ImageSource,
    model: InferenceModel,
    config: ScoringConfig,
    seed: int,
    contexts: Mapping[str, Context] = MappingProxyType({}),
) -> Iterator[Outcome]:
    """Measure S(I2C) of every sample: one outcome a sample, in the order of the samples.

    Batch size and the order of samples change no score. Rejections: ``empty_answer``, ``control_token_in_text``,
    ``too_long``, ``several_images``, ``unreadable_image``, ``non_finite_score``, and ``oom`` for a pair that does
    not fit in memory alone.

    Args:
        samples: Question-answer pairs, no two of one id; those of one image are scored together, wherever they stand.
        images: What they are about.
        model: What scores.
        config: Form, way of leaving the image out, images a batch.
        seed: The run's seed.
        contexts: What stands before the questions, by the ids of the samples; nothing before those that are not there.

    Raises:
        BackendError: If the model cannot leave the image out in this way.
    """
    if config.no_image not in model.no_image_modes():
        known = ", ".join(sorted(model.no_image_modes()))
        raise BackendError(f"the model cannot do scoring.no_image={config.no_image}; it can do {known}")
    judged = (
        (place, _judge_text(sample, contexts.get(sample.sample_id, _NOTHING), model, sample.image_id in images.sets))
        for place, sample in enumerate(samples)
    )
    outcomes: dict[int, Outcome] = {place: rejected for place, rejected in judged if rejected}
    groups = _group({place: it for place, it in enumerate(samples) if place not in outcomes}, contexts)
    draw = _OtherImages(images, config, seed)

    def open_job(group: Mapping[int, Sample]) -> _OpenedPairs:
        job = _open_job(group, images, draw, seed, contexts)
        if job.request and not isinstance(job.request.image, tuple):
            model.prepare(job.request.image)
        return job

    jobs = map_ahead(open_job, groups)
    following = 0
    for done in run_batches(
        jobs,
        config.batch_size,
        run=lambda batch: _score_batch(batch, model, config),
        reject=lambda job, detail: _score_halves(job, detail, model, config),
    ):
        outcomes |= done
        while following in outcomes:
            yield outcomes.pop(following)
            following += 1
    yield from (outcomes[place] for place in sorted(outcomes))


def rescore(scored: ScoredSample | ScoredPair, form: Form) -> ScoredPair:
    """The sample with S(I2C) in this form, from its numbers; no model.

    Raises:
        ValueError: If the form is ``vocabulary_kl`` and it was not measured.
    """
    return ScoredPair(scored.sample, scored.scores, compute_i2c(scored.scores, form), form, scored.no_image)


def _judge_text(sample: Sample, context: Context, model: InferenceModel, several: bool) -> Rejected | None:
    """A rejection of what cannot be scored, whatever the image; None if nothing speaks against it.

    Texts about several images have a placeholder for each, which is no word of theirs.
    """
    if not sample.answer.strip():
        return _reject(sample, "empty_answer", "the answer has no text")
    earlier = (("earlier turn", text) for turn in context.earlier for text in turn)
    for name, text in (("question", sample.question), ("system prompt", context.system), *earlier):
        if token := model.find_control_token(EXACT.sub(" ", text) if several else text):
            detail = f"the {name} holds {token}, which steers this model's chats and cannot be words in it; take it out"
            return _reject(sample, "control_token_in_text", detail)
    return None


def _group(samples: Mapping[int, Sample], contexts: Mapping[str, Context]) -> list[dict[int, Sample]]:
    """The samples that share an image and a system prompt, and so the beginning of their rows."""
    groups: dict[tuple[str, str], dict[int, Sample]] = {}
    for place, sample in samples.items():
        system = contexts.get(sample.sample_id, _NOTHING).system
        groups.setdefault((sample.image_id, system), {})[place] = sample
    return list(groups.values())


class _OtherImages:
    """The images that stand for "no image": the first m of the pool in an order drawn by the run's seed.

    They are the same for all images, but for those that are among them, under the same name or another: so a model
    encodes each of them once, and what its rows begin with is computed once for all pairs of a batch.

    For several images stand as many of them, one behind the other: first the first n, then those from the second on,
    m times; after the last of them comes the first again.
    """

    def __init__(self, images: ImageSource, config: ScoringConfig, seed: int) -> None:
        self._images, pool = images, sorted(set(images.pool))
        self._shows, self._wanted = config.no_image == "others", count_others(config, len(pool))
        self._opened: dict[str, Image | None] = {}
        self._told = False
        self._opening = Lock()  # images are opened by threads, and each of these once
        self._order = draw_pool(pool, config, seed, max(map(len, images.sets.values()), default=1))
        self._sets: dict[tuple[str, ...], tuple[Image, ...]] = {}

    def __call__(self, image_id: str, shown: Shown) -> tuple[Shown, ...]:
        """Those for what is shown: as many as open, or grey ones of its size if none does."""
        if not self._shows:
            return ()
        pictures, own = shown if isinstance(shown, tuple) else (shown,), self._images.list_ids(image_id)
        names = (name for name in self._order if name not in own and self._shows_another(name, pictures))
        found = list(islice(names, self._wanted + len(own) - 1))
        if not found:
            self._tell_grey(own)
            grey = tuple(new_image("RGB", picture.size, "grey") for picture in pictures)
            return (grey,) if isinstance(shown, tuple) else grey
        turns = range(min(self._wanted, len(found)))
        sets = [self._keep(tuple(found[(turn + place) % len(found)] for place in range(len(own)))) for turn in turns]
        return tuple(sets) if isinstance(shown, tuple) else tuple(image for one in sets for image in one)

    def _keep(self, names: tuple[str, ...]) -> tuple[Image, ...]:
        """These images, as one object for all that they stand for."""
        pictures = tuple(image for name in names if (image := self._open(name)) is not None)
        return self._sets.setdefault(names, pictures)

    def _shows_another(self, name: str, pictures: Sequence[Image]) -> bool:
        """Whether the image opens, and is no copy of those shown, which would tell nothing beside them."""
        image = self._open(name)
        return image is not None and not any(_show_the_same(image, picture) for picture in pictures)

    def _tell_grey(self, own: Sequence[str]) -> None:
        """Say once where images were drawn and none can be shown; where there is none, whoever asked says so."""
        if not self._told and set(self._order) - set(own):
            self._told = True
            logger.warning(
                "of the images drawn to stand for no image none opens and is another than the one shown, so a grey one "
                "is shown instead where that is so"
            )

    def _open(self, image_id: str) -> Image | None:
        """The image; None if it does not open: a rejection where it is scored itself, here the next one serves."""
        with self._opening:
            if image_id not in self._opened:
                try:
                    self._opened[image_id] = self._images.open(self._images.refs[image_id])
                except DataError:
                    self._opened[image_id] = None
            return self._opened[image_id]


def _show_the_same(one: Image, other: Image) -> bool:
    """Whether two images are equal, pixel for pixel; a few pixels tell most apart, and cost nothing."""
    return one.size == other.size and _glance(one) == _glance(other) and one.tobytes() == other.tobytes()


def _glance(image: Image) -> bytes:
    return image.resize((16, 16), Resampling.NEAREST).tobytes()


def draw_pool(pool: Iterable[str], config: ScoringConfig, seed: int, several: int = 1) -> list[str]:
    """Those of the ids that the ``others`` mode may show, in the order in which it does; none in the other modes.

    Args:
        pool: All ids.
        config: The mode, and m.
        seed: The run's seed.
        several: How many images a sample has at most: as many are not to be shown, and as many are shown at once.
    """
    if config.no_image != "others":
        return []
    wanted = config.others + 2 * several - 1 + _SPARE_OTHERS
    # a place of one's own for each, so that a longer pool moves few
    return nsmallest(wanted, pool, key=lambda image_id: make_id(seed, image_id, "others"))


def count_others(config: ScoringConfig, images: int) -> int:
    """How many other images stand for an image where there are so many in all: m, or all others if they are fewer."""
    return min(config.others, max(images - 1, 0)) if config.no_image == "others" else 0


def tell_few_others(config: ScoringConfig, images: int) -> str:
    """A line for who runs it where the ``others`` mode has fewer than m to show; empty where it has enough."""
    found = count_others(config, images)
    if config.no_image != "others" or found == config.others:
        return ""
    if not found:
        return (
            "there is no other image to compare with, so a grey one is shown instead: scores say whether an answer "
            "needs an image at all, not whether it needs its own"
        )
    number = f"{found} other{'s' * (found > 1)}"
    return f"each image is compared with {number}, not with scoring.others={config.others}: scores are less exact"


def _open_job(
    samples: Mapping[int, Sample],
    images: ImageSource,
    draw: _OtherImages,
    seed: int,
    contexts: Mapping[str, Context],
) -> _OpenedPairs:
    said = {sample.sample_id: contexts.get(sample.sample_id, _NOTHING) for sample in samples.values()}
    first = next(iter(samples.values()))
    image_id = first.image_id
    try:
        shown = _open_images(image_id, images)
    except DataError as error:
        problem = "unreadable_image", str(error)
        return _OpenedPairs(samples, None, problem)
    others = draw(image_id, shown)
    pairs = tuple(Pair(it.sample_id, it.question, it.answer, said[it.sample_id].earlier) for it in samples.values())
    row_seed = int(make_id(seed, image_id, "noise")[:8], 16)  # 32 bits: any backend takes it
    return _OpenedPairs(samples, ScoreRequest(shown, pairs, row_seed, others, said[first.sample_id].system))


def _open_images(image_id: str, images: ImageSource) -> Shown:
    """The image of a sample, or its several.

    Raises:
        DataError: If one of them does not open, or is not there.
    """
    ids = images.list_ids(image_id)
    if missing := [one for one in ids if one not in images.refs]:
        raise DataError(f"image {missing[0]} is not among the images of the run")
    opened = tuple(images.open(images.refs[one]) for one in ids)
    return opened if image_id in images.sets else opened[0]


def _score_batch(
    batch: Sequence[_OpenedPairs], model: InferenceModel, config: ScoringConfig
) -> list[dict[int, Outcome]]:
    requests = [job.request for job in batch if job.request]
    # where few of the other images open, one that is among them has one other fewer
    scores: dict[str, AnswerScores | Unfit] = {}
    for count in sorted({len(request.others) for request in requests}):
        scores |= model.score([one for one in requests if len(one.others) == count], config.no_image)
    if scores.keys() != {pair.pair_id for request in requests for pair in request.pairs}:
        pairs = sum(len(request.pairs) for request in requests)
        raise BackendError(f"got scores of {len(scores)} pairs, expected those of these {pairs}")
    return [_judge_job(job, scores, config) if job.request else _reject_job(job, *job.problem) for job in batch]


def _score_halves(job: _OpenedPairs, detail: str, model: InferenceModel, config: ScoringConfig) -> dict[int, Outcome]:
    """The outcomes of an image whose pairs do not fit together: half of them at a time, down to single pairs."""
    places = list(job.samples)
    if job.request is None or len(places) == 1:
        return _reject_job(job, "oom", detail)
    middle = len(places) // 2
    halves = (_part(job, job.request, slice(middle)), _part(job, job.request, slice(middle, None)))
    outcomes: dict[int, Outcome] = {}
    for done in run_batches(
        halves,
        1,
        run=lambda batch: _score_batch(batch, model, config),
        reject=lambda half, why: _score_halves(half, why, model, config),
    ):
        outcomes |= done
    return outcomes


def _part(job: _OpenedPairs, request: ScoreRequest, part: slice) -> _OpenedPairs:
    samples = dict(list(job.samples.items())[part])
    return _OpenedPairs(samples, replace(request, pairs=request.pairs[part]))


def _judge_job(
    job: _OpenedPairs, scores: Mapping[str, AnswerScores | Unfit], config: ScoringConfig
) -> dict[int, Outcome]:
    return {place: _judge(sample, scores[sample.sample_id], config) for place, sample in job.samples.items()}


def _judge(sample: Sample, scores: AnswerScores | Unfit, config: ScoringConfig) -> Outcome:
    if isinstance(scores, Unfit):
        return _reject(sample, scores.reason, scores.detail)
    if not scores.token_ids:
        return _reject(sample, "empty_answer", "the answer has no tokens")
    if not scores.is_finite():
        return _reject(sample, "non_finite_score", _first_non_finite(scores))
    return rescore(ScoredSample(sample, scores, config.no_image), config.form)


def _first_non_finite(scores: AnswerScores) -> str:
    columns = {
        "log-probability with the image": scores.logprobs_with_image,
        "log-probability without the image": scores.logprobs_without_image,
        "KL divergence": scores.token_kl or (),
    }
    return next(
        f"the {name} of token {place + 1} is {number}"
        for name, numbers in columns.items()
        for place, number in enumerate(numbers)
        if not math.isfinite(number)
    )


def _reject_job(job: _OpenedPairs, reason: str, detail: str) -> dict[int, Outcome]:
    return {place: _reject(sample, reason, detail) for place, sample in job.samples.items()}


def _reject(sample: Sample, reason: str, detail: str) -> Rejected:
    return Rejected(sample.sample_id, sample.image_id, "scoring", reason, detail)
