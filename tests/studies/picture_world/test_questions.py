import random

import pytest
from studies.picture_world.oracle import Oracle
from studies.picture_world.questions import Asker, place_of
from studies.picture_world.scenes import Placed
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
    violin = Placed(("violin", "musical instrument"), "", (0, 0, 1, 1))
    assert [asker.name(violin) for _ in range(50)].count("violin") > 40


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
