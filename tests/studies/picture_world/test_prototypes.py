import random

import numpy as np
import pytest
import torch
from studies.picture_world.prototypes import ImageNetClass, Prototypes


def test_a_prototype_looks_like_its_class_to_the_head() -> None:
    torch.manual_seed(0)
    head = torch.nn.Linear(1280, 3, bias=False)
    torch.nn.init.normal_(head.weight, std=0.05)
    real = np.random.default_rng(0).uniform(0, 1, (4, 49, 1280)).astype(np.float16)
    prototypes = Prototypes(head, [ImageNetClass(i, (f"class {i}",)) for i in range(3)], real)

    hits = 0
    for seed in range(30):
        features, scene = prototypes.draw(random.Random(seed))
        assert features.shape == (49, 1280)
        assert features.min() >= 0 and features.max() <= 6
        best = int(head(torch.from_numpy(features.astype(np.float32)).mean(0)).argmax())
        hits += f"class {best}" in {p.names[0] for p in scene.placed}
    assert hits >= 27


def test_the_truth_of_prototypes_says_where_their_cells_are() -> None:
    head = torch.nn.Linear(1280, 1, bias=False)
    torch.nn.init.constant_(head.weight, 0.05)
    prototypes = Prototypes(head, [ImageNetClass(0, ("thing",))], np.zeros((4, 49, 1280), np.float16))
    for seed in range(60):
        features, scene = prototypes.draw(random.Random(seed))
        cells = np.argwhere(features.reshape(7, 7, 1280).any(-1))  # rows of (y, x)
        boxes = np.array([placed.box for placed in scene.placed]) * 7
        inside = [((b[1] <= y < b[3]) and (b[0] <= x < b[2])) for y, x in cells for b in boxes]
        assert sum(inside) == len(cells)  # each in the one box that it belongs to
        area = float(((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).sum())
        assert len(cells) == pytest.approx(area) or (len(scene.placed) == 1 and 8 <= len(cells) <= 30)
