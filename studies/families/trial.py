"""Tries out one family on a tiny model: scoring, writing, tuning and finetuning, each against the plain loop."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import AutoModelForImageTextToText

from c3l.errors import BackendError
from c3l.models.interface import GenerateRequest, Pair, Sampling, ScoreRequest, Shown, Unfit
from c3l.models.load import load_finetunable, load_model, load_trainable
from c3l.models.tunable import Conversation, ForcedRow
from c3l.records import NoImageMode
from c3l.settings.schema import ModelConfig
from c3l.settings.tuning import ContrastiveConfig, FinetuningConfig
from c3l.training.arguments import TrainingPlace
from c3l.training.finetuning import TextConversation, make_trainer
from studies.families.folder import write_folder
from studies.families.parts import Family
from studies.families.plain import Plain

MODES: tuple[NoImageMode, ...] = ("drop", "blank", "noise", "others", "mask")
_SIZES = ((40, 30), (64, 30), (30, 64))
_PAIRS = (Pair("a", "What is it?", "A dog."), Pair("b", "Where is it, then?", "In the garden, by the tree"))
_TOKENS = 12


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was found of a family.

    Attributes:
        family: Which.
        refused: The line with which it is refused; empty if it loads.
        modes: Ways of leaving the image out that it offers.
        off: The largest difference of a score to the plain loop, nats.
        effect: The least that another picture changes a pair's score by, nats.
        rows: How its rows are computed.
        several: Difference of the log-probabilities of rows about two images, nats; or why such rows are rejected.
        written: How its texts are written, or why they are not.
        tuned: Difference of the likelihoods that tuning sees to the plain loop, nats; or why it is not tuned.
        finetuned: Difference of the loss, nats; or why it is not finetuned.
    """

    family: Family
    refused: str = ""
    modes: tuple[NoImageMode, ...] = ()
    off: float = math.inf
    effect: float = 0.0
    rows: str = ""
    several: float | str = ""
    written: str = ""
    tuned: float | str = ""
    finetuned: float | str = ""


def try_family(family: Family, folder: Path) -> Outcome:
    """Write a tiny model into a folder of its own, and do everything with it."""
    write_folder(family.build(), folder)
    config = ModelConfig(name=str(folder), dtype="float32", device="cpu")
    try:
        model: Any = load_model(config, seed=0)
    except BackendError as error:
        return Outcome(family, refused=str(error).replace(str(folder), family.model_type))
    raw = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    plain = Plain(raw.eval(), model.processor)
    modes = tuple(mode for mode in MODES if mode in model.no_image_modes())
    asked = [_score_plainly(plain, request) for request in _requests()]
    return Outcome(
        family,
        modes=modes,
        off=max(_compare_scores(model, plain, asked, mode) for mode in modes),
        effect=_measure_effect(model),
        rows=model.describe_rows(),
        several=_try_several(model, plain),
        written=_try_writing(model, plain),
        tuned=_attempt(lambda: _try_tuning(config, plain)),
        finetuned=_attempt(lambda: _try_finetuning(config, plain)),
    )


def draw(seed: int, size: tuple[int, int]) -> Image.Image:
    """A picture of coarse blocks: different seeds differ at every scale."""
    blocks = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(blocks).resize(size, Image.Resampling.NEAREST)


def _requests() -> list[ScoreRequest]:
    images = [draw(seed, size) for seed, size in enumerate(_SIZES)]
    return [
        ScoreRequest(image, _pairs_of(seed), seed=seed, others=tuple(other for other in images if other is not image))
        for seed, image in enumerate(images)
    ]


