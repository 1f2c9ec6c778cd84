"""Scores of a model as a test lays its requests out: for each request one a pair."""

from collections.abc import Sequence
from dataclasses import replace

from c3l.models.interface import InferenceModel, ScoreRequest, Unfit
from c3l.records import AnswerScores, NoImageMode


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
