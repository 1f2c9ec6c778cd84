"""What tiny models of all families are made of: a tokenizer of bytes, sizes, a chat template."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import LlamaConfig, PreTrainedTokenizerFast

PAD, BEGIN, END, UNKNOWN = "<pad>", "<s>", "<end>", "<unk>"
_TURN = (
    "{% for m in messages %}{{ m['role'] + ': ' }}{% for part in m['content'] %}"
    "{{ IMAGE if part['type'] == 'image' else part['text'] }}{% endfor %}{{ END }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)

TEXT: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": False,
}
VISION: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}
SQUARE = {"height": 32, "width": 32}
CLIP: dict[str, Any] = {"size": {"shortest_edge": 32}, "crop_size": SQUARE}
SIGLIP = {**VISION, "vision_use_head": False}
# M-RoPE over a head of 8: half of it, shared out between time, height and width
SECTIONS = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0}


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that the folder of a tiny model is written from.

    Attributes:
        config: Of the model.
        images: The image processor.
        tokenizer: With the family's own tokens.
        processor: Name of the processor's class, and the settings that it keeps.
        shown: What the chat template writes for a picture; None where the family's models have no template.
        video: Settings of a video processor, as the hub has them; None where the family has none.
        learned: Weights that training moves away from where they begin, and to what.
        more: Other preprocessors of the folder, by the name of their file.
    """

    config: Any
    images: Any
    tokenizer: Any
    processor: tuple[str, dict[str, Any]]
    shown: str | None
    video: dict[str, Any] | None = None
    learned: dict[str, float] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Family:
    """A family of LVLMs: the name that its configurations have, and what people call it."""

    model_type: str
    known_as: str
    build: Callable[[], Parts]


def make_tokenizer(tokens: Sequence[str], **named: str) -> Any:
    """Bytes, the usual special tokens, and those of a family; ``named`` become attributes, as ``image_token``."""
    others = {f"other_{number}_token": token for number, token in enumerate(tokens) if token not in named.values()}
    special = [PAD, BEGIN, END, UNKNOWN, *dict.fromkeys([*tokens, *named.values()])]
    words = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *special]
    inner = Tokenizer(BPE(vocab={word: number for number, word in enumerate(words)}, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    inner.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token=PAD,
        bos_token=BEGIN,
        eos_token=END,
        unk_token=UNKNOWN,
        extra_special_tokens=named | others,
    )


def ids_of(tokenizer: Any) -> dict[str, int]:
    """What a language model's configuration says of its tokens."""
    named = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "bos", "eos")}
    return {"vocab_size": len(tokenizer), **named}


def llama(tokenizer: Any) -> Any:
    """The configuration of a Llama over these tokens."""
    return LlamaConfig(**TEXT, **ids_of(tokenizer))


def template(shown: str) -> str:
    """A chat template, with what it writes for a picture."""
    return "{{ bos_token }}" + _TURN.replace("IMAGE", repr(shown)).replace("END", "eos_token")
