"""Selection: the highest S(I2C) of an image is the positive."""

import random
from dataclasses import replace

import pytest

from c3l.method.selection import rank_pairs, select, to_ranked
from c3l.records import AnswerScores, ContrastiveGroup, Rejected, Sample, ScoredPair
from c3l.settings.schema import SelectionConfig
from held import Held

EMPTY = AnswerScores((), (), (), ())


def scored(sample_id: str, image_id: str, i2c: float) -> ScoredPair:
    sample = Sample(sample_id, image_id, "plain", "q?", "a", 0, 0)
    return ScoredPair(sample, EMPTY, i2c, "log_ratio", "drop")


SCORED = [
    scored("s1", "b", 0.5),
    scored("s2", "b", -1.0),
    scored("s3", "b", 2.0),
    scored("s4", "a", 1.0),
    scored("s6", "c", 0.25),
    scored("s5", "c", 0.25),
]


def test_positive_is_the_highest_and_negatives_fall_with_ties_by_id() -> None:
    assert [one for one in select(SCORED) if isinstance(one, ContrastiveGroup)] == [
        ContrastiveGroup("b", "s3", ("s1", "s2")),
        ContrastiveGroup("c", "s5", ("s6",)),
    ]
    assert select(SCORED) == select(SCORED, SelectionConfig(positive="highest"), seed=7)


def test_an_image_with_one_pair_is_rejected_in_its_place_and_so_counts_add_up() -> None:
    lonely, *groups = select(SCORED)
    assert isinstance(lonely, Rejected)
    assert (lonely.id, lonely.image_id, lonely.stage, lonely.reason) == ("s4", "a", "selection", "one_pair")
    assert "\n" not in lonely.detail
    used = {i for group in groups if isinstance(group, ContrastiveGroup) for i in (group.positive, *group.negatives)}
    assert used | {lonely.id} == {one.sample.sample_id for one in SCORED}


def test_the_lowest_as_a_control_is_the_other_end_with_ties_by_id() -> None:
    assert select(SCORED, SelectionConfig(positive="lowest"))[1:] == [
        ContrastiveGroup("b", "s2", ("s3", "s1")),
        ContrastiveGroup("c", "s6", ("s5",)),
    ]


def test_among_the_same_first_words_a_pair_counts_for_what_it_has_over_the_mean_of_its_kind() -> None:
    def ask(sample_id: str, image_id: str, question: str, answer: str, i2c: float) -> ScoredPair:
        one = scored(sample_id, image_id, i2c)
        return replace(one, sample=replace(one.sample, question=question, answer=answer))

    pairs = [
        ask("no-1", "a", "Is it?", "No.", 2.0),  # the mean of no is 2.0, that of yes 0.5, that of `is` 1.25
        ask("no-2", "b", "is it so?", "No, no.", 2.0),
        ask("yes-1", "a", "Is there?", "Yes.", 1.0),
        ask("yes-2", "b", "Is there?", "Yes!", 0.0),
        ask("what", "a", "What is it?", "A dog.", 1.5),
    ]

    def positives(among: str) -> list[str]:
        groups = select(random.sample(pairs, 5), SelectionConfig(among=among))
        return [group.positive for group in groups if isinstance(group, ContrastiveGroup)]

    assert positives("all") == ["no-1", "no-2"]
    assert positives("opening") == ["no-1", "no-2"]
    assert positives("openings") == ["yes-1", "no-2"]


MANY = [scored(f"{image}-{n}", f"{image:03}", (image * 7 + n * 3) % 5) for image in range(300) for n in range(3)]


def draw(seed: int, pairs: list[ScoredPair] = MANY) -> list[ContrastiveGroup]:
    found = select(pairs, SelectionConfig(positive="random"), seed)
    return [group for group in found if isinstance(group, ContrastiveGroup)]


def test_the_random_control_draws_by_seed_and_ids_and_not_by_score_or_order() -> None:
    shuffled = random.Random(0).sample(MANY, len(MANY))
    upside_down = [scored(one.sample.sample_id, one.sample.image_id, -one.i2c) for one in MANY]
    drawn = [group.positive for group in draw(1)]
    assert draw(1, shuffled) == draw(1)
    assert [group.positive for group in draw(1, upside_down)] == drawn
    assert [group.positive for group in draw(2)] != drawn
    some = [one for one in MANY if one.sample.image_id < "010"]
    assert [group.positive for group in draw(1, some)] == drawn[:10]


def test_the_random_control_draws_every_rank_about_as_often() -> None:
    ranks = rank_pairs(map(to_ranked, MANY))
    counts = [sum(ranks[group.positive][0] == rank for group in draw(1)) for rank in (1, 2, 3)]
    assert sum(counts) == 300
    assert min(counts) > 75  # 100 each, standard deviation 8


@pytest.mark.parametrize("positive", ["highest", "random", "lowest"])
def test_negatives_are_all_the_others_in_order_of_falling_score(positive: str) -> None:
    ranks = rank_pairs(map(to_ranked, MANY))
    for group in select(MANY, SelectionConfig.model_validate({"positive": positive}), seed=3):
        assert isinstance(group, ContrastiveGroup)
        standing = [ranks[sample_id][0] for sample_id in group.negatives]
        assert standing == sorted(standing)
        assert sorted([ranks[group.positive][0], *standing]) == [1, 2, 3]


def test_every_pair_has_a_standing_and_a_lonely_one_says_so() -> None:
    assert rank_pairs(map(to_ranked, SCORED)) == {
        "s4": (1, "only"),
        "s3": (1, "positive"),
        "s1": (2, "negative"),
        "s2": (3, "negative"),
        "s5": (1, "positive"),
        "s6": (2, "negative"),
    }


def test_order_of_the_input_changes_nothing() -> None:
    for seed in range(20):
        shuffled = random.Random(seed).sample(SCORED, len(SCORED))
        assert select(shuffled) == select(SCORED)
        assert list(rank_pairs(map(to_ranked, shuffled)).items()) == list(rank_pairs(map(to_ranked, SCORED)).items())


def test_nothing_in_nothing_out() -> None:
    assert select([]) == []
    assert rank_pairs([]) == {}


@pytest.mark.parametrize("among", ["all", "opening", "openings"])
def test_the_tokens_of_few_pairs_are_held_at_once(among: str) -> None:
    held, config = Held(), SelectionConfig.model_validate({"among": among})
    assert select(held.give(SCORED), config) == select(SCORED, config)
    assert held.most <= 2
