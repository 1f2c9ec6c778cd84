"""The table of benchmarks: models side by side, and what an interval says."""

from dataclasses import replace

import pytest
from tests.report.fake_run import make_contents

from c3l.records import Estimate, EvalReport, Figure, Provenance
from c3l.report.build import render_report
from c3l.report.evaluation import build_benchmarks

BASE = Provenance("base <b>", "1", "hf", "float32", "cpu", 0, {})
TUNED = replace(BASE, model="tuned", weights="2")


def make_report(difference=None, **more):
    figure = Figure("mean_f1", Estimate(0.8, 0.7, 0.9), Estimate(0.5, 0.4, 0.6), Estimate(0.3, 0.2, 0.4), difference)
    lost = Figure("precision <i>", Estimate(None, None, None))
    named = {"model": TUNED if difference else BASE, "baseline": BASE if difference else None}
    return EvalReport("pope", "llava", 40, 1, 2, (figure, lost), **named, data={}, settings={}, **more)


@pytest.mark.parametrize(
    ("difference", "said"),
    [
        (Estimate(0.1, 0.02, 0.2), "higher"),
        (Estimate(-0.1, -0.2, -0.02), "lower"),
        (Estimate(0.1, -0.02, 0.2), "no clear change"),
        (Estimate(None, None, None), ""),
    ],
)
def test_models_stand_figure_by_figure_and_the_interval_decides(difference, said):
    [view] = build_benchmarks([make_report(), make_report(difference)])
    assert (view.title, view.rule) == ("POPE", "llava")
    assert [(row.name, row.model) for row in view.rows] == [
        ("mean_f1", "base"), ("mean_f1", "after"), ("precision <i>", "base"), ("precision <i>", "after"),
    ]  # fmt: skip
    assert view.rows[0].interval == "0.700 \u2013 0.900"
    assert (view.rows[0].blind, view.rows[0].difference) == ("0.500", "\u2013")
    assert view.rows[1].better == said
    assert "base: 1 unread, 2 failed" in view.about


def test_the_page_shows_them_as_text_and_leaves_them_out_where_there_are_none():
    contents = make_contents()
    assert "What a model learned" not in render_report(contents)
    page = render_report(replace(contents, evaluations=[make_report(), make_report(Estimate(0.1, 0.0, 0.2))]))
    assert "What a model learned from it" in page
    assert 'href="#benchmarks"' in page
    assert "precision &lt;i&gt;" in page
    assert "<i>" not in page.split('id="benchmarks"')[1].split("</section>")[0]
