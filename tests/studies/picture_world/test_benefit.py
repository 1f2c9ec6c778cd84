"""The study of what a model learns: equal amounts, the right choices, and sums over seeds."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from studies.picture_world.benchmarks import write_benchmarks
from studies.picture_world.benefit import RECIPE, Measuring, OpenQuestions, count_answers, learn, write_data
from studies.picture_world.benefit_arms import ARMS, count_pairs
from studies.picture_world.benefit_tables import Asked, add_up, write_tables
from studies.picture_world.grading import GradedPair, GradedRun
from studies.picture_world.oracle import Graded, Oracle
from studies.picture_world.scenes import Scene
from studies.picture_world.study import ARMS as STUDY_ARMS
from tests.studies.picture_world.worlds import BEAGLE, NAMES, random_scene

from c3l.data.formats import Turn, read_llava
from c3l.evaluation.task import Prediction, Tally
from c3l.records import AnswerScores, Sample, ScoredPair
from c3l.settings.load import load_config
from tiny_models import make_picture

ARM = {arm.name: arm for arm in ARMS}


def pair(number: int, i2c: float, grade: str, tokens: int) -> GradedPair:
    sample = Sample(f"s{number}", "1", "conversation", f"Q{number}?", f"A{number}.", 0, number)
    numbers = (0.0,) * tokens
    scored = ScoredPair(
        sample, AnswerScores((1,) * tokens, ("a",) * tokens, numbers, numbers, numbers), i2c, "log_ratio", "drop"
    )
    return GradedPair(scored, f"{number}.png", Graded(grade, "what"), (), 0.0)  # type: ignore[arg-type]


PAIRS = [pair(n, i2c=(n * 7) % 10, grade=("true", "false")[n % 2], tokens=1 + n % 3) for n in range(10)]


def run_of(pairs: Sequence[GradedPair]) -> dict[str, GradedRun]:
    """The same pairs as every run that arms choose from."""
    return {source: GradedRun(source, 0, tuple(pairs), 2) for arm in ARMS for source in arm.sources}


def chosen(name: str, count: int) -> list[GradedPair]:
    return list(ARM[name].take(run_of(PAIRS), count))


def test_each_arm_chooses_what_it_says_and_as_many() -> None:
    assert {p.graded.grade for p in chosen("true", 4)} == {"true"}
    assert chosen("draft_any", 5) == chosen("tuned_any", 5) != PAIRS[:5]
    assert all(len(chosen(arm.name, 4)) == 4 for arm in ARMS)
    assert chosen("draft_best_tokens", 4) == chosen("draft_best", 4)
    assert {source for arm in ARMS for source in arm.sources} <= {arm.name for arm in STUDY_ARMS}


def probable(number: int, with_image: list[float], without: list[float], elsewhere: float = 0.0) -> GradedPair:
    """A true pair with these probabilities of its tokens; KL is 1 where they differ."""
    pair_ = pair(number, 0.0, "true", len(with_image))
    logs = tuple(map(math.log, with_image)), tuple(map(math.log, without))
    apart = tuple(float(p != q) for p, q in zip(with_image, without, strict=True))
    scores = replace(pair_.scored.scores, logprobs_with_image=logs[0], logprobs_without_image=logs[1], token_kl=apart)
    return replace(pair_, scored=replace(pair_.scored, scores=scores), elsewhere=elsewhere)


def test_arms_choose_by_other_forms_and_by_the_oracle() -> None:
    """Which of the four comes first, worked by hand: the gain of the tokens that the picture moves, KL, likelihood."""
    pairs = [
        probable(0, [0.9, 0.9], [0.8, 0.8], elsewhere=0.5),  # gain 0.1
        probable(1, [0.5, 0.5], [0.3, 0.3], elsewhere=0.1),  # 0.2
        probable(2, [1.0, 0.03], [0.01, 0.03], elsewhere=0.19),  # 0.99, of its first token alone
        probable(3, [0.2, 0.2], [0.19, 0.19], elsewhere=0.2),  # 0.01
    ]

    def order(name: str, count: int = 4) -> list[int]:
        return [one.scored.sample.index for one in ARM[name].take(run_of(pairs), count)]

    assert order("draft_best") == order("c3l") == [2, 1, 0, 3]
    assert order("draft_worst") == [3, 0, 1, 2]
    assert order("draft_likely") == [0, 1, 3, 2]  # log 0.9, log 0.5, log 0.2, log 0.03 / 2
    assert order("draft_kl", 3) == [0, 1, 3]  # every token's KL is 1, of 2 the first's alone
    assert set(order("specific", 4)) == {1, 2}  # of any run


def test_an_arm_changes_the_recipe_and_nothing_else() -> None:
    plain, tokens = (load_config(None, [*RECIPE, *ARM[name].recipe]) for name in ("draft_best", "draft_best_tokens"))
    assert (plain.finetuning.taught_share, tokens.finetuning.taught_share) == (None, 0.5)
    assert tokens.finetuning.model_copy(update={"taught_share": None}) == plain.finetuning
    assert [arm.name for arm in ARMS if arm.recipe] == ["draft_best_tokens"]


def test_all_arms_learn_from_as_many_pairs_as_the_poorest_has() -> None:
    runs = run_of(PAIRS) | {"gain": GradedRun("gain", 0, tuple(PAIRS[:6]), 2)}
    assert count_pairs(runs, ARMS, 100) == 3
    assert count_pairs(runs, ARMS, 2) == 2
    assert count_pairs(run_of(PAIRS), ARMS, 100) == 5
    common = [replace(one, elsewhere=0.5) if one.scored.sample.index else one for one in PAIRS]
    assert count_pairs(run_of(common), ARMS, 100) == 3  # that are specific, one of each run
    assert count_pairs(run_of(common), [ARM["true"]], 100) == 5


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


def ask(*answers: tuple[str, str]) -> Asked:
    """Whether there is a dog in each of some pictures of one: the answers with and without the picture."""
    scene = json.loads(Scene("0", (BEAGLE,)).to_json())
    rows = [{"question_id": f"q{n}", "image": f"{n}.png", "text": "Is there a dog?", "scene": scene}
            for n in range(len(answers))]  # fmt: skip
    told = {f"q{n}": Prediction(f"q{n}", seen, blind_text=blind) for n, (seen, blind) in enumerate(answers)}
    return count_answers(OpenQuestions(rows, Oracle(NAMES)), told)


def test_the_tables_say_what_the_picture_adds_and_hold_it_against_any_draft_and_the_untuned() -> None:
    """Four pictures: untuned 2 are right, and 2 blind; any draft 2 and 3; the arm's two seeds 4 and 3, 1 and 0."""
    y, n = "Yes.", "No."
    asked = {
        "base": [ask((y, y), (y, y), (n, n), (n, n))],
        "draft_any": [ask((y, y), (y, y), (n, y), (n, n))],
        "draft_best": [ask((y, n), (y, n), (y, n), (y, y)), ask((y, n), (y, n), (y, n), (n, n))],
    }
    names = ("pope", "seed_bench", "open")
    measured = {model: [dict.fromkeys(names, one) for one in seeds] for model, seeds in asked.items()}
    learned = {"draft_best": [GradedRun("draft", 0, tuple(PAIRS), 2)]}
    benchmark = OpenQuestions([], Oracle(NAMES))
    seen, blind = write_tables(measured, learned, dict.fromkeys(names, benchmark)).split("\n\n")
    first, second = (cells_of(table) for table in (seen, blind))
    assert [row[0] for row in first] == ["not tuned", "draft, any", ARM["draft_best"].phrase]
    assert [row[1] for row in first] == ["", "", "0.500 / 0.500 / +0.500 (+0.20 to +0.80)"]
    assert [value_of(row[2:5]) for row in first] == [
        ["0.500", "+0.000", ""], ["0.500", "", "+0.000"], ["0.875", "+0.375", "+0.375"],
    ]  # fmt: skip
    assert [value_of(row[1:5]) for row in second] == [
        ["0.500", "+0.000", "+0.250", ""],
        ["0.750", "-0.250", "", "-0.250"],
        ["0.125", "+0.750", "+1.000", "+0.750"],
    ]
    assert all(row[2:5] == row[5:8] == row[8:11] for row in first)
    low, high = (float(end) for end in second[2][3].split("(")[1].rstrip(")").split(" to "))
    assert low < 1 < high  # of the difference of differences, over pictures


