"""Texts are encoded once for a batch, in advance where other threads were told of them, and always to the same."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from c3l.models.hf import kept
from c3l.models.hf.encoding import ChatEncoder
from c3l.models.hf.kept import KeptEncodings
from c3l.models.interface import Pair, ScoreRequest
from tiny_models import make_picture, try_out

pytestmark = pytest.mark.usefixtures("tried_once")

REQUESTS = [
    ScoreRequest(
        make_picture(number),
        tuple(Pair(f"{number}/{k}", f"What is number {k} of {number}?", f"It is thing {k}.", told) for k in range(3)),
        0,
        (make_picture(9), make_picture(8)),
    )
    for number, told in enumerate(((), (("Is it?", "Yes, it is."),), ()))
]


def count_texts(model: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that are tokenised from here on; a processor's own are not among them."""
    found, tokenise = [], ChatEncoder.tokenise

    def counting(self: ChatEncoder, text: str, **how: bool) -> list[int]:
        found.append(text)
        return tokenise(self, text, **how)

    monkeypatch.setattr(ChatEncoder, "tokenise", counting)
    return found


@pytest.mark.parametrize("mode", ["drop", "others", "blank"])
def test_what_other_threads_read_changes_no_bit(model, mode):
    requests = REQUESTS if model.takes_turns else [REQUESTS[0], REQUESTS[2]]
    if mode not in model.no_image_modes():
        pytest.skip("the family has no such way of leaving the image out")
    alone = model.score(requests, mode)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda request: model.read_ahead(request, mode), requests))
    assert model._encoder._kept._ahead
    assert model.score(requests, mode) == alone
    assert len({scores.logprobs_with_image for scores in alone.values()}) == len(alone), "images and texts matter"


def test_what_was_read_in_advance_is_not_read_again(tiny, monkeypatch):
    model, [request, *_] = try_out(tiny("llava")), REQUESTS
    model.score(REQUESTS[1:], "drop")
    texts = count_texts(model, monkeypatch)
    model.read_ahead(request, "drop")
    read = len(texts)
    model.score([request], "drop")
    assert read >= 2 * len(request.pairs)
    assert len(texts) == read


def test_a_question_is_read_once_however_many_images_are_shown_with_it(tiny, monkeypatch):
    model, [request, *_] = try_out(tiny("llava")), REQUESTS
    texts = count_texts(model, monkeypatch)
    model.score([request], "others")
    asked = [text for text in texts if "What is number 1" in text]
    assert len(asked) == 1


def test_what_cannot_be_read_is_told_where_it_is_scored_and_nothing_stays():
    encodings = KeptEncodings()

    def fail() -> None:
        raise ValueError("no such text")

    encodings.read_ahead(lambda: encodings.keep("bad", None, fail))
    encodings.keeps = True
    with pytest.raises(ValueError, match="no such text"):
        encodings.keep("bad", None, fail)


def test_what_an_image_has_a_part_in_is_not_kept_for_another():
    encodings, one, other = KeptEncodings(), make_picture(1), make_picture(1)
    encodings.read_ahead(lambda: encodings.keep("key", one, lambda: "of one"))
    encodings.keeps = True
    assert encodings.keep("key", other, lambda: "of the other") == "of the other"
    assert encodings.keep("key", None, lambda: "of none") == "of none"
    assert encodings.keep("key", other, lambda: "again") == "of the other"
    encodings.clear()
    assert encodings.keep("key", other, lambda: "again") == "again"


def test_texts_that_nobody_comes_for_make_room(monkeypatch):
    monkeypatch.setattr(kept, "_MOST", 3)
    encodings, made = KeptEncodings(), []

    def read(number: int) -> None:
        encodings.keep(number, None, lambda: made.append(number))

    for number in range(5):
        encodings.read_ahead(lambda number=number: read(number))
    encodings.keeps = True
    for number in range(4, -1, -1):
        read(number)
    assert made == [0, 1, 2, 3, 4, 1, 0]
