"""Generation: the LVLM writes about every image, and what it wrote is read into question-answer pairs."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from PIL.Image import Image

from c3l.errors import BackendError, BadImageError, ConfigError
from c3l.markup.thoughts import cut_thoughts
from c3l.method.batching import map_ahead, run_batches
from c3l.method.pair_checks import check_pair, excerpt, fold, is_refusal
from c3l.method.parsed import ParsedPair
from c3l.method.parsing import find_pairs
from c3l.method.prompts import InstructionTemplate
from c3l.models.interface import Completion, GenerateRequest, InferenceModel, Sampling
from c3l.records import Generation, ImageRef, Rejected, Sample, make_id
from c3l.settings.schema import GenerationConfig

# Raise it when the same image, prompt and model give another text: finished texts are stale then.
WRITER_VERSION = 2

OpenImage: TypeAlias = Callable[[ImageRef], Image]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where texts come from: the run's seed, and the round, 0 for the draft and 1 on for tuned LVLMs."""

    seed: int
    round: int = 0


@dataclass(frozen=True, slots=True)
class _Draft:
    """One image and one instruction; without a request where the image does not open."""

    generation_id: str
    image: ImageRef
    template: InstructionTemplate
    round: int
    request: GenerateRequest | None
    problem: str = ""


def generate(
    images: Iterable[ImageRef],
    model: InferenceModel,
    open_image: OpenImage,
    templates: Sequence[InstructionTemplate],
    config: GenerationConfig,
    origin: Origin,
) -> Iterator[Generation | Rejected]:
    """What the model writes, or why it does not: one result for each image and each template, in that order.

    Each request is seeded by where it comes from, so that batch size, order and resume change nothing.
    Rejections: ``unreadable_image`` where ``open_image`` raises BadImageError, ``oom`` where a request does not
    fit alone, ``too_long`` where the prompt leaves no position to write at, ``non_finite_logits`` where the model
    breaks down, ``refused`` where a server will not answer.

    Args:
        images: What to write about.
        model: The LVLM; gets at most ``config.batch_size`` requests at once.
        open_image: Gives the RGB image, or raises BadImageError.
        templates: Which instructions to give for every image.
        config: Number of pairs and sampling.
        origin: Where the texts come from.
    """
    sampling = Sampling(config.temperature, config.top_p, config.max_new_tokens)
    opened = map_ahead(lambda image: (image, *_open(image, open_image, model)), images)
    jobs = _jobs(opened, templates, config.pairs_per_image, origin)
    return run_batches(
        jobs,
        config.batch_size,
        run=lambda batch: _run(batch, model, sampling),
        reject=lambda job, message: _reject(job, "oom", message),
    )


def parse(
    generations: Iterable[Generation], templates: Mapping[str, InstructionTemplate], pairs_per_image: int
) -> Iterator[Sample | Rejected]:
    """The pairs of what was written, each a sample or a rejection with its reason; needs no model.

    A question is a duplicate if the same image was asked it before in the same round, by any instruction;
    case, punctuation and whitespace do not count. In a text that was cut off, a last pair that the cut may
    have touched is ``truncated``. A text without any pair is one rejection: ``refusal`` or ``unparsable``; one that
    ends inside a thought is ``unfinished_thought``. Thoughts before the pairs are not read.

    Raises:
        ConfigError: If a generation's instruction is not among the templates.
    """
    asked: set[tuple[str, int, str]] = set()
    for generation in generations:
        parser, text = _parser(generation, templates), cut_thoughts(generation.text)
        pairs = find_pairs(text or "", parser)
        if not pairs:
            yield _nothing_found(generation, text)
        accepted = 0
        for index, pair in enumerate(pairs):
            verdict = _cut_off(generation, pair, is_last=index == len(pairs) - 1) or check_pair(pair)
            key = (generation.image_id, generation.round, "" if verdict else fold(pair.question))
            if key in asked:
                verdict = "duplicate_question", f"asked before: {excerpt(pair.question)}"
            elif verdict is None and accepted == pairs_per_image:
                verdict = "too_many", f"pair {index + 1} of {len(pairs)}, {pairs_per_image} were asked for"
            sample = _sample(generation, pair, index)
            if verdict is not None:
                yield Rejected(sample.sample_id, sample.image_id, "parsing", *verdict)
                continue
            asked.add(key)
            accepted += 1
            yield sample


