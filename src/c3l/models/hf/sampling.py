"""What stands between the logits and the next token: a guard against NaN, and draws that belong to the row."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers import LogitsProcessor, TemperatureLogitsWarper, TopPLogitsWarper

from c3l.models.interface import GenerateRequest, Sampling


class FiniteGuard(LogitsProcessor):  # type: ignore[misc]
    """Ends a row whose logits are no distribution, which else would go on with some token, and remembers it.

    Attributes:
        ended: Row -> length of the row, prompt and padding included, when that happened.
    """

    def __init__(self, stop_id: int) -> None:
        self.ended: dict[int, int] = {}
        self._stop_id = stop_id

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores (B, V) in and out; only the stop token stays possible where NaN, +inf, or -inf alone came in."""
        bad = ~scores.amax(dim=-1).isfinite()  # the maximum of anything with NaN is NaN
        if not bool(bad.any()):
            return scores
        for row in bad.nonzero().flatten().tolist():
            self.ended.setdefault(row, input_ids.shape[1])
        scores = scores.masked_fill(bad[:, None], -torch.inf)
        scores[bad, self._stop_id] = 0.0
        return scores


@dataclass(slots=True)
class Text:
    """What one request has become so far; ``broken`` is the place of the token whose logits were no distribution."""

    request: GenerateRequest
    ids: list[int] = field(default_factory=list)
    broken: int | None = None


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

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows alone."""
        self._generators = [self._generators[row] for row in rows]

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


class Dictation(LogitsProcessor):  # type: ignore[misc]
    """Has every row write the same tokens, and remembers what it would have written.

    Attributes:
        heard: Log-probabilities (B, V), float32, token after token.
    """

    def __init__(self, ids: Sequence[int]) -> None:
        self.heard: list[Tensor] = []
        self._ids = ids

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores (B, V) in, (B, V) out: 0 at the next of the tokens, minus infinity elsewhere."""
        token = self._ids[len(self.heard)]
        self.heard.append(scores.float().log_softmax(dim=-1))
        dictated = torch.full_like(scores, -torch.inf)
        dictated[:, token] = 0.0
        return dictated
