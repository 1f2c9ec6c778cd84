"""Rows that begin alike share their tokens: a prompt's image and words are computed once for all its answers.

Rows become paths in a tree of tokens, the tree becomes one row of its own. Three rows about one image:

    <u> P P P  what is it ? | a dog .        token    <u> P P P what is it ? a dog . cat . <u>'s other child: what ...
    <u> P P P  what is it ? | a cat .   ->   place     0  1 2 3  4   5  6  7 8  9 10  9 10   1 ...
    <u>        what is it ? | a dog .        sees     its ancestors and itself

A token's place is its depth, and it attends to its ancestors alone (and, where the family says so, to the rest of its
image), so every row is computed as if it stood there by itself. An image's tokens are alike only if the image is.
What a family asks for beyond that is in ``layout``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import compress, count
from operator import ne

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from c3l.models.hf.sight import Sight, number_branches

SPREAD = 1.25  # choice: in a batch the longest tree has at most so many times the tokens of the shortest
MOST = 2**28  # choice: a mask has a byte or more for each two tokens of a tree, in a batch of several at most so many


@dataclass(frozen=True, slots=True)
class RowPath:
    """One row to be packed.

    Attributes:
        ids: Its tokens.
        image: A number for the image, or for the images, that its image tokens show; rows with equal numbers that
            are alike up to the last of these tokens share them.
        positions: (D, L) int64, D positions a token where a family counts otherwise than by the place in the row.
        whole_images: Whether the tokens of an image see all of it, those to come too.
    """

    ids: tuple[int, ...]
    image: int
    positions: NDArray[np.int64] | None = None
    whole_images: bool = False


@dataclass(frozen=True, slots=True)
class Packed:
    """Trees as one batch, padded on the right.

    Attributes:
        ids: (B, T) int64.
        positions: (B, T) int64, a token's depth, or (D, B, T) where the rows brought positions of their own.
        sight: What each token sees.
        rows: Of each packed row, in the order given: its tree's place in the batch, and the places of its tokens.
        images: Number of the image, or of the images, each time that they are shown, tree after tree, left to
            right.
    """

    ids: Tensor
    positions: Tensor
    sight: Sight
    rows: tuple[tuple[int, tuple[int, ...]], ...]
    images: tuple[int, ...]


class _Tree:
    """The rows of one group; of each only what no row before it begins with is new."""

    def __init__(self, image_token: int | None) -> None:
        self.ids: list[int] = []
        self.depths: list[int] = []
        self.parents: list[int] = []
        self.images: list[int] = []
        self.pictures: list[int] = []
        """Of each token the first of the image that it is part of and sees whole; -1 where there is none."""
        self._positions: list[tuple[int, NDArray[np.int64]]] = []  # (D, n) from a token on, if not their depths
        self._leads: dict[tuple[int, tuple[int, ...]], int] = {}
        self._rows: list[tuple[tuple[int, ...], int, tuple[int, ...]]] = []  # tokens, lead, places
        self._image_token = image_token

    def insert(self, path: RowPath) -> tuple[int, ...]:
        """The places of a row's tokens."""
        ids, first, end = path.ids, len(path.ids), 0
        if self._image_token in ids:
            first, end = ids.index(self._image_token), len(ids) - ids[::-1].index(self._image_token)
        # several images are shown whole or not at all, also where texts begin to differ between them
        lead = self._leads.setdefault((path.image, ids[:end]), len(self._leads))
        shared = 0
        begun: tuple[int, ...] = ()  # the places of a row that begins with as many of its tokens as any
        for others, its_lead, its_places in reversed(self._rows):  # the last is mostly the most alike
            if ids[shared : shared + 1] == others[shared : shared + 1]:  # or it has no more in common
                known, most = (end, len(ids)) if its_lead == lead else (0, first)
                alike = known + _count_alike(ids[known:most], others[known:most])
                shared, begun = (alike, its_places) if alike > shared else (shared, begun)
        places = (*begun[:shared], *range(len(self.ids), len(self.ids) + len(ids) - shared))
        if shared <= first < end:
            self.images.append(path.image)
        self._append(path, places, shared)
        self._rows.append((ids, lead, places))
        return places

    def _append(self, path: RowPath, places: tuple[int, ...], shared: int) -> None:
        """Take in the tokens of a row but for the first ones, which are there."""
        if path.positions is not None and shared < len(places):
            self._positions.append((places[shared], path.positions[:, shared:]))
        self.ids += path.ids[shared:]
        self.depths += range(shared, len(places))
        parents = (-1, *places)[shared:-1]
        self.parents += parents
        for token, place, parent in zip(path.ids[shared:], places[shared:], parents, strict=True):
            whole = path.whole_images and token == self._image_token
            before = self.pictures[parent] if whole and parent >= 0 else -1
            self.pictures.append(before if before >= 0 or not whole else place)

    def positions(self) -> NDArray[np.int64]:
        """(n,), each token's depth, or (D, n) where rows brought positions of their own."""
        depths = np.array(self.depths, dtype=np.int64)
        if not self._positions:
            return depths
        out = np.tile(depths, (len(self._positions[0][1]), 1))
        for place, found in self._positions:
            out[:, place : place + found.shape[1]] = found
        return out


