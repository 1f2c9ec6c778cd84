"""A text without the thoughts that it begins with, in every spelling; what only speaks of them is left alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from c3l.markup.thoughts import SPELLINGS, cut_thoughts, find_open_thought


@pytest.mark.parametrize("spelling", SPELLINGS, ids=lambda one: one.opening)
def test_a_thought_of_every_family_is_cut_off_and_one_without_an_end_leaves_nothing(spelling):
    thought = f"{spelling.opening}\nQuestion 1: Is it? Answer 1: No.\n"
    assert cut_thoughts(f"{thought}{spelling.closing}\n\nYes, it is.") == "Yes, it is."
    assert cut_thoughts(f"\n{thought}{spelling.closing}") == ""
    assert cut_thoughts(thought) is None


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("not a card\n</think>\n\nYes", "Yes"),  # the chat template opened it
        ("not a card</think>\nYes", "Yes"),
        ("</think>Yes", "Yes"),
        ("<think>\n\n</think>\n\n<think>no</think>yes", "yes"),
        ("<think>it ends with </think> I think\n</think>\nYes", "Yes"),
        ("<think>a</think><answer>Yes</answer>", "Yes"),
        ("<think>a</think>\n<answer>\nB\n</answer>\n", "B"),
        ("<think>a</think>It is <|begin_of_box|>B<|end_of_box|>.", "It is B."),
        ("<|channel|>analysis<|message|>no?<|end|><|start|>assistant<|channel|>final<|message|>Yes", "Yes"),
        ("<|channel|>final<|message|>Yes", "Yes"),
        ("<SUMMARY>a</SUMMARY>\n\n<CAPTION>b</CAPTION>\n<REASONING>c</REASONING>\n<CONCLUSION>d</CONCLUSION>", "d"),
    ],
)
def test_what_follows_is_the_answer(text, answer):
    assert cut_thoughts(text) == answer


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Yes.",
        "  Yes \n",
        "The sign says <think> in red.",
        "A page about </think> and <think>.",
        "It shows <think>one</think> and then more.",
        "Between <think> and\n</think>\nstands a thought.",
        "<summary>A page of HTML</summary> with a table.",
        "Think before you answer.",
    ],
)
def test_what_only_mentions_a_thought_stays_as_it_is(text):
    assert cut_thoughts(text) == text


@given(st.text(alphabet="<>/think| \n", max_size=60))
def test_any_text_comes_back_as_a_part_of_itself(text):
    answer = cut_thoughts(text)
    assert answer is None or answer in text


def test_a_model_that_goes_round_in_circles_is_read_once():  # again and again, it would take hours
    assert cut_thoughts("<think></think>" * 70_000) is None
    assert cut_thoughts("<think>" * 100_000) is None
    assert cut_thoughts("\n \n" * 300_000 + "Yes").strip() == "Yes"


def test_a_prompt_ends_inside_a_thought_where_the_last_one_has_no_end():
    assert find_open_thought("assistant: <think>\n")[1] == "<think>\n"
    assert find_open_thought("assistant: <THINK>")[0].closing == "</THINK>"
    assert find_open_thought("assistant: <think>\n\n</think>\n\n") is None
    assert find_open_thought("assistant: ") is None
