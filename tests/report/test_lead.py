"""What a person asks first, worked by hand."""

import re
from dataclasses import replace

from tests.report.fake_rounds import make_rounds
from tests.report.fake_run import make_contents, without_scores

from c3l.report.build import render_report
from c3l.report.contents import ReportContents, StageCounts
from c3l.report.facts import read_facts
from c3l.report.lead import build_lead


def read_lead(contents: ReportContents) -> str:
    section = render_report(contents).split('<section class="lead">')[1].split("</section>")[0]
    return " ".join(re.sub("<[^>]+>", " ", section).split())


def test_the_page_opens_with_what_came_out() -> None:
    contents = make_contents(20)
    pictures = len({one.image_id for one in contents.decisions if one.kept})
    words = read_lead(contents)
    assert words.startswith(f"50 question-answer pairs about {pictures} images What did I get?")
    assert f"About {pictures} of the 22 images of the run. They lie in runs/demo : export/llava.json llava" in words
    assert "50 pairs as llava, ids" in words and "tuned model" not in words


def test_a_file_of_other_rows_than_pairs_says_how_many() -> None:
    contents = replace(make_contents(20), exports={"swift_whole_pair": "export/a.jsonl"}, rows={"swift_whole_pair": 5})
    assert "export/a.jsonl 5 rows" in read_lead(contents)
    assert "rows" not in read_lead(make_contents(20))
    nowhere = read_lead(replace(contents, exports={}, rows={}))
    assert "No file holds them" in nowhere and "They lie in" not in nowhere


def test_how_good_it_is_stands_with_interval_comparison_and_caveat() -> None:
    contents = make_contents(20)
    told = contents.measure_specificity((pair.image_id, pair.lift, pair.says_no) for pair in read_facts(contents).kept)
    assert told.low is not None and told.high is not None
    words = read_lead(contents)
    share, low, high = (f"{100 * value:.0f}%" for value in (told.specific / told.pairs, told.low, told.high))
    assert f"{share} of the kept pairs (95% interval {low} \N{EN DASH} {high})" in words
    assert "more probable, by at least 0.2, with its image than with no image." in words
    assert "not that it is true" in words and "Another image might do as well" in words


def test_the_tuned_model_is_named_where_it_wrote() -> None:
    assert "written by the tuned model, Refined (round 1)" in read_lead(make_rounds(6))


def test_what_was_thrown_away_is_counted_by_reason_without_earlier_rounds() -> None:
    stages = [
        StageCounts("images", "images", "images", 9, 7, {"truncated_image": 2}),
        StageCounts("draft/parsed", "texts", "pairs", 7, 30, {"unparsable": 90}),
        StageCounts("groups", "pairs", "groups", 7, 1, {"one_pair": 6}),
        StageCounts("tuned", "groups", "groups", 1, 0, {"too_long": 1}),
        StageCounts("finetuned", "rows", "rows", 15, 8, {"too_long": 7}),
        StageCounts("evaluation/pope/base", "questions", "answers", 9, 8, {"too_long": 1}),
        StageCounts("refined/parsed", "texts", "pairs", 7, 30, {"unparsable": 3, "empty_answer": 1}),
        StageCounts("filtered", "pairs", "pairs", 30, 15, {"outside_top_fraction": 15}),
        StageCounts("export", "pairs", "pairs", 15, 15, {}),
    ]
    contents = replace(make_rounds(6), stages=stages)
    assert build_lead(contents, read_facts(contents)).lost == [
        ("outside top fraction", "filtered", 15),
        ("unparsable", "refined/parsed", 3),
        ("truncated image", "images", 2),
        ("empty answer", "refined/parsed", 1),
    ]


def test_rare_reasons_stand_together_and_nothing_is_lost() -> None:
    rejected = {f"reason_{number}": number for number in range(1, 9)}
    contents = replace(make_contents(2), stages=[StageCounts("scored", "pairs", "pairs", 50, 14, rejected)])
    lead = build_lead(contents, read_facts(contents))
    assert [count for _, _, count in lead.lost] == [8, 7, 6, 5, 4]
    assert lead.others == 6
    assert "6 for other reasons" in read_lead(contents)


def test_a_run_that_gave_nothing_says_so() -> None:
    contents = make_contents(4)
    nothing = replace(contents, decisions=[replace(one, kept=False) for one in contents.decisions], exported=0)
    words = read_lead(nothing)
    assert words.startswith("None of 20 scored pairs was kept.") and "the dataset is empty" in words
    assert "of all scored pairs (95% interval" in words
    words = read_lead(without_scores(contents))
    assert words.startswith("From 6 images came no scored pair.") and "Is it good?" not in words
