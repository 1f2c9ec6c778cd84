"""Scenes made of words, for the tests of questions and oracle."""

import random

from studies.picture_world.scenes import Placed, Scene

KINDS = [
    ("beagle", "dog", "animal"),
    ("tabby", "cat", "animal"),
    ("fire truck", "truck", "vehicle"),
    ("lemon", "fruit", "food"),
    ("hammer", "tool"),
    ("violin", "musical instrument"),
    ("scarf", "clothing"),
]
NAMES = sorted({name for names in KINDS for name in names} | {"whale", "boat", "apple"})
BEAGLE = Placed(("beagle", "dog", "animal"), "brown", (0.05, 0.3, 0.35, 0.6))
LEMON = Placed(("lemon", "fruit", "food"), "yellow", (0.6, 0.6, 0.9, 0.9))


def random_scene(seed: int) -> Scene:
    """One to four things, at most two alike."""
    rng = random.Random(seed)
    placed = []
    for names in rng.sample(KINDS, rng.randint(1, 3)):
        for _ in range(rng.choice((1, 1, 2))):
            x, y = rng.uniform(0, 0.7), rng.uniform(0, 0.7)
            placed.append(Placed(names, rng.choice(("", "red", "blue")), (x, y, x + 0.3, y + 0.3)))
    return Scene(str(seed), tuple(placed[:4]))
