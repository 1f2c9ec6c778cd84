"""Real models of some 50,000 random parameters, one a family, made from nothing in a fraction of a second.

They are written as ordinary model folders and loaded through the Auto classes, with a byte-level tokenizer.
Weights have a standard deviation of 0.2: at the usual 0.02 a picture moves log-probabilities by only 0.01,
and a forgotten picture would pass a loose test.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import (
    AddedToken,
    AutoModelForImageTextToText,
    AutoProcessor,
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    EfficientNetConfig,
    FastVlmConfig,
    Gemma3Config,
    Gemma3ImageProcessorPil,
    Gemma3Processor,
    Idefics3Config,
    Idefics3ImageProcessorPil,
    Idefics3Processor,
    LlamaConfig,
    LlavaConfig,
    LlavaNextConfig,
    LlavaNextImageProcessorPil,
    LlavaNextProcessor,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    Qwen2VLConfig,
    Qwen2VLImageProcessorPil,
    Qwen2VLProcessor,
    Qwen3VLConfig,
)
from transformers.processing_utils import ProcessorMixin

from c3l.models.hf.inference import HfModel
from c3l.models.hf.remembered import remember
from c3l.records import Provenance

STD = 0.2
SPECIAL = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "<|im_end|>", "unk_token": "<unk>"}
CHAT_TEMPLATE = (
    "{{{{ bos_token }}}}{{% for message in messages %}}{{{{ message['role'] + ': ' }}}}"
    "{{% for part in message['content'] %}}"
    "{{% if part['type'] == 'image' %}}{{{{ '{image}' }}}}{{% else %}}{{{{ part['text'] }}}}{{% endif %}}"
    "{{% endfor %}}{{{{ eos_token }}}}{{% endfor %}}"
    "{{% if add_generation_prompt %}}{{{{ 'assistant: ' }}}}{{% endif %}}"
)
TEXT = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": False,
}
LAYERS = ["sliding_attention", "full_attention"]
MROPE = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0}
VISION = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}


@dataclass(frozen=True)
class Tiny:
    """A loaded tiny model with its processor, as ``HfModel`` takes them."""

    family: str
    model: Any
    processor: Any


class PicturesOnlyQwen2VLProcessor(Qwen2VLProcessor):
    """Qwen2-VL's processor without its video half, which needs torchvision even to be constructed."""

    def __init__(self, image_processor: Any = None, tokenizer: Any = None, chat_template: Any = None) -> None:
        self.image_token, self.video_token = "<|image_pad|>", "<|video_pad|>"
        self.image_token_id = tokenizer.convert_tokens_to_ids(self.image_token)
        self.video_token_id = tokenizer.convert_tokens_to_ids(self.video_token)
        ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)


def make_picture(seed: int, size: tuple[int, int] = (40, 30)) -> Image.Image:
    """A picture of coarse random blocks: different seeds differ at every scale."""
    blocks = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(blocks).resize(size, Image.Resampling.NEAREST)


def load_tiny(family: str, folder: Path) -> Tiny:
    """Write the folder of a tiny model if it is not there, and load it in float32."""
    if not (folder / "config.json").exists():
        _write(family, folder)
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    processor = _read_qwen(folder) if family in ("qwen2_vl", "qwen3_vl") else AutoProcessor.from_pretrained(folder)
    return Tiny(family, model, processor)


def try_out(tiny: Tiny) -> HfModel:
    """The ``hf`` backend on a tiny model, as it is after loading: tried out, or known from before to be in order."""
    model = HfModel(tiny.model, tiny.processor, _describe(tiny))
    model.try_out()
    return model


def describe_tried(tiny: Tiny) -> Provenance:
    """What stands behind the numbers of a tiny model, which is known to be in order from now on."""
    described = _describe(tiny)
    if remember(tiny.model, described).read() is None:
        try_out(tiny)
    return described


def _describe(tiny: Tiny) -> Provenance:
    """Its weights, the same each time, are named and not hashed."""
    dtype = str(tiny.model.dtype).removeprefix("torch.")
    return Provenance("tiny", f"those of the tiny {tiny.family}", "hf", dtype, "cpu", 0, {})


