import pytest
from studies.picture_world.scenes import Placed, Scene
from studies.picture_world.towers import cells_of, is_right

TOY = Scene("one", (Placed(("toy car", "vehicle"), "", (0.0, 0.0, 0.5, 0.5)), Placed(("mouse",), "", (0.5, 0.5, 1, 1))))


@pytest.mark.parametrize(
    ("names", "right", "below"),
    [
        (("Beach Wagon", "car", "vehicle"), True, True),
        (("canoe", "boat", "vehicle"), True, False),
        (("Mouse",), True, True),
        (("hamster", "mouse"), True, False),
        (("tabby", "cat", "animal"), False, False),
    ],
)
def test_a_class_is_right_by_any_of_its_names_or_below_its_kind_alone(
    names: tuple[str, ...], right: bool, below: bool
) -> None:
    assert (is_right(names, TOY), is_right(names, TOY, below_kind=True)) == (right, below)


def test_the_cells_of_a_thing_are_those_whose_middles_it_covers() -> None:
    assert cells_of(TOY.placed[0], 4) == [0, 1, 4, 5]
    assert cells_of(Placed(("dot",), "", (0.01, 0.01, 0.02, 0.02)), 2) == [0, 1, 2, 3]
