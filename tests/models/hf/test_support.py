"""Families that c3l cannot do, each refused at loading by what it lacks."""

import pytest
import torch
from transformers import BartConfig, BartForConditionalGeneration, LlamaConfig, LlamaForCausalLM

from c3l.errors import BackendError
from c3l.models.hf.encoding import ChatEncoder
from c3l.models.hf.inference import HfModel
from c3l.models.hf.support import check_family, check_inputs
from c3l.records import Provenance

PROVENANCE = Provenance("tiny", "", "hf", "float32", "cpu", 0, {})
SMALL = {"vocab_size": 32, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}


def test_an_encoder_with_a_decoder_apart_is_refused():
    sizes = {"d_model": 8, "encoder_ffn_dim": 8, "decoder_ffn_dim": 8, "encoder_layers": 1, "decoder_layers": 1}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "vocab_size": 32}
    with pytest.raises(BackendError, match="m is a BartForConditionalGeneration, an encoder with a decoder apart"):
        check_family("m", BartForConditionalGeneration(BartConfig(**sizes, **heads)))


def test_a_model_that_takes_no_pictures_is_refused():
    with pytest.raises(BackendError, match="takes no images"):
        check_family("m", LlamaForCausalLM(LlamaConfig(**SMALL)))


def test_a_family_that_was_tried_is_not(tiny):
    check_family("m", tiny("llava").model)
    check_inputs("m", ChatEncoder(tiny("llava").processor), tiny("llava").model)


def test_inputs_that_go_along_the_text_in_a_way_of_their_own_are_named(tiny, monkeypatch):
    encoder = ChatEncoder(tiny("llava").processor)
    process = encoder._process

    def with_mask(*given, **padding):
        output = process(*given, **padding)
        return output | {"image_embeds_position_mask": torch.zeros_like(output["input_ids"])}

    monkeypatch.setattr(encoder, "_process", with_mask)
    with pytest.raises(BackendError, match="gives image_embeds_position_mask for every token of the text"):
        check_inputs("m", encoder, tiny("llava").model)


@pytest.mark.parametrize(("key", "refused"), [("image_sizes", True), ("no_such_input", False)])
def test_inputs_that_are_no_tensors_are_named_where_the_model_reads_them(tiny, monkeypatch, key, refused):
    family = tiny("llava_next")
    encoder = ChatEncoder(family.processor)
    call = encoder._call
    monkeypatch.setattr(encoder, "_call", lambda *given, **padding: {**call(*given, **padding), key: [[3, 2]]})
    if refused:
        with pytest.raises(BackendError, match="gives image_sizes as lists, which its model reads"):
            check_inputs("m", encoder, family.model)
    else:
        check_inputs("m", encoder, family.model)


def test_a_family_that_trips_over_an_answer_is_refused_without_a_tensor_size(tiny, monkeypatch):
    family = tiny("llava")
    model = HfModel(family.model, family.processor, PROVENANCE)

    def trip(**kwargs):
        raise RuntimeError("The size of tensor a (17) must match the size of tensor b (3) at dimension 1")

    monkeypatch.setattr(family.model, "forward", trip)
    with pytest.raises(BackendError, match="does not take a prompt about an image with an answer after it") as caught:
        model.check_causal()
    assert not any(word.isdigit() for word in str(caught.value).split())