def test_a_model_is_tuned_by_its_arm_and_asked_all_with_and_without_the_picture(tmp_path, copy_tiny) -> None:
    scenes = {f"{number}.png": random_scene(number) for number in range(4)}
    pictures = {name: (make_picture(number), scene) for number, (name, scene) in enumerate(scenes.items())}
    oracle = Oracle(NAMES)
    write_benchmarks(tmp_path / "benchmarks", pictures, oracle)
    model = copy_tiny("llava", tmp_path / "model")
    settings = [f"images.root={tmp_path / 'benchmarks/images'}", "model.dtype=float32", f"model.name={model}", *RECIPE]
    measuring = Measuring(tmp_path / "benchmarks", oracle, load_config(None, settings))
    arm, folder = ARM["draft_best_tokens"], tmp_path / "0/tokens"
    config = load_config(None, [*settings, *arm.recipe])
    asked = learn(arm.take(run_of(PAIRS[:4]), 4), folder, config, measuring)
    summary = json.loads((folder / "model/finetune.json").read_text())
    assert summary["trained"] == 4
    assert summary["tokens"]["taught"] == 4 * (2 + 1) < summary["tokens"]["of"]  # of "A1." the half, and the end
    assert not (folder / "model/merged").exists()
    again = learn(arm.take(run_of(PAIRS[:4]), 4), folder, config, measuring)  # nothing is asked or tuned again
    assert asked.keys() == again.keys() == {"pope", "seed_bench", "open"}
    for name, one in asked.items():
        assert np.array_equal(again[name].seen.values, one.seen.values), name
        assert np.array_equal(again[name].blind.values, one.blind.values), name
    answers = [json.loads(line) for line in (folder / "open.jsonl").read_text().splitlines()]
    assert any(one["text"] != one["blind_text"] for one in answers), "the picture has to matter"
    assert "| not tuned |" in write_tables({"base": [asked]}, {}, measuring.benchmarks)
    for one in answers:
        one["blind_text"] = None
    (folder / "open.jsonl").write_text("\n".join(map(json.dumps, answers)) + "\n")
    with pytest.raises(SystemExit, match=r"without the picture.*take another OUT"):
        measuring.ask(str(model), folder)


