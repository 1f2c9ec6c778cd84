"""Marks in reviews: what the original reads, what says the same in another wrapping, and what is not clear."""

from time import process_time

import pytest

from c3l.evaluation.reviews import parse_review, read_review


@pytest.mark.parametrize(
    ("text", "marks"),
    [
        ("8 6", (8, 6)),
        ("8, 6\n1 1", (8, 6)),
        ("8,6", (8, 6)),
        (" \n 8.5 10 \r\nwell", (8.5, 10)),
        ("1 10", (1, 10)),
        ("0.5 6", None),
        ("8 11", None),
        ("8", None),
        ("8 6 7", None),
        ("8/10 6/10", None),
        ("Assistant 1: 8\n8 6", None),
        ("-1 -1", None),
        ("nan inf", None),
        ("1_0 6", None),
        ("", None),
    ],
)
def test_the_original_reads_two_numbers_on_the_first_line(text, marks):
    assert parse_review(text) == marks
    if marks:
        review = read_review(text)
        assert (review.marks, review.how) == (marks, "first line")


WRAPPED = [
    "**8 6**",
    "8/10 6/10",
    "8/10, 6/10",
    "[8, 6]",
    "(8, 6)",
    "`8 6`",
    "'8 6'",
    "8 | 6",
    "8 vs 6",
    "> 8 6",
    "```\n8 6\n```",
    "8 6</s>",
    "8 6<|im_end|>",
    "[[8]] [[6]]",
    "\\boxed{8, 6}",
    "\uff18 \uff16",
    "8\uff0c6",
    "8.0, 6.0 points",
    "Scores: 8 and 6",
    "**Rating:** 8 6",
    "My marks are 8 and 6.",
    "Scores (1-10): 8 6",
    "### Scores\n8 6\n\nTwo dogs.",
    "8 6 - both see 3 dogs",
    "8 6. The first has 4 legs",
    "<scores>8 6</scores>",
    "8\n6\nWell,\n3 dogs",
    "Assistant 1: 8\nAssistant 2: 6",
    "Assistant 2: 6\nAssistant 1: 8",
    "**Assistant 1:** 8/10\n**Assistant 2:** 6/10",
    "- Assistant 1 - 8\n- Assistant 2 - 6",
    "Assistant 1 (8/10) is good, Assistant 2 (6/10) errs",
    "1. 8\n2. 6",
    "I give Assistant 1 an 8 and Assistant 2 a 6.",
    "8/10 for Assistant 1 and 6/10 for Assistant 2",
    "The first assistant gets 8, the second assistant gets 6.",
    "Assistant 1's score: 8. It is.\nAssistant 2's score: 6.",
    "| Assistant 2 | Assistant 1 |\n|---|---|\n| 6 | 8 |",
    "Scores (Assistant 2, Assistant 1): 6 8",
    "| | Score |\n|---|---|\n| Assistant 1 | 8 |\n| Assistant 2 | 6 |",
    "Score 1: 8\nScore 2: 6",
    '{"assistant_2": 6, "assistant_1": 8}',
    '```json\n{\n "assistant_1": 8,\n "assistant_2": 6\n}\n```',
    '{"scores": [8, 6], "why": "x"}',
    '[{"assistant": 2, "score": 6}, {"assistant": 1, "score": 8}]',
    '{"assistant_1": {"score": 8, "why": "3 dogs"}, "assistant_2": {"score": 6, "why": "y"}}',
    "{'assistant_1': 8, 'assistant_2': 6}",
    "It sees 3 dogs, 4, 5.\n\n8 6",
    "Two legs.\n**Final scores: 8, 6**",
    "<assistant_1>8</assistant_1><assistant_2>6</assistant_2>",
    "Accuracy: Assistant 1: 7, Assistant 2: 5\nDetail: Assistant 1: 9, Assistant 2: 7\nFinal scores: 8 6",
    "<think>\n3 4\n</think>\n\n8 6",
    "1 1 it seems\n</think>\n\n**8 6**",
]


