import hashlib
from typing import Any

import torch

from c3l.models.builtin.language import IMAGE_TOKEN, IMAGE_TOKEN_ID


def test_the_image_token_renames_a_reserved_one_and_the_vocabulary_keeps_its_size(processor: Any, model: Any) -> None:
    tokenizer = processor.tokenizer
    assert tokenizer.encode(IMAGE_TOKEN, add_special_tokens=False) == [IMAGE_TOKEN_ID]
    assert len(tokenizer) == model.config.text_config.vocab_size == model.lm_head.out_features == 49152


def test_numbers_are_split_into_digits(processor: Any) -> None:
    # Without the splitting the two spaces would come apart, the second one joining the 1.
    assert processor.tokenizer.tokenize("a  12") == ["a", "ĠĠ", "1", "2"]


def test_text_comes_back_from_its_tokens(processor: Any) -> None:
    text = "How many dogs?\n1. Two  brown dogs, 3.5 m apart, naïve 日本"
    assert processor.tokenizer.decode(processor.tokenizer.encode(text, add_special_tokens=False)) == text


def test_padding_is_not_the_end_of_a_turn(processor: Any, model: Any) -> None:
    tokenizer = processor.tokenizer
    assert (tokenizer.pad_token, tokenizer.eos_token) == ("<|endoftext|>", "<|im_end|>")
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id != tokenizer.pad_token_id


@torch.no_grad()
def test_the_language_model_still_knows_what_it_knew(processor: Any, model: Any) -> None:
    chat = [{"role": "user", "content": "What is the capital of France?"}]
    inputs = processor.apply_chat_template(
        chat, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    tokens = model.generate(**inputs, max_new_tokens=12, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    assert processor.tokenizer.decode(tokens) == "The capital of France is Paris.<|im_end|>"


def test_the_weights_are_those_that_transformers_reads_from_the_file(model: Any) -> None:
    """By ``from_pretrained(folder, gguf_file=...)``, which needs ten seconds and the package gguf."""
    digest = hashlib.sha256()
    for name, weight in sorted(model.model.language_model.state_dict().items()):
        digest.update(name.encode() + weight.numpy().tobytes())
    assert digest.hexdigest() == "307a3ab69cf4ced7e0a679a9a7fff003ba5ae634b6934a3e6b4f0993d15902ea"