def cells_of(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def value_of(cells: list[str]) -> list[str]:
    return [cell.partition(" ")[0] for cell in cells]


def test_what_has_no_answer_of_one_model_counts_for_none() -> None:
    whole = ask(("Yes.", "No."), ("No.", "No."))
    failed = replace(whole, blind=replace(whole.blind, values=whole.blind.values * [[1], [0]]))
    names = ("pope", "seed_bench", "open")
    measured = {"base": [dict.fromkeys(names, whole)], "draft_any": [dict.fromkeys(names, failed)]}
    tables = write_tables(measured, {}, dict.fromkeys(names, OpenQuestions([], Oracle(NAMES))))
    assert tables.count("| 1.000 (1.00 to 1.00)") == tables.count("| +1.000 (+1.00 to +1.00)") == 6
    assert tables.count("0.000 (0.00 to 0.00)") == 6


def test_an_answer_that_makes_no_claim_counts_as_not_true() -> None:
    rows = [{"question_id": "0", "image": "0.png", "text": "Is there a dog?",
             "scene": json.loads(Scene("0", (BEAGLE,)).to_json())}]  # fmt: skip
    asked = OpenQuestions(rows, Oracle(NAMES))
    tally = asked.tally({"0": Prediction("0", "Perhaps.")}, "oracle")
    assert tally.unparsed == 1
    sums = {name: np.array([tally.values[:, place].sum()]) for place, name in enumerate(tally.columns)}
    assert asked.figures(sums)["true_share"] == pytest.approx(0)
