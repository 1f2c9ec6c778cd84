"""What is measured with: the built-in LVLM with 49 or 576 image tokens, pairs of a given length, clocks, tables."""

import argparse
import json
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from c3l.models.hf.allocation import keep_freed_memory
from c3l.models.hf.inference import HfModel
from c3l.models.interface import Pair
from c3l.models.load import fast_dtype
from c3l.records import Provenance

PIXELS = {49: 224, 576: 768}  # side of the square picture, for its number of image tokens
WORDS = "the dog sat on a red mat near two tall trees while it rained and people walked past a small house".split()


@dataclass(frozen=True, slots=True)
class Measured:
    """One line of a table.

    Attributes:
        setting: What was done.
        image_tokens: Of each picture.
        k: Pairs, candidates or prompts of a picture.
        dtype: Of the weights.
        against: What the speed-up is over.
        seconds: Of one repetition, ours.
        speedup: Time of the other way over ours, median of the repetitions.
        flop_ratio: FLOPs of the other way over ours, counted for these inputs; None where it was not counted.
        max_abs_diff: Largest difference of what both ways give, in nats; None where they draw at random.
    """

    setting: str
    image_tokens: int
    k: int
    dtype: str
    against: str
    seconds: float
    speedup: float
    flop_ratio: float | None
    max_abs_diff: float | None


def load(image_tokens: int, dtype: torch.dtype) -> tuple[Any, Any]:
    """The built-in LVLM and its processor, for pictures of so many tokens."""
    from transformers import AutoModelForImageTextToText, AutoProcessor

    from c3l.models.builtin.assemble import assemble

    keep_freed_memory()  # as c3l's own loading does
    folder = str(assemble())
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=dtype).eval()
    processor = AutoProcessor.from_pretrained(folder)
    side = PIXELS[image_tokens]
    for name in ("size", "crop_size"):
        setattr(processor.image_processor, name, {"height": side, "width": side})
    return model, processor


def wrap(model: Any, processor: Any) -> HfModel:
    """The backend around a loaded model."""
    return HfModel(model, processor, Provenance("builtin", "", "hf", str(model.dtype), str(model.device), 0, {}))


def draw_pictures(count: int) -> list[Image.Image]:
    """Pictures of noise: what they show costs nothing."""
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (300, 400, 3), dtype=np.uint8)) for _ in range(count)]


def make_pairs(k: int, answer_words: int, first: int = 0) -> tuple[Pair, ...]:
    """K questions of some ten words, no two alike, with answers of so many words."""
    rng = np.random.default_rng(first)
    pairs = []
    for number in range(k):
        question = " ".join(rng.choice(WORDS, 10))
        answer = " ".join(rng.choice(WORDS, answer_words))
        pairs.append(Pair(f"{first}/{number}", f"{question.capitalize()}?", f"{answer.capitalize()}."))
    return tuple(pairs)


def race(ours: Callable[[], Any], other: Callable[[], Any], repetitions: int) -> tuple[float, float, Any, Any]:
    """Both ways in turn; seconds of ours, median ratio of the other's time to ours, and what both gave last."""
    result, expected = ours(), other()  # warm-up
    times = []
    for _ in range(repetitions):
        start = now()
        result = ours()
        middle = now()
        expected = other()
        times.append((middle - start, now() - middle))
    ratio = float(np.median([theirs / mine for mine, theirs in times]))
    return float(np.median([mine for mine, _ in times])), ratio, result, expected


def now() -> float:
    """The clock in seconds, after all that a card was given to do."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def count_flops(model: Any, rows: Sequence[tuple[int, int, int]], head_rows: int) -> float:
    """FLOPs of the decoder and its head.

    Args:
        model: The LVLM.
        rows: (tokens fed, tokens before them that they attend to, how often).
        head_rows: Rows that go through the head.
    """
    text = model.config.get_text_config()
    layers = sum(p.numel() for p in model.get_decoder().layers.parameters())
    per_token = 2 * layers
    attention = 4 * text.num_hidden_layers * text.hidden_size  # scores and values, for each token looked at
    fed = sum(times * (n * per_token + attention * n * (before + (n + 1) / 2)) for n, before, times in rows)
    return float(fed + head_rows * 2 * text.hidden_size * text.vocab_size)


def format_table(lines: Sequence[Measured]) -> str:
    """The lines as a Markdown table."""
    head = "| setting | image tokens | K | dtype | against | seconds | speed-up | FLOP ratio | largest difference |"
    rule = "|---|--:|--:|---|---|--:|--:|--:|--:|"
    rows = [
        f"| {one.setting} | {one.image_tokens} | {one.k} | {one.dtype} | {one.against} | {one.seconds:.3f} "
        f"| **{one.speedup:.2f}x** | {_show(one.flop_ratio)} | {_small(one.max_abs_diff)} |"
        for one in lines
    ]
    return "\n".join((head, rule, *rows))


def _show(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _small(value: float | None) -> str:
    return "-" if value is None else f"{value:.1e}"


def describe_machine() -> str:
    """Machine with what it computes by, versions and commit, in a line; a table's rows say their dtype."""
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or platform.machine()
    found = torch.cpu.get_capabilities()
    flags = [key for key in ("avx2", "avx512_f", "avx512_bf16", "amx_bf16", "amx_tile") if found.get(key)]
    native = "native" if fast_dtype("cuda" if torch.cuda.is_available() else "cpu") is torch.bfloat16 else "emulated"
    return (
        f"{name}, {torch.get_num_threads()} threads ({', '.join(flags) or 'no wide instructions'}; bfloat16 {native}), "
        f"torch {torch.__version__}, transformers {version('transformers')}, "
        f"c3l {version('c3l')} at commit {_find_commit() or 'unknown'}"
    )


def _find_commit() -> str:
    if shutil.which("git") is None:
        return ""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]  # says whether files were changed since
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def parse_arguments(
    about: str | None, extend: Callable[[argparse.ArgumentParser], object] = lambda parser: None
) -> argparse.Namespace:
    """The options that every benchmark takes, and more that ``extend`` adds."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="K = 5 alone")
    parser.add_argument("--dtype", default=str(fast_dtype("cpu")).removeprefix("torch."))
    parser.add_argument("--json", type=Path, help="write the lines there too, as a list of objects")
    extend(parser)
    return parser.parse_args()


def publish(lines: Sequence[Measured], arguments: argparse.Namespace, title: str) -> None:
    """Print the table, and write the JSON that was asked for."""
    command = " ".join(["python -m", f"benchmarks.{Path(sys.argv[0]).stem}", *sys.argv[1:]])
    print(f"## {title}\n\n`{command}`; {describe_machine()}\n\n{format_table(lines)}\n", flush=True)
    if arguments.json:
        text = json.dumps([asdict(one) for one in lines], indent=1)
        arguments.json.write_text(text + "\n", encoding="utf-8")


def chat(processor: Any, prompt: str, image: Any, completion: str) -> Mapping[str, torch.Tensor]:
    """One row as a plain Hugging Face loop makes it; ``answer`` holds the completion's ids."""
    content = ([{"type": "image"}] if image is not None else []) + [{"type": "text", "text": prompt}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    inputs = dict(processor(images=None if image is None else [image], text=[text], return_tensors="pt"))
    answer = processor.tokenizer(completion, add_special_tokens=False, return_tensors="pt")["input_ids"]
    inputs["input_ids"] = torch.cat([inputs["input_ids"], answer], dim=1)
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    return {**inputs, "answer": answer}
