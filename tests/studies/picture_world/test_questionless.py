"""What the question adds: the numbers without it stand where those without the picture stood."""

from pathlib import Path

import pytest
from studies.picture_world.grading import GradedPair, GradedRun
from studies.picture_world.oracle import Graded
from studies.picture_world.questionless import MEASURED, measure, table, without_questions

from c3l.models.interface import Pair, ScoreRequest
from c3l.records import Sample, ScoredPair
from fakes import FakeModel
from scores import score_rows
from tiny_models import make_picture


@pytest.fixture
def run(tmp_path: Path) -> GradedRun:
    model, pairs = FakeModel(), []
    for number in range(6):
        image = make_picture(number % 2)
        image.save(tmp_path / f"{number % 2}.png")
        sample = Sample(
            f"s{number}", str(number % 2), "conversation", f"What is {number}?", f"Thing {number}.", 0, number
        )
        [[scores]] = score_rows(model, [ScoreRequest(image, (Pair("p", sample.question, sample.answer),))], "drop")
        scored = ScoredPair(sample, scores, 0.0, "log_ratio", "drop")
        grade = Graded(("true", "false")[number % 2], "what")  # type: ignore[arg-type]
        pairs.append(GradedPair(scored, f"{number % 2}.png", grade, (), 0.1 * number))
    return GradedRun("draft", 0, tuple(pairs), 2)


def test_the_pass_without_the_question_takes_the_place_of_that_without_the_picture(
    run: GradedRun, tmp_path: Path
) -> None:
    model = FakeModel()
    found = without_questions(run, model, tmp_path)
    for before, after in zip(run.pairs, found.pairs, strict=True):
        image = make_picture(int(before.picture[0]))
        [[alone]] = score_rows(model, [ScoreRequest(image, (Pair("p", "", before.scored.sample.answer),))], "blank")
        scores = after.scored.scores
        assert scores.logprobs_with_image == before.scored.scores.logprobs_with_image
        assert scores.logprobs_without_image == alone.logprobs_with_image != before.scored.scores.logprobs_with_image


def test_the_table_has_a_row_for_each_form(run: GradedRun, tmp_path: Path) -> None:
    lines = table(measure([without_questions(run, FakeModel(), tmp_path)])).splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == list(MEASURED)
