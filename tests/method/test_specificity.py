"""How specific pairs are: counts and intervals worked by hand."""

import math
from collections import Counter

import pytest

from c3l.method.i2c import compute_i2c
from c3l.method.specificity import (
    SPECIFIC_LIFT,
    SpecificityTally,
    find_interval,
    measure_specificity,
    show_specificity,
    tell_specificity,
)
from c3l.records import AnswerScores, says_no


def pair(image: str, p: float, q: float, text: str = "Yes.") -> tuple[str, float, bool]:
    """A pair each of whose two tokens has the probability p with its picture and q without."""
    scores = AnswerScores((1, 2), ("x", "y"), (math.log(p),) * 2, (math.log(q),) * 2)
    return image, compute_i2c(scores, "lift"), says_no(text)


# lifts of 0.25, 0.05, -0.1 and 0.3
PAIRS = [
    pair("one", 0.5, 0.25),
    pair("one", 0.3, 0.25, "No, there is none."),
    pair("two", 0.2, 0.3, "no"),
    pair("three", 0.9, 0.6, "Nothing."),
]


def test_counts_by_hand() -> None:
    found = measure_specificity(PAIRS, "others", 4)
    assert (found.pairs, found.pictures, found.specific, found.says_no) == (4, 3, 2, 3)
    assert found.median_lift == pytest.approx(0.15)
    assert (found.least_lift, found.over, found.of_this) == (SPECIFIC_LIFT, "4 other images", True)
    assert measure_specificity(PAIRS[:3], "others", 4).median_lift == pytest.approx(0.05)


def test_the_border_itself_is_specific() -> None:
    tally = SpecificityTally("drop")
    for lift in (SPECIFIC_LIFT, math.nextafter(SPECIFIC_LIFT, 0)):
        tally.add("one", lift, False)
    assert tally.summarise(0).specific == 1


def test_nothing_has_no_share() -> None:
    found = measure_specificity([], "drop", 4)
    assert (found.pairs, found.specific, found.low, found.high, found.median_lift) == (0, 0, None, None, None)


def test_a_pair_a_picture_is_wilsons_interval() -> None:
    pairs = Counter({name: 1 for name in "abcd"})
    # 1 of 4: (1/4 + z^2/8 -+ z sqrt(3/64 + z^2/64)) / (1 + z^2/4)
    assert find_interval(pairs, Counter("a")) == pytest.approx((0.04559, 0.69936), abs=1e-4)
    # none of 4: 0 to z^2 / (4 + z^2)
    assert find_interval(pairs, Counter()) == pytest.approx((0.0, 0.48990), abs=1e-4)


def test_pairs_of_a_picture_that_stand_or_fall_together_count_once() -> None:
    together = find_interval(Counter(a=50, b=50), Counter(a=50))
    # as 1 of 2: (1/2 + z^2/4 -+ z sqrt(1/8 + z^2/16)) / (1 + z^2/2)
    assert together == pytest.approx((0.09453, 0.90547), abs=1e-4)
    apart = find_interval(Counter(a=50, b=50), Counter(a=25, b=25))
    assert apart == pytest.approx((0.40383, 0.59617), abs=1e-4), "as 50 of 100"
    assert find_interval(Counter(a=50), Counter(a=25)) == pytest.approx((0.05462, 0.94538), abs=1e-4), "one picture"


def test_it_is_told_in_words_what_the_picture_was_compared_with() -> None:
    assert tell_specificity(measure_specificity(PAIRS, "others", 3)) == (
        "50% of 4 pairs are specific to their image (lift >= 0.2 over 3 other images), 75% say no"
    )
    assert measure_specificity(PAIRS, "others", 1).over == "another image"
    assert tell_specificity(measure_specificity(PAIRS[:1], "blank", 4)) == (
        "100% of 1 pair need their image (lift >= 0.2 over a grey image, not over other images as with "
        "scoring.no_image=others), 0% say no"
    )


def test_programs_get_every_field_with_four_decimals() -> None:
    shown = show_specificity(measure_specificity(PAIRS, "others", 4))
    assert (shown["pairs"], shown["specific"], shown["median_lift"]) == (4, 2, 0.15)
    assert shown["low"] == round(shown["low"], 4) > 0


def test_lift_is_the_form_of_that_name() -> None:
    assert [lift for _, lift, _ in PAIRS] == pytest.approx([0.25, 0.05, -0.1, 0.3])


@pytest.mark.parametrize(
    ("answer", "no"),
    [
        ("No.", True),
        ("No.\nThere is none.", True),
        ("\nNo\n", True),
        ("\u201cNo\u201d", True),
        ("**No**, it is not", True),
        ("No\u2014there is none", True),
        ("no", True),
        ("None of them", True),
        ("Nope", True),
        ("No-one", True),
        ("Nobody.", True),
        ("Nothing.", True),
        ("There are no dogs.", True),
        ("There\u2019s no dog.", True),
        ("There isn't one.", True),
        ("Not that I can see", True),
        ("I don't see any dog.", True),
        ("No dog is visible.", True),
        ("No parking is visible, no.", True),
        ("No fishing boats are visible.", True),
        ("No exit door is visible.", True),
        ("No standing people are there.", True),
        ("No parking spaces.", True),
        ("'No'", True),
        ("\u2018No\u2019", True),
        ("No- it is red", True),
        ("No. 3 people are visible", True),
        ("No.\n3 dogs.", True),
        ("There aren't any dogs, only cats.", True),
        ("Keine Katze", True),
        ("Kein Hund", True),
        ("Keins.", True),
        ("Nein, kein Hund.", True),
        ("Non, il n'y en a pas.", True),
        ("Nee.", True),
        ("N\u00e3o h\u00e1.", True),
        ("Нет, это кошка.", True),
        ("いいえ、猫です。", True),
        ("没有。", True),
        ("不\uff0c是猫。", True),
        ("不是", True),
        ("否", True),
        ("아니요, 고양이입니다.", True),
        ("لا يوجد كلب", True),
        ("नहीं, यह बिल्ली है", True),
        ("Không, đó là mèo.", True),
        ("Hay\u0131r.", True),
        ("No, es un gato.", True),
        ("Yes, no dog", False),
        ("No. 5", False),
        ("No 10 bus", False),
        ("No parking", False),
        ("No Entry.", False),
        ("No parking any time!", False),
        ("No-name shoes", False),
        ("No fewer than five people.", False),
        ("There are no fewer than five people.", False),
        ("There is no less than a litre.", False),
        ("There is not only a dog but a cat.", False),
        ("Nao, a robot", False),
        ("There is no doubt that it is red.", False),
        ("Nothing like a good book", False),
        ("Nothing but trees", False),
        ("None other than a cat", False),
        ("Nonetheless it is red", False),
        ("Non-fiction books", False),
        ("Non alcoholic drinks", False),
        ("North", False),
        ("Notes", False),
        ("Nikon", False),
        ("不锈钢", False),
        ("Không gian rộng", False),
        ("Ei im Nest", False),
        ("Nein's Bakery", False),
        ("It is not red.", False),
        ("", False),
        ("...", False),
    ],
)
def test_an_answer_says_no_by_how_it_opens(answer: str, no: bool) -> None:
    assert says_no(answer) is no
