import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from c3l.records import AnswerScores
from c3l.report.tokens import cut_pieces, describe_change, find_level, format_signed


def make_scores(tokens: list[str], changes: list[float] | None = None) -> AnswerScores:
    changes = changes or [0.0] * len(tokens)
    blind = tuple(-1.0 for _ in tokens)
    seen = tuple(-1.0 + change for change in changes)
    return AnswerScores(tuple(range(len(tokens))), tuple(tokens), seen, blind)


def join(pieces: tuple) -> str:
    return "".join(piece.space + piece.text for piece in pieces)


@pytest.mark.parametrize(
    ("answer", "tokens", "texts"),
    [
        ("A red bus.", ["A", " red", " bus", "."], ["A", "red", "bus", "."]),
        ("A red bus.", ["▁A", "▁red", "▁bus", "."], ["A", "red", "bus", "."]),  # SentencePiece's marker
        ("A red bus.", ["A", "red", "bus", "."], ["A", "red", "bus", "."]),  # white space lost in decoding
        ("A bus.", ["A", " bus", ".", "</s>"], ["A", "bus", ".", ""]),  # an end token that the text lacks
        ("A bus.", ["<s>", "A", " bus", "."], ["A", "bus", "."]),  # a marker at the start joins its neighbour
        ("a 🚌 b", ["a", " �", "�", "�", " b"], ["a", "🚌", "b"]),  # bytes of one character
        ("Two\n\nlines", ["Two", "\n\n", "lines"], ["Two", "", "lines"]),
        ("<b>&amp;</b>", ["<b", ">", "&amp", ";</", "b>"], ["<b", ">", "&amp", ";</", "b>"]),
    ],
)
def test_pieces_follow_the_tokens(answer: str, tokens: list[str], texts: list[str]) -> None:
    pieces = cut_pieces(answer, make_scores(tokens))
    assert [piece.text for piece in pieces] == texts
    assert join(pieces) == answer


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40), st.lists(st.text(max_size=4), max_size=12))
def test_pieces_always_concatenate_to_the_answer(answer: str, tokens: list[str]) -> None:
    assert join(cut_pieces(answer, make_scores(tokens))) == answer


@settings(max_examples=200, deadline=None)
@given(st.text(min_size=1, max_size=40), st.lists(st.integers(1, 5), min_size=1, max_size=12))
def test_cuts_of_the_answer_itself_stay_apart(answer: str, sizes: list[int]) -> None:
    tokens, rest = [], answer
    for size in sizes:
        tokens.append(rest[:size])
        rest = rest[size:]
    tokens = [token for token in [*tokens, rest] if token and "�" not in token and "▁" not in token]
    if "".join(tokens) == answer:
        assert [piece.space + piece.text for piece in cut_pieces(answer, make_scores(tokens))] == tokens


def test_merged_tokens_add_their_changes() -> None:
    pieces = cut_pieces("a 🚌", make_scores(["a", " �", "�"], [0.0, 1.0, 0.5]))
    assert pieces[1].note == "+1.50 nats, \N{MULTIPLICATION SIGN}4.5"
    assert pieces[1].css == "u4"


@pytest.mark.parametrize(
    ("factor", "level"), [(1.1, ""), (1.2, "1"), (1.9, "2"), (2, "3"), (9.9, "4"), (10, "5"), (1e9, "5")]
)
def test_levels_are_symmetric_and_capped(factor: float, level: str) -> None:
    assert find_level(math.log(factor)) == (level and f"u{level}")
    assert find_level(-math.log(factor)) == (level and f"d{level}")


def test_notes_say_the_factor() -> None:
    assert describe_change(-math.log(2)) == "\N{MINUS SIGN}0.69 nats, ÷2.0"
    assert describe_change(50.0) == "+50.00 nats, \N{MULTIPLICATION SIGN}over 1000"


def test_numbers_have_a_true_minus_and_no_negative_zero() -> None:
    assert [format_signed(value) for value in (0.4, -0.4, -0.001)] == ["+0.40", "\N{MINUS SIGN}0.40", "0.00"]
