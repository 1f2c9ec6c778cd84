"""The same question with several answers of a model's own: asked, scored, and set against each other."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from c3l.method.batching import run_batches
from c3l.method.generation import OpenImage
from c3l.method.other_images import ImageSource
from c3l.method.scoring import score_samples
from c3l.method.selection import by_falling_score, select
from c3l.models.interface import GenerateRequest, InferenceModel, Sampling
from c3l.records import AnswerScores, ContrastiveGroup, ImageRef, Sample, ScoredPair, make_id
from c3l.settings.schema import ScoringConfig, SelectionConfig
from c3l.training.groups import TextGroup

BATCH = 60  # as the study's drafts
FRAME = frozenset(
    "a an the there it its this that is are in on at of show shows picture image photo photograph scene".split()
)
"""Words that a short and a long answer differ by, and that say nothing of the picture."""
Measure = Callable[[AnswerScores], float]


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer to a question.

    Attributes:
        sample: The question with this answer; ``index`` is the answer's number.
        finish_reason: As of a completion, or ``oom``; all but ``stop`` is cut off.
    """

    sample: Sample
    finish_reason: Literal["stop", "length", "non_finite_logits", "too_long", "refused", "oom"]

    @property
    def is_whole(self) -> bool:
        """Whether the model ended it by itself."""
        return self.finish_reason == "stop"


@dataclass(frozen=True, slots=True)
class _Job:
    sample: Sample
    request: GenerateRequest


def choose_questions(samples: Iterable[Sample], count: int) -> list[Sample]:
    """The first questions of every picture, whatever their answers: no two are the same, as parsing saw to it."""
    pictures: dict[str, list[Sample]] = {}
    for one in samples:
        chosen = pictures.setdefault(one.image_id, [])
        if len(chosen) < count:
            chosen.append(one)
    return [one for chosen in pictures.values() for one in chosen]


def ask(
    questions: Sequence[Sample],
    images: Mapping[str, ImageRef],
    model: InferenceModel,
    open_image: OpenImage,
    sampling: Sampling,
    seed: int,
    count: int,
) -> Iterator[Answer]:
    """So many answers to every question, each seeded by the question and its number; the prompt is the question."""
    return run_batches(
        _jobs(questions, images, open_image, seed, count),
        BATCH,
        run=lambda jobs: _answer(jobs, model, sampling),
        reject=lambda job, problem: Answer(job.sample, "oom"),
    )


def _jobs(
    questions: Sequence[Sample], images: Mapping[str, ImageRef], open_image: OpenImage, seed: int, count: int
) -> Iterator[_Job]:
    last, picture = "", None
    for question in questions:
        if question.image_id != last:  # one object for all that is asked about it: what is shared is computed once
            last, picture = question.image_id, open_image(images[question.image_id])
        for number in range(count):
            name = make_id(question.sample_id, "answer", number)
            row_seed = int(make_id(seed, name)[:8], 16)  # 32 bits: any backend takes it
            sample = Sample(name, question.image_id, "answers", question.question, "", 0, number)
            yield _Job(sample, GenerateRequest(name, picture, question.question, row_seed))


def _answer(jobs: Sequence[_Job], model: InferenceModel, sampling: Sampling) -> list[Answer]:
    done = {one.request_id: one for one in model.generate([job.request for job in jobs], sampling)}
    found = [(job.sample, done[job.request.request_id]) for job in jobs]
    return [Answer(replace(sample, answer=said.text.strip()), said.finish_reason) for sample, said in found]


def drop_equal(answers: Iterable[Answer]) -> list[Sample]:
    """The whole answers to every question that say different things; of those that say the same the first."""
    kept: dict[tuple[str, str, frozenset[str]], Sample] = {}
    for one in answers:
        if one.is_whole:
            sample = one.sample
            kept.setdefault((sample.image_id, sample.question, what_is_said(sample)), sample)
    return list(kept.values())


def what_is_said(sample: Sample) -> frozenset[str]:
    """The words of an answer that are neither its question's nor only its frame: of "No, there is no dog." it is "no".

    So "No." is no negative of it. Two answers in the same words are taken as the same whatever their order: a negative
    that is lost costs less than one that says what the positive says. Of "Red." to "Is it red or blue?" it is "red".
    """
    words = frozenset(_words(sample.answer))
    said = words - FRAME or words
    return said - frozenset(_words(sample.question)) or said


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def score(
    samples: Sequence[Sample],
    images: Mapping[str, ImageRef],
    model: InferenceModel,
    open_image: OpenImage,
    config: ScoringConfig,
    seed: int,
) -> Iterator[ScoredPair]:
    """The answers with their numbers, seen with their own picture and with others of the run.

    An answer without text, or one that the model cannot be shown, is left out.
    """
    config = config.model_copy(update={"no_image": "others"})
    outcomes = score_samples(samples, ImageSource(images, open_image, list(images)), model, config, seed)
    return (one for one in outcomes if isinstance(one, ScoredPair))


def measure_all(scored: Iterable[ScoredPair], measure: Measure) -> list[ScoredPair]:
    """The answers with this number in the place of S(I2C)."""
    return [replace(one, i2c=measure(one.scores)) for one in scored]


def by_question(scored: Iterable[ScoredPair]) -> list[list[ScoredPair]]:
    """The answers to each question, the highest first."""
    questions: dict[tuple[str, str], list[ScoredPair]] = {}
    for one in sorted(scored, key=by_falling_score):
        questions.setdefault((one.sample.image_id, one.sample.question), []).append(one)
    return [questions[key] for key in sorted(questions)]


def contrast_answers(
    scored: Iterable[ScoredPair],
    images: Mapping[str, ImageRef],
    positive: Literal["highest", "random"],
    seed: int,
) -> list[TextGroup]:
    """Of every question with two different answers the positive, then the others in order of falling score.

    Args:
        scored: The different answers, each once.
        images: Their pictures by id.
        positive: The answer with the highest score, or any of them.
        seed: Draws it.
    """
    groups = []
    for answers in by_question(scored):
        [chosen] = select(answers, SelectionConfig(positive=positive), seed)
        if isinstance(chosen, ContrastiveGroup):
            said = {one.sample.sample_id: one.sample.answer for one in answers}
            texts = tuple(said[name] for name in (chosen.positive, *chosen.negatives))
            groups.append(TextGroup(images[chosen.image_id], answers[0].sample.question, texts))
    return groups
