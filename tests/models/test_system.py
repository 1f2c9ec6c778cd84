"""System prompts: shown before the question in both passes and in tuning, never taught; templates that refuse them."""

from copy import copy, deepcopy

import pytest
import torch

from c3l.models.hf.encoding import ChatEncoder
from c3l.models.hf.finetunable import IGNORE_INDEX, FinetunableHfModel
from c3l.models.interface import Pair, ScoreRequest
from c3l.models.tunable import Conversation
from c3l.records import Provenance
from c3l.settings.tuning import FinetuningConfig
from scores import score_rows
from tiny_models import Tiny, make_picture, try_out

pytestmark = pytest.mark.usefixtures("tried_once")
PROVENANCE = Provenance("tiny", "", "hf", "float32", "cpu", 0, {})
SYSTEM = "Answer like a pirate, in rhymes."
PAIRS = (Pair("1", "What is it?", "A red dog."), Pair("2", "Who is there?", "Nobody."))
TURNS = (("What is it?", "A wrong guess."), ("No.", "A dog."))
PLAIN = "{% for m in messages %}{{ m['role'] + ': ' }}{% for p in m['content'] %}{% if p['type'] == 'image' %}<image>{% else %}{{ p['text'] }}{% endif %}{% endfor %}{{ eos_token }}{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"  # noqa: E501
REFUSING = {
    "raises": "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + PLAIN,
    "drops": PLAIN.replace("in messages %}", "in messages if m['role'] != 'system' %}", 1),
    "raises beside an image": "{% if messages[0]['role'] == 'system' and messages[1]['content'] | length > 1 %}"
    "{{ raise_exception('no system prompt with images') }}{% endif %}" + PLAIN,
    "puts it last": PLAIN.replace("in messages %}", "in messages | reverse %}", 1),
}


@pytest.fixture(params=["llava", "qwen2_vl"])
def family(request, tiny) -> Tiny:
    return tiny(request.param)


@torch.no_grad()
def log_likelihoods(family, image, pair, system):
    """Log-probabilities of an answer's tokens after a chat that the processor alone has written."""
    parts = [{"type": "image"}] * (image is not None) + [{"type": "text", "text": pair.prompt}]
    chat = [{"role": "system", "content": [{"type": "text", "text": system}]}] * bool(system)
    chat.append({"role": "user", "content": parts})
    text = family.processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    bos = family.processor.tokenizer.bos_token
    more = {"images": [image]} if image is not None else {}
    inputs = dict(
        family.processor(text=[text], add_special_tokens=not text.startswith(bos or "\0"), return_tensors="pt", **more)
    )
    prompt = inputs["input_ids"].shape[1]
    answer = torch.tensor([family.processor.tokenizer(pair.completion, add_special_tokens=False)["input_ids"]])
    for key, value in inputs.items():
        if key in ("input_ids", "attention_mask", "mm_token_type_ids", "token_type_ids"):
            fill = answer if key == "input_ids" else torch.full_like(answer, int(key == "attention_mask"))
            inputs[key] = torch.cat([value, fill], 1)
    table = family.model(**inputs).logits[0].log_softmax(-1)[prompt - 1 : -1]
    return table[torch.arange(answer.shape[1]), answer[0]]


def test_both_passes_see_the_system_prompt_before_the_question(family):
    model, picture = try_out(family), make_picture(0)
    assert model.takes_system
    requests = [ScoreRequest(picture, PAIRS, system=system) for system in (SYSTEM, "", "Be kind.")]
    together = score_rows(model, requests, "drop")
    for request, scores in zip(requests, together, strict=True):
        for pair, one in zip(PAIRS, scores, strict=True):
            for image, found in ((picture, one.logprobs_with_image), (None, one.logprobs_without_image)):
                wanted = log_likelihoods(family, image, pair, request.system)
                torch.testing.assert_close(torch.tensor(found), wanted, atol=1e-4, rtol=1e-4)
    with_it, without, other = (torch.tensor(scores[0].logprobs_with_image) for scores in together)
    assert min((with_it - without).abs().max(), (with_it - other).abs().max()) > 1e-2, "it moves the scores"


def make_finetunable(family, **settings):
    config = FinetuningConfig(lora_r=4, lora_dropout=0.0, **settings)
    return FinetunableHfModel(deepcopy(family.model), family.processor, PROVENANCE, config)


def test_a_system_prompt_is_told_and_what_is_marked_is_not_taught(family):
    lvlm, picture = make_finetunable(family), make_picture(0)
    both = lvlm.collate([Conversation(picture, TURNS)])
    said = lvlm.collate([Conversation(picture, TURNS, SYSTEM)])
    marked = lvlm.collate([Conversation(picture, TURNS, untaught=frozenset({0}))])
    prompt = ChatEncoder(family.processor).encode_prompt(TURNS[0][0], picture, SYSTEM)
    assert tuple(said["input_ids"][0, : len(prompt.ids)].tolist()) == prompt.ids
    assert (said["labels"][0, : len(prompt.ids)] == IGNORE_INDEX).all()
    decode = family.processor.tokenizer.decode
    assert SYSTEM in decode(said["input_ids"][0]) and SYSTEM not in decode(both["input_ids"][0])
    assert marked["input_ids"].equal(both["input_ids"])
    taught = [batch["labels"][0][batch["labels"][0] != IGNORE_INDEX] for batch in (both, said, marked)]
    assert taught[0].equal(taught[1])
    last = lvlm.collate([Conversation(picture, (("No.", "A dog."),))])["labels"][0]
    assert taught[2].equal(last[last != IGNORE_INDEX]), "the second answer alone, with its end"
    assert lvlm.count_taught(Conversation(picture, TURNS, untaught=frozenset({0}))) == (len(taught[2]), 0)
    assert lvlm.count_taught(Conversation(picture, TURNS, untaught=frozenset({0, 1}))) == (0, 0)


@pytest.mark.parametrize("how", REFUSING)
def test_a_template_that_refuses_a_system_prompt_is_known(how, tiny):
    processor = copy(tiny("llava").processor)
    processor.chat_template = PLAIN
    assert ChatEncoder(processor).takes_system
    processor.chat_template = REFUSING[how]
    assert not ChatEncoder(processor).takes_system
