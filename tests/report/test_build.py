import errno
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from tests.report.fake_rounds import make_rounds, make_tuning
from tests.report.fake_run import MAKER, make_contents, without_scores

from c3l.errors import DataError, StorageError
from c3l.records import KL_FORMS, Form, HeldOut
from c3l.report.build import group_provenance, render_report, write_report
from c3l.report.distribution import build_panels, judge_length
from c3l.report.facts import read_facts
from c3l.report.forms import build_form_rows
from c3l.report.units import NATS


def test_the_form_in_use_comes_first_and_agrees_with_itself() -> None:
    contents = make_contents(6)
    rows = build_form_rows(contents, read_facts(contents))
    assert [row.name for row in rows] == list(get_args(Form))
    assert rows[0].used
    assert rows[0].with_used == "+1.00"


def test_forms_that_need_a_divergence_are_left_out_where_it_was_not_stored() -> None:
    contents = make_contents(2)
    first = contents.scored[0]
    scored = [replace(first, scores=replace(first.scores, token_kl=None)), *contents.scored[1:]]
    contents = replace(contents, scored=scored)
    assert not KL_FORMS & {row.name for row in build_form_rows(contents, read_facts(contents))}


def test_a_score_that_is_the_length_is_told_as_such() -> None:
    contents = make_contents(20)
    scored = [replace(pair, i2c=float(len(pair.scores.token_ids))) for pair in contents.scored]
    page = render_report(replace(contents, scored=scored))
    assert "Spearman correlation with answer length: +1.00." in page
    assert "ranks longer answers first" in page


@pytest.mark.parametrize(
    ("spearman", "pairs", "words"),
    [
        (0.1, 50, "little"),
        (-0.4, 50, "shorter"),
        (0.6, 50, "longer"),
        (0.6, 5, "too few"),
        (None, 50, "too few"),
    ],
)
def test_verdict_on_length(spearman: float | None, pairs: int, words: str) -> None:
    assert words in judge_length(spearman, pairs)


def test_instructions_get_histograms_of_their_own_only_when_several() -> None:
    assert [panel.name for panel in build_panels(read_facts(make_contents(4, instructions=1)).pairs, NATS)] == [
        "all pairs"
    ]
    panels = build_panels(read_facts(make_contents(4, instructions=2)).pairs, NATS)
    assert [panel.name for panel in panels] == ["all pairs", "conversation", "detailed_description"]
    assert panels[0].pairs == panels[1].pairs + panels[2].pairs


def test_stages_of_one_maker_are_told_once() -> None:
    other = replace(MAKER, dtype="bfloat16")
    contents = replace(make_contents(1), provenance={"generated": MAKER, "tuned": other, "scored": MAKER})
    assert [stages for stages, _ in group_provenance(contents)] == ["generated, scored", "tuned"]


def test_a_run_without_pairs_still_has_a_report() -> None:
    page = render_report(without_scores(make_contents(2)))
    assert "came no scored pair" in page
    assert "truncated_image" in page


def test_long_lists_of_rejections_are_cut_and_say_so() -> None:
    contents = make_contents(1)
    page = render_report(replace(contents, rejected=list(contents.rejected) * 40))
    assert "The first 200 of 320" in page


