"""LLaVA-Bench: marks worked by hand, failed reviews, both orders, and files that do not fit together."""

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from c3l.errors import DataError
from c3l.evaluation.judges import CachedJudge, JudgeError, NoReviewError, RefusedError
from c3l.evaluation.llava_bench import LlavaBench, read_llava_bench
from c3l.evaluation.panel import STOP_AFTER, ReviewLog
from c3l.evaluation.pictures import find_ending
from c3l.evaluation.scores import score
from c3l.evaluation.statistics import compare, estimate
from c3l.evaluation.task import Prediction, Tally

QUESTIONS = [
    {"question_id": 0, "image": "001.jpg", "text": "What is it?", "category": "conv"},
    {"question_id": 1, "image": "001.jpg", "text": "Describe it.", "category": "detail"},
    {"question_id": 2, "image": "002.jpg", "text": "Why is it?", "category": "complex"},
    {"question_id": 3, "image": "002.jpg", "text": "Who is it?", "category": "conv"},
]
CONTEXT = [{"image": "002.jpg", "caption": ["A boat", "at sea."]}, {"image": "001.jpg", "caption": "A dog."}]
REFERENCES = [{"question_id": number, "text": f"reference {number}"} for number in (3, 1, 0, 2)]
ANSWERS = {str(number): Prediction(str(number), f"answer {number}") for number in range(4)}
RULES = {f"llava_bench_{name}": {"role": "Helper", "prompt": f"rule of {name}"} for name in ("conv", "detail")}
RULES |= {"llava_bench_complex": {"role": "Solver", "prompt": "rule of complex"}, "other": {"role": "x"}}


class ScriptedJudge:
    """Says what the script makes of the prompt and the repeat."""

    name = "scripted"
    settings: Mapping[str, float] = {}

    def __init__(self, script: Callable[[str, int], str]) -> None:
        self.script = script
        self.asked: list[tuple[str, int]] = []

    def ask(self, system: str, prompt: str, repeat: int) -> str:
        assert system
        self.asked.append((prompt, repeat))
        return self.script(prompt, repeat)


def by_answer(marks: Mapping[str, str | list[str]]) -> ScriptedJudge:
    """Gives the marks of the answer in the prompt; of a list, the one of the repeat."""

    def script(prompt: str, repeat: int) -> str:
        (found,) = [value for answer, value in marks.items() if answer in prompt]
        return found if isinstance(found, str) else found[repeat]

    return ScriptedJudge(script)


MARKS: dict[str, str | list[str]] = {
    "answer 0": "8 6\nbecause",
    "answer 1": "10, 5",
    "answer 2": "9 9.5",
    "answer 3": "7 2",
}


