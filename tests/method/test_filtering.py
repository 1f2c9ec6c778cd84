"""Filtering: each rule on cases worked by hand, and what holds for all of them."""

from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from c3l.errors import ConfigError
from c3l.method.filtering import filter_samples, tell_unused
from c3l.records import AnswerScores, FilterDecision, Sample, ScoredPair
from c3l.settings.schema import FilteringConfig, FilterRule
from held import Held


def scored(sample_id: str, i2c: float, image: str = "image", instruction: str = "plain", n: int = 1) -> ScoredPair:
    numbers = (0.0,) * n
    scores = AnswerScores((0,) * n, ("x",) * n, numbers, numbers)
    return ScoredPair(Sample(sample_id, image, instruction, "q?", "a", 0, 0), scores, i2c, "log_ratio", "drop")


# S(I2C) falls from a to f; lengths rise from a to f but for a tie; two images, two instructions
POOL = [
    scored("a", 3.0, "one", "plain", 1),
    scored("b", 2.0, "two", "brief", 2),
    scored("c", 1.0, "one", "plain", 3),
    scored("d", 0.0, "two", "brief", 4),
    scored("e", -1.0, "one", "brief", 5),
    scored("f", -2.0, "two", "plain", 5),
]


def kept(pool: list[ScoredPair] = POOL, seed: int = 0, **settings: Any) -> str:
    rows = filter_samples(pool, FilteringConfig(**settings), seed)
    return "".join(sorted(row.sample_id for row in rows if row.kept))


# by log-likelihood with the image f is the best and a the worst; by S(I2C) it is the other way round
TURNED = [
    replace(one, scores=replace(one.scores, logprobs_with_image=(-float(6 - place),) * len(one.scores.tokens),
                                token_kl=(1.0,) * len(one.scores.tokens)))
    for place, one in enumerate(POOL)
]  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        # of 6 keep 2: the first step leaves sqrt(2 x 6) = 4, the likeliest, c to f; of these the highest S(I2C)
        ({"rule": "top_k", "count": 2}, "cd"),
        ({"rule": "top_fraction", "fraction": 0.25}, "cd"),
        # keep 3: the first step leaves sqrt(3 x 6) = 5
        ({"rule": "top_fraction", "fraction": 0.5}, "bcd"),
        ({"rule": "top_k", "count": 6}, "abcdef"),
        ({"rule": "top_k", "count": 99}, "abcdef"),
        # of the three of each image keep one: the first step leaves sqrt(3) = 2
        ({"rule": "top_k", "count": 1, "stratify": "image"}, "cd"),
        ({"rule": "best_per_image"}, "ab"),
        ({"rule": "lowest", "count": 2}, "ef"),
    ],
)
def test_two_steps_by_hand(settings, expected):
    assert kept(TURNED, first="focused_likelihood", **settings) == expected


def test_a_reason_says_which_of_two_steps_left_a_pair_out():
    config = FilteringConfig(rule="top_fraction", fraction=0.5, first="focused_likelihood")
    reasons = {row.sample_id: row.reason for row in filter_samples(TURNED, config, 0)}
    assert reasons["a"] == "top_fraction 0.5, first by focused_likelihood: rank 6 of 6"
    assert reasons["e"] == "top_fraction 0.5: rank 4 of 5 left by focused_likelihood"


def test_a_first_form_that_was_not_measured_is_refused():
    with pytest.raises(ConfigError, match=r"filtering\.first=focused_likelihood: .*or set filtering\.first=null"):
        kept(POOL, first="focused_likelihood", rule="top_fraction")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"rule": "all"}, "abcdef"),
        ({"rule": "top_fraction", "fraction": 0.5}, "abc"),
        ({"rule": "top_fraction", "fraction": 0.01}, "a"),
        ({"rule": "top_fraction", "fraction": 0.51}, "abcd"),
        ({"rule": "top_k", "count": 2}, "ab"),
        ({"rule": "top_k", "count": 99}, "abcdef"),
        ({"rule": "threshold", "min_score": 1.0}, "abc"),
        ({"rule": "threshold", "max_score": 0.0}, "def"),
        ({"rule": "threshold", "min_score": -1.0, "max_score": 1.0}, "cde"),
        ({"rule": "band", "band": (0.0, 0.5)}, "def"),
        ({"rule": "band", "band": (0.5, 1.0)}, "abc"),
        ({"rule": "band", "band": (0.17, 0.83)}, "bcde"),
        ({"rule": "best_per_image"}, "ab"),
        ({"rule": "lowest", "fraction": 0.5}, "def"),
        ({"rule": "lowest", "count": 1}, "f"),
        ({"rule": "longest", "count": 1}, "e"),
        ({"rule": "longest", "fraction": 0.5}, "def"),
        ({"rule": "top_k", "count": 1, "stratify": "image"}, "ab"),
        ({"rule": "top_k", "count": 1, "stratify": "instruction"}, "ab"),
        ({"rule": "lowest", "count": 1, "stratify": "image"}, "ef"),
        ({"rule": "longest", "count": 1, "stratify": "instruction"}, "ef"),
        ({"rule": "best_per_image", "stratify": "image"}, "ab"),
        ({"rule": "best_per_image", "stratify": "instruction"}, "abef"),
    ],
)
def test_each_rule_keeps_what_it_says(settings: dict[str, Any], expected: str) -> None:
    assert kept(**settings) == kept(POOL[::-1], **settings) == expected