def test_twenty_pictures_stay_below_three_megabytes(tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", make_contents(20))
    assert 100_000 < (tmp_path / "report.html").stat().st_size < 3_000_000


def test_two_thousand_pictures_stay_below_fifteen_megabytes(tmp_path: Path) -> None:
    many = make_contents(2000)
    photograph = bytes(300_000)  # far larger than thumbnails should be
    write_report(tmp_path / "report.html", replace(many, open_thumbnail=lambda image: photograph))
    page = (tmp_path / "report.html").read_bytes()
    assert len(page) < 15_000_000
    assert b"of 2,000 images" in page


def test_the_page_asks_for_nothing_from_outside() -> None:
    page = render_report(make_contents(3))
    for word in ("http://", "https://", "@import", "url(", '<link rel="stylesheet', ' src="/'):
        assert word not in page
    assert " style=" not in page, "the policy would block it"


def test_a_broken_write_leaves_the_old_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.html"
    write_report(path, make_contents(1))
    before = path.read_bytes()

    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(StorageError, match="free some space"):
        write_report(path, make_contents(2))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_the_same_records_give_the_same_bytes() -> None:
    assert render_report(make_contents(4)) == render_report(make_contents(4))


def test_records_that_do_not_belong_together_write_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        write_report(tmp_path / "report.html", replace(make_contents(1), decisions=[]))
    assert list(tmp_path.iterdir()) == []


def test_a_file_name_that_is_not_text_does_not_stop_the_report(tmp_path: Path) -> None:
    contents = make_contents(1)
    images = {key: replace(ref, path="caf\udce9.jpg") for key, ref in contents.images.items()}
    write_report(tmp_path / "report.html", replace(contents, images=images))
    assert "caf?.jpg" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_report_needs_no_model_code() -> None:
    code = "import c3l.report.build, sys; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def read_body(page: str) -> str:
    return page.split("</style>")[1].split("<script>")[0]


def test_the_page_of_a_run_without_a_second_round_does_not_speak_of_rounds() -> None:
    body = read_body(render_report(make_contents(5)))
    for word in ("rounds", "tuning", "Draft", "draft", "Refined", "looped", 'class="round"', 'id="c-'):
        assert word not in body, word
    assert body.count('<ol class="pairs">') == 5


SECTIONS = ("examples", "specific", "flow", "rounds", "tuning", "scores", "gallery", "rejections", "made")


def test_the_loop_has_its_sections_in_order_and_their_links() -> None:
    body = read_body(render_report(make_rounds(5)))
    places = [body.index(f'<section id="{name}">') for name in SECTIONS]
    assert places == sorted(places)
    assert all(body.count(f'<a href="#{name}">{name.capitalize()}</a>') == 1 for name in ("rounds", "tuning"))


def test_sections_appear_only_with_their_records() -> None:
    contents = make_rounds(4)
    alone = read_body(render_report(replace(contents, tunings=[])))
    assert "#tuning" not in alone and 'id="rounds"' in alone
    alone = read_body(render_report(replace(contents, earlier=[])))
    assert "#rounds" not in alone and 'id="tuning"' in alone


def test_a_last_round_without_pairs_still_shows_the_draft() -> None:
    page = render_report(without_scores(make_rounds(4)))
    assert "came no scored pair" in page
    assert "No pair of this round was scored" in page
    assert page.count('class="pair draft"') == 15


def test_a_tuning_that_ruins_the_model_is_warned_of() -> None:
    before = HeldOut("before", 30, 1.0, 0.5, 2.0, 2.0)
    for rise, warned in ((0.4, False), (0.6, True)):
        after = replace(before, when="after", likelihood=2 + rise, negatives_likelihood=2 + rise)
        tunings = [replace(make_tuning("tuned", 4), held_out=[before, after])]
        page = render_report(replace(make_rounds(3), tunings=tunings))
        assert ("<b>Warning.</b>" in page) is warned


def test_a_tuning_without_numbers_does_not_break_the_page() -> None:
    tuning = make_tuning("tuned", 2)
    steps = [replace(step, contrastive=math.nan, likelihood=math.inf, accuracy=math.nan) for step in tuning.steps]
    page = read_body(render_report(replace(make_rounds(3), tunings=[replace(tuning, steps=steps, held_out=[])])))
    assert page.count("No number of it can be drawn") == 2
    assert "2 logged steps have a number that is not finite" in page
    assert "No group was held out" in page


def test_four_rounds_of_long_tunings_keep_the_page_small() -> None:
    short, long = (len(render_report(make_rounds(4, rounds=4, steps=steps))) for steps in (300, 30_000))
    assert long < short * 1.05
