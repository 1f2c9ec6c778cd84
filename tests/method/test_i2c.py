import math
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from c3l.method.i2c import FORMS, compute_i2c, token_contributions, unit_of
from c3l.records import PROBABILITY_FORMS, AnswerScores, Form

LN2, LN3 = math.log(2), math.log(3)


def answer(with_image, without_image, token_kl=None):
    n = len(with_image)
    return AnswerScores(
        tuple(range(n)),
        ("t",) * n,
        tuple(math.log(p) for p in with_image),
        tuple(math.log(q) for q in without_image),
        token_kl,
    )


# Two tokens: p = 1/2, 1/4 with the image and q = 1/4, 1/4 without it.
TWO = answer([0.5, 0.25], [0.25, 0.25], token_kl=(0.3, 0.1))

BY_HAND = {
    # (ln 2 + ln 1) / 2
    "log_ratio": LN2 / 2,
    # (0.3 + 0.1) / 2
    "vocabulary_kl": 0.2,
    # P = 2/3, 1/3 and Q = 1/2, 1/2: 2/3 ln(4/3) + 1/3 ln(2/3) = 5/3 ln 2 - ln 3
    "answer_kl": 5 / 3 * LN2 - LN3,
    # (ln 1/2 - 1/2 ln 1/4 + ln 1/4 - 1/2 ln 1/4) / 2 = (0 - ln 2) / 2
    "discounted_likelihood": -LN2 / 2,
    # weights 0.09 and 0.01 of 0.1: 0.9 ln 1/2 + 0.1 ln 1/4 = -1.1 ln 2
    "focused_likelihood": -1.1 * LN2,
    # (1/2 ln 2 + 1/4 ln 1) / 2
    "weighted_log_ratio": LN2 / 4,
    # P = sqrt(1/8), Q = 1/4
    "lift": 8**-0.5 - 1 / 4,
    # (1/2 - 1/4 + 1/4 - 1/4) / 2
    "probability_gain": 1 / 8,
    # 0.9 (1/2 - 1/4) + 0.1 (1/4 - 1/4)
    "focused_gain": 0.225,
}


@pytest.mark.parametrize("form", get_args(Form))
def test_each_form_by_hand(form):
    assert compute_i2c(TWO, form) == pytest.approx(BY_HAND[form], abs=1e-12)


def test_every_form_has_a_function_and_a_case_by_hand():
    assert set(FORMS) == set(get_args(Form)) == set(BY_HAND)


@pytest.mark.parametrize("form", ["log_ratio", "weighted_log_ratio"])
def test_signed_forms_fall_below_zero_when_the_image_speaks_against_the_answer(form):
    assert compute_i2c(answer([0.1, 0.2], [0.4, 0.2]), form) < 0


def test_of_two_equally_likely_answers_the_discounted_likelihood_prefers_the_one_that_needs_the_image():
    needs_it, goes_without, is_unlikely = answer([0.5], [0.1]), answer([0.5], [0.5]), answer([0.05], [0.01])
    scores = [compute_i2c(one, "discounted_likelihood") for one in (needs_it, goes_without, is_unlikely)]
    assert scores == sorted(scores, reverse=True)
    assert compute_i2c(needs_it, "log_ratio") == pytest.approx(compute_i2c(is_unlikely, "log_ratio"))


def test_the_focused_likelihood_looks_where_the_image_matters():
    right, wrong = answer([0.9, 0.1], [0.5, 0.1], (2.0, 0.01)), answer([0.1, 0.9], [0.5, 0.9], (2.0, 0.01))
    assert compute_i2c(right, "focused_likelihood") > compute_i2c(wrong, "focused_likelihood") + 2
    assert compute_i2c(right, "log_ratio") < 0.3 and sum(right.logprobs_with_image) == sum(wrong.logprobs_with_image)


def test_where_the_image_matters_nowhere_the_focused_likelihood_is_the_likelihood():
    assert compute_i2c(answer([0.5, 0.25], [0.5, 0.25], (0.0, 0.0)), "focused_likelihood") == pytest.approx(-1.5 * LN2)


def test_the_lift_asks_for_an_answer_that_is_likely_and_not_already_so_without_the_image():
    needs_it, goes_without, is_unlikely = answer([0.5], [0.1]), answer([0.5], [0.5]), answer([0.05], [0.01])
    scores = [compute_i2c(one, "lift") for one in (needs_it, is_unlikely, goes_without)]
    assert scores == pytest.approx([0.4, 0.04, 0.0])


