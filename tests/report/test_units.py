"""S(I2C) stands with the unit of its form, wherever it stands; losses are in nats whatever the form."""

import re
from collections.abc import Sequence
from dataclasses import replace

import pytest
from tests.report.fake_rounds import make_rounds
from tests.report.fake_run import make_contents, select

from c3l.method.i2c import compute_i2c
from c3l.records import Form, ScoredPair
from c3l.report.build import render_report
from c3l.report.contents import ReportContents
from c3l.report.facts import read_facts
from c3l.report.forms import build_form_rows
from c3l.report.units import NATS, unit_in_use, unit_of_form

TITLE = re.compile(r' title="[^"]*"')  # of a token: the change of its log-probability, nats in any form


def in_form(contents: ReportContents, form: Form) -> ReportContents:
    def rescore(scored: Sequence[ScoredPair]) -> list[ScoredPair]:
        return [replace(one, i2c=compute_i2c(one.scores, form), form=form) for one in scored]

    scored = rescore(contents.scored)
    return replace(contents, scored=scored, earlier=rescore(contents.earlier), decisions=select(scored))


def read_words(page: str) -> str:
    body = page.split("</style>")[1].split("<script>")[0]
    return TITLE.sub(lambda title: title[0] if "S(I2C)" in title[0] else "", body)


@pytest.mark.parametrize("form", ["lift", "probability_gain"])
def test_a_page_about_probabilities_has_nats_at_losses_alone(form: Form) -> None:
    words = read_words(render_report(in_form(make_rounds(6), form)))
    without = re.sub(r"in probability, not nats|log-probabilit\w+, nats|in nats where a form does not", "", words)
    assert [line for line in without.splitlines() if re.search(r"\bnats\b", line) and "S(I2C)" in line] == []
    losses = "(InfoNCE\\)|token, \\w+), nats|nats a token|>nats</text>"
    assert len(re.findall(r"\bnats\b", without)) == len(re.findall(losses, without)) > 0
    assert words.count("S(I2C), in probability") >= 6


def test_a_page_in_nats_speaks_of_no_other_unit() -> None:
    words = read_words(render_report(make_contents(6)))
    assert words.count("S(I2C), nats") >= 4
    assert "S(I2C), in probability" not in words
    assert words.count("in probability") == 3, "the meanings of the three forms"


def test_probabilities_have_a_decimal_more() -> None:
    contents = make_contents(2)
    assert unit_of_form(contents, "log_ratio").say(0.0123) == "+0.01 nats"
    assert unit_of_form(contents, "lift").say(-0.0123) == "\N{MINUS SIGN}0.012 in probability"
    assert unit_of_form(contents, "lift").show(-0.0001) == "0.000"
    assert unit_of_form(contents, "lift").show(None) == "\N{EN DASH}"


def test_every_row_of_the_forms_has_the_decimals_of_its_own() -> None:
    contents = in_form(make_contents(6), "lift")
    rows = {row.name: row.median for row in build_form_rows(contents, read_facts(contents))}
    assert [len(rows[form].split(".")[1]) for form in ("lift", "probability_gain", "log_ratio")] == [3, 3, 2]


def test_the_draft_has_a_unit_where_the_last_round_has_no_pair() -> None:
    contents = in_form(make_rounds(4), "lift")
    draft, nothing = replace(contents, scored=[]), replace(contents, scored=[], earlier=[])
    assert unit_in_use(draft, read_facts(draft)).name == "in probability"
    assert unit_in_use(nothing, read_facts(nothing)) == NATS
