"""The built-in LVLM, put together once into an ordinary model folder that stock transformers loads.

The folder holds float32 weights, 560 MB. Stored in bfloat16 it would be half of that, but the tower's
features would move by up to 0.96 (of 6) and log-probabilities by up to 1.3 nats, more than an image often
gives to an answer.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import torch
from filelock import FileLock
from torch import nn
from transformers import FastVlmConfig, FastVlmForConditionalGeneration, GenerationConfig, LlavaProcessor

from c3l.errors import BackendError
from c3l.models.builtin.chat import IMAGE_TOKENS, build_processor
from c3l.models.builtin.language import IMAGE_TOKEN_ID, load_language_model, load_tokenizer
from c3l.models.builtin.parts import Parts, locate_parts, recipe, trained_weights
from c3l.models.builtin.tower import load_tower
from c3l.models.builtin.trained import apply_trained, read_trained
from c3l.settings.cache import cache_folder

# Written into a finished folder; holds `recipe`, the hash of what the folder was made from.
RECIPE_FILE = "c3l_recipe.txt"


def assemble(destination: Path | None = None, *, force: bool = False, trained: bool = True) -> Path:
    """Make the model folder if it is not there yet, and return it.

    Args:
        destination: Where to; the user's cache folder when None.
        force: Make it again even if it is there.
        trained: False leaves the connector random and the language model as it was published: where the
            training starts.

    Raises:
        BackendError: A part or the trained weights are missing, or `destination` holds something else, or cannot
            be written.
    """
    parts = locate_parts()
    weights = trained_weights() if trained else None
    made_from = recipe(weights)
    folder = destination or cache_folder() / f"builtin-{made_from[:16]}"
    try:
        return _make_folder(folder, parts, weights, made_from, force)
    except OSError as error:
        raise BackendError(
            f"cannot write the built-in LVLM to {folder.parent}: {error.strerror or error}; let it be written to, "
            "free some space, or name another folder with the environment variable C3L_CACHE"
        ) from error


def _make_folder(folder: Path, parts: Parts, weights: Path | None, made_from: str, force: bool) -> Path:
    if not force and _read_recipe(folder) == made_from:
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.parent / f".{folder.name}.lock"):
        found = _read_recipe(folder)
        if found == made_from and not force:
            return folder
        if folder.exists() and (found is None or not force):
            raise BackendError(
                f"{folder} exists and is not this version of the built-in LVLM: delete it or name another"
            )
        _write_folder(folder, parts, weights, made_from)
    return folder


def build_parts(
    dtype: torch.dtype = torch.float32, seed: int = 0
) -> tuple[FastVlmForConditionalGeneration, LlavaProcessor]:
    """Join tower, language model and a random connector in memory, in evaluation mode."""
    return _join(locate_parts(), seed, dtype)


def _read_recipe(folder: Path) -> str | None:
    file = folder / RECIPE_FILE
    return file.read_text().strip() if file.is_file() else None


def _write_folder(folder: Path, parts: Parts, weights: Path | None, made_from: str) -> None:
    """Fill a temporary sibling, then rename it, so that a folder that is there is whole."""
    print("c3l: assembling the built-in LVLM, once, about 10 s ...", file=sys.stderr, flush=True)
    start = time.monotonic()
    prefix = f".{folder.name}.partial-"
    # The lock is ours, so these are of processes that were killed.
    for leftover in folder.parent.glob(f"{prefix}*"):
        shutil.rmtree(leftover)
    partial = Path(tempfile.mkdtemp(prefix=prefix, dir=folder.parent))
    try:
        model, processor = _join(parts)
        if weights is not None:
            apply_trained(model, read_trained(weights))
        model.save_pretrained(partial)
        processor.save_pretrained(partial)
        (partial / RECIPE_FILE).write_text(made_from + "\n")
        partial.chmod(0o755)
        _flush(partial)
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    print(f"c3l: {folder} made in {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)


def _flush(folder: Path) -> None:
    for path in [*folder.iterdir(), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _join(
    parts: Parts, seed: int = 0, dtype: torch.dtype = torch.float32
) -> tuple[FastVlmForConditionalGeneration, LlavaProcessor]:
    tower = load_tower(parts.tower)
    language = load_language_model(parts.language)
    tokenizer = load_tokenizer(parts.language)
    tokens = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    language.config.update(tokens)
    config = FastVlmConfig(
        vision_config=tower.config,
        text_config=language.config,
        image_token_index=IMAGE_TOKEN_ID,
        image_seq_length=IMAGE_TOKENS,
        tie_word_embeddings=True,
        **tokens,
    )
    with torch.device("meta"):
        model = FastVlmForConditionalGeneration(config)
    model.model.vision_tower = tower
    model.model.language_model = language.model
    connector = model.model.multi_modal_projector.to_empty(device="cpu")
    # Scaled so that image tokens start about as large as word embeddings, whose standard deviation is 0.136.
    generator = torch.Generator().manual_seed(seed)
    _initialise(connector.linear_1, 1.0, generator)
    _initialise(connector.linear_2, 0.5, generator)
    model.tie_weights()
    model.generation_config = GenerationConfig(**tokens)
    return model.to(dtype).eval(), build_processor(tokenizer)


def _initialise(layer: nn.Linear, gain: float, generator: torch.Generator) -> None:
    nn.init.normal_(layer.weight, std=gain * layer.in_features**-0.5, generator=generator)
    nn.init.zeros_(layer.bias)
