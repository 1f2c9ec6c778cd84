import random
import re

import pytest
from studies.picture_world.oracle import Oracle
from studies.picture_world.questions import Asker, largest
from studies.picture_world.scenes import Placed, Scene
from studies.picture_world.wording import place_of
from tests.studies.picture_world.worlds import NAMES, random_scene

from c3l.method.parsing import find_pairs
from c3l.method.prompts import load_templates


@pytest.mark.parametrize("template", ["conversation", "brief_vqa", "detailed_description", "complex_reasoning"])
@pytest.mark.parametrize("count", [3, 5])
def test_a_completion_parses_into_as_many_different_pairs_as_asked_for(template: str, count: int) -> None:
    known = load_templates(None)[template]
    for seed in range(20):
        text = Asker(random.Random(seed), NAMES).completion(random_scene(seed), known, count)
        pairs = find_pairs(text, known.parser)
        assert len({pair.question for pair in pairs}) == count


def test_a_completion_speaks_of_what_is_there_in_different_ways() -> None:
    known = load_templates(None)["conversation"]
    pairs = []
    for seed in range(100):
        text = Asker(random.Random(seed), NAMES).completion(random_scene(seed), known, 5)
        found = find_pairs(text, known.parser)
        assert sum(pair.answer.startswith("No") for pair in found) <= 1
        pairs += found
    says = [pair.answer.split()[0] for pair in pairs]
    assert says.count("No,") < 0.1 * len(pairs) < says.count("Yes,")
    assert sum(Oracle(NAMES).grade(random_scene(n // 5), p.question, p.answer).grade == "true"
               for n, p in enumerate(pairs)) > 0.95 * len(pairs)  # fmt: skip


def test_things_are_called_as_people_call_them() -> None:
    asker = Asker(random.Random(0), NAMES, plainly=True)
    retriever = Placed(("Chesapeake Bay Retriever", "dog", "animal"), "", (0, 0, 1, 1))
    said = [asker.name(retriever) for _ in range(200)]
    assert said.count("dog") > 160
    screwdriver = Placed(("screwdriver", "tool"), "", (0, 0, 1, 1))
    assert [asker.name(screwdriver) for _ in range(50)].count("screwdriver") > 40


def test_a_completion_speaks_mostly_of_the_largest_thing() -> None:
    dog, hat = Placed(("dog",), "", (0.1, 0.1, 0.8, 0.8)), Placed(("hat",), "", (0.8, 0.8, 1, 1))
    scene, known = Scene("both", (hat, dog)), load_templates(None)["conversation"]
    pairs = []
    for seed in range(60):
        text = Asker(random.Random(seed), NAMES).completion(scene, known, 5)
        pairs += find_pairs(text, known.parser)
    asked = [re.findall(r"\b(?:dogs?|hats?)\b", pair.question) for pair in pairs]
    dogs, hats = (sum(name in one or f"{name}s" in one for one in asked) for name in ("dog", "hat"))
    assert dogs > 3 * hats > 0
    shown = [pair.answer for pair in pairs if pair.question.startswith("What is in the")]
    assert 0 < sum("hat" in one for one in shown) < 0.5 * len(shown)
    assert all("dog" in one for one in shown)


def test_what_is_largest_is_there_as_often_as_in_the_whole_scene() -> None:
    dogs = [Placed(("dog",), "", (x, 0.1, x + 0.3, 0.5)) for x in (0.0, 0.4)]
    scene = Scene("three", (*dogs, Placed(("hat",), "", (0.8, 0.8, 1, 1))))
    assert largest(scene).placed == tuple(dogs)
    asker = Asker(random.Random(0), NAMES, plainly=True)
    counts = {(qa.topic, qa.short) for _ in range(50) if (qa := asker.count(scene)) and qa.topic}
    assert counts == {("dog", "two"), ("hat", "one")}


def test_a_description_calls_a_thing_by_one_name() -> None:
    retriever = Placed(("Chesapeake Bay Retriever", "dog", "animal"), "brown", (0.1, 0.1, 0.8, 0.8))
    asker = Asker(random.Random(0), NAMES, plainly=True)
    described = [asker.describe(Scene("one", (retriever,))) for _ in range(60)]
    assert all(qa is not None and qa.long.count(qa.short.split(" ", 1)[1]) == 2 for qa in described)


def test_the_names_of_scenery_are_not_kinds_of_each_other() -> None:
    field = Scene("field", (Placed(("field", "hills", "sky"), "", (0.1, 0.1, 0.9, 0.9)),), complete=False)
    dog = Scene("dog", (Placed(("beagle", "dog", "animal"), "", (0.1, 0.1, 0.9, 0.9)),), complete=False)
    asker = Asker(random.Random(0), NAMES)
    assert not any(asker.category(field) for _ in range(30))
    assert any(asker.category(dog) for _ in range(30))


def test_the_same_seed_asks_the_same() -> None:
    texts = [[q.question for q in Asker(random.Random(3), NAMES).ask(random_scene(1), 6)] for _ in range(2)]
    assert texts[0] == texts[1]


def test_absent_things_share_no_word_with_what_is_there() -> None:
    asker = Asker(random.Random(0), ["dog", "hot dog", "whale"])
    asked = {qa.topic for seed in range(60) if (qa := asker.no(random_scene(seed)))}
    scenes_with_dogs = [random_scene(s) for s in range(60) if any("dog" in p.names for p in random_scene(s).placed)]
    asked_beside_dogs = {qa.topic for scene in scenes_with_dogs if (qa := asker.no(scene))}
    assert asked > {"whale"}
    assert asked_beside_dogs == {"whale"}


@pytest.mark.parametrize(
    ("box", "place"),
    [
        ((0.0, 0.4, 0.2, 0.6), "on the left"),
        ((0.4, 0.0, 0.6, 0.2), "at the top"),
        ((0.8, 0.8, 1, 1), "at the bottom right"),
        ((0.4, 0.4, 0.6, 0.6), "in the middle"),
    ],
)
def test_places(box: tuple[float, float, float, float], place: str) -> None:
    assert place_of(Placed(("x",), "", box)) == place
