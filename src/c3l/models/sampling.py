"""Sampling whose draws belong to the row, so that batch size and order change nothing."""

import random
from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import LogitsProcessor, TemperatureLogitsWarper, TopPLogitsWarper

from c3l.models.interface import Sampling


class SeededSampler(LogitsProcessor):  # type: ignore[misc]
    """Draws every row's next token from that row's own generator, and leaves only it possible.

    Greedy decoding then takes the drawn token: exactly sampling, by inversion of the distribution function
    with one uniform number a token.
    """

    def __init__(self, sampling: Sampling, seeds: Sequence[int]) -> None:
        self._warpers = []
        if sampling.temperature != 1:
            self._warpers.append(TemperatureLogitsWarper(sampling.temperature))
        if sampling.top_p < 1:
            self._warpers.append(TopPLogitsWarper(sampling.top_p))
        self._generators = [random.Random(seed) for seed in seeds]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores (B, V) in, (B, V) out: 0 at the drawn token, minus infinity elsewhere."""
        scores = scores.float()
        for warper in self._warpers:
            scores = warper(input_ids, scores)
        cumulated = scores.softmax(dim=-1).double().cumsum(dim=-1)
        uniform = [[generator.random()] for generator in self._generators]
        level = torch.tensor(uniform, dtype=torch.float64, device=scores.device) * cumulated[:, -1:]
        # right=True: a token of probability 0 does not raise the sum, so it is never first above the level
        drawn = torch.searchsorted(cumulated, level, right=True).clamp_max(scores.shape[-1] - 1)
        return torch.full_like(scores, -torch.inf).scatter_(1, drawn, 0.0)
