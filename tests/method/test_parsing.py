"""Parsing: what models really write, cut off and hostile texts."""

import json
import random
import time
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from c3l.method.parsed import MAX_PAIRS, trim
from c3l.method.parsing import PARSERS, find_pairs

DOG = ("What is it?", "A dog.")
OLD = ("Old?", "Yes.")

VARIANTS = {
    "strict": "Question 1: What is it?\nAnswer 1: A dog.\nQuestion 2: Old?\nAnswer 2: Yes.",
    "short": "Q1: What is it?\nA1: A dog.\n\nQ2: Old?\nA2: Yes.\n",
    "preamble": "Sure! Here are 2 pairs:\n\nQ1. What is it?\nA1. A dog.\nQ2) Old?\nA2) Yes.",
    "list": "1. Question: What is it?\n   Answer: A dog.\n\n2. Question: Old?\n   Answer: Yes.",
    "bold": "**Question 1:** What is it?\n**Answer 1:** A dog.\n\n**Question 2:** Old?\n**Answer 2:** Yes.",
    "bold text": "**Question 1: What is it?**\nAnswer 1: A dog.\n**Question 2: Old?**\nAnswer 2: Yes.",
    "bold word": "**Question 1**: What is it?\n**Answer**: A dog.\n---\n**Q2**: Old?\n**Answer**: Yes.",
    "headings": "# Question 1\nWhat is it?\n# Answer 1\nA dog.\n\n### Question 2\nOld?\n### Answer 2\nYes.",
    "titled": "Question 1 (kind): What is it?\nAnswer 1: A dog.\nQuestion 2 (age): Old?\nAnswer 2: Yes.",
    "bullets": "- Question: What is it?\n- Answer: A dog.\n* Question: Old?\n* Answer: Yes.",
    "no numbers": "Question: What is it?\nAnswer: A dog.\nQuestion: Old?\nAnswer: Yes.",
    "answers alone": "1. **What is it?**\n   *Answer:* A dog.\n\n2. **Old?**\n   *Answer:* Yes.",
    "answers alone, counted": "What is it?\nAnswer 1: A dog.\nOld?\nAnswer 2: Yes.",
    "between": "1.\nQ: What is it?\nA: A dog.\n\n2.\nQ: Old?\nA: Yes.",
    "pairs": "Pair 1:\nQ: What is it?\nA: A dog.\n\nPair 2:\nQ: Old?\nA: Yes.\n",
    "case": "QUESTION 1: What is it?\nANSWER 1: A dog.\nquestion 2: Old?\nanswer 2: Yes.",
    "one line": "Question 1: What is it? Answer 1: A dog. Question 2: Old? Answer 2: Yes.",
    "one line, short": "Q: What is it? A: A dog. Q: Old? A: Yes.",
    "pair a line": "Q: What is it? A: A dog.\nQ: Old? A: Yes.",
    "next line": "Question 1: What is it?\nA dog.\n\nQuestion 2: Old?\nYes.",
    "dos": "Question 1: What is it?\r\nAnswer 1: A dog.\r\nQuestion 2: Old?\r\nAnswer 2: Yes.\r\n",
    "json": '[{"question": "What is it?", "answer": "A dog."},\n {"question": "Old?", "answer": "Yes."}]',
    "json fence": 'Here you are:\n```json\n[{"question": "What is it?", "answer": "A dog."}, '
    '{"question": "Old?", "answer": "Yes."}]\n```',
    "json trailing": '[{"question": "What is it?", "answer": "A dog."}, {"question": "Old?", "answer": '
    '"Yes."}]\nI hope that "this" helps! {smile}',
    "json lines": '{"question": "What is it?", "answer": "A dog."}\n{"question": "Old?", "answer": "Yes."}\n',
    "json wrapped": '{"pairs": [{"Question": "What is it?", "Answer": "A dog."}, '
    '{"Question": "Old?", "Answer": "Yes."}]}',
    "json, one object": '{"question 1": "What is it?", "answer 1": "A dog.", "question 2": "Old?", "answer 2": "Yes."}',
    "json, keys twice": '{"question": "What is it?", "answer": "A dog.", "question": "Old?", "answer": "Yes."}',
    "json, commas missing": '[{"question": "What is it?"\n"answer": "A dog."}\n{"question": "Old?"\n"answer": "Yes."}]',
    "json, open end": '[{"question": "What is it?", "answer": "A dog."}, {"question": "Old?", "answer": "Yes.',
    "json, pretty": '[\n  {\n    "question": "What is it?",\n    "answer": "A dog."\n  },\n  {\n'
    '    "question": "Old?",\n    "answer": "Yes.",\n  }\n]',
    "lines": "What is it? A dog.\nOld? Yes.",
    "numbered lines": "1. What is it? A dog.\n2) Old? - Yes.",
    "two lines": "1. **What is it?**\n   - A dog.\n\n2. **Old?**\n   - Yes.",
    "tab": "What is it?\tA dog.\nOld?\tYes.",
    "bar": "What is it? | A dog.\nOld? | Yes.",
    "table": "| Question | Answer |\n|---|---|\n| What is it? | A dog. |\n| Old? | Yes. |",
    "quoted": 'Q1: "What is it?"\nA1: "A dog."\nQ2: “Old?”\nA2: "Yes."',
}