def _write(family: str, folder: Path) -> None:
    config, processor = FAMILIES[family]()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        # whoever asks first may compute in float64, and would draw other weights
        model = AutoModelForImageTextToText.from_config(config, dtype=torch.float32)
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.ones_(module.weight)  # EfficientNet starts it at 0.02, and a deep tower fades to nothing
    for parameter in model.parameters():
        if parameter.ndim > 1:
            # a convolution keeps its input's size instead
            std = STD if parameter.ndim < 4 else (2 / parameter[0].numel()) ** 0.5
            torch.nn.init.normal_(parameter, std=std, generator=generator)
    model.generation_config.eos_token_id = processor.tokenizer.eos_token_id
    model.generation_config.pad_token_id = processor.tokenizer.pad_token_id
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def _tokenizer(image_token: str, *more: str, **named: str) -> PreTrainedTokenizerFast:
    special = [*SPECIAL.values(), image_token, *more]
    vocabulary = {token: index for index, token in enumerate([*sorted(pre_tokenizers.ByteLevel.alphabet()), *special])}
    tokenizer = Tokenizer(BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        **SPECIAL,
        extra_special_tokens={"image_token": image_token, **named},
        additional_special_tokens=list(more),
    )


def _ids(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }


def _template(image: str) -> str:
    return CHAT_TEMPLATE.format(image=image)


def _llava() -> tuple[Any, Any]:
    tokenizer = _tokenizer("<image>")
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**VISION),
        text_config=LlamaConfig(**TEXT, **_ids(tokenizer)),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=16,
    )
    processor = LlavaProcessor(
        image_processor=CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}),
        tokenizer=tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=_template("<image>"),
    )
    return config, processor


def _llava_next() -> tuple[Any, Any]:
    tokenizer = _tokenizer("<image>")
    pinpoints = [[32, 64], [64, 32], [64, 64]]
    config = LlavaNextConfig(
        vision_config=CLIPVisionConfig(**VISION),
        text_config=LlamaConfig(**TEXT, **_ids(tokenizer)),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_grid_pinpoints=pinpoints,
    )
    processor = LlavaNextProcessor(
        image_processor=LlavaNextImageProcessorPil(
            size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}, image_grid_pinpoints=pinpoints
        ),
        tokenizer=tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=_template("<image>"),
    )
    return config, processor


def _fast_vlm() -> tuple[Any, Any]:
    tokenizer = _tokenizer("<image>")
    vision = EfficientNetConfig(
        image_size=64,
        width_coefficient=0.1,
        depth_coefficient=0.1,
        hidden_dim=128,
        hidden_size=128,
        hidden_act="relu6",
    )
    config = FastVlmConfig(
        vision_config=vision,
        text_config=LlamaConfig(**TEXT, **_ids(tokenizer)),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=4,
    )
    processor = LlavaProcessor(
        image_processor=CLIPImageProcessorPil(size={"height": 64, "width": 64}, crop_size={"height": 64, "width": 64}),
        tokenizer=tokenizer,
        patch_size=32,
        vision_feature_select_strategy="full",
        chat_template=_template("<image>"),
    )
    return config, processor


def _qwen_parts() -> tuple[PreTrainedTokenizerFast, Any]:
    tokenizer = _tokenizer("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>")
    images = Qwen2VLImageProcessorPil(
        patch_size=8, temporal_patch_size=2, merge_size=2, min_pixels=16 * 16, max_pixels=64 * 64
    )
    template = _template("<|vision_start|><|image_pad|><|vision_end|>")
    return tokenizer, PicturesOnlyQwen2VLProcessor(images, tokenizer, chat_template=template)


def _read_qwen(folder: Path) -> PicturesOnlyQwen2VLProcessor:
    _, processor = _qwen_parts()
    return processor


def _qwen_ids(tokenizer: PreTrainedTokenizerFast) -> dict[str, int]:
    tokens = {
        "image": "<|image_pad|>",
        "video": "<|video_pad|>",
        "vision_start": "<|vision_start|>",
        "vision_end": "<|vision_end|>",
    }
    return {f"{name}_token_id": tokenizer.convert_tokens_to_ids(token) for name, token in tokens.items()}


