"""The language model of the built-in LVLM: SmolLM2-135M-Instruct, read from its 4-bit GGUF file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.integrations.gguf import (
    GgufHeader,
    convert_gguf_tokenizer,
    get_gguf_tokenizer,
    load_gguf_state_dict,
    read_gguf_metadata,
)
from transformers.integrations.gguf.dequant import dequantize

IMAGE_TOKEN = "<image>"
# A reserved token of SmolLM2's vocabulary that never occurs in chats. It is renamed, not added to: the
# vocabulary keeps its 49,152 rows, so no new logit takes probability from the words.
IMAGE_TOKEN_ID = 16

_PAD, _START, _END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"


# How llama.cpp calls what transformers' Llama has.
_NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def load_language_model(path: Path) -> LlamaForCausalLM:
    """Dequantise the GGUF file at `path` into an ordinary model, float32, in evaluation mode.

    ``from_pretrained(gguf_file=...)`` gives the same weights, and parses the file three times for them.
    """
    config = _read_config(path)
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    header = GgufHeader.from_file(str(path))
    stored = load_gguf_state_dict(header)
    weights = {}
    for tensor in header.tensors:
        weight = stored[tensor.name][:]
        if weight.dtype == torch.uint8:
            weight = dequantize(weight, tensor.ggml_type).view(tensor.shape)
        if "attn_q" in tensor.name:
            weight = _part_pairs(weight, config.num_attention_heads)
        elif "attn_k" in tensor.name:
            weight = _part_pairs(weight, config.num_key_value_heads)
        weights[_rename(tensor.name)] = weight
    model.load_state_dict(weights, strict=False, assign=True)
    model.tie_weights()
    return model.eval()


def load_tokenizer(path: Path) -> PreTrainedTokenizerFast:
    """Read SmolLM2's tokenizer out of the GGUF file and give it the image token."""
    architecture, stored, _ = get_gguf_tokenizer(str(path))
    converted, _ = convert_gguf_tokenizer(architecture, stored)
    state = json.loads(converted.to_str())
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


def _read_config(path: Path) -> LlamaConfig:
    """The shape of the model, as the file's header tells it."""
    header, _ = read_gguf_metadata(str(path))
    heads, hidden = header["llama.attention.head_count"], header["llama.embedding_length"]
    return LlamaConfig(
        vocab_size=header["llama.vocab_size"],
        hidden_size=hidden,
        intermediate_size=header["llama.feed_forward_length"],
        num_hidden_layers=header["llama.block_count"],
        num_attention_heads=heads,
        num_key_value_heads=header["llama.attention.head_count_kv"],
        head_dim=hidden // heads,
        max_position_embeddings=header["llama.context_length"],
        rms_norm_eps=header["llama.attention.layer_norm_rms_epsilon"],
        rope_parameters={"rope_type": "default", "rope_theta": header["llama.rope.freq_base"]},
        tie_word_embeddings=True,
        unk_token_id=header["tokenizer.ggml.unknown_token_id"],
        dtype="float32",
        _model_name_or_path=header["general.name"],
    )


def _rename(stored: str) -> str:
    """``blk.3.attn_q.weight`` -> ``model.layers.3.self_attn.q_proj.weight``."""
    *block, name, kind = stored.split(".")
    layer = f"model.layers.{block[1]}." if block else ""
    return f"{layer}{_NAMES[name]}.{kind}"


def _part_pairs(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Undo the order of llama.cpp, where the two rows that are rotated together stand side by side in their head."""
    return weight.view(heads, -1, 2, weight.shape[-1]).transpose(1, 2).reshape(weight.shape)
