"""Rows about several pictures, held against chats that template, processor and model alone make of them."""

import pytest
import torch
from PIL import Image
from tests.scores import score_rows

from c3l.models.hf.inference import HfModel
from c3l.models.hf.rows import GREY
from c3l.models.interface import Pair, ScoreRequest
from c3l.records import Provenance
from tiny_models import FAMILIES, make_picture

PROVENANCE = Provenance("tiny", "", "hf", "float32", "cpu", 0, {})
TOLERANCE = 1e-4
ONE, TWO, THREE = make_picture(0), make_picture(1, (30, 40)), make_picture(2)
BOTH = (ONE, TWO)
PAIRS = (
    Pair("between", "One: <image>, two: <image>. Which is red?", "The first one."),
    Pair("again", "One: <image>, two: <image>. Which is red?", "Both, I say"),
    Pair("other words", "One: <image>, then: <image>. Which is red?", "None"),
    Pair("before", "What is new?", "A dog in the second."),
    Pair("behind", "Compare:\n<image>\n<image>", "Alike."),
    Pair("first", "What is it?", "A cat", (("<image>", "A dog."), ("And <image>?", "Another."))),
    Pair("later", "And is <image> red?", "No, blue", (("Is <image> red?", "Yes, it is."),)),
    Pair("mixed", "Is it?", "No", (("Hello!", "Hello."), ("And <image>?", "Yes."))),
)
SHOWS = {"type": "image"}


@pytest.fixture(params=FAMILIES)
def family(request, tiny):
    return tiny(request.param)


@pytest.fixture
def model(family):
    return HfModel(family.model, family.processor, PROVENANCE)


def write(text: str):
    return {"type": "text", "text": text}


# what the user's turns of each pair are made of
CHATS = {
    "between": [[write("One: "), SHOWS, write(", two: "), SHOWS, write(". Which is red?")]],
    "other words": [[write("One: "), SHOWS, write(", then: "), SHOWS, write(". Which is red?")]],
    "before": [[SHOWS, SHOWS, write("What is new?")]],
    "behind": [[write("Compare:"), SHOWS, SHOWS]],
    "first": [[SHOWS, write("")], [write("And "), SHOWS, write("?")], [write("What is it?")]],
    "later": [[write("Is "), SHOWS, write(" red?")], [write("And is "), SHOWS, write(" red?")]],
    "mixed": [[SHOWS, write("Hello!")], [write("And "), SHOWS, write("?")], [write("Is it?")]],
}
CHATS["again"] = CHATS["between"]


@torch.no_grad()
def score_by_hand(family, pair: Pair, images):
    """Log-probabilities (N, V) of an answer after the chat before it, as the template and the processor write it."""
    chat = []
    said = [answer for _, answer in pair.earlier]
    for number, parts in enumerate(CHATS[pair.pair_id]):
        chat.append({"role": "user", "content": [part for part in parts if images or part is not SHOWS]})
        chat += [{"role": "assistant", "content": [write(text)]} for text in said[number : number + 1]]
    text = family.processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    shown = {"images": [list(images)]} if images else {}
    inputs = dict(family.processor(text=[text], add_special_tokens=False, return_tensors="pt", **shown))
    length = inputs["input_ids"].shape[1]
    answer = torch.tensor([family.processor.tokenizer(pair.completion, add_special_tokens=False)["input_ids"]])
    for key in ("input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids"):
        if key in inputs:
            fill = answer if key == "input_ids" else torch.full_like(answer, int(key == "attention_mask"))
            inputs[key] = torch.cat([inputs[key], fill], 1)
    inputs.pop("labels", None)
    table = family.model(**inputs).logits[0].log_softmax(-1)[length - 1 : -1]
    return table[torch.arange(answer.shape[1]), answer[0]]


def furthest(one, other):
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("no_image", ["drop", "blank", "others"])
def test_rows_are_scored_as_a_plain_loop_scores_them(family, model, no_image):
    others = ((THREE, ONE), (TWO, THREE)) if no_image == "others" else ()
    grey = tuple(Image.new("RGB", image.size, GREY) for image in BOTH)
    instead = {"drop": [()], "blank": [grey], "others": others}[no_image]
    [found] = score_rows(model, [ScoreRequest(BOTH, PAIRS, others=others)], no_image)
    for pair, scores in zip(PAIRS, found, strict=True):
        assert scores.logprobs_with_image == pytest.approx(score_by_hand(family, pair, BOTH).tolist(), abs=TOLERANCE)
        blind = torch.stack([score_by_hand(family, pair, shown) for shown in instead]).exp().mean(0).log()
        assert scores.logprobs_without_image == pytest.approx(blind.tolist(), abs=TOLERANCE)


def test_each_picture_matters_and_so_does_their_order(model):
    pair = PAIRS[0]
    shown = [BOTH, (THREE, TWO), (ONE, THREE), (TWO, ONE)]
    [[first], *changed] = score_rows(model, [ScoreRequest(images, (pair,)) for images in shown], "drop")
    for [other] in changed:
        assert furthest(first.logprobs_with_image, other.logprobs_with_image) > 0.01
        assert first.logprobs_without_image == pytest.approx(other.logprobs_without_image, abs=TOLERANCE)


def test_rows_about_one_picture_beside_them_stay_as_they_are(model):
    single = ScoreRequest(ONE, (Pair("one", "What is it?", "A dog."), Pair("two", "Is it red?", "Yes")), others=(TWO,))
    several = ScoreRequest(BOTH, PAIRS[:2], others=((TWO, THREE),))
    [alone] = score_rows(model, [single], "others")
    beside, both = score_rows(model, [single, several], "others")
    assert beside == alone
    assert both == score_rows(model, [several], "others")[0]


def test_packed_rows_compute_pictures_and_shared_words_once(tiny, monkeypatch):
    model = HfModel(tiny("llava").model, tiny("llava").processor, PROVENANCE)
    request, seen, encoded = ScoreRequest(BOTH, PAIRS[:2]), [], []
    score_rows(model, [request], "drop")  # at its first rows it tries itself out
    forward, encode = model._model.forward, model._vision.encode

    def watch(**inputs):
        seen.append(tuple(inputs["input_ids"].shape))
        return forward(**inputs)

    monkeypatch.setattr(model._model, "forward", watch)
    monkeypatch.setattr(model._vision, "encode", lambda vision: encoded.append(1) or encode(vision))
    score_rows(model, [request], "blank")
    prompt = next(iter(model._show(request, PAIRS[0], ())))
    longest = len(model._forcing.encode(prompt).ids) + sum(len(pair.completion) for pair in PAIRS[:2])
    assert sum(rows * width for rows, width in seen) <= 2 * longest
    assert len(encoded) == 2, "two pictures, and two grey ones"


def test_pictures_are_hidden_together(tiny):
    family = tiny("llava")
    model = HfModel(family.model, family.processor, PROVENANCE)
    [[hidden, _]] = score_rows(model, [ScoreRequest(BOTH, PAIRS[:2])], "mask")
    [[changed, _]] = score_rows(model, [ScoreRequest((THREE, ONE), PAIRS[:2])], "mask")
    assert hidden.logprobs_without_image == pytest.approx(changed.logprobs_without_image, abs=TOLERANCE)
    assert furthest(hidden.logprobs_with_image, hidden.logprobs_without_image) > 0.01
