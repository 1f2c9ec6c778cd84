"""Writes the folder of a tiny model as the hub has folders: one file for each part of the processor."""

import json
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForImageTextToText

from studies.families.parts import Parts, template

STD = 0.2  # at the usual 0.02 a picture moves log-probabilities by 0.01, and a forgotten one would pass a loose test


def write_folder(parts: Parts, folder: Path) -> None:
    """Weights with random numbers, configuration, tokenizer, processor and chat template."""
    folder.mkdir(parents=True, exist_ok=True)
    model = _make_model(parts)
    model.generation_config.eos_token_id = parts.tokenizer.eos_token_id
    model.generation_config.pad_token_id = parts.tokenizer.pad_token_id
    model.save_pretrained(folder)
    parts.tokenizer.save_pretrained(folder)
    parts.images.save_pretrained(folder)
    name, settings = parts.processor
    _edit(folder / "tokenizer_config.json", processor_class=name)
    kind = type(parts.images).__name__.removesuffix("Pil")
    _edit(folder / "preprocessor_config.json", processor_class=name, image_processor_type=kind)
    _edit(folder / "processor_config.json", processor_class=name, **settings)
    if parts.video is not None:
        _edit(folder / "video_preprocessor_config.json", processor_class=name, **parts.video)
    for file, content in parts.more.items():
        _edit(folder / file, **content)
    if parts.shown is not None:
        (folder / "chat_template.jinja").write_text(template(parts.shown))


def _make_model(parts: Parts) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForImageTextToText.from_config(parts.config)
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.ones_(module.weight)  # some towers start it near 0, and a picture fades on its way
    for name, parameter in model.named_parameters():
        learned = [value for part, value in parts.learned.items() if part in name]
        if learned:
            torch.nn.init.constant_(parameter, learned[0])
        elif parameter.ndim > 1:
            # a convolution keeps its input's size instead
            std = STD if parameter.ndim < 4 else (2 / parameter[0].numel()) ** 0.5
            torch.nn.init.normal_(parameter, std=std, generator=generator)
    return model


def _edit(path: Path, **changes: Any) -> None:
    before = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(before | changes, indent=2, sort_keys=True))