def plain(text: str, parser: str = "numbered") -> list[tuple[str, str]]:
    return [(pair.question, pair.answer) for pair in find_pairs(text, parser)]


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize("name", VARIANTS)
def test_every_parser_reads_every_variant(name: str, parser: str) -> None:
    assert plain(VARIANTS[name], parser) == [DOG, OLD]


def test_an_answer_keeps_its_lines_and_a_question_is_one_line() -> None:
    text = "Question 1: What is\nit?\nAnswer 1: A dog:\n- brown\n- old\n\nQuestion 2: And?\nAnswer 2: No."
    assert plain(text) == [("What is it?", "A dog:\n- brown\n- old"), ("And?", "No.")]


def test_unnumbered_labels_inside_counted_blocks_are_text() -> None:
    text = "Question 1: What text?\nAnswer 1: It says\nQuestion: who?\nAnswer: me\nQuestion 2: x?\nAnswer 2: y"
    assert plain(text) == [("What text?", "It says\nQuestion: who?\nAnswer: me"), ("x?", "y")]


def test_choices_and_articles_are_no_labels() -> None:
    text = "Question 1: Which is it?\nA. red\nB. blue\nA dog is not meant.\nAnswer 1: A 3-year-old."
    assert plain(text) == [("Which is it? A. red B. blue A dog is not meant.", "A 3-year-old.")]


def test_a_missing_side_is_an_empty_text_not_a_shift() -> None:
    text = "Question 1: What?\nQuestion 2: Who?\nAnswer 2: Me.\nAnswer 3: Blue.\nQuestion 4: Wh"
    assert plain(text) == [("What?", ""), ("Who?", "Me."), ("", "Blue."), ("Wh", "")]


def test_numbers_as_answers_survive() -> None:
    assert plain("Question 1: How many?\nAnswer 1:\n3.\n\n2.\nQuestion 2: More?\nAnswer 2: 5") == [
        ("How many?", "3."),
        ("More?", "5"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n",
        "A nice picture of a dog.",
        "I'm sorry. Shall I try again? I can do so.",
        "{}",
        "[1, 2]",
        "null",
        "```",
    ],
)
def test_prose_holds_no_pair(text: str) -> None:
    assert not any(find_pairs(text, parser) for parser in PARSERS)


HOSTILE = [
    "\n", " ", "x", "1", ":", "[", "{", "}", "`",
    "\\", "\u2028", "* ", "- ", "1. ", "#\n", "?\n", "? ", "\t\n",
    "Q:\n", "Q1: ", "A1:\n", "? A: ",
    "Q" + " " * 7, "Question 1: x?\nAnswer 1: y\n", "a?\n", "a | b\n", "a\tb\n",
    '"', '\\"', '"x ', '{"', '{"a":', '{"question":"', '"question": ', '{"question":"a","answer":"b"}',
    '", // ', '", /* ', '", # x\n', '{"a": "b", // ', '", "',
]  # fmt: skip


