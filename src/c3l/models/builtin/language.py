"""The language model of the built-in LVLM: SmolLM2-135M-Instruct, read from its 4-bit GGUF file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerFast

IMAGE_TOKEN = "<image>"
# A reserved token of SmolLM2's vocabulary that never occurs in chats. It is renamed, not added to: the
# vocabulary keeps its 49,152 rows, so no new logit takes probability from the words.
IMAGE_TOKEN_ID = 16

_PAD, _START, _END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"


def load_language_model(path: Path) -> LlamaForCausalLM:
    """Dequantise the GGUF file at `path` into an ordinary model, float32, in evaluation mode (15 s)."""
    model: LlamaForCausalLM = AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32
    )
    # What is in memory is no longer quantised; with this left in, the saved folder would not load.
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    # The path of the package on this machine, which would be saved with the configuration.
    model.config._name_or_path = ""
    return model.eval()


def load_tokenizer(path: Path) -> PreTrainedTokenizerFast:
    """Read SmolLM2's tokenizer out of the GGUF file and give it the image token."""
    converted = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    state = json.loads(converted.backend_tokenizer.to_str())
    _rename_token(state, IMAGE_TOKEN_ID, IMAGE_TOKEN)
    _split_digits(state)
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(state)),
        bos_token=_START,
        eos_token=_END,
        unk_token=_PAD,
        # Not the end token, as SmolLM2 has it: collators that mask padding in labels would mask the end too.
        pad_token=_PAD,
        extra_special_tokens={"image_token": IMAGE_TOKEN},
        model_max_length=8192,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def _rename_token(state: dict[str, Any], token_id: int, name: str) -> None:
    for token in state["added_tokens"]:
        if token["id"] == token_id:
            vocabulary = state["model"]["vocab"]
            vocabulary[name] = vocabulary.pop(token["content"])
            token["content"] = name


def _split_digits(state: dict[str, Any]) -> None:
    """Split numbers into digits again: SmolLM2 was trained with that, and the GGUF reader drops it."""
    digits = {"type": "Digits", "individual_digits": True}
    state["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [digits, state["pre_tokenizer"]]}