def pack(
    paths: Sequence[RowPath], groups: Sequence[int], image_token: int | None, pad: int, *, split: bool = True
) -> Iterator[tuple[Packed, list[int]]]:
    """Rows as batches of trees, one tree a group; trees of like length come together.

    Args:
        paths: The rows.
        groups: Of each row its group: rows of one group share what they begin with.
        image_token: The token that stands for a piece of the image; None where no row has one.
        pad: Fills up.
        split: Whether trees of unlike length, or too many of them, come apart; else all are one batch.

    Yields:
        A batch, and the numbers of the rows in it, in the order of ``Packed.rows``.
    """
    members: dict[int, list[int]] = {}
    for number, group in enumerate(groups):
        members.setdefault(group, []).append(number)
    trees = []
    for numbers in members.values():
        tree = _Tree(image_token)
        trees.append((tree, [(number, tree.insert(paths[number])) for number in numbers]))
    trees.sort(key=lambda one: len(one[0].ids))
    while trees:
        most = _count_together([len(tree.ids) for tree, _ in trees]) if split else len(trees)
        batch, trees = trees[:most], trees[most:]
        yield _collate([tree for tree, _ in batch], [rows for _, rows in batch], pad)


def _count_alike(one: Sequence[int], two: Sequence[int]) -> int:
    """How many tokens both begin with."""
    return next(compress(count(), map(ne, one, two)), min(len(one), len(two)))


def _count_together(lengths: Sequence[int]) -> int:
    """How many of the shortest trees make a batch."""
    longest = SPREAD * lengths[0]
    whole = (n for n, length in enumerate(lengths) if n and (length > longest or (n + 1) * length**2 > MOST))
    return next(whole, len(lengths))


def _collate(
    trees: Sequence[_Tree], rows: Sequence[Sequence[tuple[int, tuple[int, ...]]]], pad: int
) -> tuple[Packed, list[int]]:
    width = max(len(tree.ids) for tree in trees)
    positions = [tree.positions() for tree in trees]
    most = max(one.ndim for one in positions)
    if most == 2:  # trees without an image of their own count in all directions alike
        directions = next(len(one) for one in positions if one.ndim == 2)
        positions = [one if one.ndim == 2 else np.tile(one, (directions, 1)) for one in positions]
    packed = Packed(
        ids=_fill([np.array(tree.ids) for tree in trees], width, pad),
        positions=_fill(positions, width, 0),
        sight=_look(trees, width),
        rows=tuple((place, path) for place, of_tree in enumerate(rows) for _, path in of_tree),
        images=tuple(image for tree in trees for image in tree.images),
    )
    return packed, [number for of_tree in rows for number, _ in of_tree]


def _look(trees: Sequence[_Tree], width: int) -> Sight:
    numbered = [number_branches(tree.parents) for tree in trees]
    # padding sees itself, or all would be NaN, and nothing sees it: its number stands in no token's stretch
    spare = [list(range(len(tree.ids), width)) for tree in trees]
    begins, ends = (
        [np.array([*own[side], *rest]) for own, rest in zip(numbered, spare, strict=True)] for side in (0, 1)
    )
    return Sight(
        begins=_fill(begins, width, 0),
        ends=_fill(ends, width, 0),
        pictures=_fill([np.array(tree.pictures) for tree in trees], width, -1),
        depths=_fill([np.array(tree.depths) for tree in trees], width, 0),
    )


def _fill(rows: Sequence[NDArray[np.int64]], width: int, value: int) -> Tensor:
    """Rows (..., n) padded to one width and put side by side, (..., B, width) int64."""
    spaces = [[(0, 0)] * (row.ndim - 1) + [(0, width - row.shape[-1])] for row in rows]
    filled = [np.pad(row, space, constant_values=value) for row, space in zip(rows, spaces, strict=True)]
    return torch.from_numpy(np.stack(filled, axis=-2).astype(np.int64))
