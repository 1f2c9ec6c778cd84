"""Rows about several pictures, held against chats that template, processor and model alone make of them."""

from copy import copy

import pytest
import torch
from PIL import Image

from c3l.models.hf.earlier import find_turns
from c3l.models.hf.encoding import ChatEncoder
from c3l.models.hf.image_sets import ImageSetEncoder
from c3l.models.hf.inference import HfModel
from c3l.models.hf.rows import GREY
from c3l.models.hf.several import SeveralImages
from c3l.models.interface import Pair, ScoreRequest, Unfit
from c3l.records import Provenance
from scores import force_plainly, score_rows
from tiny_models import make_picture, try_out

pytestmark = pytest.mark.usefixtures("tried_once")
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
    Pair("later", "And is <image> red?", "No, blue", (("Is <image> red?", "Yes, it is."),)),
    Pair("mixed", "Is it?", "No", (("Hello!", "Hello."), ("And <image>?", "Yes."))),
)
SHOWS = {"type": "image"}


def write(text: str):
    return {"type": "text", "text": text}


# what the user's turns of each pair are made of
CHATS = {
    "between": [[write("One: "), SHOWS, write(", two: "), SHOWS, write(". Which is red?")]],
    "other words": [[write("One: "), SHOWS, write(", then: "), SHOWS, write(". Which is red?")]],
    "before": [[SHOWS, SHOWS, write("What is new?")]],
    "behind": [[write("Compare:"), SHOWS, SHOWS]],
    "later": [[write("Is "), SHOWS, write(" red?")], [write("And is "), SHOWS, write(" red?")]],
    "mixed": [[SHOWS, write("Hello!")], [write("And "), SHOWS, write("?")], [write("Is it?")]],
}
CHATS["again"] = CHATS["between"]


def score_by_hand(family, pair: Pair, images):
    """Log-probabilities (N, V) of an answer after the chat before it, as the template and the processor write it."""
    chat = []
    said = [answer for _, answer in pair.earlier]
    for number, parts in enumerate(CHATS[pair.pair_id]):
        chat.append({"role": "user", "content": [part for part in parts if images or part is not SHOWS]})
        chat += [{"role": "assistant", "content": [write(text)]} for text in said[number : number + 1]]
    text = family.processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    shown = {"images": [list(images)]} if images else {}
    return force_plainly(family, text, pair.completion, **shown)


def furthest(one, other):
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("no_image", ["drop", "others"])
def test_rows_are_scored_as_a_plain_loop_scores_them(family, model, no_image):
    others = ((THREE, ONE), (TWO, THREE)) if no_image == "others" else ()
    [found] = score_rows(model, [ScoreRequest(BOTH, PAIRS, others=others)], no_image)
    _compare(family, found, others or [()])
    assert model._forcing.several().packed


@pytest.mark.parametrize("name", ["llava", "qwen2_vl", "idefics3"])
def test_so_are_rows_that_are_computed_whole_over_grey_pictures(name, tiny, monkeypatch):
    family = tiny(name)
    model = try_out(family)
    monkeypatch.setattr(model._forcing, "_several", SeveralImages("", packed=False))
    [found] = score_rows(model, [ScoreRequest(BOTH, PAIRS)], "blank")
    _compare(family, found, [tuple(Image.new("RGB", image.size, GREY) for image in BOTH)])


def _compare(family, found, instead):
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
    [apart] = score_rows(model, [several], "others")
    for one, other in zip([*beside, *both], [*alone, *apart], strict=True):
        assert one.logprobs_with_image == pytest.approx(other.logprobs_with_image, abs=TOLERANCE)
        assert one.logprobs_without_image == pytest.approx(other.logprobs_without_image, abs=TOLERANCE)


def test_packed_rows_compute_pictures_and_shared_words_once(tiny, monkeypatch):
    model = HfModel(tiny("llava").model, tiny("llava").processor, PROVENANCE)
    request, seen, encoded = ScoreRequest(BOTH, PAIRS[:2]), [], []
    score_rows(model, [request], "drop")  # at its first rows it tries itself out
    forward, encode_all = model._model.forward, model._vision.encode_all

    def watch(**inputs):
        seen.append(tuple(inputs["input_ids"].shape))
        return forward(**inputs)

    monkeypatch.setattr(model._model, "forward", watch)
    monkeypatch.setattr(model._vision, "encode_all", lambda these: encoded.extend(these) or encode_all(these))
    score_rows(model, [request], "blank")
    prompt = next(iter(model._show(request, PAIRS[0], ())))
    longest = len(model._forcing.encode(prompt).ids) + sum(len(pair.completion) for pair in PAIRS[:2])
    assert sum(rows * width for rows, width in seen) <= 2 * longest
    assert len(encoded) == 2, "two pictures, and two grey ones"


