"""What the tokens of packed trees see, in a few numbers a token: no table of all tokens against all is kept.

A tree's tokens are numbered branch by branch. What stands below a token is then a stretch of numbers, and a token sees
another where it lies in that one's stretch:

    token     <u> P  P  what ? | a  dog | a  cat           begins  0 1 2 3 4 5 6 7 8
    (parent)   -  0  1   2   3   4   5    4   7            ends    8 8 8 8 8 6 6 8 8      a (5) is not seen by cat (8)
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor

_AT_ONCE = 2**22  # choice: of two tokens each, what is held beside the table is some 10 MB


@dataclass(frozen=True, slots=True)
class Sight:
    """B trees, padded on the right to T tokens.

    Attributes:
        begins: (B, T) int64, a token's number.
        ends: (B, T) int64, the last number in what stands below it.
        pictures: (B, T) int64, a number for the image that it is part of and sees whole; -1 where there is none.
        depths: (B, T) int64, how many tokens of its row stand before it.
    """

    begins: Tensor
    ends: Tensor
    pictures: Tensor
    depths: Tensor

    def to(self, device: torch.device) -> Self:
        """The same on a device."""
        return type(self)(*(getattr(self, field.name).to(device) for field in fields(self)))

    def sees(self, tree: Tensor, token: Tensor, other: Tensor, window: int | None = None) -> Tensor:
        """Whether a token sees another: itself, those before it in its rows, and all of its image.

        Args:
            tree: Places in the batch; any shape that goes with the other two.
            token: Places in the tree.
            other: Places in the tree.
            window: Only less than so many tokens back; None for all.
        """
        begins, pictures = self.begins, self.pictures
        one = begins[tree, token]
        seen = (begins[tree, other] <= one) & (one <= self.ends[tree, other])
        seen = seen | ((pictures[tree, token] >= 0) & (pictures[tree, token] == pictures[tree, other]))
        return seen if window is None else seen & (self.depths[tree, other] > self.depths[tree, token] - window)

    def table(self, window: int | None = None) -> Tensor:
        """(B, 1, T, T) bool, true where a token sees another; the window as in ``sees``.

        What it is made of is as large as itself, several times over, and so made for a few tokens at a time.
        """
        count, width = self.begins.shape
        tree, place = (torch.arange(size, device=self.begins.device) for size in (count, width))
        table = torch.empty(count, width, width, dtype=torch.bool, device=self.begins.device)
        step = max(1, _AT_ONCE // (count * width))
        for start in range(0, width, step):
            tokens = place[None, start : start + step, None]
            table[:, start : start + step] = self.sees(tree[:, None, None], tokens, place[None, None, :], window)
        return table[:, None]


def number_branches(parents: Sequence[int]) -> tuple[list[int], list[int]]:
    """``begins`` and ``ends`` of one tree, in which every token stands behind its parent; -1 is no parent."""
    below = [1] * len(parents)  # itself and what stands below it
    for place in range(len(parents) - 1, -1, -1):
        if parents[place] >= 0:
            below[parents[place]] += below[place]
    begins, free = [], [0] * (len(parents) + 1)  # the next number below each token, and of the tree itself at the end
    for place, parent in enumerate(parents):
        begins.append(free[parent])
        free[parent] += below[place]
        free[place] = begins[place] + 1
    return begins, [begin + count - 1 for begin, count in zip(begins, below, strict=True)]
