"""Words of labels, in any language, are found; words that an answer quotes are none."""

import pytest
from tests.method.test_parsing import plain

from c3l.method.parsing import PARSERS, find_pairs


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("Pregunta 1: ¿Qué es?\nRespuesta 1: Un perro.", [("¿Qué es?", "Un perro.")]),
        ("Frage: Was?\nAntwort: Ein Hund.\nFrage: Wo?\nAntwort: Hier.", [("Was?", "Ein Hund."), ("Wo?", "Hier.")]),
        (
            "问题1\uff1a这是什么\uff1f\n答案1\uff1a一只狗。\n问题2\uff1a在哪里\uff1f\n答案2\uff1a家。",
            [("这是什么\uff1f", "一只狗。"), ("在哪里\uff1f", "家。")],
        ),
        (
            "Question 1 : Qu'est-ce ?\nRéponse 1 : Un chien.\n\nQuestion 2 : Où ?\nRéponse 2 : Ici.",
            [("Qu'est-ce ?", "Un chien."), ("Où ?", "Ici.")],
        ),
        (
            "1. Was ist das?\n   Antwort: Ein Hund.\n2. Wo?\n   Antwort: Hier.",
            [("Was ist das?", "Ein Hund."), ("Wo?", "Hier.")],
        ),
        (
            "Question 1: 这是什么\uff1f\n答案 1: 一只狗。\nQuestion 2: 在哪里\uff1f\n答案 2: 家。",
            [("这是什么\uff1f", "一只狗。"), ("在哪里\uff1f", "家。")],
        ),
        (
            "Pregunta 1: ¿Qué es?\nRespuesta 1: Un perro.\nPregunta 2: ¿Y?\nRespuesta 2: No.\n\n¿Quieres más?",
            [("¿Qué es?", "Un perro."), ("¿Y?", "No.")],
        ),
        (
            "Pregunta 1: ¿Qué es?\nRespuesta 1: Un perro.\nPregunta 2: ¿De qué color?",
            [("¿Qué es?", "Un perro."), ("¿De qué color?", "")],
        ),
        ('How long is it? 12"', [("How long is it?", '12"')]),
        (
            "Is it a dog? Yes: it is.\nIs it red? Yes: it is.",
            [("Is it a dog?", "Yes: it is."), ("Is it red?", "Yes: it is.")],
        ),
        ("Color: what is it? Answer: red", [("Color: what is it?", "red")]),
        ("Where: home or away? Home: of course", [("Where: home or away?", "Home: of course")]),
        ("[1] What is it? A dog.\n[2] Where? Home.", [("What is it?", "A dog."), ("Where?", "Home.")]),
        ('"What is it?" "A dog."\n"Where?" "Home."', [("What is it?", "A dog."), ("Where?", "Home.")]),
        ('What does "dog" mean? It means "hund".', [('What does "dog" mean?', 'It means "hund".')]),
    ],
)
def test_labels_of_any_language_and_quotes_around_a_line_are_left_out(parser, text, pairs):
    assert [(pair.question, pair.answer) for pair in find_pairs(text, parser)] == pairs


WORDS = ["Response", "Reply", "Solution", "GPT", "Caption", "Bot", "Output"]


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize(
    "form",
    [
        "Question: a?\nWORD: x.\n\nQuestion: b?\nWORD: y.",
        "Question 1: a?\nWORD 1: x.\nQuestion 2: b?\nWORD 2: y.",
        "**Question:** a?\n**WORD:** x.\n\n**Question:** b?\n**WORD:** y.",
        "Q1: a?\n**WORD**: x.\nQ2: b?\n**WORD**: y.",
        "1. a?\n   WORD: x.\n2. b?\n   WORD: y.",
    ],
)
def test_a_word_that_all_answers_share_is_their_label(form, word):
    assert plain(form.replace("WORD", word)) == [("a?", "x."), ("b?", "y.")]


@pytest.mark.parametrize("words", ["Human GPT", "User AI", "Human ChatGPT", "User Assistant"])
def test_one_pair_of_a_chat_loses_its_labels(words):
    question, answer = words.split()
    assert plain(f"{question}: a?\n{answer}: x.") == [("a?", "x.")]


def test_what_one_answer_to_a_question_says_of_ai_stays():
    text = "What does the chart show?\nAI: 40%"
    assert plain(f"Question: {text}") != [("What does the chart show?", "40%")]


@pytest.mark.parametrize("word", ["Explanation", "Evidence", "Difficulty"])
def test_what_is_labelled_below_an_answer_leaves_it_an_answer(word):
    text = f"Question 1: a?\nIt is x.\n{word} 1: p.\nQuestion 2: b?\nIt is y.\n{word} 2: q."
    assert plain(text) == [("a?", f"It is x.\n{word} 1: p."), ("b?", f"It is y.\n{word} 2: q.")]


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        (
            "¿Listo? Aquí:\nPregunta: ¿a?\nRespuesta: x\nPregunta: ¿b?\nRespuesta: y",
            [("¿a?", "x"), ("¿b?", "y")],
        ),
        ("a? It shows:\nUser: p\nAssistant: q\nb? y.", [("a?", "It shows:\nUser: p\nAssistant: q"), ("b?", "y.")]),
        ("Who?\nAssistant: p\nb? y.", [("Who?", "Assistant: p"), ("b?", "y.")]),
        ("Question: a?\nIt shows:\nOutput: 5\nQuestion: b?\ny.", [("a?", "It shows:\nOutput: 5"), ("b?", "y.")]),
        ("Question: a?\nIt shows:\nOutput: 5", [("a?", "It shows:\nOutput: 5")]),
        ("What is AI?\nAI: p.", [("What is AI?", "AI: p.")]),
        ("Pregunta: ¿a?\nRespuesta: x\nAI: y", [("¿a?", "x\nAI: y")]),
        ("Question: a?\nAnswer: x\nHuman: p\nAI: q", [("a?", "x\nHuman: p\nAI: q")]),
        ("Q: a?\nA: Two:\nAI: p\nGPT: q", [("a?", "Two:\nAI: p\nGPT: q")]),
        ("a? It shows:\nHuman: p\nGPT: q\nb? y.", [("a?", "It shows:\nHuman: p\nGPT: q"), ("b?", "y.")]),
        ("Question: a?\nIt shows:\nAI: 5\nQuestion: b?\ny.", [("a?", "It shows:\nAI: 5"), ("b?", "y.")]),
        ("Q: a?\nYes: p.\nQ: b?\nYes: q.", [("a?", "Yes: p."), ("b?", "Yes: q.")]),
    ],
)
def test_words_that_an_answer_quotes_are_no_labels(text, pairs):
    assert plain(text) == pairs
