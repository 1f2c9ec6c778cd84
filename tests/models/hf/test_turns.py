"""Earlier turns as context: scored behind what was said before, held against chats that the processor alone writes."""

from copy import copy
from dataclasses import replace

import pytest

from c3l.errors import BackendError
from c3l.models.hf.inference import HfModel
from c3l.models.hf.rows import ForcingRow
from c3l.models.interface import Pair, ScoreRequest
from c3l.records import Provenance
from scores import force_plainly, score_rows
from tiny_models import make_picture, try_out

pytestmark = pytest.mark.usefixtures("tried_once")
PROVENANCE = Provenance("tiny", "", "hf", "float32", "cpu", 0, {})
TOLERANCE = 1e-4
TURNS = (("What is it?", "A red dog."), ("Where?", "In the garden."), ("How many are there?", "Two, by the tree"))


def talk(count: int = 3) -> tuple[Pair, ...]:
    """The first turns of the conversation, each with all that comes before it."""
    return tuple(Pair(str(n), *TURNS[n], TURNS[:n]) for n in range(count))


def score_by_hand(family, image, turn: int):
    """Log-probabilities of a turn's answer after the chat before it, as the template and the processor write it."""
    chat = []
    for question, answer in (*TURNS[:turn], (TURNS[turn][0], "")):
        parts = [{"type": "image"}] * (image is not None and not chat) + [{"type": "text", "text": question}]
        chat.append({"role": "user", "content": parts})
        if answer:
            chat.append({"role": "assistant", "content": [{"type": "text", "text": answer}]})
    text = family.processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    shown = {"images": [[image]]} if image is not None else {}
    return force_plainly(family, text, TURNS[turn][1], **shown).tolist()


@pytest.mark.parametrize("no_image", ["drop", "others"])
def test_a_turn_is_scored_after_those_before_it_as_a_plain_loop_scores_it(family, no_image):
    model, image, other = try_out(family), make_picture(0), make_picture(1)
    assert model.takes_turns
    shown = (other,) if no_image == "others" else ()
    [scores] = score_rows(model, [ScoreRequest(image, talk(), others=shown)], no_image)
    for turn, found in enumerate(scores):
        seen = score_by_hand(family, image, turn)
        blind = score_by_hand(family, other if shown else None, turn)
        assert found.logprobs_with_image == pytest.approx(seen, abs=TOLERANCE)
        assert found.logprobs_without_image == pytest.approx(blind, abs=TOLERANCE)


def test_what_was_said_before_matters_and_so_does_the_image_behind_it(family):
    model = try_out(family)
    alone = replace(talk()[2], earlier=())
    otherwise = replace(talk()[2], earlier=(("What is it?", "A cat, blue"), TURNS[1]))
    [[with_turns, without, lied]] = score_rows(
        model, [ScoreRequest(make_picture(0), (talk()[2], alone, otherwise))], "drop"
    )
    for one in (without, lied):
        gap = max(abs(a - b) for a, b in zip(with_turns.logprobs_with_image, one.logprobs_with_image, strict=True))
        assert gap > 0.05
    [[of_another]] = score_rows(model, [ScoreRequest(make_picture(1), talk()[2:])], "drop")
    moved = zip(with_turns.logprobs_with_image, of_another.logprobs_with_image, strict=True)
    assert max(abs(a - b) for a, b in moved) > 0.01


def test_a_conversation_costs_one_path_of_tokens(tiny, monkeypatch):
    """The rows of its turns begin alike, so nothing of it is computed twice: neither image nor earlier answers."""
    model = try_out(tiny("llava"))
    request, seen = ScoreRequest(make_picture(0), talk()), []
    score_rows(model, [request], "drop")  # at its first rows it tries itself out
    forward = model._model.forward

    def watch(**inputs):
        seen.append(tuple(inputs["input_ids"].shape))
        return forward(**inputs)

    monkeypatch.setattr(model._model, "forward", watch)
    score_rows(model, [request], "blank")
    longest = len(model._forcing.encode(_row(request)).ids) + len(model._encoder.encode_completion(TURNS[2][1]))
    assert sum(rows * width for rows, width in seen) <= 2 * longest


def test_what_was_said_is_read_once_for_all_later_turns_and_all_rows(tiny, monkeypatch):
    model, image = try_out(tiny("llava")), make_picture(0)
    encoder, encode = model._encoder, model._forcing.encode
    kind, read = type(encoder.tokenizer), []
    call = kind.__call__
    monkeypatch.setattr(kind, "__call__", lambda self, text, **given: read.append(text) or call(self, text, **given))
    costs = {}
    for count in (5, 10):
        turns = [(f"What is {number}?", f"It is {number} to {count}.") for number in range(count)]
        rows = [
            ForcingRow(shown, question, (1,), earlier=tuple(turns[:number]))
            for number, (question, _) in enumerate(turns)
            for shown in (image, None)
        ]
        apart = [encode(row).ids for row in rows]
        read.clear()
        with encoder.batch():
            assert [encode(row).ids for row in rows] == apart
            costs[count] = len(read)
            prompts = [encode(row) for row in rows]
            assert all(encode(row) is prompt for row, prompt in zip(rows, prompts, strict=True))
            assert len(read) == costs[count]
        assert not encoder._kept._kept
    assert costs[10] <= 2 * costs[5]


def _row(request):
    last = request.pairs[2]
    return ForcingRow(request.image, last.prompt, (1,), earlier=last.earlier)


def test_tokens_are_those_that_finetune_teaches(tiny):
    """A model is scored on the conversation that it would be tuned on, token by token."""
    family = tiny("qwen2_vl")
    model = try_out(family)
    with model._encoder.batch():
        whole = model._forcing.turns.encode(TURNS, make_picture(0))
        prompt = model._forcing.encode(_row(ScoreRequest(make_picture(0), talk())))
    told = (*whole.prompt.ids, *whole.ids)
    assert told[: len(prompt.ids)] == prompt.ids
    last = model._encoder.encode_completion(TURNS[2][1])
    assert told[len(prompt.ids) : len(prompt.ids) + len(last)] == last


def test_a_template_that_hides_turns_is_told_from_one_that_shows_them(tiny):
    processor = copy(tiny("llava").processor)
    processor.chat_template = processor.chat_template.replace("in messages %}", "in messages[-1:] %}", 1)
    model = HfModel(tiny("llava").model, processor, PROVENANCE)
    assert not model.takes_turns
    with pytest.raises(BackendError, match=r"set scoring\.context=none"):
        score_rows(model, [ScoreRequest(make_picture(0), talk()[1:2])], "drop")
