"""An answer's tokens as pieces of its text, each with the colour of what the image did to it.

The pieces concatenate to the answer exactly, whatever the tokenizer's own token texts look like: a token
whose text cannot be found in the answer (half of a character, a marker) is merged with its neighbours.
"""

import math
from dataclasses import dataclass

from c3l.records import AnswerScores

LEVEL_FACTORS = (1.2, 1.5, 2.0, 4.0, 10.0)
"""Borders of the colour levels: the image made a token at least this many times likelier, or less likely."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of an answer.

    Attributes:
        space: White space before the text, left without colour.
        text: The token's text; empty for tokens after the end of the text.
        css: Colour class: ``u1``..``u5`` raised, ``d1``..``d5`` lowered, empty for next to no change.
        note: The change in words.
    """

    space: str
    text: str
    css: str
    note: str


def cut_pieces(answer: str, scores: AnswerScores) -> tuple[Piece, ...]:
    """The answer in pieces whose ``space + text`` concatenate to it; merged tokens add their log-ratios."""
    deltas = [p - q for p, q in zip(scores.logprobs_with_image, scores.logprobs_without_image, strict=True)]
    if not deltas:
        return (Piece("", answer, "", "no tokens"),)
    pieces = []
    for start, end, tokens in _align(answer, scores.tokens):
        text = answer[start:end]
        stripped = text.lstrip()
        space = text[: len(text) - len(stripped)]
        change = sum(deltas[index] for index in tokens)
        pieces.append(Piece(space, stripped, find_level(change), describe_change(change)))
    return tuple(pieces)


def is_less_likely(scores: AnswerScores) -> bool:
    """Whether the answer is less likely with the image than without it, whatever the form of its score."""
    return sum(scores.logprobs_with_image) < sum(scores.logprobs_without_image)


def find_level(change: float) -> str:
    """The colour class of a change in log-probability (nats), from the borders of ``LEVEL_FACTORS``."""
    level = sum(abs(change) >= math.log(factor) - 1e-9 for factor in LEVEL_FACTORS)
    return f"{'u' if change > 0 else 'd'}{level}" if level else ""


def describe_change(change: float) -> str:
    """A change in nats with what it means as a factor: ``+1.39 nats``, 4 times likelier."""
    factor = math.exp(min(abs(change), 7.0))
    size = "over 1000" if factor > 1000 else f"{factor:.0f}" if factor >= 10 else f"{factor:.1f}"
    sign = "\N{MULTIPLICATION SIGN}" if change >= 0 else "\N{DIVISION SIGN}"
    return f"{format_signed(change)} nats, {sign}{size}"


def format_signed(value: float, decimals: int = 2) -> str:
    """So many decimals with a sign, a true minus, and no negative zero."""
    text = f"{value:+.{decimals}f}"
    return text.replace("-", "\N{MINUS SIGN}") if text.strip("+-0.") else text[1:]


def _align(answer: str, tokens: tuple[str, ...]) -> list[tuple[int, int, list[int]]]:
    """Spans (start, end, token indices) that cover the answer in order."""
    spans: list[tuple[int, int, list[int]]] = []
    position, waiting = 0, list[int]()
    for index, token in enumerate(tokens):
        found = _find(answer, token, position, far=bool(waiting))
        if found is None:
            waiting.append(index)
            continue
        start, end = found
        if waiting and start > position:
            spans.append((position, start, waiting))
            position, waiting = start, []
        spans.append((position, end, [*waiting, index]))
        position, waiting = end, []
    if position < len(answer) or waiting:
        spans.append((position, len(answer), waiting))
    return spans


def _find(answer: str, token: str, position: int, far: bool) -> tuple[int, int] | None:
    """Where a token's text stands next; further ahead only when tokens before it wait for their text."""
    spaced = token.replace("\N{LOWER ONE EIGHTH BLOCK}", " ")
    bare = spaced.strip() or spaced
    if not bare or "\N{REPLACEMENT CHARACTER}" in bare:
        return None
    if not far:
        space = len(answer) - position - len(answer[position:].lstrip())
        places = [
            (start, text)
            for start, text in ((position, spaced), (position + space, bare))
            if answer.startswith(text, start)
        ]
    else:
        places = [(answer.find(text, position, position + 32 + len(text)), text) for text in (spaced, bare)]
    return next(((start, start + len(text)) for start, text in places if start >= 0), None)
