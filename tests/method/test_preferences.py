"""Preferences: which of an image's texts is set against which."""

from c3l.method.preferences import prefer_answers, prefer_pairs
from c3l.method.prompts import load_templates
from c3l.records import AnswerScores, Sample, ScoredPair

SCORES = AnswerScores((1,), ("a",), (-1.0,), (-2.0,))


def pair(
    name: str, question: str, answer: str, i2c: float, *, image: str = "a", instruction: str = "conversation"
) -> ScoredPair:
    sample = Sample(name, image, instruction, question, answer, 0, 0)
    return ScoredPair(sample, SCORES, i2c, "log_ratio", "drop")


PAIRS = [
    pair("1", "What is it?", "A cat.", 0.5),
    pair("2", "Is it red?", "Yes.", 0.4),
    pair("3", "what is it", "A dog.", 0.1),
    pair("4", "What is it?", "A cow.", 0.3),
    pair("5", "What is it?", "A hen.", 0.9),
    pair("6", "What is it?", "A sea.", 0.0, image="b"),
]
EVERY = {one.sample.sample_id for one in PAIRS}


def ids(found: list) -> list[tuple[str, str]]:
    return [(one.better.sample.sample_id, one.worse.sample.sample_id) for one in found]


def test_the_best_kept_answer_is_set_against_the_worst_of_the_same_question_and_image() -> None:
    assert ids(prefer_answers(PAIRS, EVERY)) == [("5", "3")]
    assert ids(prefer_answers(PAIRS, EVERY - {"5"})) == [("1", "3")]
    [only] = prefer_answers(PAIRS, {"1"})
    assert (only.prompt, only.chosen, only.rejected) == ("What is it?", "A cat.", "A dog.")


def test_without_a_kept_answer_and_a_worse_one_there_is_no_preference() -> None:
    assert prefer_answers(PAIRS, {"2", "6"}) == []
    assert prefer_answers(PAIRS, {"3"}) == []  # the worst of its question
    same = [pair("1", "What?", "A cat.", 0.5), pair("2", "What?", "a cat", 0.1), pair("3", "What?", "A cow.", 0.5)]
    assert prefer_answers(same, {"1", "2", "3"}) == []


def test_the_order_of_the_questions_and_nothing_else_follows_the_pairs() -> None:
    more = [*PAIRS, pair("7", "Is it red?", "No.", 0.2)]
    assert ids(prefer_answers(more, EVERY)) == [("5", "3"), ("2", "7")]
    assert sorted(ids(prefer_answers(more[::-1], EVERY))) == [("2", "7"), ("5", "3")]


def test_whole_pairs_are_replies_to_their_own_instruction() -> None:
    templates = load_templates()
    more = [
        *PAIRS,
        pair("8", "Why?", "So.", 0.0, instruction="conversation_json"),
        pair("9", "B?", "C.", 0.7, image="b"),
    ]
    found = prefer_pairs(more, {"1", "2", "8", "9"}, templates)
    assert ids(found) == [("1", "3"), ("9", "6")]
    assert found[0].prompt == templates["conversation"].render(1)
    assert (found[0].chosen, found[0].rejected) == (
        "Question 1: What is it?\nAnswer 1: A cat.",
        "Question 1: what is it\nAnswer 1: A dog.",
    )
