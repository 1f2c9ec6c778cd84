import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from tests.report.fake_rounds import make_rounds
from tests.report.fake_run import MAKER, make_contents, select, without_scores

from c3l.records import AnswerScores, ScoredPair
from c3l.report.contents import ReportContents
from c3l.report.facts import read_facts
from c3l.report.rounds import Point, RoundsView, build_rounds, draw_change, mean_by_image
from c3l.report.units import NATS


def with_scores(draft: list[tuple[int, float]], last: list[tuple[int, float]]) -> ReportContents:
    """A run whose two rounds have just these (picture, S(I2C)), of answers of one token."""
    contents = make_rounds(4)
    refs, template = list(contents.images), contents.scored[0]

    def write(round: int, number: int, picture: int, i2c: float) -> ScoredPair:
        sample = replace(template.sample, sample_id=f"{round}-{number}", image_id=refs[picture], round=round)
        scores = AnswerScores((1,), ("a",), (i2c - 20,), (-20.0,))
        return replace(template, sample=sample, i2c=i2c, scores=scores)

    rounds = [[write(round, n, *one) for n, one in enumerate(given)] for round, given in enumerate((draft, last))]
    return replace(contents, earlier=rounds[0], scored=rounds[1], decisions=select(rounds[1]))


def build(contents: ReportContents) -> RoundsView | None:
    return build_rounds(contents, read_facts(contents), {})


def test_a_run_of_one_round_has_no_such_section() -> None:
    assert read_facts(make_contents(3)).rounds == {}
    assert build(make_contents(3)) is None


def test_rounds_stand_in_order_and_the_last_may_be_empty() -> None:
    contents = make_rounds(4, rounds=2)
    assert list(read_facts(contents).rounds) == [0, 1, 2]
    assert read_facts(without_scores(contents)).rounds[2] == []
    view = build(without_scores(contents))
    assert view is not None
    assert [row.label for row in view.rows] == ["Draft", "Refined (round 1)", "Refined (round 2)"]
    assert (view.rows[2].pairs, view.rows[2].median, view.rows[2].chart) == (0, "\N{EN DASH}", "")
    assert view.paired is None


def test_pictures_are_compared_with_themselves() -> None:
    # picture 0: mean 0.1 -> 0.5, 1: 0.4 -> 0.3, 2: only draft, 3: only last; changes +0.4 and -0.1, median +0.15
    view = build(with_scores([(0, 0.0), (0, 0.2), (1, 0.4), (2, -9.0)], [(0, 0.5), (1, 0.2), (1, 0.4), (3, 9.0)]))
    assert view is not None and view.paired is not None
    assert (view.paired.pictures, view.paired.rose, view.paired.fell) == (2, 1, 1)
    assert view.paired.change == "+0.15"


def test_a_round_in_numbers() -> None:
    view = build(with_scores([(0, -0.5), (0, 0.1), (1, 0.1), (1, 0.7)], [(0, 1.0)]))
    assert view is not None
    draft = view.rows[0]
    assert (draft.pairs, draft.pictures, draft.median, draft.mean, draft.against) == (4, 2, "+0.10", "+0.10", "25%")


def test_histograms_share_both_axes_whatever_the_number_of_pairs() -> None:
    view = build(with_scores([(0, 0.1)] * 4 + [(0, -2.0)] * 4, [(1, 0.1)]))
    assert view is not None
    bars = [re.findall(r'<rect class="\w+" x="([\d.]+)" y="[\d.]+" width="[\d.]+" height="([\d.]+)"', row.chart)
            for row in view.rows]  # fmt: skip
    (_, half), (whole,) = bars
    assert half[0] == whole[0], "the same score stands at the same place"
    assert 2 * float(half[1]) == pytest.approx(float(whole[1]), abs=0.2)


def test_dots_above_the_diagonal_rose_and_lead_to_their_picture() -> None:
    svg = draw_change([Point(0.0, 0.5, "a.jpg", "c-1"), Point(0.5, 0.0, "b.jpg", None)], "Refined (round 1)", NATS)
    root = ElementTree.fromstring(svg)
    assert [link.get("href") for link in root.iter("a")] == ["#c-1"]
    assert next(root.iter("circle")).get("class") == "rose"
    assert [path.get("class") for path in root.iter("path") if "far" in path.get("class", "")] == ["far fell"]


def test_a_hostile_file_name_stays_a_title() -> None:
    svg = draw_change(
        [Point(0.0, 0.0, "</title><script>x</script>", '"><script>x</script>')], "Refined (round 1)", NATS
    )
    assert "<script" not in svg
    ElementTree.fromstring(svg)


def test_another_scorer_is_told() -> None:
    contents = make_rounds(4)
    other = {"draft/scored": MAKER, "refined/scored": replace(MAKER, weights="sha256:other")}
    for provenance, words in (
        (contents.provenance, "One model scored all"),
        (other, "not all scored by one"),
        ({}, ""),
    ):
        view = build(replace(contents, provenance=provenance))
        assert view is not None
        assert words in view.caution
        assert bool(view.caution) == bool(words)


def test_means_are_by_picture() -> None:
    contents = with_scores([(0, 1.0), (0, 2.0), (1, 5.0)], [])
    assert list(mean_by_image(read_facts(contents).rounds[0]).values()) == [1.5, 5.0]


def test_rounds_without_any_pair_are_counted_by_their_tunings() -> None:
    contents = without_scores(make_rounds(4, rounds=2))
    draft = [one for one in contents.earlier if one.sample.round == 0]
    assert [len(scored) for scored in read_facts(replace(contents, earlier=draft)).rounds.values()] == [
        len(draft),
        0,
        0,
    ]