def test_two_pictures_of_a_row_are_not_those_of_two_rows(tiny):
    """Idefics3, for one, gives them another shape."""
    encoder = ChatEncoder(tiny("idefics3").processor)
    with encoder.batch():
        apart = encoder.process_images(["What?", "Where?"], [ONE, TWO])
        together = ImageSetEncoder(encoder, None).encode_prompt("<image><image>?", BOTH, "", ())
    assert apart["pixel_values"].shape[0] == 2
    assert together.vision["pixel_values"].shape[0] == 1


def test_pictures_are_hidden_together(tiny):
    model = try_out(tiny("llava"))
    [[hidden, _]] = score_rows(model, [ScoreRequest(BOTH, PAIRS[:2])], "mask")
    [[changed, _]] = score_rows(model, [ScoreRequest((THREE, ONE), PAIRS[:2])], "mask")
    assert hidden.logprobs_without_image == pytest.approx(changed.logprobs_without_image, abs=TOLERANCE)
    assert furthest(hidden.logprobs_with_image, hidden.logprobs_without_image) > 0.01


def look_no_further(processor):
    """Its template shows a picture only at the beginning of a turn."""
    processor.chat_template = processor.chat_template.replace(
        "['type'] == 'image'", "['type'] == 'image' and loop.first"
    )


def refuse_two(processor):
    """It takes one picture a text."""
    processor.image_processor = Wrapped(processor.image_processor, lambda images: images if len(images) == 1 else 1 / 0)


def repeat_first(processor):
    """It shows the first picture in the place of each."""
    processor.image_processor = Wrapped(processor.image_processor, lambda images: images[:1] * len(images))


def mix_up_turns(processor):
    """Its template writes no text between pictures."""
    processor.chat_template = processor.chat_template.replace("{% else %}", "{% elif loop.last %}")


class Wrapped:
    """An image processor that is given other pictures."""

    def __init__(self, given, change):
        self._given, self._change = given, change

    def __call__(self, images, *args, **kwargs):
        flat = [image for one in images for image in (one if isinstance(one, list) else [one])]
        return self._given(self._change(flat), *args, **kwargs)

    def __getattr__(self, name):
        return getattr(self._given, name)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (look_no_further, "ends with"),
        (refuse_two, "ends with ZeroDivisionError"),
        (repeat_first, "another second image of two changes no log-probability"),
        (mix_up_turns, "leaves out text between images"),
    ],
)
def test_a_family_that_cannot_show_them_says_why_and_scores_the_rest(change, told, tiny):
    family = tiny("llava")
    processor = copy(family.processor)
    change(processor)
    model = HfModel(family.model, processor, PROVENANCE)
    single = ScoreRequest(ONE, (Pair("one", "What is it?", "A dog."),))
    [[scores], [unfit, _]] = score_rows(model, [single, ScoreRequest(BOTH, PAIRS[:2])], "blank")
    assert isinstance(unfit, Unfit) and unfit.reason == "several_images"
    assert "LlavaForConditionalGeneration does not show several images: " in unfit.detail and told in unfit.detail
    assert scores.is_finite() and scores.token_ids


def test_a_chat_that_its_template_refuses_costs_no_other(tiny):
    """Some take pictures in the first question alone."""
    family = tiny("llava")
    processor = copy(family.processor)
    refusing = (
        "{% if part['type'] == 'image' and message != messages[0] %}{{ raise_exception('a picture') }}{% endif %}"
    )
    processor.chat_template = processor.chat_template.replace(
        "{% if part['type'] == 'image' %}", refusing + "{% if part['type'] == 'image' %}"
    )
    model = HfModel(family.model, processor, PROVENANCE)
    [found] = score_rows(model, [ScoreRequest(BOTH, PAIRS)], "drop")
    later = [one for pair, one in zip(PAIRS, found, strict=True) if pair.earlier]
    assert all(isinstance(one, Unfit) and "this chat ends with" in one.detail for one in later)
    assert all(one.is_finite() for pair, one in zip(PAIRS, found, strict=True) if not pair.earlier)


def test_more_placeholders_than_pictures_are_refused(tiny):
    model = try_out(tiny("llava"))
    [[unfit]] = score_rows(model, [ScoreRequest(BOTH, (Pair("p", "<image><image><image>", "No"),))], "drop")
    assert "got 3 <image> for 2 images" in unfit.detail


def test_a_space_before_earlier_answers_is_there_once(tiny):
    """SmolVLM's template has one before an answer that was given, and none where one is to come."""
    processor = copy(tiny("llava").processor)
    processor.chat_template = processor.chat_template.replace("'assistant: '", "'assistant:'")
    encoder = ChatEncoder(processor)
    turns = find_turns(encoder, frozenset({processor.tokenizer.eos_token_id}))
    assert (encoder.gap, turns is not None) == (" ", True)
    prompt = ImageSetEncoder(encoder, turns).encode_prompt("So?", BOTH, "", [("Is it?", "Yes.")])
    text = processor.tokenizer.decode(prompt.ids).replace("<image>", "")
    assert text == "<s>user: Is it?<|im_end|>assistant: Yes.<|im_end|>user: So?<|im_end|>assistant:"