def write(folder: Path, **files: Any) -> Path:
    """The benchmark's files; a file given as None is left out."""
    contents = {"questions": QUESTIONS, "context": CONTEXT, "answers_gpt4": REFERENCES} | files
    for name, content in contents.items():
        if isinstance(content, list):
            (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in content))
        elif content is not None:
            (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def whole(bench: LlavaBench, tally: Tally) -> dict[str, float]:
    sums = {name: tally.values[:, [place]].sum(axis=0) for place, name in enumerate(tally.columns)}
    return {name: float(value[0]) for name, value in bench.figures(sums).items()}


def row(tally: Tally, unit: str) -> dict[str, float]:
    return dict(zip(tally.columns, tally.values[tally.units.index(unit)], strict=True))


def test_items_are_the_questions_in_their_order(tmp_path: Path) -> None:
    bench = read_llava_bench(write(tmp_path), by_answer(MARKS))
    assert [item.item_id for item in bench.items] == ["0", "1", "2", "3"]
    assert (bench.items[2].image, bench.items[2].prompt, bench.items[2].choices) == ("002.jpg", "Why is it?", ())
    assert (bench.name, bench.rules, bench.max_new_tokens) == ("llava_bench", ("judge",), 1024)
    assert bench.judge.name == "scripted"


def test_scores_worked_by_hand(tmp_path: Path) -> None:
    bench = read_llava_bench(write(tmp_path), by_answer(MARKS))
    tally = bench.tally(ANSWERS, "judge")
    assert (tally.units, tally.items, tally.unparsed, tally.failed) == (("0", "1", "2", "3"), 4, 0, 0)
    figures = whole(bench, tally)
    assert list(figures) == [
        *("relative", "relative/conv", "relative/detail", "relative/complex"),
        *("candidate", "reference", "candidate/conv", "reference/conv"),
        *("candidate/detail", "reference/detail", "candidate/complex", "reference/complex"),
    ]
    assert figures["relative"] == pytest.approx(100 * 22.5 / 34)  # not the mean of the categories, nor of quotients
    assert figures["relative/conv"] == pytest.approx(100 * 8 / 15)
    assert figures["relative/detail"] == pytest.approx(50)
    assert figures["relative/complex"] == pytest.approx(100 * 9.5 / 9)
    assert figures["candidate"] == pytest.approx(10 * 22.5 / 4)
    assert figures["reference"] == pytest.approx(10 * 34 / 4)
    assert figures["candidate/conv"] == pytest.approx(40)
    assert figures["reference/conv"] == pytest.approx(75)


def test_the_judge_reads_what_belongs_together_under_our_rules(tmp_path: Path) -> None:
    judge = by_answer(MARKS)
    bench = read_llava_bench(write(tmp_path), judge)
    bench.tally(ANSWERS, "judge")
    assert bench.rubric == "ours"
    prompt, repeat = judge.asked[2]
    assert repeat == 0
    before, ours = prompt.split("[System]\n")
    assert before == (
        "[Context]\nA boat\nat sea.\n\n[Question]\nWhy is it?\n\n"
        "[Assistant 1]\nreference 2\n\n[End of Assistant 1]\n\n[Assistant 2]\nanswer 2\n\n[End of Assistant 2]\n\n"
    )
    assert "1 to 10" in ours
    rules = [one.split("[System]\n")[1] for one, _ in judge.asked]
    assert len(set(rules)) == 3
    assert rules[0] == rules[3]


def test_the_users_rules_are_used_where_they_are(tmp_path: Path) -> None:
    judge = by_answer(MARKS)
    bench = read_llava_bench(write(tmp_path, rule=RULES), judge)
    bench.tally(ANSWERS, "judge")
    assert bench.rubric == hashlib.sha256((tmp_path / "rule.json").read_bytes()).hexdigest()
    prompt, _ = judge.asked[2]
    assert prompt.endswith("[Solver 2]\nanswer 2\n\n[End of Solver 2]\n\n[System]\nrule of complex\n\n")
    assert "[Helper 1]" in judge.asked[0][0]


def test_another_category_is_taken_as_it_is(tmp_path: Path) -> None:
    questions = [QUESTIONS[0] | {"category": "ocr"}, *QUESTIONS[1:]]
    bench = read_llava_bench(write(tmp_path, questions=questions), by_answer(MARKS))
    figures = whole(bench, bench.tally(ANSWERS, "judge"))
    assert list(figures)[:5] == ["relative", "relative/conv", "relative/detail", "relative/complex", "relative/ocr"]
    assert figures["relative/ocr"] == pytest.approx(75)
    with pytest.raises(DataError, match="has no llava_bench_ocr"):
        read_llava_bench(write(tmp_path, questions=questions, rule=RULES), by_answer(MARKS))


def test_a_review_that_cannot_be_read_is_asked_for_again(tmp_path: Path) -> None:
    judge = by_answer(MARKS | {"answer 1": ["I would say", "eleven", "10 5"]})
    bench = read_llava_bench(write(tmp_path), judge, attempts=3)
    tally = bench.tally(ANSWERS, "judge")
    assert tally.failed == 0
    assert [repeat for prompt, repeat in judge.asked if "answer 1" in prompt] == [0, 1, 2]
    assert whole(bench, tally)["relative"] == pytest.approx(100 * 22.5 / 34)


def test_an_item_without_a_review_is_left_out_and_counted(tmp_path: Path) -> None:
    judge = by_answer(MARKS | {"answer 1": "I cannot"})
    bench = read_llava_bench(write(tmp_path), judge, attempts=2)
    tally = bench.tally(ANSWERS, "judge")
    assert (tally.items, tally.failed) == (4, 1)
    assert tally.units == ("0", "1", "2", "3")
    assert not any(row(tally, "1").values())
    assert len([prompt for prompt, _ in judge.asked if "answer 1" in prompt]) == 2
    figures = whole(bench, tally)
    assert figures["relative"] == pytest.approx(100 * 17.5 / 24)
    assert figures["candidate"] == pytest.approx(10 * 17.5 / 3)
    assert math.isnan(figures["relative/detail"])
    assert math.isnan(figures["candidate/detail"])
    assert estimate(tally, bench.figures)["relative/detail"].value is None


def test_without_any_review_nothing_is_known(tmp_path: Path) -> None:
    bench = read_llava_bench(write(tmp_path), ScriptedJudge(lambda prompt, repeat: "both are fine"), attempts=2)
    tally = bench.tally(ANSWERS, "judge")
    assert tally.failed == 4
    assert all(math.isnan(value) for value in whole(bench, tally).values())


def test_a_failed_prediction_is_left_out_and_an_empty_answer_is_judged(tmp_path: Path) -> None:
    judge = by_answer({"answer 0": "8 6", "answer 1": "10 5", "[Assistant 2]\n\n": "10 1"})
    bench = read_llava_bench(write(tmp_path), judge)
    answers = ANSWERS | {"2": Prediction("2", failed="no such picture"), "3": Prediction("3", "")}
    tally = bench.tally(answers, "judge")
    assert tally.failed == 1
    assert len(judge.asked) == 3
    assert whole(bench, tally)["relative"] == pytest.approx(100 * 12 / 28)


def test_repeats_are_averaged_over_reviews_that_can_be_read(tmp_path: Path) -> None:
    judge = by_answer(MARKS | {"answer 0": ["8 6", "what?", "10 7", "1 1"], "answer 1": ["10 5", *["what?"] * 3]})
    bench = read_llava_bench(write(tmp_path), judge, repeats=2, attempts=2)
    tally = bench.tally(ANSWERS, "judge")
    assert [row(tally, "0")[name] for name in ("reference", "candidate", "n")] == [9, 6.5, 1]
    assert row(tally, "1")["n"] == 0  # one of the two that were wanted is not enough
    assert tally.failed == 1


def test_a_judge_that_likes_the_first_place_says_nothing_when_asked_in_both_orders(tmp_path: Path) -> None:
    partial = ScriptedJudge(lambda prompt, repeat: "9 4")
    bench = read_llava_bench(write(tmp_path), partial)
    assert whole(bench, bench.tally(ANSWERS, "judge"))["relative"] == pytest.approx(100 * 4 / 9)
    figures = whole(bench, replace(bench, swap=True).tally(ANSWERS, "judge"))
    assert figures["relative"] == pytest.approx(100)
    assert figures["candidate"] == figures["reference"] == pytest.approx(65)


def test_an_honest_judge_says_the_same_in_both_orders(tmp_path: Path) -> None:
    def honest(prompt: str, repeat: int) -> str:
        return "9 3" if prompt.index("reference") < prompt.index("answer") else "3 9"

    bench = read_llava_bench(write(tmp_path), ScriptedJudge(honest), swap=True)
    tally = bench.tally(ANSWERS, "judge")
    assert len(bench.judge.asked) == 8
    assert [row(tally, "0")[name] for name in ("reference", "candidate", "n")] == [9, 3, 1]


def test_one_order_without_a_review_leaves_the_item_out(tmp_path: Path) -> None:
    def script(prompt: str, repeat: int) -> str:
        return "?" if "[Assistant 1]\nanswer 0" in prompt else "9 3"

    bench = read_llava_bench(write(tmp_path), ScriptedJudge(script), swap=True)
    tally = bench.tally(ANSWERS, "judge")
    assert (tally.failed, row(tally, "0")["n"]) == (1, 0)


def test_a_refused_prompt_is_left_out_but_a_judge_that_refuses_all_is_an_error(tmp_path: Path) -> None:
    def refuse(what: str) -> Callable[[str, int], str]:
        def script(prompt: str, repeat: int) -> str:
            if what in prompt:
                raise NoReviewError("refused")
            return "8 6"

        return script

    bench = read_llava_bench(write(tmp_path), ScriptedJudge(refuse("answer 2")))
    assert bench.tally(ANSWERS, "judge").failed == 1
    with pytest.raises(JudgeError, match="refused"):
        replace(bench, judge=ScriptedJudge(refuse("answer"))).tally(ANSWERS, "judge")


def test_a_judge_that_does_not_work_stops_at_once(tmp_path: Path) -> None:
    def dead(prompt: str, repeat: int) -> str:
        raise JudgeError("no connection")

    judge = ScriptedJudge(dead)
    with pytest.raises(JudgeError, match="no connection"):
        read_llava_bench(write(tmp_path), judge).tally(ANSWERS, "judge")
    assert len(judge.asked) == 1


def test_a_killed_tally_goes_on_and_a_second_asks_nothing(tmp_path: Path) -> None:
    path = tmp_path / "reviews.jsonl"
    judge = by_answer(MARKS | {"answer 1": ["what?", "10 5"]})
    bench = read_llava_bench(write(tmp_path), CachedJudge(judge, path))
    first = bench.tally(ANSWERS, "judge")
    assert len(judge.asked) == 5
    second = replace(bench, judge=CachedJudge(judge, path)).tally(ANSWERS, "judge")
    assert len(judge.asked) == 5
    assert np.array_equal(first.values, second.values)
    path.write_bytes(path.read_bytes()[:-3])
    third = replace(bench, judge=CachedJudge(judge, path)).tally(ANSWERS, "judge")
    assert len(judge.asked) == 6
    assert np.array_equal(first.values, third.values)


def test_more_repeats_use_the_reviews_there_are(tmp_path: Path) -> None:
    judge = ScriptedJudge(lambda prompt, repeat: f"8 {6 + repeat}")
    bench = read_llava_bench(write(tmp_path), CachedJudge(judge, tmp_path / "reviews.jsonl"))
    bench.tally(ANSWERS, "judge")
    tally = replace(bench, repeats=3).tally(ANSWERS, "judge")
    assert sorted(repeat for _, repeat in judge.asked) == [0] * 4 + [1] * 4 + [2] * 4
    assert row(tally, "0")["candidate"] == 7


def test_two_models_are_compared_on_the_same_items_though_a_review_failed(tmp_path: Path) -> None:
    bench = read_llava_bench(write(tmp_path), by_answer(MARKS))
    other = replace(bench, judge=by_answer({"answer 1": "?"} | {f"answer {n}": "8 4" for n in (0, 2, 3)}))
    difference = compare(bench.tally(ANSWERS, "judge"), other.tally(ANSWERS, "judge"), bench.figures, draws=200)
    # question 1 has no review of the other's answer, so it counts for neither: (6 + 9.5 + 2) / (8 + 9 + 7) and 12 / 24
    assert difference["relative"].value == pytest.approx(100 * 17.5 / 24 - 50)
    assert difference["relative/detail"].value is None
    same = bench.tally(ANSWERS, "judge")
    assert compare(same, same, bench.figures, draws=200)["relative"].high == 0


def test_a_question_that_one_model_could_not_answer_is_no_part_of_the_difference(tmp_path: Path) -> None:
    bench = read_llava_bench(write(tmp_path), by_answer(MARKS))
    blind = {name: replace(one, blind_text=one.text) for name, one in ANSWERS.items()}
    fewer = ANSWERS | {"1": Prediction("1", failed="no such picture")}
    [relative, *_] = score(bench, "judge", blind, fewer, 0).figures
    assert relative.seen.value == pytest.approx(100 * 22.5 / 34)
    assert relative.difference is not None and relative.by_image is not None
    assert relative.difference.value == relative.by_image.value == 0
    [relative, *_] = score(
        bench, "judge", ANSWERS | {"1": Prediction("1", failed="no such picture")}, ANSWERS, 0
    ).figures
    assert relative.seen.value == pytest.approx(100 * 17.5 / 24)
    assert relative.difference is not None and relative.difference.value == 0


def test_progress_is_told_of_every_item(tmp_path: Path) -> None:
    steps: list[int] = []
    read = read_llava_bench(write(tmp_path), by_answer(MARKS | {"answer 1": "?"}))
    bench = replace(read, advance=steps.append)
    bench.tally(ANSWERS | {"0": Prediction("0", failed="x")}, "judge")
    assert steps == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({"context": CONTEXT[:1]}, r"context.jsonl lacks 1 of 2 images, the first is '001.jpg'"),
        ({"answers_gpt4": REFERENCES[1:]}, r"answers_gpt4.jsonl lacks 1 of 4 questions, the first is '3'"),
        ({"questions": [*QUESTIONS, QUESTIONS[1]]}, r"questions.jsonl has question_id '1' twice"),
        ({"context": [*CONTEXT, CONTEXT[0]]}, r"context.jsonl has image '002.jpg' twice"),
        ({"answers_gpt4": [*REFERENCES, REFERENCES[0]]}, r"answers_gpt4.jsonl has question_id '3' twice"),
        ({"questions": []}, r"questions.jsonl has no rows"),
        ({"questions": None}, r"there is no .*questions.jsonl"),
        ({"questions": [{"question_id": 1.5}]}, r"row 1 has question_id 1.5, expected text"),
        ({"questions": [*QUESTIONS, {"question_id": 9, "image": "a", "text": "b"}]}, r"row 5 has no category"),
        ({"context": [{"image": "001.jpg", "caption": [1]}]}, r"row 1 has caption \[1\]"),
        ({"context": ["text"]}, r"row 1 is 'text', expected an object"),
        ({"rule": {"llava_bench_conv": {"role": "x", "prompt": "y"}}}, r"has no llava_bench_detail"),
        ({"rule": {**RULES, "llava_bench_conv": {"role": "x"}}}, r"has no llava_bench_conv with role and prompt"),
        ({"rule": {**RULES, "llava_bench_conv": {"role": "x", "prompt": "\ud83d"}}}, r"has no llava_bench_conv"),
        ({"rule": "text"}, r"has no llava_bench_conv"),
    ],
)
def test_files_that_do_not_fit_are_refused(tmp_path: Path, files: dict[str, Any], problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        read_llava_bench(write(tmp_path, **files), by_answer(MARKS))


def test_files_as_people_have_them_are_read(tmp_path: Path) -> None:
    references = [{**row, "question_id": float(row["question_id"])} for row in REFERENCES]
    for path in write(tmp_path, answers_gpt4=references).glob("*.jsonl"):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n\r\n"))
    (tmp_path / "001.png").write_bytes(b"")
    bench = read_llava_bench(tmp_path, by_answer(MARKS), find=partial(find_ending, tmp_path))
    assert [item.image for item in bench.items] == ["001.png", "001.png", "002.jpg", "002.jpg"]
    assert bench.subjects["2"].reference == "reference 2"


def test_references_under_another_name_are_pointed_at(tmp_path: Path) -> None:
    write(tmp_path, answers_gpt4=None, gpt4_answers=REFERENCES)
    with pytest.raises(DataError, match=r"no .*answers_gpt4.jsonl, but gpt4_answers.jsonl; .* give it its name"):
        read_llava_bench(tmp_path, by_answer(MARKS))


def test_a_judge_that_is_never_read_is_stopped_with_a_quote(tmp_path: Path) -> None:
    judge = ScriptedJudge(lambda prompt, repeat: "<think>hm</think>Both are good.")
    bench = read_llava_bench(write(tmp_path), judge, attempts=9)
    with pytest.raises(JudgeError, match=r"scripted gave no two marks .* first 10 reviews, .*Both are good.*choose"):
        bench.tally(ANSWERS, "judge")
    assert len(judge.asked) == STOP_AFTER == 10


def test_a_thought_without_an_end_is_told(tmp_path: Path) -> None:
    bench = read_llava_bench(write(tmp_path), ScriptedJudge(lambda prompt, repeat: "<think>hm 8 6"), attempts=9)
    with pytest.raises(JudgeError, match=r"a thought without an end: raise evaluation\.judge\.max_tokens"):
        bench.tally(ANSWERS, "judge")


def test_a_judge_that_was_read_once_is_asked_to_the_end(tmp_path: Path) -> None:
    judge = by_answer(MARKS | {f"answer {n}": "what?" for n in (1, 2, 3)})
    log = ReviewLog()
    tally = replace(read_llava_bench(write(tmp_path), judge, attempts=9), log=log).tally(ANSWERS, "judge")
    assert (tally.failed, len(judge.asked)) == (3, 1 + 27)
    assert log.describe() == "1 on their first line as the original, 0 unwrapped, 27 not read, such as 'what?'"
    assert list(log.warn()) == ["27 of 28 reviews cannot be read, such as 'what?'"]


def test_marks_that_are_unwrapped_are_counted_apart(tmp_path: Path) -> None:
    judge = by_answer(MARKS | {"answer 1": "**Helper 2:** 5/10\n**Helper 1:** 10/10"})
    log = ReviewLog()
    bench = replace(read_llava_bench(write(tmp_path, rule=RULES), judge), log=log)
    assert whole(bench, bench.tally(ANSWERS, "judge"))["relative"] == pytest.approx(100 * 22.5 / 34)
    assert log.describe() == "3 on their first line as the original, 1 unwrapped, 0 not read"


def test_a_prompt_that_is_refused_for_good_is_sent_once(tmp_path: Path) -> None:
    def script(prompt: str, repeat: int) -> str:
        if "answer 2" in prompt:
            raise RefusedError("too long")
        return "8 6"

    judge = ScriptedJudge(script)
    assert read_llava_bench(write(tmp_path), judge, attempts=3).tally(ANSWERS, "judge").failed == 1
    assert len(judge.asked) == 4


@pytest.mark.parametrize("name", ["questions.jsonl", "rule.json"])
def test_a_file_that_is_not_json_is_refused(tmp_path: Path, name: str) -> None:
    (write(tmp_path) / name).write_text("{")
    with pytest.raises(DataError, match=f"{name}.* not JSON"):
        read_llava_bench(tmp_path, by_answer(MARKS))
