import numpy as np
from studies.picture_world.linear_probe import Examples, judge, name
from studies.picture_world.questions import everyday
from studies.picture_world.scenes import Placed, Scene

CAT, DOG = ("tabby", "cat", "animal"), ("beagle", "dog", "animal")


def scene(*names: tuple[str, ...]) -> Scene:
    return Scene("", tuple(Placed(one, "", (0.0, 0.0, 0.5, 0.5)) for one in names))


def test_a_thing_is_called_as_people_call_it() -> None:
    assert everyday(CAT) == "cat"
    assert everyday(("bassoon", "instrument")) == "bassoon"


def test_what_holds_of_many_other_scenes_is_not_specific() -> None:
    scenes = [scene(CAT), scene(DOG), scene(("bassoon",)), scene(DOG)]
    right = judge(["cat", "animal", "cat", "dog"], scenes)
    assert right.tolist() == [[1, 1], [1, 0], [0, 0], [1, 0]]  # of the three others one has a dog


def test_the_cells_of_the_largest_thing_are_looked_at() -> None:
    seen = np.arange(49, dtype=np.float32)[:, None].repeat(3, 1)
    small = Placed(("ant",), "", (0.0, 0.0, 0.1, 0.1))
    large = Placed(("bear",), "", (4 / 7, 6 / 7, 1.0, 1.0))  # the last three of the last row
    found = Examples.of_largest([seen], [Scene("", (small, large))])
    assert found.names == [("bear",)]
    assert found.features.tolist() == [[47.0] * 3]


def test_a_probe_names_what_it_was_taught() -> None:
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(2, 16)).astype(np.float32)

    def draw(count: int) -> Examples:
        which = rng.integers(0, 2, count)
        noise = 0.3 * rng.normal(size=(count, 16)).astype(np.float32)
        return Examples(directions[which] + noise, [(CAT, DOG)[n] for n in which])

    held_out = draw(40)
    right = [word in names for word, names in zip(name(draw(80), held_out), held_out.names, strict=True)]
    assert sum(right) >= 38
