"""Lessons as rows of tokens: a picture once, and every exercise about it as a branch that sees it and itself.

row      <user> P P P ... P | q q q a a a | q q a a | q q q q a
sees     everything before  | the picture and its own branch only
position 0 ................ | 52 53 54 .. | 52 53 ..| 52 53 ...
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from studies.picture_world.lessons import Lesson

IMAGE_TOKENS = 49


@dataclass(frozen=True)
class Row:
    """One lesson as tokens: ids, position and branch (0 = shared prefix) of each, and the weight of its loss."""

    ids: list[int]
    positions: list[int]
    branches: list[int]
    weights: list[float]
    features: np.ndarray | None


class Rows:
    """Turns lessons into rows, through the processor's own chat template."""

    def __init__(self, processor: Any, longest: int) -> None:
        """Find out how the template surrounds an image, a question and an answer."""
        self.tokenizer = processor.tokenizer
        self.longest = longest
        message = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "QUESTION"}]}]
        text = processor.apply_chat_template(message, add_generation_prompt=True)
        before, self.after = text.split("QUESTION")
        self.start, _ = before.split("<image>")
        self.image = self.tokenizer.convert_tokens_to_ids("<image>")
        self.end = self.tokenizer.convert_tokens_to_ids("<|im_end|>")

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, nothing added."""
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def row(self, lesson: Lesson) -> Row:
        """A lesson as a row; exercises that no longer fit are left out."""
        ids = self.encode(self.start) + ([self.image] * IMAGE_TOKENS if lesson.features is not None else [])
        prefix = len(ids)
        row = Row(ids, list(range(prefix)), [0] * prefix, [0.0] * prefix, lesson.features)
        for branch, (prompt, completion) in enumerate(lesson.exercises, 1):
            asked, answered = self.encode(prompt + self.after), [*self.encode(completion), self.end]
            if len(row.ids) + len(asked) + len(answered) > self.longest:
                continue
            count = len(asked) + len(answered)
            row.ids.extend(asked + answered)
            row.positions.extend(range(prefix, prefix + count))
            row.branches.extend([branch] * count)
            row.weights.extend([0.0] * len(asked) + [len(answered) ** -0.5] * len(answered))
        return row


def collate(rows: Sequence[Row], pad: int) -> dict[str, torch.Tensor]:
    """Rows as tensors, padded on the right.

    Returns:
        ids, positions (B, T) int64; weights (B, T) float32; mask (B, 1, T, T) bool, True where a token sees another.
    """
    length = max(len(row.ids) for row in rows)
    table = {"ids": pad, "positions": 0, "branches": -1, "weights": 0.0}
    out = {k: torch.tensor([[*getattr(r, k), *[v] * (length - len(r.ids))] for r in rows]) for k, v in table.items()}
    branches = out.pop("branches")
    same = (branches[:, :, None] == branches[:, None, :]) | (branches[:, None, :] == 0)
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    real = branches >= 0
    mask = same & causal & real[:, None, :] & real[:, :, None]
    out["mask"] = (mask | torch.eye(length, dtype=torch.bool))[:, None]  # a padded token sees itself, or all is NaN
    return out
