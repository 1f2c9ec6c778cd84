"""Is it about this picture: shares by hand, the ends of the range, and words for every meaning of "without"."""

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from tests.report.fake_rounds import make_rounds
from tests.report.fake_run import make_contents, without_scores

from c3l.method.specificity import measure_specificity
from c3l.records import AnswerScores, ScoredPair
from c3l.report.build import render_report
from c3l.report.contents import ReportContents
from c3l.report.facts import read_facts
from c3l.report.specificity import SpecificityView, build_specificity, judge_difference


def lift(contents: ReportContents, lifts: Sequence[float], kept: int) -> ReportContents:
    """A run of one pair a picture with these lifts over 0.2, the first so many kept; every second says no."""
    scored, decision = [], contents.decisions[0]
    for place, (image_id, value) in enumerate(zip(contents.images, lifts, strict=False)):
        template = contents.scored[0]
        sample = replace(template.sample, sample_id=f"{place}", image_id=image_id, answer="No." if place % 2 else "A.")
        scores = AnswerScores((1,), (sample.answer,), (math.log(0.2 + value),), (math.log(0.2),), (0.1,))
        scored.append(ScoredPair(sample, scores, value, "log_ratio", "others"))
    selected = [replace(decision, sample_id=f"{place}", kept=place < kept) for place in range(len(scored))]
    measure = partial(measure_specificity, no_image="others", others=4)
    return replace(contents, scored=scored, decisions=selected, measure_specificity=measure)


def build(contents: ReportContents) -> SpecificityView:
    view = build_specificity(contents, read_facts(contents))
    assert view is not None
    return view


def read_section(contents: ReportContents) -> str:
    page = render_report(contents).split('<section id="specific">')[1].split("</section>")[0]
    return " ".join(re.sub("<[^>]+>", "", page).split())


def test_kept_stands_against_dropped_by_hand() -> None:
    view = build(lift(make_contents(6), [0.5, 0.3, 0.05, -0.1, 0.0, 0.25], kept=4))
    assert [(row.label, row.pairs, row.share, row.says_no, row.lift) for row in view.rows] == [
        ("All pairs", 6, "50%", "50%", "+0.150"),
        ("Kept", 4, "50%", "50%", "+0.175"),
        ("Dropped", 2, "50%", "50%", "+0.125"),
    ]
    assert view.rows[1].interval == "15% \N{EN DASH} 85%"


def test_the_difference_is_claimed_only_where_the_intervals_say_so() -> None:
    measure = partial(measure_specificity, no_image="others", others=4)
    low, high = (measure([(str(n), value, False) for n in range(40)]) for value in (0.0, 0.5))
    middle = measure([(str(n), 0.5 * (n == 0), False) for n in range(4)])
    words = judge_difference(high, low)
    assert words == "Of the dropped pairs it is 0% (0% \N{EN DASH} 9%): the filter kept the more specific ones."
    assert "less specific" in judge_difference(low, high)
    assert "does not show" in judge_difference(middle, low)
    assert judge_difference(high, measure([])) == ""


def test_the_draft_stands_beside_the_last_round() -> None:
    view = build(make_rounds(6))
    assert [row.label for row in view.rows] == ["Draft", "Refined (round 1)", "Kept", "Dropped"]
    assert view.rows[0].pairs == 25


def test_the_words_say_what_the_picture_was_compared_with() -> None:
    contents = lift(make_contents(6), [0.5, 0.3, 0.05, -0.1, 0.0, 0.02], kept=2)
    text = read_section(contents)
    assert "100% of what was kept is specific to its image, of all that was scored 33%." in text
    assert "50% of what was kept says no, of all 50%." in text
    assert "less that with 4 other images, is at least 0.2." in text
    assert "cannot tell" not in text
    text = read_section(replace(contents, measure_specificity=partial(measure_specificity, no_image="drop", others=4)))
    assert "100% of what was kept needs its image" in text and "specific" not in text
    assert "less that with no image, is at least 0.2. This compares with no image, so it cannot tell" in text


def test_nothing_kept_and_nothing_scored_are_told() -> None:
    contents = lift(make_contents(6), [0.5, 0.3, 0.05, -0.1], kept=0)
    assert "50% of what was scored is specific to its image, 50% says no; nothing was kept." in read_section(contents)
    assert build(contents).rows[1].share == "\N{EN DASH}"
    assert 'id="specific"' not in render_report(without_scores(make_contents(2)))
