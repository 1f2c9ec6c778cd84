from dataclasses import replace

from tests.report.fake_run import make_contents, without_scores
from tests.report.test_specificity import lift

from c3l.report.build import gather, render_report
from c3l.report.contents import ReportContents
from c3l.report.examples import ExamplesView, pick_evenly, pick_examples
from c3l.report.facts import read_facts


def build(contents: ReportContents) -> ExamplesView:
    return gather(contents).examples


def test_even_steps_have_both_ends_and_none_twice() -> None:
    pairs = read_facts(make_contents(40)).pairs
    ordered = [pair.sample_id for pair in sorted(pairs, key=lambda pair: -pair.i2c)]
    for count in (1, 7, 8, 9, 15, 16, 200):
        shown = [ordered.index(pair.sample_id) for pair in pick_evenly(pairs[:count])]
        every = sorted(ordered.index(pair.sample_id) for pair in pairs[:count])
        assert len(set(shown)) == len(shown) == min(count, 8)
        assert shown == sorted(shown)
        assert (shown[0], shown[-1]) == (every[0], every[-1])
    places = [ordered.index(pair.sample_id) for pair in pick_evenly(pairs)]
    assert places == [0, 28, 56, 85, 113, 142, 170, 199]


def test_eight_of_either_kind_are_shown_with_their_pictures() -> None:
    contents = make_contents(20)
    view = build(contents)
    answers = {one.sample.answer for one in contents.scored}
    for shown in (view.kept, view.dropped):
        assert len(shown) == 8
        assert all(one.picture and one.anchor and one.reason for one in shown)
        assert {"".join(piece.space + piece.text for piece in one.pieces) for one in shown} <= answers


def test_the_order_of_the_records_changes_nothing() -> None:
    contents = make_contents(20)
    turned = replace(contents, scored=contents.scored[::-1], decisions=contents.decisions[::-1])
    assert pick_examples(read_facts(contents)) == pick_examples(read_facts(turned))


def test_the_examples_stand_before_every_table_and_chart() -> None:
    page = render_report(make_contents(6)).split("</style>")[1]
    first = min(page.index(word) for word in ("<table", 'class="chart"', 'class="flow"'))
    assert page.index("<h1>") < page.index('class="side kept"') < page.index('class="side dropped"') < first


def test_a_kind_without_a_pair_says_so_and_an_empty_run_has_no_examples() -> None:
    contents = make_contents(6)
    page = render_report(replace(contents, decisions=[replace(one, kept=True) for one in contents.decisions]))
    dropped = page.split('class="side dropped"')[1].split("</section>")[0]
    assert "No pair." in dropped and "0 of 0" not in dropped
    assert 'id="examples"' not in render_report(without_scores(contents))


def test_the_ends_of_the_kept_pairs_are_shown_and_none_twice() -> None:
    contents = lift(make_contents(12), [0.1, 0.5, 0.05, 0.3, -0.1, 0.25, 0.0, 0.4, 0.15, 0.7], kept=9)
    view = build(contents)
    assert [one.score for one in view.most] == ["+0.500", "+0.400", "+0.300", "+0.250"]
    assert [one.score for one in view.least] == ["\N{MINUS SIGN}0.100", "0.000", "+0.050", "+0.100"]
    assert all(one.picture and one.anchor for one in (*view.most, *view.least))
    view = build(lift(make_contents(12), [0.1, 0.5, 0.05], kept=3))
    assert ([one.score for one in view.most], [one.score for one in view.least]) == (["+0.500", "+0.100"], ["+0.050"])


def test_a_pair_whose_picture_the_gallery_leaves_out_is_shown_without_a_link() -> None:
    view = build(lift(make_contents(12, gallery_limit=1), [0.5, 0.3, 0.05, -0.1], kept=4))
    assert sum(bool(one.anchor) for one in view.kept) == 1
    assert all(one.picture for one in view.kept)
