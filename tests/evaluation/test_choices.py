"""Reading a choice: what names an option, and LLaVA's stricter rule."""

import pytest

from c3l.data.choices import write_question
from c3l.evaluation.choices import equals_letter, match_option

OPTIONS = {"A": "dog", "B": "hot dog", "C": "3 owls", "D": "I am not sure"}


@pytest.mark.parametrize(
    ("text", "exact", "matched"),
    [
        ("B", "B", "B"),
        (" B\n", "B", "B"),
        ("b", None, None),
        ("B.", None, "B"),
        ("B. hot dog", None, "B"),
        ("(B)", None, "B"),
        ("B and B again", None, "B"),
        ("B, not C", None, None),
        ("E", None, None),
        ("ABCD", None, None),
        ("Bananas", None, None),
        ("It shows 3 owls!", None, "C"),
        ("3 OWLS", None, "C"),
        ("13 owls", None, None),
        ("a dogged attempt", None, None),
        ("hot dog", None, "B"),  # holds the text of A as well, but is that of B
        ("It is a hot dog", None, None),
        ("\uff22", None, "B"),  # full width
        ("\uff08\uff22\uff09", None, "B"),
        ("\\boxed{B}", None, "B"),
        ("_B_", None, "B"),
        ("B and C", None, None),
        ("The answer is A", None, "A"),
        ("Option A is correct", None, "A"),
        ("A\nIt is brown and large", None, "A"),
        ("A owl", None, None),  # an article
        ("A Man Riding A Horse", None, None),
        ("It was made in the U.S.A.", None, None),
        ("I see a dog", None, "A"),
        ("A dog stands in it", None, "A"),
        ("A large bird stands in it", None, None),
        ("", None, None),
    ],
)
def test_each_rule_reads_an_answer(text, exact, matched):
    assert (equals_letter(text, OPTIONS), match_option(text, OPTIONS)) == (exact, matched)


def test_an_option_without_text_is_never_contained():
    assert match_option("something else", {"A": "", "B": "..."}) is None


def test_the_hint_comes_first_and_only_where_there_is_one():
    ending = "A. x\nAnswer with the option's letter from the given choices directly."
    assert write_question("Q?", {"A": "x"}, "Look.") == f"Look.\nQ?\n{ending}"
    assert write_question("Q?", {"A": "x"}) == f"Q?\n{ending}"


ANIMALS = {"A": "一只狗", "B": "一只猫", "C": "鸟", "D": "鱼"}
VITAMINS = {"A": "维生素A", "B": "维生素C", "C": "维生素D", "D": "维生素E"}
SIGNS = {"A": "+", "B": "-", "C": ">", "D": "="}


@pytest.mark.parametrize(
    ("text", "options", "matched"),
    [
        ("答案是B", ANIMALS, "B"),
        ("选B。", ANIMALS, "B"),
        ("B选项", ANIMALS, "B"),
        ("A是对的", ANIMALS, "A"),
        ("这是一只猫。", ANIMALS, "B"),
        ("一只猫", ANIMALS, "B"),
        ("一只猫和鱼", ANIMALS, None),
        ("维生素C", VITAMINS, "B"),
        ("是维生素C。", VITAMINS, "B"),
        ("答案是C", VITAMINS, "C"),
        ("B超", {"A": "B超", "B": "CT"}, "A"),
        ("熊猫", {"A": "猫", "B": "熊猫"}, "B"),
        ("这不是", {"A": "是", "B": "不是"}, "B"),
        ("这是一只牛。", ANIMALS, None),
        ("그것은 B입니다", ANIMALS, "B"),
        ("+", SIGNS, "A"),
        (" > ", SIGNS, "C"),
        ("\uff1e", SIGNS, "C"),  # full width
        ("-", {"A": "\uff0d", "B": "+"}, "A"),
        ("*", SIGNS, None),
        ("+", {"A": "", "B": "+"}, "B"),
        ("", {"A": "", "B": "+"}, None),
        ("dogfish", {"A": "dog", "B": "cat"}, None),
    ],
)
def test_scripts_without_spaces_and_options_without_words_are_read(text, options, matched):
    assert match_option(text, options) == matched


LANGUAGES = {"A": "C++", "B": "Java", "C": "Python", "D": "C#"}
ORDERS = {"A": "x>0", "B": "x<0", "C": "x = 0"}
NUMBERS = {"A": "-5", "B": "5", "C": "7", "D": "3.5"}


@pytest.mark.parametrize(
    ("text", "options", "matched"),
    [
        ("less than 5", {"A": "<5", "B": ">5", "C": "5"}, None),
        ("It is 5", {"A": "\u2264 5", "B": "5"}, None),
        ("5 or more", {"A": "5", "B": "5+"}, None),
        ("5", {"A": "<5", "B": ">5", "C": "5"}, "C"),
        ("It is <5", {"A": "<5", "B": ">5", "C": "5"}, "A"),
        ("It is 5", {"A": "<50", "B": "5"}, "B"),
        ("It is minus 5 degrees", NUMBERS, None),
        ("C++", LANGUAGES, "A"),
        ("c++.", LANGUAGES, "A"),
        ("It is C++", LANGUAGES, "A"),
        ("It is written in C#.", LANGUAGES, "D"),
        ("C", LANGUAGES, "C"),
        ("C. Python", LANGUAGES, "C"),
        ("x<0", ORDERS, "B"),
        ("**x > 0**", ORDERS, "A"),
        ("It says x<0.", ORDERS, "B"),
        ("X = 0", ORDERS, "C"),
        ("-5", NUMBERS, "A"),
        ("\u22125", NUMBERS, "A"),
        ("5", NUMBERS, "B"),
        ("It is -5 degrees", NUMBERS, "A"),
        ("It is 5 degrees", NUMBERS, "B"),
        ("It is 3.5 m", NUMBERS, "D"),
        ("5", {"A": "-5", "B": "7"}, None),
        ("-5", {"A": "5", "B": "7"}, None),
        ("Grade A+", {"A": "B", "B": "A+"}, "B"),
        ("B", {"A": "B", "B": "A"}, "B"),
        ("b", {"A": "B", "B": "A"}, "A"),
        ("None", {"A": "None", "B": "Two"}, "A"),
        ("yes", {"A": "Yes", "B": "Yes, it is"}, "A"),
    ],
)
def test_signs_that_carry_the_meaning_are_read(text, options, matched):
    assert match_option(text, options) == matched