def _jobs(
    opened: Iterable[tuple[ImageRef, Image | None, str]],
    templates: Sequence[InstructionTemplate],
    k: int,
    origin: Origin,
) -> Iterator[_Draft]:
    for image, picture, problem in opened:
        for template in templates:
            job_id = make_id(image.image_id, template.id, origin.round)
            # 32 bits: any backend takes it
            row_seed = int(make_id(origin.seed, image.image_id, template.id, origin.round)[:8], 16)
            asked = template.render(k), row_seed, template.schema
            request = GenerateRequest(job_id, picture, *asked) if picture else None
            yield _Draft(job_id, image, template, origin.round, request, problem)


def _open(image: ImageRef, open_image: OpenImage, model: InferenceModel) -> tuple[Image | None, str]:
    """The image, for which the model does in advance what it can; or why there is none."""
    try:
        picture = open_image(image)
    except BadImageError as error:
        return None, str(error)
    model.prepare(picture)
    return picture, ""


def _run(batch: Sequence[_Draft], model: InferenceModel, sampling: Sampling) -> list[Generation | Rejected]:
    requests = [job.request for job in batch if job.request]
    completions = {done.request_id: done for done in model.generate(requests, sampling)} if requests else {}
    if completions.keys() != {request.request_id for request in requests}:
        raise BackendError(f"got completions for {len(completions)} requests, expected these {len(requests)}")
    return [
        _judge_completion(job, completions[job.generation_id])
        if job.request
        else _reject(job, "unreadable_image", job.problem)
        for job in batch
    ]


def _judge_completion(job: _Draft, completion: Completion) -> Generation | Rejected:
    if completion.finish_reason == "too_long":
        return _reject(job, "too_long", completion.problem)
    if completion.finish_reason == "refused":
        return _reject(job, "refused", completion.problem)
    if completion.finish_reason == "non_finite_logits":
        return _reject(job, "non_finite_logits", f"after {len(completion.text)} characters; try model.dtype=float32")
    return Generation(
        generation_id=job.generation_id,
        image_id=job.image.image_id,
        instruction_id=job.template.id,
        round=job.round,
        text=completion.text,
        finish_reason=completion.finish_reason,
    )


def _reject(job: _Draft, reason: str, detail: str) -> Rejected:
    return Rejected(job.generation_id, job.image.image_id, "generation", reason, detail)


def _parser(generation: Generation, templates: Mapping[str, InstructionTemplate]) -> str:
    if template := templates.get(generation.instruction_id):
        return template.parser
    known = ", ".join(templates)
    raise ConfigError(f"got a text written for instruction {generation.instruction_id!r}, known are {known}")


def _nothing_found(generation: Generation, text: str | None) -> Rejected:
    if text is None:
        reason, remedy = "unfinished_thought", "raise generation.max_new_tokens"
        detail = f"the text ends inside a thought of {len(generation.text)} characters ({remedy}): "
        detail += excerpt(generation.text)
    else:
        reason = "refusal" if is_refusal(text) else "unparsable"
        detail = f"no pair in {len(text)} characters: {excerpt(text)}"
    return Rejected(generation.generation_id, generation.image_id, "parsing", reason, detail)


def _cut_off(generation: Generation, pair: ParsedPair, is_last: bool) -> tuple[str, str] | None:
    if not is_last or pair.closed or generation.finish_reason != "length":
        return None
    return "truncated", f"the text was cut off in: {excerpt(pair.answer or pair.question)}"


def _sample(generation: Generation, pair: ParsedPair, index: int) -> Sample:
    return Sample(
        sample_id=make_id(generation.image_id, generation.instruction_id, generation.round, index),
        image_id=generation.image_id,
        instruction_id=generation.instruction_id,
        question=pair.question,
        answer=pair.answer,
        round=generation.round,
        index=index,
    )
