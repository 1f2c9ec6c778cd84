"""The study of what a model learns: equal amounts, the right choices, and sums over seeds."""

import json

import numpy as np
import pytest
from studies.picture_world.benefit import ARMS, OpenQuestions, _count, add_up, write_data, write_table
from studies.picture_world.grading import GradedPair, GradedRun
from studies.picture_world.oracle import Graded, Oracle
from studies.picture_world.scenes import Scene
from tests.studies.picture_world.worlds import BEAGLE, NAMES

from c3l.data.formats import Turn, read_llava
from c3l.evaluation.task import Prediction, Tally
from c3l.records import AnswerScores, Sample, ScoredSample

CHOOSE = {arm.name: arm.choose for arm in ARMS}


def pair(number: int, i2c: float, grade: str, tokens: int) -> GradedPair:
    sample = Sample(f"s{number}", "1", "conversation", f"Q{number}?", f"A{number}.", 0, number)
    numbers = (0.0,) * tokens
    scored = ScoredSample(
        sample, AnswerScores((1,) * tokens, ("a",) * tokens, numbers, numbers, numbers), i2c, "log_ratio", "drop"
    )
    return GradedPair(scored, f"{number}.png", Graded(grade, "what"), (), 0.0)  # type: ignore[arg-type]


PAIRS = [pair(n, i2c=(n * 7) % 10, grade=("true", "false")[n % 2], tokens=1 + n % 3) for n in range(10)]


def chosen(name: str, count: int) -> list[GradedPair]:
    return list(CHOOSE[name](PAIRS, count))


def test_each_arm_chooses_what_it_says_and_as_many() -> None:
    assert [p.scored.i2c for p in chosen("c3l", 3)] == [9, 8, 7]
    assert [p.scored.i2c for p in chosen("draft_lowest", 3)] == [0, 1, 2]
    assert {len(p.scored.scores.token_ids) for p in chosen("draft_longest", 3)} == {3}
    assert {p.graded.grade for p in chosen("true", 4)} == {"true"}
    assert chosen("draft_any", 5) == chosen("refined_any", 5) != PAIRS[:5]
    assert all(len(chosen(arm.name, 4)) == 4 for arm in ARMS)


def test_all_arms_learn_from_as_many_pairs_as_the_poorest_has() -> None:
    runs = {"draft": GradedRun("draft", 0, tuple(PAIRS), 2), "c3l": GradedRun("c3l", 0, tuple(PAIRS[:6]), 2)}
    assert _count(runs, ARMS, 100) == 3
    assert _count(runs, ARMS, 2) == 2


def test_the_data_are_read_as_llava_data(tmp_path) -> None:
    write_data(PAIRS[:2], tmp_path / "data.json")
    turns = list(read_llava(tmp_path / "data.json"))
    assert [turn.question for turn in turns if isinstance(turn, Turn)] == ["Q0?", "Q1?"]


def test_open_answers_are_graded_and_seeds_are_added_up() -> None:
    scenes = [json.loads(Scene(str(n), (BEAGLE,)).to_json()) for n in range(2)]
    rows = [
        {"question_id": str(n), "image": f"{n}.png", "text": "Is there a dog?", "scene": scene}
        for n, scene in enumerate(scenes)
    ]
    asked = OpenQuestions(rows, Oracle(NAMES))
    tallies = [
        asked.tally({"0": Prediction("0", "Yes."), "1": Prediction("1", text)}, "oracle")
        for text in ("Yes, a dog.", "No.")
    ]
    whole = add_up(tallies)
    assert whole.units == ("0.png", "1.png")
    assert whole.values.tolist() == [[2, 2, 2], [2, 2, 1]]
    backwards = Tally(whole.units[::-1], whole.columns, whole.values[::-1], 2, 0, 0)
    assert np.array_equal(add_up([whole, backwards]).values, 2 * whole.values)
    names = ("pope", "seed_bench", "open")
    same = [dict.fromkeys(names, tallies[0])]
    table = write_table({"draft_any": same, "c3l": same}, dict.fromkeys(names, asked))
    assert table.count("1.000 (1.00 to 1.00)") == 6
    assert "+0.000" in table


def test_an_answer_that_makes_no_claim_counts_as_not_true() -> None:
    rows = [{"question_id": "0", "image": "0.png", "text": "Is there a dog?",
             "scene": json.loads(Scene("0", (BEAGLE,)).to_json())}]  # fmt: skip
    asked = OpenQuestions(rows, Oracle(NAMES))
    tally = asked.tally({"0": Prediction("0", "Perhaps.")}, "oracle")
    assert tally.unparsed == 1
    sums = {name: np.array([tally.values[:, place].sum()]) for place, name in enumerate(tally.columns)}
    assert asked.figures(sums)["true_share"] == pytest.approx(0)