def test_within_openings_the_mixture_of_questions_stays() -> None:
    questions = {"a": "Is it red?", "b": "is there one?", "c": "What is it?", "d": "IS, say, it so?", "e": "What?"}
    by_id = {one.sample.sample_id: one for one in POOL}
    pool = [replace(by_id[i], sample=replace(by_id[i].sample, question=q)) for i, q in questions.items()]
    assert kept(pool, rule="top_fraction", stratify="opening", fraction=0.5) == "abc"
    assert kept(pool, rule="lowest", stratify="opening", fraction=0.3) == "de"
    rows = filter_samples(pool, FilteringConfig(rule="top_fraction", stratify="opening"), 0)
    assert {row.sample_id: row.reason for row in rows}["e"] == "top_fraction 0.5: rank 2 of 2 of opening what"


def test_within_both_openings_yes_and_no_stay_as_they_were() -> None:
    answers = {"a": "No.", "b": "no, none", "c": "No", "d": "Yes.", "e": "yes it is"}
    by_id = {one.sample.sample_id: one for one in POOL}
    pool = [replace(by_id[i], sample=replace(by_id[i].sample, question="Is it?", answer=a)) for i, a in answers.items()]
    assert kept(pool, rule="top_fraction", stratify="opening", fraction=0.4) == "ab"
    assert kept(pool, rule="top_fraction", stratify="openings", fraction=0.4) == "abd"
    rows = filter_samples(pool, FilteringConfig(rule="top_fraction", stratify="openings"), 0)
    assert {row.sample_id: row.reason for row in rows}["e"] == "top_fraction 0.5: rank 2 of 2 of openings is ... yes"


def test_a_share_is_rounded_up_without_float_dust() -> None:
    pool = [scored(f"{n:02}", float(n)) for n in range(100)]
    rows = filter_samples(pool, FilteringConfig(rule="top_fraction", fraction=0.07), 0)
    assert sum(row.kept for row in rows) == 7


def test_neighbouring_bands_cover_everything_once() -> None:
    for size in range(1, 12):
        pool = [scored(f"{n:02}", float(n % 3)) for n in range(size)]
        bands = [(0.0, 0.3), (0.3, 0.45), (0.45, 1.0)]
        parts = [row.sample_id for band in bands for row in rows_kept(pool, rule="band", band=band)]
        assert sorted(parts) == [one.sample.sample_id for one in pool]


def rows_kept(pool: list[ScoredPair], **settings: Any) -> list[FilterDecision]:
    return [row for row in filter_samples(pool, FilteringConfig(**settings), 0) if row.kept]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, ""),
        ({"min_score": 0.0}, "rule=top_fraction does not look at filtering.min_score: set filtering.rule=threshold"),
        ({"rule": "all", "min_score": 0.1, "max_score": 0.2}, "at filtering.min_score and filtering.max_score"),
        ({"rule": "threshold", "min_score": 0.1}, ""),
        ({"band": (0.1, 0.2)}, "at filtering.band: set filtering.rule=band"),
        ({"rule": "top_k", "count": 3, "first": "lift"}, ""),
        ({"rule": "best_per_image", "first": "lift"}, "at filtering.first: set filtering.rule=top_fraction or top_k"),
        (
            {"rule": "best_per_image", "fraction": 0.1},
            "at filtering.fraction: set filtering.rule=top_fraction or random",
        ),
        (
            {"rule": "all", "band": (0.1, 0.2), "fraction": 0.1},
            "set filtering.rule=band to filter so; filtering.rule=all",
        ),
        ({"rule": "top_k", "count": 5, "fraction": 0.1}, "rule=top_k does not look at filtering.fraction: set"),
        ({"rule": "random", "count": 5, "fraction": 0.1}, "filtering.count=5 stands before filtering.fraction: set"),
        ({"rule": "lowest", "fraction": 0.1}, ""),
        ({"rule": "random", "count": 5}, ""),
    ],
)
def test_a_limit_that_the_rule_does_not_look_at_is_told(settings: dict[str, Any], told: str) -> None:
    line = tell_unused(FilteringConfig(**settings))
    assert told in line and bool(line) == bool(told)


