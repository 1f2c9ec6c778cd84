"""The token that begins a text stands there once, whoever writes it and whatever it is called."""

from copy import copy, deepcopy

import pytest
from tokenizers.processors import TemplateProcessing

from c3l.errors import BackendError
from c3l.models.hf.encoding import ChatEncoder
from tiny_models import CHAT_TEMPLATE, make_picture

PLAIN = CHAT_TEMPLATE.format(image="<image>")
NONE = PLAIN.replace("{{ bos_token }}", "")
ITS_OWN = PLAIN.replace("{{ bos_token }}", "<unk>")  # the tokenizer calls another one its begin token


def encoder_of(tiny, template, adds, ends=""):
    processor = copy(tiny("llava").processor)
    processor.tokenizer, processor.chat_template = deepcopy(processor.tokenizer), template
    number = processor.tokenizer.convert_tokens_to_ids(adds)
    known = [(token, processor.tokenizer.convert_tokens_to_ids(token)) for token in (adds, ends) if token]
    processor.tokenizer._tokenizer.post_processor = TemplateProcessing(
        single=f"{adds} $A {ends}".strip(), special_tokens=known
    )
    return ChatEncoder(processor), number


@pytest.mark.parametrize(
    ("template", "adds"),
    [(PLAIN, "<s>"), (NONE, "<s>"), (ITS_OWN, "<unk>")],
    ids=["both", "tokenizer alone", "another"],
)
@pytest.mark.parametrize("with_image", [True, False])
def test_it_stands_once(tiny, template, adds, with_image):
    encoder, number = encoder_of(tiny, template, adds)
    assert encoder.tokenizer("A")["input_ids"][0] == number  # it adds one by itself
    ids = encoder.encode_prompt("Is it?", make_picture(1) if with_image else None).ids
    assert ids.count(number) == 1
    assert ids[0] == number
    assert encoder.encode_plain("Is it?").count(number) == 1


def test_a_processor_that_asks_for_none_is_left_to_it(tiny):
    encoder, number = encoder_of(tiny, NONE, "<s>")
    processor = encoder.processor
    processor.text_kwargs = {"add_special_tokens": False}  # as HunYuan-VL's
    encoder = ChatEncoder(processor)
    assert number not in encoder.encode_prompt("Is it?", make_picture(1)).ids
    assert number not in encoder.encode_plain("Is it?")


@pytest.mark.parametrize("template", [PLAIN, NONE], ids=["both", "tokenizer alone"])
def test_what_the_tokenizer_puts_behind_a_text_is_left_out(template, tiny):
    encoder, _ = encoder_of(tiny, template, "<s>", ends="<|im_end|>")
    usual, _ = encoder_of(tiny, template, "<s>")
    pictures = [make_picture(1), make_picture(2)]
    for image in (pictures[0], None):
        assert encoder.encode_prompt("Is it?", image).ids == usual.encode_prompt("Is it?", image).ids
    assert encoder.encode_plain("Is it?") == usual.encode_plain("Is it?")
    one, two = (each.encode_for_generation(["Is it?", "So?"], pictures) for each in (encoder, usual))
    assert one["input_ids"].equal(two["input_ids"])
    told = "the tokenizer puts '<|im_end|>' behind every text, which is left out of prompts"
    assert (told in encoder.notes) is (template == NONE)


def test_the_given_tokenizer_still_ends_its_texts(tiny):
    processor = encoder_of(tiny, NONE, "<s>", ends="<|im_end|>")[0]._processor
    processor.tokenizer = deepcopy(processor.tokenizer)
    end = processor.tokenizer.eos_token_id
    processor.tokenizer._tokenizer.post_processor = TemplateProcessing(
        single="$A <|im_end|>", special_tokens=[("<|im_end|>", end)]
    )
    assert end not in ChatEncoder(processor).tokenizer("A")["input_ids"]
    assert processor.tokenizer("A")["input_ids"][-1] == end


def test_a_tokenizer_that_cannot_be_told_to_leave_it_out_is_refused(tiny):
    encoder, _ = encoder_of(tiny, NONE, "<s>", ends="<|im_end|>")
    with pytest.raises(BackendError, match=r"behind every text, .*: set add_eos_token to false"):
        encoder._begins.without_end(object())
