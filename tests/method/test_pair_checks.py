"""Judging: each reason for rejecting a pair, and honest pairs that look like one."""

import pytest

from c3l.method.pair_checks import MAX_ANSWER_CHARS, MAX_QUESTION_CHARS, check_pair, fold
from c3l.method.parsed import ParsedPair

BAD = [
    ("", "A dog.", "empty_question"),
    ("???", "A dog.", "empty_question"),
    ("What is it?", "", "empty_answer"),
    ("What is it?", "...", "empty_answer"),
    ("What is it?", "-", "empty_answer"),
    ("What is it?", "\u2014", "empty_answer"),
    ("What is it?", "**", "empty_answer"),
    ("What is it?", "***", "empty_answer"),
    ("What is it?", '""', "empty_answer"),
    ("What is it?", "[ ]", "empty_answer"),
    ("What is it?", "?", "empty_answer"),
    ("What is it?", " ", "empty_answer"),
    ("%", "A dog.", "empty_question"),
    ("What is it?", "**Answers:**", "empty_answer"),
    ("What is it?", "</question>", "empty_answer"),
    ("What is it?", "what is it", "echoed_answer"),
    ("So tell me, what is it?", "What is it?", "echoed_answer"),
    ("What is it?", "I'm sorry, but I cannot help with that.", "refusal"),
    ("What is it?", "I\u2019m so sorry.", "refusal"),
    ("What is it?", "As an AI language model, I have no eyes.", "refusal"),
    ("What is it?", "As a large language model I cannot.", "refusal"),
    ("What is it?", "Unfortunately, I am unable to see the image.", "refusal"),
    ("What is it?", "I can't view images.", "refusal"),
    ("What is it?", "I do not have access to the picture.", "refusal"),
    ("What is it?", "No image was provided.", "refusal"),
    ("What is in <image>?", "A dog.", "special_token"),
    ("What is it?", "<IMAGE>\nA dog.", "special_token"),
    ("What is it?", "A dog <|image_pad|>", "special_token"),
    ("What is it?", "A dog <|im_end|>", "special_token"),
    ("What is it?", "<think> A dog", "special_token"),
    ("What is <|vision_start|>?", "A dog", "special_token"),
    ("What is it?", "<im<image>age> A dog", "special_token"),
    ("What is it?", "<image_soft_token> A dog", "special_token"),
    ("What is it?", "<start_of_image> A dog", "special_token"),
    ("What is it?", "[IMG] A dog", "special_token"),
    ("What is it?", "<__dj__image> A dog", "special_token"),
    ("What is it?", "<img src=x onerror=alert(1)>", "special_token"),
    ("What is it?" + " x" * MAX_QUESTION_CHARS, "A dog.", "too_long"),
    ("What is it?", "A dog. " * MAX_ANSWER_CHARS, "too_long"),
]

GOOD = [
    ("What is it?", "A dog."),
    ("What does the title say?", "Answers"),
    ("Which tag is it?", "<h1>"),
    ("How many are there?", "3"),
    ("Where is <|object_ref_start|>the dog<|object_ref_end|>?", "<|box_start|>(1,2),(3,4)<|box_end|>"),
    ("Where is <|ref|>the dog<|/ref|>?", "<|det|>[[1, 2, 3, 4]]<|/det|>"),
    ("Where is it?", "<loc0001><loc0020> <box>1</box>"),
    ("What is the sign's currency?", "$"),
    *(("What symbol is on the key?", sign) for sign in ("#", "@", "%", "&", "!", "+", "**#**")),
    ("What is the temperature?", "-5"),
    ("Is the dog red?", "The dog is red."),
    ("What does the sign say?", "Sorry, we are closed"),
    ("What can the child see?", "I cannot tell, as the child looks away."),
    ("Is there an image on the wall?", "No image is visible on the wall, only a clock."),
    ("Which sign is between a and b?", "a < b, and the image > the frame"),
    ("这是什么?", "一只狗。"),
]


@pytest.mark.parametrize(("question", "answer", "reason"), BAD)
def test_each_fault_has_its_reason(question: str, answer: str, reason: str) -> None:
    verdict = check_pair(ParsedPair(question, answer))
    assert verdict is not None
    assert verdict[0] == reason
    assert "\n" not in verdict[1]
    assert len(verdict[1]) < 200


@pytest.mark.parametrize(("question", "answer"), GOOD)
def test_honest_pairs_pass(question: str, answer: str) -> None:
    assert check_pair(ParsedPair(question, answer)) is None


def test_fold_keeps_what_makes_questions_different() -> None:
    assert fold("  What is IT?") == fold("what, is it")
    assert fold("2 + 2?") != fold("2 2?")
    assert fold("कि") != fold("की")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Is it written in C#?", "Is it written in C?"),
        ("Is the temperature -5 degrees?", "Is the temperature 5 degrees?"),
        ("Is it 5% full?", "Is it 5 full?"),
        ("Is it version 3.5?", "Is it version 35?"),
        ("Does it say 10:30?", "Does it say 1030?"),
        ("Is it 1/2 full?", "Is it 12 full?"),
        ("Are there 5-6 of them?", "Are there 56 of them?"),
        ("Is the key marked @?", "Is the key marked #?"),
    ],
)
def test_a_sign_makes_another_question(one: str, other: str) -> None:
    assert fold(one) != fold(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("# What is it?", "What is it?"),
        ("**What** is 'it'?!", "- What, is it..."),
        ("Is it a T-shirt?", "Is it a T shirt?"),
        ("Is it about COVID-19?", "Is it about COVID 19?"),
        ("Are there 5 dogs - or 6?", "Are there 5 dogs, or 6?"),
        ("Is it 5. What else?", "Is it 5: what else?"),
        ("Is it 5\uff05?", "is it 5%?"),
    ],
)
def test_other_punctuation_makes_no_other_question(one: str, other: str) -> None:
    assert fold(one) == fold(other)


@pytest.mark.parametrize("answer", ["##", "###", "---\n###", "!!!", "?!", "-!", "% %", "@@@"])
def test_marks_of_a_heading_and_repeated_signs_are_no_answer(answer: str) -> None:
    rejected = check_pair(ParsedPair("What symbol is on the key?", answer))
    assert rejected is not None and rejected[0] == "empty_answer"


@pytest.mark.parametrize(
    "marked", ["What is this? #", "What is this?###", "**# What is this?**", '"# What is this?"', "## What is this ##"]
)
def test_marks_of_a_heading_make_no_other_question(marked: str) -> None:
    assert fold(marked) == fold("What is this?")


def test_a_dash_of_any_width_makes_the_same_range() -> None:
    assert fold("Is it 10\N{EN DASH}20?") == fold("Is it 10-20?") != fold("Is it 1020?")
