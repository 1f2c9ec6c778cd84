import math
import random
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from tests.report.fake_rounds import make_step, make_tuning

from c3l.records import HeldOut, TuningStep
from c3l.report.curves import (
    ACCURACY,
    LOSSES,
    MAX_POINTS,
    build_tuning,
    choose_window,
    draw_curves,
    judge_held_out,
    smooth,
    thin,
)

BEFORE = HeldOut("before", 40, 1.5, 0.25, 2.0, 2.2)


def make_steps(contrastive: list[float]) -> list[TuningStep]:
    return [
        replace(make_step(random.Random(0), number, 9), contrastive=value)
        for number, value in enumerate(contrastive, start=1)
    ]


def lines_of(svg: str) -> list[ElementTree.Element]:
    return [one for one in ElementTree.fromstring(svg).iter() if "line" in one.get("class", "").split()]


def test_a_line_is_as_high_as_its_numbers() -> None:
    svg = draw_curves(make_steps([1.0, 3.0, 2.0]), LOSSES[:1], "nats", top=4.0)
    (line,) = lines_of(svg)
    heights = [float(point.split()[1]) for point in line.get("d", "")[1:].split("L")]
    assert heights[0] - heights[1] == pytest.approx(2 * (heights[0] - heights[2]), abs=0.2)
    assert heights[1] < heights[2] < heights[0], "downwards in the drawing is less"


def test_one_step_is_a_dot() -> None:
    svg = draw_curves(make_steps([1.0]), LOSSES, "nats")
    assert [line.tag for line in lines_of(svg)] == ["circle", "circle"]
    view = build_tuning(make_tuning("tuned", 1))
    assert view.losses and view.accuracy
    assert (view.steps, view.window, view.undrawn) == (1, 1, 0)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e300])
def test_a_number_that_cannot_be_drawn_is_a_gap_and_is_counted(bad: float) -> None:
    steps = make_steps([1.0, 2.0, bad, 1.0, 2.0])
    svg = draw_curves(steps, LOSSES[:1], "nats")
    (line,) = lines_of(svg)
    assert line.get("d", "").count("M") == 2
    assert "nan" not in svg and "inf" not in svg
    assert build_tuning(replace(make_tuning("tuned", 1), steps=steps)).undrawn == 1


def test_curves_of_nothing_drawable_are_empty() -> None:
    assert draw_curves(make_steps([math.nan, math.inf]), LOSSES[:1], "nats") == ""
    assert draw_curves([], ACCURACY, "share") == ""
    assert build_tuning(replace(make_tuning("tuned", 1), steps=[])).steps == 0


def test_thousands_of_steps_keep_the_page_small_and_their_peak() -> None:
    points = [(float(step), math.sin(step)) for step in range(20_000)]
    points[12_345] = (12_345.0, 50.0)
    thinned = thin(points)
    assert len(thinned) <= MAX_POINTS
    assert (12_345.0, 50.0) in thinned
    assert thinned == sorted(thinned)
    assert len(draw_curves(make_tuning("tuned", 20_000).steps, LOSSES, "nats")) < 20_000
    assert thin(points[:MAX_POINTS]) == points[:MAX_POINTS]


def test_a_stretch_without_numbers_stays_a_gap_when_thinned() -> None:
    points = [(float(step), math.nan if 400 <= step < 600 else 1.0) for step in range(1000)]
    assert any(math.isnan(value) for _, value in thin(points))


def test_the_strong_line_is_the_mean_of_what_is_known_around() -> None:
    points = [(1.0, 1.0), (2.0, 2.0), (3.0, math.nan), (4.0, 4.0), (5.0, 6.0)]
    values = [value for _, value in smooth(points, 3)]
    assert values[:2] == pytest.approx([1.5, 1.5])
    assert math.isnan(values[2])
    assert values[3:] == pytest.approx([5.0, 5.0])
    assert smooth(points[:2], 1) == points[:2]


def test_few_steps_are_not_smoothed() -> None:
    assert [choose_window(steps) for steps in (0, 1, 39, 40, 400)] == [1, 1, 1, 3, 21]
    assert len(lines_of(draw_curves(make_steps([1.0, 2.0, 3.0]), LOSSES, "nats"))) == 2
    assert len(lines_of(draw_curves(make_steps([1.0, 2.0] * 30), LOSSES, "nats"))) == 4


def test_both_likelihoods_rising_is_a_warning() -> None:
    verdict, warns = judge_held_out(BEFORE, replace(BEFORE, when="after", likelihood=2.6, negatives_likelihood=2.9))
    assert warns
    assert "+0.60" in verdict and "+0.70" in verdict and "ruin" in verdict


@pytest.mark.parametrize(("positives", "negatives"), [(2.6, 2.3), (2.1, 4.0), (2.4, 2.6)])
def test_one_likelihood_rising_or_both_a_little_is_none(positives: float, negatives: float) -> None:
    after = replace(BEFORE, when="after", accuracy=0.5, likelihood=positives, negatives_likelihood=negatives)
    verdict, warns = judge_held_out(BEFORE, after)
    assert not warns
    assert "in 25% before and 50% after" in verdict
    assert "chance" not in verdict


@pytest.mark.parametrize(
    ("before", "after", "words", "warns"),
    [
        (None, None, "No group was held out", False),
        (BEFORE, None, "only before", False),
        (None, replace(BEFORE, when="after"), "only after", False),
        (BEFORE, replace(BEFORE, when="after", likelihood=math.nan), "broken", True),
        (BEFORE, replace(BEFORE, when="after", contrastive=math.inf), "broken", True),
        (replace(BEFORE, accuracy=math.nan), replace(BEFORE, when="after"), "unknown share", False),
        (replace(BEFORE, groups=3), replace(BEFORE, when="after", groups=3), "chance", False),
    ],
)
def test_what_is_said_of_held_out_groups(
    before: HeldOut | None, after: HeldOut | None, words: str, warns: bool
) -> None:
    verdict, warned = judge_held_out(before, after)
    assert words in verdict
    assert warned is warns


def test_the_table_has_before_after_and_change() -> None:
    view = build_tuning(
        replace(make_tuning("tuned", 9), held_out=[replace(BEFORE, when="after", accuracy=0.5), BEFORE])
    )
    accuracy = view.measures[1]
    assert (accuracy.before, accuracy.after, accuracy.change) == ("0.25", "0.50", "+0.25")
    assert view.groups == 40
    assert build_tuning(replace(make_tuning("tuned", 9), held_out=[])).measures == ()
    broken = replace(BEFORE, when="after", likelihood=math.nan)
    view = build_tuning(replace(make_tuning("tuned", 9), held_out=[BEFORE, broken]))
    assert (view.measures[2].after, view.measures[2].change) == ("not finite", "not finite")


def test_a_drawing_says_what_it_shows() -> None:
    label = ElementTree.fromstring(draw_curves(make_steps([1.0, 3.0]), LOSSES[:1], "nats")).get("aria-label")
    assert label == "contrastive (InfoNCE) from 1.00 to 3.00"
