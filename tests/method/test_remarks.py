"""Remarks: what a model says when it is done is cut off, and what belongs to its last answer is not."""

import pytest

from c3l.method.parsing import find_pairs

ENDS = (
    "\n\nI hope this helps! Let me know if you need more.",
    "\nLet me know if you want other questions.",
    "\n\n**Note:** the image is small.",
    "\n\nThese questions cover the main parts of the image.",
)


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("count", [1, 2, 4])
def test_what_a_model_says_when_it_is_done_is_not_of_its_last_answer(end, count):
    text = "\n".join(f"Question {n}: What is {n}?\nAnswer {n}: A dog.\nIt is red." for n in range(1, count + 1))
    assert find_pairs(text + end, "numbered") == find_pairs(text, "numbered")
    assert len(find_pairs(text, "numbered")) == count


@pytest.mark.parametrize(
    "answer",
    [
        "The objects are:\n\n- a ball\n- a tree",
        "A dog on grass.\n\nIt looks at a ball.",
        "It says:\nNote: closed on Monday",
        "It reads:\nIf you have a question, go left.",
        "It asks:\n\nDo you need help?",
        "Two signs.\nThese are red.",
    ],
)
def test_what_belongs_to_a_last_answer_stays(answer):
    text = (
        "".join(f"Question {n}: What is {n}?\nAnswer {n}: A cat.\n" for n in (1, 2)) + "Question 3: What?\nAnswer 3: "
    )
    assert find_pairs(text + answer, "numbered")[-1].answer == answer
