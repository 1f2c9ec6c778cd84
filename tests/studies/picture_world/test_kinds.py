import pytest
from studies.picture_world.kinds import with_kinds


@pytest.mark.parametrize(
    ("by_wordnet", "names"),
    [
        (("peacock", "butterfly", "insect", "animal"), ("peacock", "bird", "animal")),
        (("f-22 raptor", "raptor", "bird", "animal"), ("f-22 raptor", "airplane", "plane", "aircraft", "vehicle")),
        (("chile pepper", "pepper", "plant"), ("chile pepper", "pepper", "vegetable", "food")),
        (("bell pepper", "vegetable", "food"), ("bell pepper", "pepper", "vegetable", "food")),
        (("iris", "plant"), ("iris", "flower", "plant")),
        (("white kitten", "kitten", "animal"), ("white kitten", "kitten", "cat", "animal")),
        (("double decker bus", "bus"), ("double decker bus", "bus", "vehicle")),
        (("olive", "fruit"), ("olive", "fruit", "food")),
        (("acorn", "fruit"), ("acorn", "fruit")),
        (("heron", "bird", "animal"), ("heron", "bird", "animal")),
    ],
)
def test_kinds_are_those_of_the_thing(by_wordnet: tuple[str, ...], names: tuple[str, ...]) -> None:
    assert with_kinds(by_wordnet) == names
