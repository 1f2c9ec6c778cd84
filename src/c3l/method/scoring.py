"""The content relevance module: how much each answer depends on its image. Samples in, scored samples out."""

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from c3l.errors import BackendError, BadImageError
from c3l.markup.placeholders import EXACT
from c3l.method.batching import map_ahead, run_batches
from c3l.method.i2c import compute_i2c
from c3l.method.other_images import ImageSource, OtherImages
from c3l.models.interface import InferenceModel, Pair, ScoreRequest, Shown, Unfit
from c3l.records import AnswerScores, Form, Rejected, Sample, ScoredPair, ScoredSample, make_id
from c3l.settings.schema import ScoringConfig

logger = logging.getLogger(__name__)

# Raise it when the same pair, image and model get other stored numbers: finished scores are stale then.
SCORER_VERSION = 4

Outcome = ScoredPair | Rejected


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
    draw = OtherImages(images, config, seed)

    def open_job(group: Mapping[int, Sample]) -> _OpenedPairs:
        job = _open_job(group, images, draw, seed, contexts)
        if job.request:
            model.prepare_scores(job.request, config.no_image)
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


def _open_job(
    samples: Mapping[int, Sample],
    images: ImageSource,
    draw: OtherImages,
    seed: int,
    contexts: Mapping[str, Context],
) -> _OpenedPairs:
    said = {sample.sample_id: contexts.get(sample.sample_id, _NOTHING) for sample in samples.values()}
    first = next(iter(samples.values()))
    image_id = first.image_id
    try:
        shown = _open_images(image_id, images)
    except BadImageError as error:
        problem = "unreadable_image", str(error)
        return _OpenedPairs(samples, None, problem)
    others = draw(image_id, shown)
    pairs = tuple(Pair(it.sample_id, it.question, it.answer, said[it.sample_id].earlier) for it in samples.values())
    row_seed = int(make_id(seed, image_id, "noise")[:8], 16)  # 32 bits: any backend takes it
    return _OpenedPairs(samples, ScoreRequest(shown, pairs, row_seed, others, said[first.sample_id].system))


def _open_images(image_id: str, images: ImageSource) -> Shown:
    """The image of a sample, or its several.

    Raises:
        BadImageError: If one of them does not open, or is not there.
    """
    ids = images.list_ids(image_id)
    if missing := [one for one in ids if one not in images.refs]:
        raise BadImageError("unreadable_image", f"{missing[0]} is not among the images of the run")
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
