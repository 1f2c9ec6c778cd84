"""Scores as a test lays its requests out, for each request one a pair; and what they are held against."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from c3l.models.interface import InferenceModel, ScoreRequest, Unfit
from c3l.records import AnswerScores, NoImageMode
from tiny_models import Tiny


def score_rows(
    model: InferenceModel, requests: Sequence[ScoreRequest], no_image: NoImageMode
) -> list[list[AnswerScores | Unfit]]:
    """What the model says of every pair, which requests may share."""
    named = [
        replace(request, pairs=tuple(replace(it, pair_id=f"{place}/{n}") for n, it in enumerate(request.pairs)))
        for place, request in enumerate(requests)
    ]
    found = model.score(named, no_image)
    return [[found[pair.pair_id] for pair in request.pairs] for request in named]


@torch.no_grad()
def force_plainly(family: Tiny, text: str, answer: str, **shown: Any) -> Tensor:
    """Log-probabilities (N,) of an answer after a chat as the template writes it, by one forward of one row.

    Args:
        family: The model and its processor.
        text: The chat.
        answer: What is forced after it.
        shown: The pictures, as the processor takes them.
    """
    inputs = dict(family.processor(text=[text], add_special_tokens=False, return_tensors="pt", **shown))
    length = inputs["input_ids"].shape[1]
    ids = torch.tensor([family.processor.tokenizer(answer, add_special_tokens=False)["input_ids"]])
    for key in ("input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids"):
        if key in inputs:
            fill = ids if key == "input_ids" else torch.full_like(ids, int(key == "attention_mask"))
            inputs[key] = torch.cat([inputs[key], fill], 1)
    inputs.pop("labels", None)
    table = family.model(**inputs).logits[0].log_softmax(-1)[length - 1 : -1]
    found: Tensor = table[torch.arange(ids.shape[1]), ids[0]]
    return found