def test_a_seed_of_its_own_draws_what_that_seed_of_the_run_does() -> None:
    pool = [scored(f"{n:03}", float(n)) for n in range(200)]

    def draw(run: int, own: int | None) -> str:
        rows = filter_samples(pool, FilteringConfig(rule="random", seed=own), run)
        return "".join(row.sample_id for row in rows if row.kept)

    assert draw(0, 1) == draw(1, None) != draw(0, None)


def test_random_hangs_on_seed_and_id_alone() -> None:
    pool = [scored(f"{n:03}", float(n)) for n in range(200)]
    first, second = kept(pool, 0, rule="random"), kept(pool, 1, rule="random")
    assert len(first) == len(second) == 300
    assert first != second
    rescored = [scored(f"{n:03}", -float(n), "other") for n in range(200)]
    assert kept(rescored, 0, rule="random") == first


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"rule": "all"}, "all"),
        ({"rule": "top_fraction"}, "top_fraction 0.5: rank 3 of 6"),
        ({"rule": "top_k", "count": 2}, "top_k 2: rank 3 of 6"),
        ({"rule": "threshold", "min_score": 1.5}, "threshold 1.5 to inf: 1 nats"),
        ({"rule": "band"}, "band 0.25 to 0.75: place 4 of 6"),
        ({"rule": "longest"}, "longest 0.5: place 4 of 6"),
        ({"rule": "best_per_image"}, "best_per_image: rank 2 of 3 of its image"),
        (
            {"rule": "top_fraction", "stratify": "instruction"},
            "top_fraction 0.5: rank 2 of 3 of instruction plain",
        ),
    ],
)
def test_the_reason_names_the_rule_and_its_number(settings: dict[str, Any], reason: str) -> None:
    rows = {row.sample_id: row for row in filter_samples(POOL, FilteringConfig(**settings), 0)}
    assert rows["c"].reason == reason


def test_rows_stand_by_image_and_rank_with_their_role() -> None:
    rows = filter_samples([*POOL, scored("z", 9.0, "three")], FilteringConfig(), 0)
    assert [(row.image_id, row.rank, row.role, row.sample_id) for row in rows] == [
        ("one", 1, "positive", "a"),
        ("one", 2, "negative", "c"),
        ("one", 3, "negative", "e"),
        ("three", 1, "only", "z"),
        ("two", 1, "positive", "b"),
        ("two", 2, "negative", "d"),
        ("two", 3, "negative", "f"),
    ]


def test_a_threshold_has_the_unit_of_the_form() -> None:
    config = FilteringConfig(rule="threshold", min_score=0.1)
    [row] = filter_samples([replace(scored("a", 0.0123), form="lift")], config, 0)
    assert row.reason == "threshold 0.1 to inf: 0.0123 in probability"


POOLS = st.lists(
    st.tuples(
        st.sampled_from([-1.0, 0.0, 0.5, 2.0]),
        st.sampled_from("xyz"),
        st.sampled_from("pq"),
        st.integers(1, 3),
    ),
    max_size=14,
).map(lambda rows: [scored(f"s{n}", *row) for n, row in enumerate(rows)])


@given(
    POOLS,
    st.sampled_from(get_args(FilterRule)),
    st.sampled_from(["none", "image", "instruction", "opening", "openings"]),
    st.data(),
)
def test_order_changes_nothing_and_every_sample_has_one_row(
    pool: list[ScoredPair], rule: FilterRule, stratify: str, data: st.DataObject
) -> None:
    config = FilteringConfig(rule=rule, count=3 if rule == "top_k" else None, min_score=0.5, stratify=stratify)
    rows = filter_samples(pool, config, 0)
    assert filter_samples(data.draw(st.permutations(pool)), config, 0) == rows
    assert sorted(row.sample_id for row in rows) == sorted(one.sample.sample_id for one in pool)


@pytest.mark.parametrize("stratify", ["none", "image", "instruction", "opening", "openings"])
@pytest.mark.parametrize("rule", get_args(FilterRule))
def test_the_tokens_of_few_pairs_are_held_at_once(rule: FilterRule, stratify: str) -> None:
    held, config = Held(), FilteringConfig(rule=rule, count=3, min_score=0.5, stratify=stratify)
    assert filter_samples(held.give(TURNED), config, 0) == filter_samples(TURNED, config, 0)
    assert held.most <= 2
