"""The report as a reader meets it: opened from disk in a headless Chromium."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.report.browser import Browser, needs_browser
from tests.report.fake_run import make_contents, without_scores
from tests.report.hostile import PAYLOADS, put_everywhere
from tests.report.page_checks import FAINT_DRAWINGS, FOREIGN_ELEMENTS, LOW_CONTRAST, VISIBLE_PAIRS, WIDE_ELEMENTS

from c3l.report.build import render_report, write_report

pytestmark = needs_browser


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(path, make_contents(20))
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "phone"), [(1440, False), (800, False), (375, True), (320, True)])
def test_nothing_is_wider_than_the_window(browser: Browser, page: Path, width: int, phone: bool, scheme: str) -> None:
    browser.resize(width, 844, phone)
    browser.prefer(scheme)  # type: ignore[arg-type]
    browser.open(page)
    assert browser.evaluate("innerWidth") == width
    assert browser.evaluate("document.documentElement.scrollWidth") == width
    assert browser.evaluate(WIDE_ELEMENTS) == []
    assert browser.problems == []


def test_hostile_lengths_do_not_widen_the_phone(browser: Browser, tmp_path: Path) -> None:
    browser.resize(390, 844, phone=True)
    write_report(tmp_path / "long.html", put_everywhere("W" * 3000))
    browser.open(tmp_path / "long.html")
    assert browser.evaluate("document.documentElement.scrollWidth") == 390


def test_every_text_meets_its_contrast(browser: Browser, page: Path) -> None:
    browser.resize(1440, 900)
    for scheme in ("light", "dark"):
        browser.prefer(scheme)  # type: ignore[arg-type]
        browser.open(page)
        assert browser.evaluate(LOW_CONTRAST) == [], scheme
        assert browser.evaluate(FAINT_DRAWINGS) == [], scheme


def test_answers_are_shown_to_the_letter(browser: Browser, tmp_path: Path) -> None:
    contents = make_contents(6)
    odd = "Two\n\n lines,  «quoted» & <b>bold</b> 🚌 \u202eright to left\u202c "
    first = contents.scored[0]
    scored = [replace(first, sample=replace(first.sample, answer=odd)), *contents.scored[1:]]
    write_report(tmp_path / "report.html", replace(contents, scored=scored))
    browser.open(tmp_path / "report.html")
    shown = browser.evaluate(
        "Object.fromEntries([...document.querySelectorAll('.pair')].map(pair => "
        "[pair.id, pair.querySelector('.answer').textContent]))"
    )
    assert shown == {f"p-{pair.sample.sample_id}": pair.sample.answer for pair in scored}


def test_every_coloured_token_says_its_number(browser: Browser, page: Path) -> None:
    browser.open(page)
    tokens = browser.evaluate("[...document.querySelectorAll('.answer i')].map(i => [i.className, i.title])")
    assert len(tokens) > 1000
    assert {css[:1] for css, _ in tokens} == {"", "u", "d"}
    for css, title in tokens:
        assert "nats" in title
        assert css == "" or (css[0] == "u") == title.startswith("+")


def test_pictures_show(browser: Browser, page: Path) -> None:
    browser.open(page)
    assert browser.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 100)")
    assert browser.evaluate("document.images.length") == 20 + 16 + 8


def test_kept_and_dropped_can_be_shown_alone(browser: Browser, page: Path) -> None:
    browser.open(page)
    for state in ("kept", "dropped"):
        browser.evaluate(f"document.querySelector('[name=show][value={state}]').click()")
        assert browser.evaluate(f"{VISIBLE_PAIRS}.every(pair => pair.classList.contains('{state}'))")
        assert browser.evaluate(f"{VISIBLE_PAIRS}.length") == 50
        assert browser.evaluate("controls.elements.found.value").startswith("50 pairs of ")


def test_what_was_rejected_can_be_shown_alone(browser: Browser, page: Path) -> None:
    browser.open(page)
    assert browser.evaluate("controls.elements.found.value") == "100 pairs, 6 rejected of 20 images"
    browser.evaluate("document.querySelector('[name=show][value=rejected]').click()")
    assert browser.evaluate(f"{VISIBLE_PAIRS}.length") == 0
    assert browser.evaluate("controls.elements.found.value") == "0 pairs, 6 rejected of 1 image"
    shown = browser.evaluate(
        "[...document.querySelectorAll('.loss')].filter(e => e.checkVisibility()).map(e => e.textContent)"
    )
    assert len(shown) == 6 and "token 3 is nan" in shown[-1]


def test_search_and_filter_work_from_the_keyboard(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.evaluate("document.querySelector('[name=show]:checked').focus()")
    browser.press("ArrowRight")
    assert browser.evaluate("controls.elements.show.value") == "kept"
    assert browser.evaluate(f"{VISIBLE_PAIRS}.length") == 50
    browser.press("Tab")
    assert browser.evaluate("document.activeElement.name") == "order"
    browser.press("Tab")
    assert browser.evaluate("document.activeElement.name") == "words"
    browser.call("Input.insertText", text="no such words")
    assert browser.evaluate(f"{VISIBLE_PAIRS}.length") == 0
    browser.press("Enter")
    assert browser.evaluate("location.search + document.activeElement.name") == "words", "no form is sent"


def test_search_finds_words_of_a_pair_and_file_names(browser: Browser, page: Path) -> None:
    browser.open(page)
    search = "controls.elements.words.value = {!r}; controls.dispatchEvent(new Event('input')); {}.length"
    assert browser.evaluate(search.format(" UMBRELLA", VISIBLE_PAIRS)) == 20
    assert browser.evaluate(search.format("orchard-0001", VISIBLE_PAIRS)) == 5
    assert browser.evaluate(search.format("no such words", VISIBLE_PAIRS)) == 0
    assert browser.evaluate(search.format("top 50%", VISIBLE_PAIRS)) == 0, "only what was asked and answered"


def test_pictures_can_be_ordered_by_score(browser: Browser, page: Path) -> None:
    browser.open(page)
    choose = "controls.elements.order.value = {!r}; controls.dispatchEvent(new Event('input'));"
    read = "[...document.querySelectorAll('.card')].map(card => Number(card.dataset.{}))"
    highest = browser.evaluate(choose.format("highest") + read.format("highest"))
    assert highest == sorted(highest, reverse=True)
    assert highest != sorted(highest)
    lowest = browser.evaluate(choose.format("lowest") + read.format("lowest"))
    assert lowest == sorted(lowest)
    names = browser.evaluate(
        choose.format("name") + "[...document.querySelectorAll('.card .path')].map(e => e.textContent)"
    )
    assert names == sorted(names) and names[1].endswith("canal-0015.jpg")
    assert browser.evaluate(choose.format("place") + read.format("place")) == list(range(20))


def test_a_dot_leads_to_its_pair_even_when_that_is_hidden(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.evaluate("document.querySelector('[name=show][value=kept]').click()")
    hidden = browser.evaluate("document.querySelector('.pair.dropped').id")
    browser.evaluate(f"location.hash = {hidden!r}; new Promise(done => setTimeout(done, 100))")
    assert browser.evaluate(f"document.getElementById({hidden!r}).checkVisibility()")


def test_a_tap_on_a_token_shows_its_number(browser: Browser, page: Path) -> None:
    browser.resize(390, 844, phone=True)
    browser.open(page)
    title = browser.evaluate("document.querySelector('.answer i').click(); document.querySelector('.answer i').title")
    assert title in browser.evaluate("readout.hidden ? '' : readout.textContent")
    assert browser.evaluate("document.querySelector('h1').click(); readout.hidden")


def test_the_page_reads_without_its_script(browser: Browser, page: Path) -> None:
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(page, resolve_config=False)
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)
    assert browser.evaluate("controls.hidden && document.querySelectorAll('.pair').length") == 100


def test_a_run_without_pairs_has_no_script_errors(browser: Browser, tmp_path: Path) -> None:
    write_report(tmp_path / "empty.html", without_scores(make_contents(2)))
    browser.open(tmp_path / "empty.html")
    assert browser.problems == []


def test_the_policy_stops_a_planted_script(browser: Browser, page: Path, tmp_path: Path) -> None:
    planted = page.read_text(encoding="utf-8").replace("<main>", "<main><script>window.__ran = 1</script>")
    (tmp_path / "planted.html").write_text(planted, encoding="utf-8")
    browser.open(tmp_path / "planted.html")
    assert browser.evaluate("window.__ran") is None
    assert any("Content Security Policy" in problem for problem in browser.problems)


def test_the_canary_sings_when_a_script_runs(browser: Browser, tmp_path: Path) -> None:
    """Without this the tests below could pass because the harness is blind."""
    sang = 0
    for number, payload in enumerate(PAYLOADS[:32]):
        path = tmp_path / f"{number}.html"
        path.write_text(f"<!doctype html><meta charset=utf-8><body><p>{payload}</p></body>", encoding="utf-8")
        browser.open(path)
        sang += bool(browser.evaluate("window.__ran"))
    assert sang >= 15


@pytest.mark.parametrize("policy", [True, False])
def test_no_injected_script_runs_from_any_text_field(browser: Browser, tmp_path: Path, policy: bool) -> None:
    """All of them without the policy, where escaping alone has to hold; some with it, to see it in place."""
    assert len(set(PAYLOADS)) >= 50
    for number, payload in enumerate(PAYLOADS[::5] if policy else PAYLOADS):
        page = render_report(put_everywhere(payload))
        if not policy:
            page = page.replace('<meta http-equiv="Content-Security-Policy"', "<meta", 1)
        path = tmp_path / f"{number}.html"
        path.write_text(page, encoding="utf-8")
        browser.open(path)
        assert browser.evaluate("window.__ran") is None, payload
        policies = browser.evaluate("document.querySelectorAll('meta[http-equiv]').length")
        assert policies == policy, payload
        assert browser.evaluate("document.title").endswith("c3l report"), payload
        assert browser.evaluate(FOREIGN_ELEMENTS) == [], payload
        assert browser.evaluate("document.querySelectorAll('.pair.draft').length") == 2, payload
        assert browser.evaluate("document.querySelectorAll('.pair').length") == 4, payload
        assert browser.problems == [], payload
