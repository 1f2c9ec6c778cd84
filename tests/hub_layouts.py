"""Tiny models in folders as the repositories of the hub have them, and not as ``save_pretrained`` writes them today.

There an image processor stands in ``preprocessor_config.json``, a video processor in ``video_preprocessor_config.json``
if anywhere, and the chat template in ``chat_template.json``, the tokenizer's config or a file of its own. The files are
written here by hand.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForImageTextToText,
    LlamaConfig,
    LlavaNextVideoConfig,
    LlavaOnevisionConfig,
    Qwen2_5_VLConfig,
    Qwen2Config,
    SiglipVisionConfig,
    SmolVLMConfig,
)
from transformers.models.clip import CLIPVisionConfig

import tiny_models
from tiny_models import FAMILIES, MROPE, STD, TEXT, VISION

_HALF = [0.5, 0.5, 0.5]
_GRID = [[32, 64], [64, 32], [64, 64]]
_QWEN = {"patch_size": 8, "temporal_patch_size": 2, "merge_size": 2, "image_mean": _HALF, "image_std": _HALF}
_PIXELS = {"min_pixels": 256, "max_pixels": 4096}
_SIZE = {"size": {"shortest_edge": 256, "longest_edge": 4096}}
_LLAVA = {"do_resize": True, "do_rescale": True, "do_normalize": True, "image_mean": _HALF, "image_std": _HALF}
_TEMPLATE = "chat_template"


def write_hub_folder(layout: str, folder: Path) -> Path:
    """A folder of a layout's name in ``LAYOUTS``, with random weights."""
    parts, files = LAYOUTS[layout]
    config, tokenizer, template = parts()
    _write_weights(config, tokenizer, folder)
    tokenizer.save_pretrained(folder)
    for name in ("processor_config.json", "chat_template.jinja"):
        (folder / name).unlink(missing_ok=True)
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    if _TEMPLATE in files.get("tokenizer_config.json", {}):
        raise AssertionError("the tokenizer's config is not written by hand")
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": template}))
    return folder


def put_template(folder: Path, where: str) -> None:
    """Move the chat template from ``chat_template.json`` to where else people have it."""
    template = json.loads((folder / "chat_template.json").read_text())["chat_template"]
    (folder / "chat_template.json").unlink()
    if where == "chat_template.jinja":
        (folder / where).write_text(template)
        return
    named = [{"name": "default", "template": template}, {"name": "tool_use", "template": "tools"}]
    edit_json(
        folder / "tokenizer_config.json",
        lambda config: config.update(chat_template=named if where == "named" else template),
    )


def edit_json(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change what a JSON file holds."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def _write_weights(config: Any, tokenizer: Any, folder: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForImageTextToText.from_config(config)
        for parameter in model.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=STD if parameter.ndim < 4 else (2 / parameter[0].numel()) ** 0.5)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)


def _known(family: str) -> Callable[[], tuple[Any, Any, str]]:
    """The parts of a family that has a tiny model already."""

    def parts() -> tuple[Any, Any, str]:
        config, processor = FAMILIES[family]()
        return config, processor.tokenizer, processor.chat_template

    return parts


def _qwen2_5_vl() -> tuple[Any, Any, str]:
    tokenizer, processor = tiny_models._qwen_parts()
    config = Qwen2_5_VLConfig(
        text_config={**TEXT, **tiny_models._ids(tokenizer), "rope_parameters": MROPE},
        vision_config={
            "depth": 2,
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_heads": 2,
            "out_hidden_size": 32,
            "patch_size": 8,
            "window_size": 32,
            "fullatt_block_indexes": [1],
        },
        **tiny_models._qwen_ids(tokenizer),
    )
    return config, tokenizer, processor.chat_template


def _llava_next_video() -> tuple[Any, Any, str]:
    tokenizer = tiny_models._tokenizer("<image>", "<video>")
    config = LlavaNextVideoConfig(
        vision_config=CLIPVisionConfig(**VISION),
        text_config=LlamaConfig(**TEXT, **tiny_models._ids(tokenizer)),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=_GRID,
    )
    return config, tokenizer, tiny_models._template("<image>")


def _llava_onevision() -> tuple[Any, Any, str]:
    tokenizer = tiny_models._tokenizer("<image>", "<video>")
    config = LlavaOnevisionConfig(
        vision_config=SiglipVisionConfig(**VISION, vision_use_head=False),
        text_config=Qwen2Config(**TEXT, **tiny_models._ids(tokenizer)),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=_GRID,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
    )
    return config, tokenizer, tiny_models._template("<image>")


