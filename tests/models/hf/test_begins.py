"""The token that begins a text stands there once, whoever writes it and whatever it is called."""

from copy import copy, deepcopy

import pytest
from tokenizers.processors import TemplateProcessing

from c3l.models.hf.encoding import ChatEncoder
from tiny_models import CHAT_TEMPLATE, make_picture

PLAIN = CHAT_TEMPLATE.format(image="<image>")
NONE = PLAIN.replace("{{ bos_token }}", "")
ITS_OWN = PLAIN.replace("{{ bos_token }}", "<unk>")  # the tokenizer calls another one its begin token


def encoder_of(tiny, template, adds):
    processor = copy(tiny("llava").processor)
    processor.tokenizer, processor.chat_template = deepcopy(processor.tokenizer), template
    number = processor.tokenizer.convert_tokens_to_ids(adds)
    processor.tokenizer._tokenizer.post_processor = TemplateProcessing(
        single=f"{adds} $A", special_tokens=[(adds, number)]
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
