"""Ask a model every item of a benchmark, with the image and, if wanted, without it."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from types import MappingProxyType

from PIL.Image import Image

from c3l.errors import BackendError, DataError
from c3l.evaluation.task import Item, Prediction
from c3l.markup.thoughts import cut_thoughts
from c3l.method.batching import map_ahead, run_batches
from c3l.models.interface import Completion, GenerateRequest, InferenceModel, Pair, Sampling, ScoreRequest, Unfit
from c3l.records import AnswerScores

OpenItemImage = Callable[[str], Image]

_MORE_ROOM = "raise evaluation.max_new_tokens"
_NOT_FINITE = "a choice has no token, or its likelihood is not finite"


@dataclass(frozen=True, slots=True)
class _OpenedItem:
    """An item with its image; without one where it does not open."""

    item: Item
    picture: Image | None
    problem: str = ""


def predict(
    items: Iterable[Item],
    model: InferenceModel,
    open_item_image: OpenItemImage,
    *,
    max_new_tokens: int,
    batch_size: int,
    blind: bool,
    told: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Prediction]:
    """One prediction an item, greedy, in the order of the items.

    Items that follow each other and show the same image share the opened image and come into one batch, so that a
    backend can encode it once, and read once what their prompts begin with. A prompt that several of them have is asked
    blind once. An item whose image does not open, that does not fit into memory alone or into the model's positions,
    or whose answer is a thought alone, or has no word when its tokens are used up, is a failed prediction; where only
    the blind answer fails, the other counts. Thoughts before an answer are cut off it.

    Args:
        items: What to ask.
        model: The LVLM.
        open_item_image: Gives the RGB image of ``Item.image``, or raises DataError.
        max_new_tokens: Upper bound on a written answer.
        batch_size: Items a batch; changes speed only.
        blind: Ask every item without its image too.
        told: What was written without an image before, by the prompt; such a prompt is not asked blind again.
    """
    sampling = Sampling(temperature=0.0, max_new_tokens=max_new_tokens)
    unseen = _Blind(model, sampling, told) if blind else None
    return run_batches(
        _open_all(items, open_item_image, model),
        batch_size,
        run=lambda jobs: _ask(jobs, model, sampling, unseen),
        reject=lambda job, message: Prediction(job.item.item_id, failed=f"out of memory: {message}"),
        alike=lambda job: job.item.image,
    )


class _Blind:
    """What a model writes without an image: greedy, so a prompt has one answer, whoever asks."""

    def __init__(self, model: InferenceModel, sampling: Sampling, told: Mapping[str, str]) -> None:
        self._model, self._sampling = model, sampling
        self._told = {prompt: Completion(prompt, text, "stop") for prompt, text in told.items()}

    def ask(self, prompts: Sequence[str]) -> list[Completion]:
        """The answer to each."""
        new = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._told]
        if new:
            requests = [GenerateRequest(prompt, None, prompt, seed=0) for prompt in new]
            self._told |= dict(zip(new, self._model.generate(requests, self._sampling), strict=True))
        return [self._told[prompt] for prompt in prompts]


def _open_all(items: Iterable[Item], open_item_image: OpenItemImage, model: InferenceModel) -> Iterator[_OpenedItem]:
    about_one = (list(group) for _, group in groupby(items, key=lambda item: item.image))
    for jobs in map_ahead(lambda group: _open(group, open_item_image, model), about_one):
        yield from jobs


def _open(items: Sequence[Item], open_item_image: OpenItemImage, model: InferenceModel) -> list[_OpenedItem]:
    """Items that show the same image, with it; the model does in advance what it can."""
    try:
        picture, problem = open_item_image(items[0].image), ""
        model.prepare(picture)
    except DataError as error:
        picture, problem = None, str(error)
    return [_OpenedItem(item, picture, problem) for item in items]


def _ask(
    jobs: Sequence[_OpenedItem], model: InferenceModel, sampling: Sampling, unseen: _Blind | None
) -> list[Prediction]:
    opened = [job for job in jobs if job.picture is not None]
    done = {job.item.item_id: Prediction(job.item.item_id, failed=job.problem) for job in jobs if job.picture is None}
    written = [job for job in opened if not job.item.choices]
    compared = [job for job in opened if job.item.choices]
    if written:
        done |= _write(written, model, sampling, unseen)
    if compared:
        done |= _compare(compared, model, blind=unseen is not None)
    return [done[job.item.item_id] for job in jobs]


def _write(
    jobs: Sequence[_OpenedItem], model: InferenceModel, sampling: Sampling, unseen: _Blind | None
) -> dict[str, Prediction]:
    seen = [GenerateRequest(job.item.item_id, job.picture, job.item.prompt, seed=0) for job in jobs]
    answers = model.generate(seen, sampling)
    others = unseen.ask([job.item.prompt for job in jobs]) if unseen else [None] * len(jobs)
    return {
        job.item.item_id: _read(job, answer, other, model)
        for job, answer, other in zip(jobs, answers, others, strict=True)
    }


def _read(job: _OpenedItem, answer: Completion, blind: Completion | None, model: InferenceModel) -> Prediction:
    text, raw, failed = _judge(answer)
    blind_text, blind_raw, blind_failed = _judge(blind) if blind else (None, "", "")
    return Prediction(
        job.item.item_id,
        text,
        failed=failed,
        blind_text=blind_text,
        raw=raw,
        blind_raw=blind_raw,
        respelled=model.find_control_token(job.item.prompt) or "",
        blind_failed=blind_failed,
    )


def _judge(answer: Completion) -> tuple[str, str, str]:
    """An answer without its thoughts; all of it, if that is more; why it is none, empty if it is one."""
    text = cut_thoughts(answer.text)
    return text or "", "" if text == answer.text else answer.text, _find_problem(answer, text)


def _find_problem(answer: Completion, text: str | None) -> str:
    if answer.finish_reason == "non_finite_logits":
        return "the model gave numbers that are not finite; try --dtype float32"
    if answer.finish_reason in ("too_long", "refused"):
        return f"{answer.finish_reason}: {answer.problem}"
    if text is None:
        return f"the answer ends inside a thought of {len(answer.text)} characters; {_MORE_ROOM}"
    if text.strip():
        return ""
    if answer.finish_reason == "length":  # a server may think out of sight
        return f"its tokens were used up before an answer; {_MORE_ROOM}"
    if text != answer.text:
        return f"no answer follows a thought of {len(answer.text)} characters; turn thinking off, or {_MORE_ROOM}"
    return ""  # the model chose to say nothing


def _compare(jobs: Sequence[_OpenedItem], model: InferenceModel, *, blind: bool) -> dict[str, Prediction]:
    requests = [_request_choices(list(about_one)) for _, about_one in groupby(jobs, key=lambda job: job.item.image)]
    bare = "drop" in model.no_image_modes()
    if blind and not bare:
        raise BackendError("the model has no chats without an image to be asked in blind: set evaluation.blind=false")
    made = {}
    # what is shown instead counts only where it is asked for
    by_choice = model.score(requests, "drop" if bare else "blank")
    for job in jobs:
        name, scores = job.item.item_id, [by_choice[choice] for choice, _ in _name_choices(job.item)]
        if unfit := next((one for one in scores if isinstance(one, Unfit)), None):
            made[name] = Prediction(name, failed=f"{unfit.reason}: {unfit.detail}")
            continue
        seen, unseen = zip(*(_means(one) for one in scores if isinstance(one, AnswerScores)), strict=True)
        spelled = model.find_control_token(job.item.prompt) or ""
        if not all(map(math.isfinite, seen)):
            made[name] = Prediction(name, failed=_NOT_FINITE)
            continue
        found = Prediction(name, likelihoods=seen, respelled=spelled)
        if blind and all(map(math.isfinite, unseen)):
            found = replace(found, blind_likelihoods=unseen)
        elif blind:
            found = replace(found, blind_failed=_NOT_FINITE)
        made[name] = found
    return made


def _request_choices(jobs: Sequence[_OpenedItem]) -> ScoreRequest:
    """All choices of questions about one image."""
    picture = jobs[0].picture
    assert picture is not None, "only what opened is asked"
    return ScoreRequest(
        picture, tuple(Pair(name, job.item.prompt, text) for job in jobs for name, text in _name_choices(job.item))
    )


def _name_choices(item: Item) -> list[tuple[str, str]]:
    """The choices of a question, each with an id that no other one has."""
    return [(f"{item.item_id}/{place}", text) for place, text in enumerate(item.choices)]


def _means(scores: AnswerScores) -> tuple[float, float]:
    """Mean log-probability of a choice's tokens, nats: with the image, and without; NaN where it has none."""
    count = len(scores.token_ids) or math.nan
    return sum(scores.logprobs_with_image) / count, sum(scores.logprobs_without_image) / count
