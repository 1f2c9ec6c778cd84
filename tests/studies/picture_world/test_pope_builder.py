"""POPE's questions from annotations: true, balanced, and what is absent chosen as each strategy says."""

import json

import pytest
from studies.picture_world.pope_builder import build_pope

from c3l.evaluation.pope import read_pope

THINGS = ["dog", "cat", "owl", "apple", "car", "bus", "hat", "cup"]
ANNOTATIONS = {f"{n}.jpg": [THINGS[(n + k) % 8] for k in range(3)] for n in range(8)} | {"few.jpg": ["dog", "dog"]}


@pytest.mark.parametrize("strategy", ["random", "popular", "adversarial"])
def test_built_questions_are_true_balanced_and_readable(strategy, tmp_path):
    rows = build_pope(ANNOTATIONS, strategy, images=6, seed=1)
    assert rows == build_pope(ANNOTATIONS, strategy, images=6, seed=1)
    assert [row["question_id"] for row in rows] == list(range(1, 37))
    assert [row["label"] for row in rows] == ["yes", "no"] * 18
    for row in rows:
        name = row["text"].removeprefix("Is there a").removeprefix("n").split(" in the")[0].strip()
        assert (name in ANNOTATIONS[row["image"]]) is (row["label"] == "yes")
        assert ("Is there an " in row["text"]) is (name[0] in "aeiou")
    asked = {(row["image"], row["text"]) for row in rows}
    assert len(asked) == len(rows)
    path = tmp_path / f"pope_{strategy}.json"
    path.write_text("\n".join(map(json.dumps, rows)))
    assert len(read_pope([path]).items) == 36


def test_popular_and_adversarial_choose_as_they_say():
    annotations = {"a": ["dog", "cat"], "b": ["dog", "cat"], "c": ["dog", "owl"], "d": ["cup", "hat"]}
    popular = build_pope(annotations, "popular", images=4, samples=1)
    assert next(row for row in popular if row["image"] == "d" and row["label"] == "no")["text"].split()[3] == "dog"
    adversarial = build_pope(annotations, "adversarial", images=4, samples=1)
    assert next(row for row in adversarial if row["image"] == "c" and row["label"] == "no")["text"].split()[3] == "cat"


def test_adversarial_prefers_what_stands_beside_the_object_to_what_is_everywhere():
    annotations = {"a": ["dog", "cat"], "b": ["dog", "cat"], "c": ["dog", "owl"]}
    annotations |= {name: ["hat", "cup"] for name in "defg"}
    asked = {}
    for strategy in ("popular", "adversarial"):
        rows = build_pope(annotations, strategy, images=7, samples=1)
        asked[strategy] = next(row for row in rows if row["image"] == "c" and row["label"] == "no")["text"].split()[3]
    assert asked == {"popular": "hat", "adversarial": "cat"}
