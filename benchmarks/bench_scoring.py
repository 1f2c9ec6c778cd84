"""Scoring K pairs of a picture against the ways that others do it: ``python -m benchmarks.bench_scoring``.

naive          one pair at a time, two whole forwards, logits at every position (a plain Hugging Face loop)
padded batch   all pairs of the picture as one padded batch, logits at every position (as lm-eval-style harnesses);
               beside it a pair about each of many pictures, where nothing but the chat's beginning can be shared
two samplings  the public re-implementation's loop: a fresh answer is sampled with and without the picture, with
               the distributions of every step kept; it scores something else, so only its time is compared
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks.setting import (
    Measured,
    chat,
    count_flops,
    draw_pictures,
    load,
    make_pairs,
    parse_arguments,
    publish,
    race,
    wrap,
)
from c3l.models.hf.inference import HfModel
from c3l.models.hf.vision import move
from c3l.models.interface import Pair, ScoreRequest
from c3l.records import AnswerScores

Fed = tuple[int, int, int]  # as `count_flops` takes it
SETTINGS = [(49, 1, 8), (49, 5, 8), (49, 20, 8), (49, 5, 40), (576, 1, 8), (576, 5, 8), (576, 20, 8)]


@torch.inference_mode()
def score_naively(model: Any, processor: Any, image: Any, pairs: Sequence[Pair]) -> list[list[float]]:
    """Log p and log q of every answer token, nats, pair after pair."""
    out = []
    for pair in pairs:
        for shown in (image, None):
            row = dict(chat(processor, pair.prompt, shown, pair.completion))
            answer = row.pop("answer")[0].to(model.device)
            logits = model(**_cast(row, model)).logits[0].float().log_softmax(-1)
            out.append(logits[-len(answer) - 1 : -1].gather(1, answer[:, None])[:, 0].tolist())
    return out


@torch.inference_mode()
def score_padded(model: Any, processor: Any, images: Sequence[Any], pairs: Sequence[Pair]) -> list[list[float]]:
    """As ``score_naively``, all pairs at once, each about its image."""
    halves = []
    for shown in (images, [None] * len(pairs)):
        asked = zip(shown, pairs, strict=True)
        rows = [dict(chat(processor, pair.prompt, image, pair.completion)) for image, pair in asked]
        answers = [row.pop("answer")[0].to(model.device) for row in rows]
        width = max(row["input_ids"].shape[1] for row in rows)
        batch: dict[str, Tensor] = {}
        for key in rows[0]:
            tensors = [row[key] for row in rows]
            if key in ("input_ids", "attention_mask"):
                tensors = [torch.nn.functional.pad(one, (0, width - one.shape[1])) for one in tensors]
            batch[key] = torch.cat(tensors)
        logits = model(**_cast(batch, model)).logits.float().log_softmax(-1)
        ends = [row["input_ids"].shape[1] for row in rows]
        halves.append(
            [
                logits[place, end - len(answer) - 1 : end - 1].gather(1, answer[:, None])[:, 0].tolist()
                for place, (answer, end) in enumerate(zip(answers, ends, strict=True))
            ]
        )
    return [numbers for both in zip(*halves, strict=True) for numbers in both]


@torch.inference_mode()
def sample_twice(model: Any, processor: Any, image: Any, pairs: Sequence[Pair]) -> None:
    """Of every pair an answer of the same length sampled with and without the picture, distributions kept."""
    for pair in pairs:
        for shown in (image, None):
            row = dict(chat(processor, pair.prompt, shown, ""))
            answer = processor.tokenizer(pair.completion, add_special_tokens=False)["input_ids"]
            row.pop("answer")
            row["input_ids"], row["attention_mask"] = row["input_ids"].long(), row["attention_mask"].long()
            model.generate(
                **_cast(row, model),
                do_sample=True,
                min_new_tokens=len(answer),
                max_new_tokens=len(answer),
                output_scores=True,
                return_dict_in_generate=True,
            )


def _cast(row: dict[str, Tensor], model: Any) -> dict[str, Tensor]:
    return {key: move(value, model) for key, value in row.items()}


def measure(image_tokens: int, k: int, words: int, model: Any, processor: Any, repetitions: int) -> list[Measured]:
    """Ours against every other way, at one setting."""
    backend, [image] = wrap(model, processor), draw_pictures(1)
    pairs = make_pairs(k, words)

    def ours() -> list[list[float]]:
        return _score(backend, [ScoreRequest(image, pairs)])

    others: dict[str, Callable[[], Any]] = {
        "naive": lambda: score_naively(model, processor, image, pairs),
        "padded batch": lambda: score_padded(model, processor, [image] * k, pairs),
    }
    if k == 5 and words < 20:
        others["two samplings"] = lambda: sample_twice(model, processor, image, pairs)
    lines = []
    for name, other in others.items():
        seconds, speedup, result, expected = race(ours, other, repetitions)
        worst = None if expected is None else _worst(result, expected)
        ratio = flop_ratio(model, processor, image, pairs) if name == "naive" else None
        label = f"score, answers of {words} words"
        dtype = str(model.dtype).removeprefix("torch.")
        lines.append(Measured(label, image_tokens, k, dtype, name, seconds, speedup, ratio, worst))
    return lines


def measure_pictures(
    image_tokens: int, pictures: int, words: int, model: Any, processor: Any, repetitions: int
) -> Measured:
    """A pair about each of many pictures, against one padded batch of all."""
    backend, images = wrap(model, processor), draw_pictures(pictures)
    pairs = make_pairs(pictures, words)
    requests = [ScoreRequest(image, (pair,)) for image, pair in zip(images, pairs, strict=True)]
    seconds, speedup, result, expected = race(
        lambda: _score(backend, requests), lambda: score_padded(model, processor, images, pairs), repetitions
    )
    label = f"score a pair about each of {pictures} pictures, answers of {words} words"
    dtype = str(model.dtype).removeprefix("torch.")
    worst = _worst(result, expected)
    return Measured(label, image_tokens, 1, dtype, "padded batch", seconds, speedup, None, worst)


def _score(backend: HfModel, requests: Sequence[ScoreRequest]) -> list[list[float]]:
    """Log p and log q of every answer token, nats, pair after pair."""
    scores = backend.score(requests, "drop")
    found = [one for one in scores.values() if isinstance(one, AnswerScores)]
    return [list(half) for one in found for half in (one.logprobs_with_image, one.logprobs_without_image)]


def flop_ratio(model: Any, processor: Any, image: Any, pairs: Sequence[Pair]) -> float:
    """FLOPs of the naive way over the least that these inputs need."""
    naive, bound, heads = count_rows(processor, image, pairs)
    return count_flops(model, naive, sum(n for n, _, _ in naive)) / count_flops(model, bound, heads)


def count_rows(processor: Any, image: Any, pairs: Sequence[Pair]) -> tuple[list[Fed], list[Fed], int]:
    """What is fed naively; at least, what rows share being fed once; and the answers' tokens, which need the head."""
    naive: list[Fed] = []
    bound: list[Fed] = []
    heads = 0
    for shown in (image, None):
        rows = [chat(processor, pair.prompt, shown, pair.completion) for pair in pairs]
        ids = [row["input_ids"][0].tolist() for row in rows]
        answers = [row["answer"].shape[1] for row in rows]
        shared = next((n for n, tokens in enumerate(zip(*ids, strict=False)) if len(set(tokens)) > 1), 0)
        if len(pairs) == 1:
            shared = len(ids[0]) - answers[0]
        naive += [(len(one), 0, 1) for one in ids]
        bound += [(shared, 0, 1), *((len(one) - shared - 1, shared, 1) for one in ids)]
        heads += sum(answers)
    return naive, bound, heads


def _worst(result: list[list[float]], expected: list[list[float]]) -> float:
    pairs = zip(result, expected, strict=True)
    return max(abs(a - b) for ours, theirs in pairs for a, b in zip(ours, theirs, strict=True))


def main() -> None:
    """Print the table."""
    arguments = parse_arguments(__doc__)
    lines, loaded = [], {}
    for image_tokens, k, words in [(49, 5, 8), (576, 5, 8)] if arguments.quick else SETTINGS:
        if image_tokens not in loaded:
            loaded = {image_tokens: load(image_tokens, getattr(torch, arguments.dtype))}
        lines += measure(image_tokens, k, words, *loaded[image_tokens], arguments.repetitions)
        if k == 1:
            pictures = 32 if image_tokens == 49 else 8
            lines.append(measure_pictures(image_tokens, pictures, words, *loaded[image_tokens], arguments.repetitions))
    publish(lines, arguments, "Scoring")


if __name__ == "__main__":
    main()