def _qwen2_vl() -> tuple[Any, Any]:
    tokenizer, processor = _qwen_parts()
    config = Qwen2VLConfig(
        text_config={**TEXT, **_ids(tokenizer), "rope_parameters": MROPE},
        vision_config={
            "depth": 2,
            "embed_dim": 16,
            "num_heads": 2,
            "mlp_ratio": 2,
            "hidden_size": 32,
            "patch_size": 8,
        },
        **_qwen_ids(tokenizer),
    )
    return config, processor


def _qwen3_vl() -> tuple[Any, Any]:
    tokenizer, processor = _qwen_parts()
    config = Qwen3VLConfig(
        text_config={**TEXT, **_ids(tokenizer), "head_dim": 8, "rope_parameters": MROPE},
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_heads": 2,
            "out_hidden_size": 32,
            "patch_size": 8,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0, 1],
        },
        **_qwen_ids(tokenizer),
    )
    return config, processor


def _idefics3() -> tuple[Any, Any]:
    grid = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    tokenizer = _tokenizer("<image>", "<fake_token_around_image>", "<end_of_utterance>", "<global-img>", *grid)
    config = Idefics3Config(
        text_config=LlamaConfig(**TEXT, **_ids(tokenizer)),
        vision_config=VISION,
        scale_factor=2,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        pad_token_id=tokenizer.pad_token_id,
    )
    processor = Idefics3Processor(
        image_processor=Idefics3ImageProcessorPil(size={"longest_edge": 64}, max_image_size={"longest_edge": 32}),
        tokenizer=tokenizer,
        image_seq_len=4,
        chat_template=_template("<image>"),
    )
    return config, processor


def _gemma3() -> tuple[Any, Any]:
    tokens = {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>"}
    tokenizer = _tokenizer("<image_soft_token>", **tokens)
    ids = {name: tokenizer.convert_tokens_to_ids(token) for name, token in tokens.items()}
    config = Gemma3Config(
        text_config={**TEXT, **_ids(tokenizer), "head_dim": 8, "sliding_window": 512, "layer_types": LAYERS},
        vision_config=VISION,
        mm_tokens_per_image=4,
        boi_token_index=ids["boi_token"],
        eoi_token_index=ids["eoi_token"],
        image_token_index=tokenizer.convert_tokens_to_ids("<image_soft_token>"),
    )
    processor = Gemma3Processor(
        image_processor=Gemma3ImageProcessorPil(size={"height": 32, "width": 32}),
        tokenizer=tokenizer,
        image_seq_length=4,
        chat_template=_template("<start_of_image>"),
    )
    return config, processor


FAMILIES: dict[str, Callable[[], tuple[Any, Any]]] = {
    "llava": _llava,
    "llava_next": _llava_next,
    "fast_vlm": _fast_vlm,
    "qwen2_vl": _qwen2_vl,
    "qwen3_vl": _qwen3_vl,
    "idefics3": _idefics3,
    "gemma3": _gemma3,
}


def write_scripted(folder: Path, *pieces: str, special: tuple[str, ...] = (), template: str | None = None) -> Path:
    """The folder of a tiny LLaVA that writes the same tokens after any prompt, and then ends its turn.

    Args:
        folder: Where it is written.
        pieces: The tokens, up to 30 different ones; each becomes a token of the vocabulary.
        special: Which of them its tokenizer calls special.
        template: Another chat template.
    """
    config, processor = _llava()
    tokenizer = processor.tokenizer
    tokenizer.add_tokens([AddedToken(piece, special=piece in special, normalized=False) for piece in pieces])
    config.text_config.vocab_size = len(tokenizer)
    processor.chat_template = template or processor.chat_template
    model = AutoModelForImageTextToText.from_config(config)
    text = model.model.language_model
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)  # so the hidden state is the token's own embedding
    torch.nn.init.ones_(text.norm.weight)
    order = [*tokenizer.convert_tokens_to_ids(list(pieces)), tokenizer.eos_token_id]
    with torch.no_grad():
        embeddings, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
        embeddings[:, -1] = 1  # every other token: the prompt ends with one
        head[order[0], -1] = 10
        for place, (token, following) in enumerate(pairwise(order)):
            embeddings[token] = torch.nn.functional.one_hot(torch.tensor(place), TEXT["hidden_size"])
            head[following, place] = 10
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