# read once it takes some hundredths of a second, with a square in it two minutes
@pytest.mark.timeout(100)
@pytest.mark.parametrize("piece", HOSTILE)
def test_a_long_text_is_read_forward_once(piece: str) -> None:
    start = time.process_time()
    assert len(find_pairs(piece * (200_000 // len(piece)), "numbered")) <= MAX_PAIRS
    assert time.process_time() - start < 4, "seconds of this process alone, however busy the machine is"


_NAMES = ["".join(letters) for letters in product("bdfgk", "aeiou", "lmnrst", "aeiou", "pvz")]
UNLIKE = [
    "\n".join(f"{name}: it is 3 cm wide" for name in _NAMES * 2),
    "\n".join(f"What is it?\n{name}: a dog" for name in _NAMES * 2),
    "[{}]".format(", ".join([r"{\"question\": \"Is it a dog's tail?\", \"answer\": \"No.\"}"] * 1500)),
]


@pytest.mark.timeout(100)
@pytest.mark.parametrize("text", UNLIKE)
def test_a_long_text_of_many_words_is_read_once_too(text: str) -> None:
    start = time.process_time()
    for parser in PARSERS:
        find_pairs(text, parser)
    assert time.process_time() - start < 4


def test_lists_in_lists_of_any_depth_are_read() -> None:
    for depth in (3, 600, 900):
        text = '{{"question": "Is it?", "answer": "Yes.", "options": {}1{}}}'.format("[" * depth, "]" * depth)
        assert plain(text) == [("Is it?", "Yes.")]


@pytest.mark.timing
@pytest.mark.parametrize("piece", HOSTILE)
def test_a_megabyte_parses_in_less_than_a_second(piece: str) -> None:
    text = piece * (1_000_000 // len(piece))
    start = time.process_time()
    find_pairs(text, "numbered")
    assert time.process_time() - start < 1


def test_ten_thousand_texts_make_no_parser_raise() -> None:
    pieces = [*HOSTILE, *VARIANTS.values(), "Question 1:", "**Answer 2:**", "What is it?", "\ud800", "\x00"]
    draw = random.Random(0)
    for _ in range(10_000):
        text = "".join(draw.choices(pieces, k=draw.randint(1, 8)))
        assert len(find_pairs(text[: draw.randint(0, len(text))], draw.choice(list(PARSERS)))) <= MAX_PAIRS


@settings(max_examples=200, deadline=None)
@given(st.text(), st.sampled_from(list(VARIANTS.values())), st.sampled_from(list(PARSERS)))
def test_text_around_pairs_makes_no_parser_raise(noise: str, pairs: str, parser: str) -> None:
    for pair in find_pairs(noise + pairs + noise, parser):
        assert "\n" not in pair.question


SENTENCES = st.from_regex(r"[A-Z][a-z]{2,8} [a-z]{2,8}", fullmatch=True)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(SENTENCES, SENTENCES), min_size=1, max_size=6))
def test_what_was_written_strictly_is_read_back(pairs: list[tuple[str, str]]) -> None:
    blocks = [f"Question {n}: {q}?\nAnswer {n}: {a}." for n, (q, a) in enumerate(pairs, start=1)]
    expected = [(q + "?", a + ".") for q, a in pairs]
    assert plain("\n".join(blocks)) == expected
    assert plain(json.dumps([{"question": q, "answer": a} for q, a in expected]), "json") == expected


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("Question 1: a?\nQuestion 2: b?\n\nAnswer 1: x.\nAnswer 2: y.", [("a?", "x."), ("b?", "y.")]),
        ("Q1: a?\nQ2: b?\nA1: x\nA2: y\nQ3: c?\nA3: z", [("a?", "x"), ("b?", "y"), ("c?", "z")]),
        ("Q1: a?\nQ2: b?\nA2: y\nA1: x", [("b?", "y"), ("a?", "x")]),
        ("Q: a?\nQ: b?\nA: x\nA: y", [("a?", "x"), ("b?", "y")]),
        ("Questions:\n1. a?\n2. b?\n\nAnswers:\n1. x\n2. y", [("a?", "x"), ("b?", "y")]),
        ("Pregunta 1: ¿a?\nPregunta 2: ¿b?\nRespuesta 1: x\nRespuesta 2: y", [("¿a?", "x"), ("¿b?", "y")]),
        ("<question>a?</question>\n<answer>x</answer>", [("a?", "x")]),
        ("Question 1: a?\nAnswer 1: Roads:\nA1: x\nA20: y\nQuestion 2: b?\nAnswer 2: z",
         [("a?", "Roads:\nA1: x\nA20: y"), ("b?", "z")]),
        ("Frage 1: a?\nAntwort 1: x:\n- eins\n- zwei\nFrage 2: b?\nAntwort 2: y",
         [("a?", "x:\n- eins\n- zwei"), ("b?", "y")]),
        ("1. **a?**\n   - x\n   - y\n2. **b?**\n   - z", [("a?", "- x\n- y"), ("b?", "z")]),
        ("### 1. a?\n\nx\n\ny\n\n### 2. b?\n\nz", [("a?", "x\n\ny"), ("b?", "z")]),
        ("Câu hỏi 1: a?\nTrả lời 1: x", [("a?", "x")]),
        ("प्रश्न 1: a?\nउत्तर 1: x", [("a?", "x")]),
        ("Question 1 : a ?\nRe\u0301ponse 1 : x", [("a ?", "x")]),
        ("问题一\uff1aa?\n答案一\uff1ax", [("a?", "x")]),
        ("Qqq 1: a?\nRrr 1: x", [("a?", "x")]),  # words of no known language
        ("**P**\n1. Who?\nx.\n**Q**\n2. Why?\ny.", [("Who?", "x."), ("Why?", "y.")]),
        ("P:\n1. Who?\nx.\n\nQ q:\n2. Why?\ny.", [("Who?", "x."), ("Why?", "y.")]),
        ("1. Who? x.\n**Theme:**\n2. Why? y.", [("Who?", "x."), ("Why?", "y.")]),
        ("Who?\nIt says:\n**STOP**\nWhy?\ny.", [("Who?", "It says:\n**STOP**"), ("Why?", "y.")]),
        ("Who?\n**Me**\nWhy?\n**So**", [("Who?", "Me"), ("Why?", "So")]),
        ("**Pair 1**\nQ: a?\nA: x\n\n**Pair 2**\nQ: b?\nA: y", [("a?", "x"), ("b?", "y")]),
        ("Q: a?\nA: x\nPair 2\nQ: b?\nA: y", [("a?", "x"), ("b?", "y")]),
        ("Q: a?\nA: It says\n2\nQ: b?\nA: y", [("a?", "It says\n2"), ("b?", "y")]),
        ("1. a? https://a.com\n2. b? https://b.com", [("a?", "https://a.com"), ("b?", "https://b.com")]),
        ("1. Which bus? Line 5: Harbour", [("Which bus?", "Line 5: Harbour")]),
        ("1. a? Exit: left\n2. b? Exit: right", [("a?", "Exit: left"), ("b?", "Exit: right")]),
        ("| # | Question | Answer |\n|---|---|---|\n| 1 | a? | x |", [("a?", "x")]),
        ("| Pregunta | Respuesta |\n|---|---|\n| ¿a? | x |", [("¿a?", "x")]),
        ('question,answer\n"a, b?","x."\n"c?","y."', [("a, b?", "x."), ("c?", "y.")]),
        ("1. a? x\n2. b? y\n\nWould you like more questions? Just let me know!", [("a?", "x"), ("b?", "y")]),
        ("[{'question': 'a?', 'answer': \"It's x\"}]", [("a?", "It's x")]),
        ("[('a?', 'x'), ('b?', 'y')]", [("a?", "x"), ("b?", "y")]),
        ('[{"question": "a?", "A": "cat", "B": "dog", "answer": "B"}]', [("a?", "B")]),
        ('[{"instruction": "Look.", "question": "a?", "answer": "x", "response": "y"}]', [("a?", "x")]),
        ('Sure: [{"question": "a?", "answer": "It says "stop", in red."}]', [("a?", 'It says "stop", in red.')]),
    ],
)  # fmt: skip
def test_each_question_gets_its_whole_answer_and_nothing_else(text, pairs):
    assert plain(text) == pairs


@pytest.mark.parametrize(
    ("text", "trimmed"),
    [
        ("**A dog** lies on the **grass**", "**A dog** lies on the **grass**"),
        ("The colour is **red**", "The colour is **red**"),
        ("**A dog.**", "A dog."),
        ("What is it?**", "What is it?"),
        ("*A dog* and *a cat*", "*A dog* and *a cat*"),
        ("__init__", "__init__"),
        ("`ls -l`", "ls -l"),
        ("It reads\n12.", "It reads\n12."),
        ("It shows\n# Welcome", "It shows\n# Welcome"),
        ("It shows\n```python\nprint(1)\n```", "It shows\n```python\nprint(1)\n```"),
        ("Me.\n```", "Me."),
    ],
)
def test_trim_leaves_what_belongs_to_the_text(text, trimmed):
    assert trim(text) == trimmed
    assert plain(f"Question 1: What?\nAnswer 1: {text}") == [("What?", trimmed)]


def test_a_cut_off_text_of_questions_above_answers_ends_with_the_pair_that_was_cut():
    pairs = find_pairs("Q1: a?\nQ2: b?\nQ3: c?\nA1: x\nA2: y cut", "numbered")
    assert (pairs[-1].question, pairs[-1].answer) == ("b?", "y cut")