PLAIN = {"A": "frog", "B": "newt", "C": "toad", "D": "fish"}


@pytest.mark.parametrize(
    ("text", "matched"),
    [
        *((text, None) for text in (
            "20 \u00b0C", "It is 20\u00b0C warm", "20 \u00baC", "20\u00b0 C",
            "a B-52", "by C-section", "It is D-shaped", "a B/W photo",
            "R&B", "It plays R&B music", "A/B", "A-C", "B-C", "D's", "C++", "B & C", "B - C", "N/A", "A&B",
            "An AC/DC converter", "AB/CD", "AB/AC = DE/BC", "Pyramid A-BC", "R&AB",
        )),
        *((text, text.strip("-(*_.: ")[0]) for text in (
            "B", "B-", "(B)", "B.", "B:", "**B**", "_B_", "B - newt it is", "B- newt", "A - cat", "C-", "B/",
            "B, as it is", "B-The animal barks",
        )),
        *((text, "B") for text in (
            "Answer/B", "60\u00b0\nB", "It is 90\u00b0.\nB", "DE/BC = 1/2, so the answer is B.",
            "Answer-B", "Option-B", "answer: B", "\u2013B", "-B", "- B", "/B", "&B", "the answer is B - as it is green",
            "It is B.\nC-section is not shown", "At 20 \u00b0C it is B", "B and not the B-52", "Option B's right, B",
        )),
    ],
)  # fmt: skip
def test_a_letter_that_is_a_part_of_another_word_is_no_choice(text, matched):
    assert match_option(text, PLAIN) == matched


SCENES = {"A": "A man", "B": "A man and a dog", "C": "A dog", "D": "A boat"}
LABELS = {"A": "Vitamin A", "B": "Vitamin C", "C": "Vitamin A and C", "D": "none of them"}


@pytest.mark.parametrize(
    ("text", "options", "matched"),
    [
        ("B\nA frog is too small.", PLAIN, "B"),
        ("The answer is B. A frog would be green.", PLAIN, "B"),
        ("**C**\n\nA small animal", PLAIN, "C"),
        ("B.\n\nExplanation: A man looks at a frog.", PLAIN, "B"),
        ("A closer look shows skin, so the answer is B.", PLAIN, "B"),
        ("B\nA man is walking.", SCENES, "B"),
        ("The answer is B: A man and a dog.", SCENES, "B"),
        ("B. I see a frog", {**dict(zip("ABCDEFGH", "stuvwxyz", strict=True)), "I": "q"}, "B"),
        # A is a letter, or may be one
        ("A and B", PLAIN, None),
        ("B. A is too small", PLAIN, None),
        ("A shows a cat, B shows a dog", PLAIN, None),
        ("Sample A froze before sample B", PLAIN, None),
        ("A only, not B", PLAIN, None),
        ("A\nA frog is green.", PLAIN, "A"),
        ("A instead of B", PLAIN, None),
        ("A option is right, B is not", PLAIN, None),
        ("A ist richtig, B ist falsch", PLAIN, None),
        ("B wrong. A right.", PLAIN, None),
        ("It is a toad, so not B. A toad has warts.", PLAIN, "C"),
        # a label is no choice where a text says which
        ("A vitamin C pill", LABELS, "B"),
    ],
)
def test_an_article_is_no_second_choice(text, options, matched):
    assert match_option(text, options) == matched


@pytest.mark.parametrize(
    ("text", "options", "matched"),
    [
        ("B. A man and a dog", SCENES, "B"),
        ("(B) a man and a dog.", SCENES, "B"),
        ("**C.** Vitamin A and C", LABELS, "C"),
        ("b) Vitamin C", LABELS, "B"),
        ("A man", SCENES, "A"),
        ("b", {"A": "cat", "B": "+"}, None),
    ],
)
def test_a_letter_with_its_own_text_is_that_option_whatever_the_text_holds(text, options, matched):
    assert match_option(text, options) == matched


@pytest.mark.parametrize(
    ("text", "matched"),
    [
        ("C or D, most likely a frog", None),
        ("The answer is either (C) or (D), as a frog is green", None),
        ("B or C, a newt", "B"),
        ("B, not C: it is a newt", "B"),
        ("It is neither A nor B, but a toad", "C"),
        ("It is not option A or B, but a toad", "C"),
        ("A and B are too small, it is a toad", "C"),
    ],
)
def test_of_two_letters_a_text_decides_but_no_third_where_either_is_the_answer(text, matched):
    assert match_option(text, PLAIN) == matched
