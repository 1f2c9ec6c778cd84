"""JSON as models write it: with comments, cut off, under other names, and texts that no file can hold."""

import json

import pytest
from tests.method.test_parsing import plain

from c3l.method.parsing import PARSERS, find_pairs


def test_json_values_that_are_no_text() -> None:
    text = '[{"question": "n?", "answer": 3}, {"q": "is?", "a": true}, {"question": "x", "answer": null}]'
    assert plain(text, "json") == [("n?", "3"), ("is?", "true"), ("x", "")]


def test_json_quotes_that_were_not_escaped() -> None:
    text = '[{"question": "What text?", "answer": "It says "hello" to us."}, {"question": "a?", "answer": "b"}]'
    assert plain(text, "json") == [("What text?", 'It says "hello" to us.'), ("a?", "b")]


def test_json_escapes_are_undone_in_whole_and_in_broken_texts() -> None:
    text = json.dumps([{"question": 'Is "x"\\ y?', "answer": "a\nb é"}])
    assert plain(text, "json") == plain(text + " thanks", "json") == [('Is "x"\\ y?', "a\nb é")]


def test_json_shows_which_answers_are_closed() -> None:
    cut = find_pairs('[{"question": "a?", "answer": "b"}, {"question": "c?", "answer": "d', "json")
    assert [pair.closed for pair in cut] == [True, False]
    assert [pair.closed for pair in find_pairs("Q: a?\nA: b", "json")] == [False]


def test_characters_that_no_file_can_hold_are_left_out() -> None:
    text = '{"question": "What \\ud83d is it?", "answer": "A\\u0000 dog."}'
    assert plain(text, "json") == [("What is it?", "A dog.")]


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ('{"questions": ["What?", "Where?"], "answers": ["Dog.", "Here."]}', [("What?", "Dog."), ("Where?", "Here.")]),
        ('{"What is it?": "A dog.", "Where is it?": "Home."}', [("What is it?", "A dog."), ("Where is it?", "Home.")]),
        (
            'Sure:\n{\n "What is it?": "A dog.",\n "Where?": "Home."\n}',
            [("What is it?", "A dog."), ("Where?", "Home.")],
        ),
        ('[["What is it?", "A dog."], ["Where?", "Home."]]', [("What is it?", "A dog."), ("Where?", "Home.")]),
        ('[{"pregunta": "¿Qué es?", "respuesta": "Un perro."}]', [("¿Qué es?", "Un perro.")]),
        ('[{"问题": "这是什么\uff1f", "答案": "一只狗。"}]', [("这是什么\uff1f", "一只狗。")]),
        ('Hier:\n```json\n[{"frage": "Was ist das?", "antwort": "Ein Hund."}]\n```', [("Was ist das?", "Ein Hund.")]),
        ('["What is it?", "A dog."]\n["Where?", "Home."]', [("What is it?", "A dog."), ("Where?", "Home.")]),
        ('[{"question": "What is it?", "answer": "A dog", "options": ["Is it?", "no"]}]', [("What is it?", "A dog")]),
        ('[{"question": "Is it?", "answer": null}]', [("Is it?", "")]),
        ('Sure:\n[{"question": "Is it?", "answer": null}]', [("Is it?", "")]),
        ('Sure:\n[{"question": "What?", "answer": ["A dog", "a cat"]}]', [("What?", "")]),
        ('{"topics": ["What?", "Where?", "Who?"]}', []),
        ('Here you are: {"title": "What is it?"}', []),
    ],
)
def test_json_of_another_form_is_read_or_left_but_never_taken_apart(parser, text, pairs):
    assert [(pair.question, pair.answer) for pair in find_pairs(text, parser)] == pairs


LONG = [f"{word} {'x ' * 45}?" for word in ("What", "Which")]


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        (f'{{"{LONG[0]}": "p", "{LONG[1]}": "q",}}', [(LONG[0], "p"), (LONG[1], "q")]),
        ('[{"question": "a?", // one\n "answer": "p", // so "it": is\n}, // c\n{"question": "b?", "answer": "q", }]',
         [("a?", "p"), ("b?", "q")]),
        ('[{"question": "a?", /* one */ "answer": "p" /* } */}, {"question": "b?", "answer": "q", # c\n}]',
         [("a?", "p"), ("b?", "q")]),
        ('{"question": "a?", // one\n "answer": // two\n "https://p.org // #2" // three\n}',
         [("a?", "https://p.org // #2")]),
        ('{"question": "a?", "answer": "It says "go", // on."}', [("a?", 'It says "go", // on.')]),
        ('{"question": "a?", "answer": "It says "go" // or "stop", not "# halt"",}',
         [("a?", 'It says "go" // or "stop", not "# halt"')]),
    ],
)  # fmt: skip
def test_json_with_comments_and_long_keys(text, pairs):
    assert plain(text, "json") == pairs
