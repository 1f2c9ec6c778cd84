import json
import random
from dataclasses import asdict
from pathlib import Path

import numpy as np
from studies.picture_world.oracle import Oracle
from studies.picture_world.own_words import OwnPair, OwnWords, true_pairs
from studies.picture_world.scenes import Scene
from tests.studies.picture_world.worlds import BEAGLE, LEMON, NAMES

DOG, FRUIT = Scene("dog", (BEAGLE,)), Scene("fruit", (LEMON,))


def text(*pairs: tuple[str, str]) -> str:
    return "\n".join(f"Question: {question}\nAnswer: {answer}" for question, answer in pairs)


def test_only_what_is_true_is_kept_once_and_with_the_share_of_others_it_is_true_of() -> None:
    asked = "Is there a dog in the image?", "Is there a whale in the image?"
    written = [[text((asked[0], "Yes."), (asked[1], "No.")), text((asked[0], "Yes."), (asked[1], "Yes."))], []]
    [found, nothing] = true_pairs(Oracle(NAMES), [DOG, FRUIT], written)
    assert found == [OwnPair(asked[0], "Yes.", "yesno", 0.0), OwnPair(asked[1], "No.", "no", 1.0)]
    assert nothing == []


def test_a_lesson_has_at_most_one_no_names_things_first_and_prefers_what_others_lack(tmp_path: Path) -> None:
    own = [OwnPair(f"Is there a thing {n}?", "Yes.", "yesno", 0.1) for n in range(3)]
    own += [OwnPair(f"Is there no thing {n}?", "No.", "no", 0.95) for n in range(6)]
    own += [OwnPair("What is it?", "It is a dog.", "what", 0.05)]
    rows = [{"picture": 0, "pairs": []}, {"picture": 1, "pairs": [asdict(pair) for pair in own]}]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    np.save(tmp_path / "features.npy", np.arange(2 * 49 * 1280, dtype=np.float16).reshape(2, 49, 1280))
    words, said = OwnWords(tmp_path), []
    for seed in range(50):
        features, (prompt, reply) = words.draw(random.Random(seed))
        assert np.array_equal(features, np.load(tmp_path / "features.npy")[1])  # the other has nothing to say
        assert "4" in prompt  # two of a kind, one no, and what it is
        assert reply.index("What is it?") < reply.index("Is there")
        assert reply.count("Is there no thing") == 1
        said.append(reply)
    assert len(set(said)) > 20
