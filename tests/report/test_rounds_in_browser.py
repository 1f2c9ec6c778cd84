"""The report of a run with several rounds, as a reader meets it."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
from tests.report.browser import Browser, needs_browser
from tests.report.fake_rounds import make_rounds, make_tuning
from tests.report.fake_run import make_contents, without_scores
from tests.report.page_checks import FAINT_DRAWINGS, FOREIGN_ELEMENTS, LOW_CONTRAST, VISIBLE_PAIRS, WIDE_ELEMENTS

from c3l.report.build import write_report

pytestmark = needs_browser

ROUND_TOPS = """[...document.querySelector('.card').querySelectorAll('.round')]
  .map(round => [Math.round(round.getBoundingClientRect().left), Math.round(round.getBoundingClientRect().top)])"""
SHOWN_ROUNDS = "[...document.querySelectorAll('.round')].filter(round => round.checkVisibility())"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rounds") / "report.html"
    write_report(path, make_rounds(20, rounds=2))
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "phone"), [(1440, False), (800, False), (375, True), (320, True)])
def test_nothing_is_wider_than_the_window(browser: Browser, page: Path, width: int, phone: bool, scheme: str) -> None:
    browser.resize(width, 844, phone)
    browser.prefer(scheme)  # type: ignore[arg-type]
    browser.open(page)
    assert browser.evaluate("document.documentElement.scrollWidth") == width
    assert browser.evaluate(WIDE_ELEMENTS) == []
    assert browser.evaluate(LOW_CONTRAST) == []
    assert browser.evaluate(FAINT_DRAWINGS) == []
    assert browser.evaluate(FOREIGN_ELEMENTS) == []
    assert browser.problems == []


def test_rounds_stand_side_by_side_on_a_laptop_and_stack_on_a_phone(browser: Browser, page: Path) -> None:
    browser.resize(1280, 900)
    browser.open(page)
    (left, top), (right, same) = browser.evaluate(ROUND_TOPS)
    assert right > left + 200 and same == top
    browser.resize(390, 844, phone=True)
    browser.open(page)
    (left, top), (same, below) = browser.evaluate(ROUND_TOPS)
    assert same == left and below > top + 200


def test_both_rounds_of_a_picture_are_shown_by_name(browser: Browser, page: Path) -> None:
    browser.resize(390, 844, phone=True)
    browser.open(page)
    names = "[...document.querySelector('.card').querySelectorAll('.round h3')].map(name => name.textContent)"
    assert [name.strip()[:5] for name in browser.evaluate(names)] == ["Draft", "Refin"]
    assert browser.evaluate(f"{VISIBLE_PAIRS}.length") == 190
    assert browser.evaluate(f"{VISIBLE_PAIRS}.filter(pair => pair.matches('.draft')).length") == 95
    assert browser.evaluate("controls.elements.found.value") == "95 pairs, 95 of the draft, 6 rejected of 20 images"


def test_the_draft_is_neither_kept_nor_dropped(browser: Browser, page: Path) -> None:
    browser.open(page)
    shown = {}
    for state in ("kept", "dropped"):
        browser.evaluate(f"document.querySelector('[name=show][value={state}]').click()")
        assert browser.evaluate(f"{VISIBLE_PAIRS}.every(pair => pair.classList.contains('{state}'))")
        shown[state] = browser.evaluate(f"{VISIBLE_PAIRS}.length")
        pictures = browser.evaluate("[...document.querySelectorAll('.card')].filter(card => !card.hidden).length")
        assert browser.evaluate("controls.elements.found.value") == f"{shown[state]} pairs of {pictures} images"
        assert browser.evaluate(f"{SHOWN_ROUNDS}.length") == pictures, "no empty column stays"
    assert sum(shown.values()) == 95
    browser.evaluate("document.querySelector('[name=show][value=all]').click()")
    assert browser.evaluate(f"{VISIBLE_PAIRS}.length") == 190


def test_search_finds_words_of_the_draft(browser: Browser, tmp_path: Path) -> None:
    contents = make_rounds(6)
    first = contents.earlier[0]
    earlier = [replace(first, sample=replace(first.sample, question="A walrus?")), *contents.earlier[1:]]
    write_report(tmp_path / "report.html", replace(contents, earlier=earlier))
    browser.open(tmp_path / "report.html")
    browser.evaluate("controls.elements.words.value = 'WALRUS'; controls.dispatchEvent(new Event('input'))")
    assert browser.evaluate(f"{VISIBLE_PAIRS}.map(pair => pair.id)") == [f"p-{first.sample.sample_id}"]
    assert browser.evaluate(f"{SHOWN_ROUNDS}.length") == 1
    assert browser.evaluate("controls.elements.found.value") == "0 pairs, 1 of the draft of 1 image"


def test_a_picture_without_pairs_of_the_last_round_says_so_and_comes_last(browser: Browser, page: Path) -> None:
    browser.open(page)
    third = "document.querySelector('.card[data-place=\"2\"]')"
    assert browser.evaluate(f"{third}.querySelectorAll('.pair.draft').length") == 5
    assert "no scored pair in this round" in browser.evaluate(f"{third}.querySelectorAll('.round')[1].textContent")
    for order in ("highest", "lowest"):
        browser.evaluate(f"controls.elements.order.value = '{order}'; controls.dispatchEvent(new Event('input'))")
        cards = "[...document.querySelectorAll('.card')]"
        assert browser.evaluate(f"{cards}.at(-1).dataset.place") == "2"
        values = browser.evaluate(f"{cards}.slice(0, -1).map(card => Number(card.dataset.{order}))")
        assert values == sorted(values, reverse=order == "highest")


def test_a_dot_leads_to_its_picture_even_when_that_is_hidden(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.evaluate("controls.elements.words.value = 'no such'; controls.dispatchEvent(new Event('input'))")
    target = browser.evaluate("document.querySelector('#rounds a[href^=\"#c-\"]').getAttribute('href').slice(1)")
    browser.evaluate(f"location.hash = {target!r}; new Promise(done => setTimeout(done, 100))")
    assert browser.evaluate(f"document.getElementById({target!r}).checkVisibility()")


def test_every_chart_is_named_for_those_who_do_not_see_it(browser: Browser, page: Path) -> None:
    browser.open(page)
    names = browser.evaluate("[...document.querySelectorAll('svg[role=img], svg[role=group]')].map(e => e.ariaLabel)")
    assert len(names) == len(browser.evaluate("[...document.querySelectorAll('svg.chart')].map(() => 1)"))
    assert all(names)
    assert sum(": histogram of S(I2C)" in name for name in names) == 3
    assert sum("InfoNCE" in name for name in names) == 2


def test_odd_tunings_and_empty_rounds_have_no_script_errors(browser: Browser, tmp_path: Path) -> None:
    tuning = make_tuning("tuned", 1)
    nan = replace(tuning.steps[0], contrastive=math.nan, likelihood=math.inf, accuracy=math.nan)
    tunings = [tuning, replace(tuning, steps=[nan], held_out=[]), replace(tuning, steps=[])]
    browser.resize(390, 844, phone=True)
    for name, contents in (
        ("odd", replace(make_rounds(3), tunings=tunings)),
        ("no-last", without_scores(make_rounds(3))),
        ("no-draft", replace(make_contents(3), tunings=tunings)),
    ):
        write_report(tmp_path / f"{name}.html", contents)
        browser.open(tmp_path / f"{name}.html")
        assert browser.problems == [], name
        assert browser.evaluate(WIDE_ELEMENTS) == [], name
