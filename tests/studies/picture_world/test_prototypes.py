import random
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from studies.picture_world.prototypes import ImageNetClass, Prototypes
from studies.picture_world.scenes import Placed, Scene


def make_prototypes(names: Sequence[str], real: np.ndarray, shown: Scene) -> Prototypes:
    torch.manual_seed(0)
    head = torch.nn.Linear(1280, len(names))
    torch.nn.init.normal_(head.weight, std=0.05)
    return Prototypes(head, [ImageNetClass(i, (name,)) for i, name in enumerate(names)], real, [shown] * len(real))


def test_a_prototype_looks_like_its_class_to_the_head() -> None:
    real = np.random.default_rng(0).uniform(0, 1, (4, 49, 1280)).astype(np.float16)
    prototypes = make_prototypes(["1", "2", "3"], real, Scene("", (), False))

    hits = 0
    for seed in range(30):
        features, scene = prototypes.draw(random.Random(seed))
        assert features.shape == (49, 1280)
        assert features.min() >= 0 and features.max() <= 6
        best = prototypes.rows @ features.astype(np.float32).mean(0) + prototypes.bias
        hits += str(best.argmax() + 1) in {placed.names[0] for placed in scene.placed}
    assert hits >= 27


def test_the_truth_of_prototypes_says_where_their_cells_are() -> None:
    prototypes = make_prototypes(["1", "2"], np.zeros((4, 49, 1280), np.float16), Scene("", (), False))
    for seed in range(60):
        features, scene = prototypes.draw(random.Random(seed))
        cells = np.argwhere(features.reshape(7, 7, 1280).any(-1))  # rows of (y, x)
        boxes = np.array([placed.box for placed in scene.placed]) * 7
        inside = [((b[1] <= y < b[3]) and (b[0] <= x < b[2])) for y, x in cells for b in boxes]
        assert sum(inside) == len(cells)  # each in the one box that it belongs to
        area = float(((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).sum())
        assert len(cells) == pytest.approx(area) or (len(scene.placed) == 1 and 8 <= len(cells) <= 30)


def test_prototypes_stand_beside_what_a_real_scene_shows() -> None:
    thing = Placed(("ball",), "red", (0.3, 0.3, 0.6, 0.6))  # on cells 2 to 4 of either side
    real = np.full((4, 49, 1280), 0.5, np.float16)
    prototypes = make_prototypes(["1", "2"], real, Scene("", (thing,), True, ("sky",)))
    seen = 0
    for seed in range(40):
        features, scene = prototypes.draw(random.Random(seed))
        if scene.placed[0] != thing:
            continue
        seen += len(scene.placed) > 1
        changed = (features.reshape(7, 7, 1280) != 0.5).any(-1)
        assert not changed[2:5, 2:5].any()
        assert changed.any() == (len(scene.placed) > 1)
        assert scene.also == ("sky",)
    assert seen > 8


def test_prototypes_are_painted_on_cells_of_a_thing() -> None:
    thing = Placed(("ball",), "red", (0.0, 0.0, 0.5, 0.5))
    real = np.zeros((4, 7, 7, 1280), np.float16)
    real[:, :4, :4, 7] = 6  # what the tower sees in the thing, and nowhere else
    prototypes = make_prototypes(["1", "2"], real.reshape(4, 49, 1280), Scene("", (thing,), False))
    for seed in range(10):
        features, scene = prototypes.draw(random.Random(seed))
        left, top, right, bottom = (round(edge * 7) for edge in scene.placed[0].box)
        painted = features.reshape(7, 7, 1280)[top:bottom, left:right]
        painted = painted[(painted > 0).sum(-1) > 2]  # not what is behind a scattered one
        assert (painted[:, 7] > 1).all()