@pytest.mark.parametrize("text", WRAPPED)
def test_the_same_marks_in_another_wrapping_are_read(text):
    review = read_review(text)
    assert review is not None and review.marks == (8, 6)
    assert parse_review(text) is None


UNCLEAR = [
    "",
    "I cannot",
    "8",
    "8 6 7",
    "80 60",
    "80/100 60/100",
    "4/5 3/5",
    "8% 6%",
    "-1 -1",
    "8 11",
    "8/10 6",
    "8/6",
    "7-8",
    "8-6",
    "Assistant 1: 7-8\nAssistant 2: 5-6",
    "8 : 6",
    "8,5 6,5",
    "5\u00bd 6",
    "eight six",
    "3 4 dogs",
    "3 things are wrong, 4 are right",
    "It has\n3 4\nlegs",
    "Objects counted: 3 4\nboth fine",
    "It ends.\n3, 4 (dogs)",
    "Assistant 1: 3 things\nAssistant 2: 4 things",
    "Assistant 1: 3, 4 and 5. Assistant 2: 2, 3",
    "Assistant 1: 8",
    "Assistant 1: 1. It sees\nAssistant 2: 1. It does",
    "Assistant 1 is a 10 year old, Assistant 2 is a 9 year old",
    "Assistant 1: 8\nAssistant 1: 7\nAssistant 2: 6",
    "Scores: 8 6\nScores: 7 5",
    "Assistant 1 and 2: 8",
    "Assistant 1: 8/10, Assistant 2: 6/10, or rather\nAssistant 1: 5/10, Assistant 2: 6/10",
    "Scores for Assistant 2: 6 8",
    "<think>8 6",
    "<think>\n8 6\n</think>\n",
    '{"assistant_1": 8, "assistant_1": 7, "assistant_2": 6}',
]


@pytest.mark.parametrize("text", UNCLEAR)
def test_what_can_be_read_in_two_ways_is_not_read(text):
    assert read_review(text) is None


def test_the_sides_are_called_what_the_rule_calls_them():
    text = "Helper 2: 6\nHelper 1: 8"
    assert read_review(text) is None
    assert read_review(text, role="Helper").marks == (8, 6)


@pytest.mark.parametrize(
    ("text", "marks"),
    [
        ("Assistant 1's answer is 5. Assistant 2's answer is 4.\n\n9 4", (9, 4)),
        ("Assistant 1's answer is 5. Assistant 2's answer is 4.\n\n9 4\n\nAssistant 1 is right.", None),
        ("Assistant 1's answer is 5, while Assistant 2's answer is 4. The reference says 5, so 2 is wrong.", None),
        ("Assistant 1's answer is 8/10. Assistant 2's answer is 6/10.", (8, 6)),
        ("Assistant 1's answer gets 8. Assistant 2's answer gets 6.", (8, 6)),
    ],
)
def test_what_the_assistants_answered_is_no_mark(text, marks):
    found = read_review(text)
    assert (None if found is None else found.marks) == marks


@pytest.mark.parametrize("space", ["\u00a0", "\u2003", "\t"])
def test_any_white_space_is_a_space_however_much_of_it_there_is(space):
    began = process_time()
    found = read_review(f"Scores:\n8{space * 3}6\n")
    assert found is not None and found.marks == (8, 6)
    found = read_review(f"Scores:\n8 6\nBoth were marked{space * 50_000}as said.")
    assert found is not None and found.marks == (8, 6)
    assert read_review(f"8{space * 50_000}") is None
    assert process_time() - began < 5


@pytest.mark.parametrize("fence", ["```", "  ```json \n\n", "\t```\r"])
def test_fences_go_and_many_empty_lines_take_no_longer_than_others(fence):
    began = process_time()  # in seconds, or with the square of the lines in many minutes
    found = read_review(f"Scores:{chr(10) * 200_000}{fence}\n8 6\n{fence}{chr(10) * 200_000}")
    assert found is not None and found.marks == (8, 6)
    assert process_time() - began < 5
