import math

import pytest

from c3l.report.statistics import (
    compute_ranks,
    compute_spearman,
    count_bins,
    find_bin_edges,
    find_median,
    find_ticks,
    round_step,
)


def test_ties_share_the_mean_of_their_ranks() -> None:
    assert compute_ranks([10, 30, 20, 20]).tolist() == [1, 4, 2.5, 2.5]


def test_spearman_of_a_worked_case() -> None:
    # ranks 1 2 3 4 5 against 2 1 4 3 5: d^2 sums to 4, rho = 1 - 6*4 / (5*24) = 0.8
    assert compute_spearman([1, 2, 3, 4, 5], [20, 10, 40, 30, 50]) == pytest.approx(0.8)


def test_spearman_with_ties_is_pearson_of_the_ranks() -> None:
    # ranks (1.5, 1.5, 3, 4) against (1, 2, 3, 4): centred product 4.5, squares 4.5 and 5
    assert compute_spearman([7, 7, 8, 9], [1, 2, 3, 4]) == pytest.approx(4.5 / math.sqrt(4.5 * 5))


def test_spearman_sees_order_and_not_size() -> None:
    assert compute_spearman([1, 2, 3], [math.exp(9), math.exp(10), math.exp(30)]) == pytest.approx(1)
    assert compute_spearman([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)


@pytest.mark.parametrize(("first", "second"), [([1, 2], [1, 2]), ([1, 1, 1], [1, 2, 3]), ([], [])])
def test_spearman_is_none_where_it_means_nothing(first: list[float], second: list[float]) -> None:
    assert compute_spearman(first, second) is None


def test_spearman_refuses_unequal_lengths() -> None:
    with pytest.raises(ValueError, match="3 and 2"):
        compute_spearman([1, 2, 3], [1, 2])


def test_median_of_nothing_is_none() -> None:
    assert find_median([]) is None
    assert find_median([3, 1, 2, 10]) == 2.5


@pytest.mark.parametrize(
    "values", [[-0.7, 0.0, 1.3], [0.5], [0.0, 0.0], [-3e-5, 2e-5], [1000.0, 90000.0], [-1.68, -1.38]]
)
def test_bins_hold_every_value_and_zero_is_a_border(values: list[float]) -> None:
    edges = find_bin_edges(values)
    assert sum(count_bins(values, edges)) == len(values)
    assert len(edges) <= 32
    if edges[0] <= 0 <= edges[-1]:
        assert 0 in edges


def test_ticks_are_round_and_inside() -> None:
    assert find_ticks(-0.61, 1.2, 4) == pytest.approx((-0.5, 0, 0.5, 1.0))
    assert round_step(7, 5) == 2
    assert round_step(0, 5) == 1
