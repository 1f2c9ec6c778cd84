from dataclasses import replace

from tests.report.fake_rounds import make_rounds
from tests.report.fake_run import make_contents, without_scores

from c3l.records import ScoredPair
from c3l.report.build import render_report
from c3l.report.contents import ReportContents
from c3l.report.facts import read_facts
from c3l.report.openings import SHOWN, build_openings


def ask(contents: ReportContents, draft: list[str], last: list[str], kept: int) -> ReportContents:
    """A run whose two rounds ask just these questions, the first so many of the last kept."""
    template, decision = contents.scored[0], contents.decisions[0]

    def write(round: int, questions: list[str]) -> list[ScoredPair]:
        rows = [(f"{round}-{n}", question) for n, question in enumerate(questions)]
        return [
            replace(template, sample=replace(template.sample, sample_id=name, question=question, round=round))
            for name, question in rows
        ]

    selected = [replace(decision, sample_id=f"1-{n}", kept=n < kept) for n in range(len(last))]
    return replace(contents, earlier=write(0, draft), scored=write(1, last), decisions=selected)


def test_shares_by_hand_with_the_draft_first() -> None:
    draft, last = ["Is it?", "is that it?", "What is it?", "How?"], ["What?", "What, now?", "Is it?"]
    contents = ask(make_rounds(4), draft, last, kept=2)
    view, answers = build_openings(read_facts(contents))
    assert (view.title, view.stratify, answers.title, answers.stratify) == (
        "Questions",
        "opening",
        "Answers",
        "openings",
    )
    assert view.heads == answers.heads == ("Draft", "Refined (round 1)", "Kept")
    # of what was kept 2 of 2 begin with what, of the draft 1 of 4
    assert [(row.opening, row.shares) for row in view.rows] == [
        ("what", ("25%", "67%", "100%")),
        ("is", ("50%", "33%", "0%")),
        ("how", ("25%", "0%", "0%")),
    ]
    assert view.moved == 75


def test_answers_that_turn_to_no_are_seen() -> None:
    contents = ask(make_rounds(4), ["Is it?"] * 4, ["Is it?"] * 4, kept=2)

    def answer(rows: list[ScoredPair], answers: list[str]) -> list[ScoredPair]:
        pairs = zip(rows, answers, strict=True)
        return [replace(one, sample=replace(one.sample, answer=text)) for one, text in pairs]

    earlier = answer(list(contents.earlier), ["Yes.", "yes it is", "No.", "Red."])
    scored = answer(list(contents.scored), ["No.", "no", "Yes.", "No!"])
    contents = replace(contents, earlier=earlier, scored=scored)
    questions, answers = build_openings(read_facts(contents))
    assert questions.moved == 0
    assert [(row.opening, row.shares) for row in answers.rows] == [
        ("no", ("25%", "75%", "100%")),
        ("yes", ("50%", "25%", "0%")),
        ("red", ("25%", "0%", "0%")),
    ]
    assert answers.moved == 75


def test_rare_words_stand_together_and_nothing_is_lost() -> None:
    questions = [f"word{n % 12}{'x' * 40} is it?" for n in range(40)]
    contents = ask(make_rounds(4), questions, questions, kept=40)
    view, _ = build_openings(read_facts(contents))
    assert (len(view.rows), view.rows[-1].opening, view.moved) == (SHOWN + 1, "4 others", 0)
    assert view.rows[0].opening == f"word0{'x' * 18}\N{HORIZONTAL ELLIPSIS}"


def test_a_run_of_one_round_compares_what_was_kept_with_all() -> None:
    contents = make_contents(6)
    assert {view.heads for view in build_openings(read_facts(contents))} == {("All pairs", "Kept")}
    assert build_openings(read_facts(without_scores(contents))) == ()


def test_what_would_have_to_move_is_a_share_and_no_count() -> None:
    contents = make_contents(20)
    everything = [replace(one, kept=True) for one in contents.decisions]
    assert "<b>0% of the kept pairs</b>" in render_report(replace(contents, decisions=everything))
    nothing = [replace(one, kept=False) for one in contents.decisions]
    assert "of the kept pairs" not in render_report(replace(contents, decisions=nothing))
