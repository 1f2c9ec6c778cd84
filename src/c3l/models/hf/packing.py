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

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from c3l.models.hf.sight import Sight, number_branches

SPREAD = 1.25  # choice; see `pack`


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
    """The rows of one group, token by token."""

    def __init__(self, image_token: int | None) -> None:
        self.ids: list[int] = []
        self.depths: list[int] = []
        self.parents: list[int] = []
        self.images: list[int] = []
        self._positions: dict[int, NDArray[np.int64]] = {}  # of tokens that do not stand at their depth
        self._blocks: dict[int, int] = {}  # token of an image that sees itself whole -> the first of these tokens
        self._shows: list[bool] = []  # whether a token or one before it is an image's
        self._children: dict[tuple[int, int, int], int] = {}
        self._leads: dict[tuple[int, tuple[int, ...]], int] = {}
        self._image_token = image_token

    def insert(self, path: RowPath) -> tuple[int, ...]:
        """The places of a row's tokens."""
        places, parent = [], -1
        last = max((number for number, token in enumerate(path.ids) if token == self._image_token), default=-1)
        # several images are shown whole or not at all, also where texts begin to differ between them
        lead = self._leads.setdefault((path.image, path.ids[: last + 1]), len(self._leads))
        for number, token in enumerate(path.ids):
            is_image = token == self._image_token
            key = (parent, token, lead if is_image else -1)
            if key not in self._children:
                place = self._children[key] = self._append(token, parent, path.image if is_image else -1)
                if path.positions is not None:
                    self._positions[place] = path.positions[:, number]
                if is_image and path.whole_images:
                    self._blocks[place] = self._blocks.get(parent, place)
            parent = self._children[key]
            places.append(parent)
        return tuple(places)

    def _append(self, token: int, parent: int, image: int) -> int:
        shown = parent >= 0 and self._shows[parent]
        if image >= 0 and not shown:
            self.images.append(image)
        self._shows.append(shown or image >= 0)
        self.ids.append(token)
        self.depths.append(self.depths[parent] + 1 if parent >= 0 else 0)
        self.parents.append(parent)
        return len(self.ids) - 1

    def pictures(self) -> list[int]:
        """Of each token the first of the image that it is part of and sees whole; -1 where there is none."""
        return [self._blocks.get(place, -1) for place in range(len(self.ids))]

    def positions(self) -> NDArray[np.int64]:
        """(n,), each token's depth, or (D, n) where rows brought positions of their own."""
        depths = np.array(self.depths, dtype=np.int64)
        if not self._positions:
            return depths
        out = np.tile(depths, (len(next(iter(self._positions.values()))), 1))
        for place, position in self._positions.items():
            out[:, place] = position
        return out


def pack(
    paths: Sequence[RowPath], groups: Sequence[int], image_token: int | None, pad: int, spread: float = SPREAD
) -> Iterator[tuple[Packed, list[int]]]:
    """Rows as batches of trees, one tree a group; trees of like length come together.

    Args:
        paths: The rows.
        groups: Of each row its group: rows of one group share what they begin with.
        image_token: The token that stands for a piece of the image; None where no row has one.
        pad: Fills up.
        spread: In a batch the longest tree has at most so many times the tokens of the shortest; infinite for one
            batch of all.

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
        most = spread * len(trees[0][0].ids)
        count = next((n for n, (tree, _) in enumerate(trees) if len(tree.ids) > most), len(trees))
        batch, trees = trees[:count], trees[count:]
        yield _collate([tree for tree, _ in batch], [rows for _, rows in batch], pad)


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
        pictures=_fill([np.array(tree.pictures()) for tree in trees], width, -1),
        depths=_fill([np.array(tree.depths) for tree in trees], width, 0),
    )


def _fill(rows: Sequence[NDArray[np.int64]], width: int, value: int) -> Tensor:
    """Rows (..., n) padded to one width and put side by side, (..., B, width) int64."""
    spaces = [[(0, 0)] * (row.ndim - 1) + [(0, width - row.shape[-1])] for row in rows]
    filled = [np.pad(row, space, constant_values=value) for row, space in zip(rows, spaces, strict=True)]
    return torch.from_numpy(np.stack(filled, axis=-2).astype(np.int64))