def _pairs_of(image: int) -> tuple[Pair, ...]:
    return tuple(replace(pair, pair_id=f"{image}/{pair.pair_id}") for pair in _PAIRS)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request, and what the plain loop says of its pairs where their image is shown.

    Attributes:
        request: The request.
        ids: Of each answer.
        with_image: Log-probabilities (N, V) of each answer.
    """

    request: ScoreRequest
    ids: list[list[int]]
    with_image: list[Tensor]


def _score_plainly(plain: Plain, request: ScoreRequest) -> _Asked:
    ids = [plain.answer_ids(pair.completion) for pair in request.pairs]
    shown = _only(request.image)
    both = zip(request.pairs, ids, strict=True)
    return _Asked(request, ids, [plain.log_probs(shown, pair.prompt, of_pair) for pair, of_pair in both])


def _compare_scores(model: Any, plain: Plain, asked: Sequence[_Asked], mode: NoImageMode) -> float:
    """The largest difference of log p, log q or KL to the plain loop, over all pairs and tokens."""
    worst = 0.0
    results = model.score([one.request for one in asked], mode)
    for one in asked:
        request = one.request
        for pair, ids, log_p in zip(request.pairs, one.ids, one.with_image, strict=True):
            scores = results[pair.pair_id]
            log_q = _leave_out(plain, request, pair.prompt, ids, mode)
            kl = (log_p.exp() * (log_p - log_q)).nan_to_num().sum(-1)
            expected = (_pick(log_p, ids), _pick(log_q, ids), kl)
            found = (scores.logprobs_with_image, scores.logprobs_without_image, scores.token_kl)
            for ours, other in zip(found, expected, strict=True):
                worst = max(worst, float((torch.tensor(ours) - other).abs().max()))
    return worst


def _only(shown: Shown) -> Image.Image:
    """The picture of a request of this file, which shows one."""
    assert not isinstance(shown, tuple)
    return shown


def _leave_out(plain: Plain, request: ScoreRequest, prompt: str, ids: list[int], mode: NoImageMode) -> Tensor:
    if mode == "mask":
        return plain.log_probs(_only(request.image), prompt, ids, hide=True)
    if mode == "drop":
        return plain.log_probs(None, prompt, ids)
    width, height = _only(request.image).size
    shown: Sequence[Image.Image] = [_only(other) for other in request.others]
    if mode == "blank":
        shown = [Image.new("RGB", (width, height), (128, 128, 128))]
    elif mode == "noise":
        pixels = np.random.default_rng(request.seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
        shown = [Image.fromarray(pixels)]
    tables = torch.stack([plain.log_probs(image, prompt, ids) for image in shown])
    return tables.logsumexp(0) - math.log(len(shown))


def _pick(table: Tensor, ids: list[int]) -> Tensor:
    return table[torch.arange(len(ids)), torch.tensor(ids)]


def _measure_effect(model: Any) -> float:
    """The least over the pairs of how much another picture changes the log-likelihood of a token at most."""
    one, two = ([ScoreRequest(draw(seed, _SIZES[0]), _PAIRS)] for seed in (1, 2))
    of_one, of_two = model.score(one, "blank"), model.score(two, "blank")
    both = ((of_one[name], of_two[name]) for name in of_one)
    changes = (zip(a.logprobs_with_image, b.logprobs_with_image, strict=True) for a, b in both)
    return float(min(max(abs(p - q) for p, q in change) for change in changes))


def _try_several(model: Any, plain: Plain) -> float | str:
    """The largest difference of log p to the plain loop where two images are shown, or why they cannot be."""
    both = (draw(0, _SIZES[0]), draw(1, _SIZES[1]))
    results = model.score([ScoreRequest(both, _PAIRS)], "blank")
    worst = 0.0
    for pair in _PAIRS:
        scores = results[pair.pair_id]
        if isinstance(scores, Unfit):
            return scores.detail
        ids = plain.answer_ids(pair.completion)
        expected = _pick(plain.log_probs(both, pair.prompt, ids), ids)
        worst = max(worst, float((torch.tensor(scores.logprobs_with_image) - expected).abs().max()))
    return worst


def _try_writing(model: Any, plain: Plain) -> str:
    """How texts are written; each is what the plain loop writes.

    Raises:
        AssertionError: If one is not.
    """
    asked = [
        GenerateRequest(str(number), draw(number % 2, _SIZES[number % 2]), prompt, seed=0)
        for number, prompt in enumerate(("Say it", "Say it, please", "No", "What else is it?"))
    ]
    try:
        written = model.generate(asked, Sampling(0.0, 1.0, _TOKENS))
    except BackendError as error:
        return str(error)
    for request, completion in zip(asked, written, strict=True):
        ids = plain.write(request.image, request.prompt, _TOKENS, set(model.stop_ids))
        text = plain.processor.tokenizer.decode(ids, clean_up_tokenization_spaces=False)
        expected = text.rstrip("\ufffd")  # the loop may have ended within a character
        assert completion.text.startswith(expected), f"wrote {completion.text!r}, the plain loop {expected!r}"
    return str(model.describe_writing())


def _attempt(measure: Callable[[], float]) -> float | str:
    try:
        return measure()
    except BackendError as error:
        return str(error)


def _try_tuning(config: ModelConfig, plain: Plain) -> float:
    """The largest difference of the likelihoods that a contrastive step begins with; the step changes them.

    Raises:
        AssertionError: If the step changes nothing.
    """
    tuned: Any = load_trainable(config, ContrastiveConfig(), seed=0)
    rows = [ForcedRow(draw(seed, _SIZES[seed]), pair.prompt, pair.completion) for seed in range(2) for pair in _PAIRS]
    images = {seed: draw(seed, _SIZES[seed]) for seed in range(2)}
    rows = [ForcedRow(images[number // 2], row.prompt, row.completion) for number, row in enumerate(rows)]
    batch = tuned.collate(rows)
    learned = [parameter for parameter in tuned.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(learned, lr=1.0)
    likelihoods = tuned.read(batch).log_likelihood
    worst = 0.0
    for row, found in zip(rows, likelihoods.tolist(), strict=True):
        ids = plain.answer_ids(row.completion)
        worst = max(worst, abs(float(_pick(plain.log_probs(row.image, row.prompt, ids), ids).mean()) - found))
    (likelihoods[1] - likelihoods[0]).backward()
    optimizer.step()
    after = tuned.read(batch).log_likelihood
    assert not torch.allclose(after, likelihoods, atol=1e-4), "the step changed nothing"
    return worst


def _try_finetuning(config: ModelConfig, plain: Plain) -> float:
    """The difference of the loss that instruction tuning begins with; all that learns has a gradient of numbers.

    Raises:
        AssertionError: If not.
    """
    recipe = FinetuningConfig(lora_r=2, lora_alpha=4, lora_dropout=0)
    taught: Any = load_finetunable(config, recipe, seed=0)
    talks = [
        Conversation(draw(seed, _SIZES[seed]), ((_PAIRS[seed].prompt, _PAIRS[seed].completion),)) for seed in (0, 1)
    ]
    texts = [TextConversation(str(number), talk.turns) for number, talk in enumerate(talks)]
    place = TrainingPlace(0, Path(config.name) / "checkpoints")
    trainer: Any = make_trainer(taught, texts, lambda name: draw(int(name), _SIZES[int(name)]), recipe, place)
    end = [plain.processor.tokenizer.eos_token_id]
    batches = [talks] if taught.fits_batches(mixed=False) else [[talk] for talk in talks]
    worst = 0.0
    for batch in batches:
        loss = trainer.compute_loss(trainer.model, taught.collate(batch))
        loss.backward()
        said: list[Tensor] = []
        for talk in batch:
            [(prompt, answer)] = talk.turns
            ids = plain.answer_ids(answer) + end
            said.append(_pick(plain.log_probs(talk.image, prompt, ids), ids))
        worst = max(worst, abs(float(loss.detach()) + float(torch.cat(said).mean())))
    learned = {name: one.grad for name, one in taught.module.named_parameters() if one.requires_grad}
    without = [name for name, gradient in learned.items() if gradient is None]
    assert learned and not without, f"{len(without)} weights that learn had no gradient, such as {without[:1]}"
    assert all(bool(gradient.isfinite().all()) for gradient in learned.values()), "a gradient is no number"
    return worst
