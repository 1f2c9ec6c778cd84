"""Intervals and paired differences, against direct counts and cases worked by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from c3l.errors import DataError
from c3l.evaluation.statistics import compare, estimate
from c3l.evaluation.task import Tally, TallyBuilder, divide


def figures(sums):
    return {"mean": divide(sums["right"], sums["n"]), "none": divide(sums["right"], sums["never"])}


def make(units):
    """A tally of unit -> (right, n)."""
    builder = TallyBuilder(["right", "n", "never"])
    for name, (right, count) in units.items():
        builder.add(name, right=right, n=count)
    return builder.build(items=len(units), unparsed=0, failed=0)


def some(count, seed, share=0.5):
    rng = np.random.default_rng(seed)
    return {f"u{n}": (float(rng.random() < share), 1.0) for n in range(count)}


@pytest.mark.parametrize("seed", range(5))
def test_an_interval_holds_its_value_and_is_as_wide_as_the_binomial_says(seed):
    one = estimate(make(some(400, seed)), figures, seed)["mean"]
    assert one.low < one.value < one.high
    expected = 2 * 1.96 * math.sqrt(one.value * (1 - one.value) / 400)
    assert one.high - one.low == pytest.approx(expected, rel=0.15)


def test_equal_units_leave_no_doubt():
    one = estimate(make({name: (1.0, 2.0) for name in "abc"}), figures)["mean"]
    assert (one.value, one.low, one.high) == (0.5, 0.5, 0.5)


def test_questions_that_share_a_unit_are_drawn_together():
    alone = estimate(make(some(100, 1)), figures)["mean"]
    tenfold = estimate(make({name: (10 * right, 10.0) for name, (right, _) in some(100, 1).items()}), figures)["mean"]
    assert (tenfold.low, tenfold.high) == (alone.low, alone.high)  # 1,000 questions, but no more is known


def test_what_is_not_defined_has_no_value_and_no_interval():
    one = estimate(make({"a": (1.0, 1.0)}), figures)["none"]
    assert (one.value, one.low, one.high) == (None, None, None)


def test_draws_in_which_a_figure_is_not_defined_are_left_out():
    one = estimate(make({"a": (1.0, 1.0), "b": (0.0, 0.0)}), figures)["mean"]
    assert (one.value, one.low, one.high) == (1.0, 1.0, 1.0)


def test_equal_seeds_draw_equal_units():
    tally = make({f"u{n}": (math.sqrt(n), 1.0) for n in range(50)})  # no two draws have equal sums
    assert estimate(tally, figures, 3) == estimate(tally, figures, 3) != estimate(tally, figures, 4)


def test_a_tally_differs_from_itself_by_exactly_nothing():
    tally = make(some(60, 3))
    one = compare(tally, tally, figures)["mean"]
    assert (one.value, one.low, one.high) == (0.0, 0.0, 0.0)


def test_units_are_joined_by_name_whatever_their_order():
    units = some(60, 4)
    turned = make(dict(reversed(units.items())))
    one = compare(make(units), turned, figures)["mean"]
    assert (one.value, one.low, one.high) == (0.0, 0.0, 0.0)


def test_a_paired_difference_is_narrower_than_two_intervals():
    units = some(200, 5)
    worse = units | dict.fromkeys([name for name, (right, _) in units.items() if right][:10], (0.0, 1.0))
    one = compare(make(units), make(worse), figures)["mean"]
    alone = estimate(make(units), figures)["mean"]
    assert one.value == pytest.approx(10 / 200)
    assert 0 < one.low < one.value < one.high
    assert one.high - one.low < 0.6 * (alone.high - alone.low)


def test_other_units_cannot_be_compared():
    with pytest.raises(DataError, match="expected the same 3"):
        compare(make(some(3, 0)), make(some(4, 0)), figures)
    with pytest.raises(DataError, match="rule for both"):
        other = make(some(3, 0))
        compare(make(some(3, 0)), Tally(other.units, ("x", "y", "z"), other.values, 3, 0, 0), figures)


def test_a_benchmark_without_a_question_is_an_error():
    with pytest.raises(DataError, match="without a question"):
        make({})


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), min_size=1, max_size=40))
def test_figures_are_those_of_a_direct_count(answers):
    builder = TallyBuilder(["right", "n", "never"])
    for unit, right in answers:
        builder.add(unit, right=right, n=1)
    tally = builder.build(items=len(answers), unparsed=0, failed=0)
    one = estimate(tally, figures, draws=20)["mean"]
    assert one.value == pytest.approx(sum(right for _, right in answers) / len(answers))
    assert one.low <= one.high
    assert len(tally.units) == len({unit for unit, _ in answers})