def _smolvlm() -> tuple[Any, Any, str]:
    grid = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    tokenizer = tiny_models._tokenizer(
        "<image>", "<fake_token_around_image>", "<end_of_utterance>", "<global-img>", *grid
    )
    config = SmolVLMConfig(
        text_config=LlamaConfig(**TEXT, **tiny_models._ids(tokenizer)),
        vision_config=VISION,
        scale_factor=2,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        pad_token_id=tokenizer.pad_token_id,
    )
    return config, tokenizer, tiny_models._template("<image>")


def _images(processor: str, images: str, *settings: dict[str, Any]) -> dict[str, Any]:
    joined: dict[str, Any] = {"processor_class": processor, "image_processor_type": images}
    for one in settings:
        joined |= one
    return joined


def _videos(processor: str, videos: str, *settings: dict[str, Any]) -> dict[str, Any]:
    joined = _images(processor, "", *settings)
    del joined["image_processor_type"]
    return {**joined, "video_processor_type": videos}


_IMAGES, _VIDEOS, _BOTH = "preprocessor_config.json", "video_preprocessor_config.json", "processor_config.json"
_ANYRES = {**_LLAVA, "image_grid_pinpoints": _GRID}
_CLIP = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}, "do_center_crop": True}
_LLAVA_COUNT = {"patch_size": 8, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
_SMOL = {"size": {"longest_edge": 64}, "max_image_size": {"longest_edge": 32}, "do_image_splitting": True}

# name -> config, tokenizer and template; the files beside them
LAYOUTS: dict[str, tuple[Callable[[], tuple[Any, Any, str]], dict[str, dict[str, Any]]]] = {
    "qwen2_vl": (
        _known("qwen2_vl"),
        {_IMAGES: _images("Qwen2VLProcessor", "Qwen2VLImageProcessor", _QWEN, _PIXELS)},
    ),
    "qwen2_5_vl": (
        _qwen2_5_vl,
        {_IMAGES: _images("Qwen2_5_VLProcessor", "Qwen2VLImageProcessor", _QWEN, _PIXELS)},
    ),
    "qwen3_vl": (
        _known("qwen3_vl"),
        {
            _IMAGES: _images("Qwen3VLProcessor", "Qwen2VLImageProcessorFast", _QWEN, _SIZE),
            _VIDEOS: _videos("Qwen3VLProcessor", "Qwen3VLVideoProcessor", _QWEN, _SIZE, {"fps": 2}),
        },
    ),
    "qwen3_vl_nested": (
        _known("qwen3_vl"),
        {
            _BOTH: {
                "processor_class": "Qwen3VLProcessor",
                "image_processor": _images("Qwen3VLProcessor", "Qwen2VLImageProcessorFast", _QWEN, _SIZE),
                "video_processor": _videos("Qwen3VLProcessor", "Qwen3VLVideoProcessor", _QWEN, _SIZE, {"fps": 2}),
            }
        },
    ),
    "llava_next_video": (
        _llava_next_video,
        {
            _IMAGES: _images("LlavaNextVideoProcessor", "LlavaNextImageProcessor", _ANYRES, _CLIP),
            _VIDEOS: _videos("LlavaNextVideoProcessor", "LlavaNextVideoVideoProcessor", _LLAVA, _CLIP, {"fps": 2}),
            _BOTH: {"processor_class": "LlavaNextVideoProcessor", "video_token": "<video>", **_LLAVA_COUNT},
        },
    ),
    "llava_onevision": (
        _llava_onevision,
        {
            _IMAGES: _images(
                "LlavaOnevisionProcessor",
                "LlavaOnevisionImageProcessor",
                _ANYRES,
                {"size": {"height": 32, "width": 32}},
            ),
            _VIDEOS: _videos(
                "LlavaOnevisionProcessor",
                "LlavaOnevisionVideoProcessor",
                _LLAVA,
                {"size": {"height": 32, "width": 32}, "fps": 2},
            ),
            _BOTH: {
                "processor_class": "LlavaOnevisionProcessor",
                "num_image_tokens": 16,
                "vision_feature_select_strategy": "full",
            },
        },
    ),
    "smolvlm": (
        _smolvlm,
        {
            _IMAGES: _images("SmolVLMProcessor", "SmolVLMImageProcessor", _LLAVA, _SMOL),
            _BOTH: {"processor_class": "SmolVLMProcessor", "image_seq_len": 4},
        },
    ),
}


def copy_hub_folder(layout: str, made: Path, folder: Path) -> Path:
    """A copy of a folder that is made once under ``made``."""
    if not (made / layout).exists():
        write_hub_folder(layout, made / layout)
    return Path(shutil.copytree(made / layout, folder))