def test_the_focused_gain_looks_where_the_image_matters_and_asks_what_it_adds():
    adds, speaks_against = answer([0.9, 0.1], [0.2, 0.1], (2.0, 0.01)), answer([0.2, 0.1], [0.9, 0.1], (2.0, 0.01))
    sure_either_way = answer([0.9, 0.9], [0.9, 0.9], (0.01, 0.01))
    scores = [compute_i2c(one, "focused_gain") for one in (adds, sure_either_way, speaks_against)]
    assert scores == pytest.approx([0.7, 0.0, -0.7], abs=1e-4)
    nowhere = answer([0.5, 0.5], [0.4, 0.3], (0.0, 0.0))
    assert compute_i2c(nowhere, "focused_gain") == pytest.approx(0.15), "the mean gain, where no token is decided"


def test_a_token_shares_in_the_lift_by_what_the_image_does_to_it():
    first, second = token_contributions(TWO, "lift")
    assert second == 0 and first == pytest.approx(2 * BY_HAND["lift"])


def test_forms_are_in_nats_or_compare_probabilities():
    assert {form: unit_of(form) for form in PROBABILITY_FORMS} == dict.fromkeys(PROBABILITY_FORMS, "in probability")
    assert {unit_of(form) for form in set(FORMS) - PROBABILITY_FORMS} == {"nats"}


def test_answer_kl_of_one_token_is_zero_whatever_the_image_does():
    assert compute_i2c(answer([0.9], [0.001]), "answer_kl") == pytest.approx(0, abs=1e-12)


def test_answer_kl_sees_the_shape_over_positions_and_not_the_level():
    # with the image every token is three times as likely: the shape over the positions is the same
    assert compute_i2c(answer([0.3, 0.6], [0.1, 0.2]), "answer_kl") == pytest.approx(0, abs=1e-12)
    assert compute_i2c(answer([0.3, 0.6], [0.1, 0.2]), "log_ratio") == pytest.approx(LN3)


@pytest.mark.parametrize("form", get_args(Form))
def test_repeating_an_answer_changes_no_score(form):
    twice = answer([0.5, 0.25] * 2, [0.25, 0.25] * 2, token_kl=(0.3, 0.1) * 2)
    assert compute_i2c(twice, form) == pytest.approx(compute_i2c(TWO, form), abs=1e-12)


@pytest.mark.parametrize("form", ["log_ratio", "vocabulary_kl", "answer_kl", "weighted_log_ratio"])
def test_an_image_that_changes_nothing_scores_zero(form):
    assert compute_i2c(answer([0.5, 0.1], [0.5, 0.1], (0.0, 0.0)), form) == pytest.approx(0, abs=1e-12)


def test_contributions_name_the_token_that_the_image_raised():
    assert token_contributions(TWO, "log_ratio") == pytest.approx((LN2, 0))


@pytest.mark.parametrize("form", get_args(Form))
def test_an_empty_answer_is_refused(form):
    with pytest.raises(ValueError, match="0 tokens"):
        compute_i2c(AnswerScores((), (), (), (), ()), form)


@pytest.mark.parametrize("form", ["vocabulary_kl", "focused_likelihood", "focused_gain"])
def test_divergences_that_were_not_measured_are_refused(form):
    with pytest.raises(ValueError, match="token_kl"):
        compute_i2c(answer([0.5], [0.5]), form)


@given(st.lists(st.tuples(st.floats(-50, 0), st.floats(-50, 0)), min_size=1, max_size=20))
def test_answer_kl_is_never_negative_and_all_forms_are_finite(logprobs):
    with_image, without_image = zip(*logprobs, strict=True)
    n = len(logprobs)
    scores = AnswerScores(tuple(range(n)), ("",) * n, with_image, without_image, (0.0,) * n)
    assert compute_i2c(scores, "answer_kl") >= -1e-9
    assert all(math.isfinite(compute_i2c(scores, form)) for form in FORMS)


def test_numbers_that_are_not_finite_come_out_as_such_and_do_not_crash():
    scores = AnswerScores((1, 2), ("", ""), (-math.inf, -1.0), (-math.inf, math.nan), (math.nan, 0.0))
    assert not any(math.isfinite(compute_i2c(scores, form)) for form in FORMS)
