"""Selection: the highest S(I2C) of an image is the positive."""

import random

from c3l.method.selection import Standing, rank_pairs, select
from c3l.records import AnswerScores, ContrastiveGroup, Sample, ScoredSample

EMPTY = AnswerScores((), (), (), ())


def scored(sample_id: str, image_id: str, i2c: float) -> ScoredSample:
    sample = Sample(sample_id, image_id, "plain", "q?", "a", 0, 0)
    return ScoredSample(sample, EMPTY, i2c, "log_ratio", "drop")


SCORED = [
    scored("s1", "b", 0.5),
    scored("s2", "b", -1.0),
    scored("s3", "b", 2.0),
    scored("s4", "a", 1.0),
    scored("s6", "c", 0.25),
    scored("s5", "c", 0.25),
]


def test_positive_is_the_highest_and_negatives_fall_with_ties_by_id() -> None:
    assert select(SCORED) == [
        ContrastiveGroup("b", "s3", ("s1", "s2")),
        ContrastiveGroup("c", "s5", ("s6",)),
    ]


def test_every_pair_has_a_standing_and_a_lonely_one_says_so() -> None:
    assert rank_pairs(SCORED) == {
        "s4": Standing(1, "only"),
        "s3": Standing(1, "positive"),
        "s1": Standing(2, "negative"),
        "s2": Standing(3, "negative"),
        "s5": Standing(1, "positive"),
        "s6": Standing(2, "negative"),
    }


def test_order_of_the_input_changes_nothing() -> None:
    for seed in range(20):
        shuffled = random.Random(seed).sample(SCORED, len(SCORED))
        assert select(shuffled) == select(SCORED)
        assert list(rank_pairs(shuffled).items()) == list(rank_pairs(SCORED).items())


def test_nothing_in_nothing_out() -> None:
    assert select([]) == []
    assert rank_pairs([]) == {}
