"""Which other pictures are shown with each."""

from studies.picture_world.others import drawers

NAMES = [f"{n}.png" for n in range(20)]


def test_the_same_others_stand_for_all_but_for_those_that_are_among_them() -> None:
    draw = drawers(NAMES, seed=0)["the same for all"]
    shown = {name: draw(name, 4) for name in NAMES}
    assert all(len(set(others)) == 4 and name not in others for name, others in shown.items())
    assert len({tuple(others) for others in shown.values()}) == 5, "one set for all, and one for each of the four in it"


def test_others_are_drawn_for_each_and_a_larger_m_keeps_them() -> None:
    draw = drawers(NAMES, seed=0)["drawn for each"]
    assert len({tuple(sorted(draw(name, 4))) for name in NAMES}) > 10
    assert all(name not in draw(name, 19) and draw(name, 8)[:4] == draw(name, 4) for name in NAMES)
