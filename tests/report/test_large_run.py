"""A run of thousands of pictures: the page says what it leaves out, and does not grow with the run, nor its making."""

import re
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.report.browser import Browser, needs_browser
from tests.report.fake_run import make_contents
from tests.report.large_run import measure_build, measure_opening, write_run

from c3l.records import FilterDecision, ScoredPair
from c3l.report.build import render_report
from c3l.report.contents import ReportContents


@dataclass(frozen=True)
class Streamed:
    """Records that exist only while they are looked at."""

    make: Callable[[], Iterator[object]]

    def __iter__(self) -> Iterator[object]:
        return self.make()


def stream(contents: ReportContents, times: int) -> ReportContents:
    """The same run so many times over, none of whose pairs and decisions is held."""

    def pairs() -> Iterator[ScoredPair]:
        for number in range(times):
            for one in contents.scored:
                sample = replace(
                    one.sample, sample_id=f"{number}-{one.sample.sample_id}", answer=one.sample.answer * 20
                )
                yield replace(one, sample=sample)

    def decisions() -> Iterator[FilterDecision]:
        for number in range(times):
            for one in contents.decisions:
                yield replace(one, sample_id=f"{number}-{one.sample_id}", reason=f"{one.reason} {number}")

    return replace(contents, scored=Streamed(pairs), decisions=Streamed(decisions), gallery_limit=1)


def measure_peak(contents: ReportContents) -> int:
    tracemalloc.start()
    try:
        render_report(contents)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_grows_by_the_numbers_of_a_pair_and_not_by_its_texts() -> None:
    contents = replace(make_contents(40), open_thumbnail=lambda image: b"picture")
    measure_peak(stream(contents, 1))  # what is loaded once
    few, many = (measure_peak(stream(contents, times)) for times in (1, 5))
    assert (many - few) / (4 * len(contents.scored)) < 1500, "bytes a pair; its answer alone has 1,500"


def test_a_run_folder_of_many_pictures_says_what_the_page_leaves_out(tmp_path: Path) -> None:
    write_run(tmp_path, 210)
    measure_build(tmp_path / "run")
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    words = " ".join(re.sub("<[^>]+>", "", page.split('<section id="gallery">')[1].split("</p>")[0]).split())
    assert "Shown are 200 of 210 images (1,000 of 1,050 pairs): those of the pairs shown above" in words
    assert f"c3l show {tmp_path / 'run'} IMAGE" in words
    assert page.count('<article class="card"') == 200
    assert page.count('class="loss"') >= 1


@needs_browser
@pytest.mark.timing
@pytest.mark.timeout(1800)
def test_a_hundred_thousand_pairs_open_within_two_seconds(browser: Browser, tmp_path: Path) -> None:
    write_run(tmp_path, 20_000)
    _, _, megabytes = measure_build(tmp_path / "run")
    page = tmp_path / "run" / "report.html"
    browser.resize(1366, 768)
    assert page.stat().st_size < 20e6
    assert max(measure_opening(browser, page)) < 2000
    assert megabytes < 400
