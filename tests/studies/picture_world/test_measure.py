import numpy as np
import pytest
from studies.picture_world.measure import auroc, interval, interval_over, spearman


def test_auroc_counts_won_comparisons_and_half_of_the_ties() -> None:
    # 3 beats 1 and 2; 2 beats 1 and ties with 2: (2 + 1.5) of 4 comparisons
    assert auroc([3, 2], [1, 2]) == pytest.approx(3.5 / 4)


def test_auroc_of_nothing_is_not_a_number() -> None:
    assert np.isnan(auroc([], [1.0]))


def test_spearman_sees_order_and_not_size() -> None:
    assert spearman([1, 2, 3, 4], [1, 10, 100, 1000]) == pytest.approx(1)
    assert spearman([1, 2, 3, 4], [4, 3, 2, 1]) == pytest.approx(-1)
    assert spearman([5, 1, 5, 0], [2, 1, 2, 3]) == pytest.approx(-1 / 3)  # ranks 3.5 2 3.5 1, 2.5 1 2.5 4
    assert np.isnan(spearman([1, 1, 1], [1, 2, 3]))


def test_a_bootstrap_interval_holds_the_mean_and_narrows_with_more_rows() -> None:
    rows = np.random.default_rng(0).normal(size=400)
    low, high = interval(lambda n: float(rows[:400][n].mean()), 400)
    few_low, few_high = interval(lambda n: float(rows[:25][n].mean()), 25)
    assert low < rows.mean() < high
    assert high - low < few_high - few_low


def test_an_interval_over_groups_knows_that_rows_of_a_group_are_alike() -> None:
    values = np.repeat(np.random.default_rng(0).normal(size=50), 5)
    low, high = interval(lambda n: float(values[n].mean()), 250)
    wide_low, wide_high = interval_over(lambda n: float(values[n].mean()), np.repeat(np.arange(50), 5).tolist())
    assert wide_high - wide_low > 1.8 * (high - low)  # five equal rows tell what one tells: sqrt(5)
