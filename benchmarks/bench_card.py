"""Scoring, writing and tuning at the size of LLaVA-1.5-7B on a CUDA card: ``python -m benchmarks.bench_card``.

The weights are random: speed does not ask what they know. The vision tower is CLIP ViT-L/14 at 336 pixels (576 image
tokens), the tokenizer that of the built-in LVLM. Ways and settings are those of the other benchmarks; what is
added is the share of the card's rate, as a large matrix product reaches it in the same process. Give --dtype bfloat16.
With --flex packed rows are read by FlexAttention's block masks too, in the same process: what these give on a card is
told by ``python -m benchmarks.bench_card --dtype bfloat16 --quick --flex`` alone, in some five minutes.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch

from benchmarks import bench_generation, bench_host, bench_scoring, bench_tuning
from benchmarks.setting import Measured, count_flops, draw_pictures, make_pairs, now, parse_arguments, publish, wrap
from c3l.models.hf.layout import read_by_flex
from c3l.models.interface import ScoreRequest

IMAGE_TOKENS = 576
SIDE, PATCH = 336, 14


def make_processor() -> Any:
    """LLaVA-1.5's picture processing around the built-in LVLM's tokenizer and chat template."""
    from transformers import AutoProcessor, CLIPImageProcessorPil, LlavaProcessor

    from c3l.models.builtin.assemble import assemble

    builtin = AutoProcessor.from_pretrained(str(assemble()))
    pictures = CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    return LlavaProcessor(
        image_processor=pictures,
        tokenizer=builtin.tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=builtin.chat_template,
    )


def make_model(processor: Any, layers: int | None, dtype: torch.dtype) -> Any:
    """LLaVA-1.5-7B's shapes with random weights, on the card; with fewer layers only to try this file."""
    from transformers import AutoModelForImageTextToText, CLIPVisionConfig, LlamaConfig, LlavaConfig

    tokenizer = processor.tokenizer
    vision = CLIPVisionConfig(
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=layers or 24,
        num_attention_heads=16,
        image_size=SIDE,
        patch_size=PATCH,
    )
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=4096,
        intermediate_size=11008,
        num_hidden_layers=layers or 32,
        num_attention_heads=32,
        max_position_embeddings=4096,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=IMAGE_TOKENS,
    )
    torch.manual_seed(0)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = AutoModelForImageTextToText.from_config(config, dtype=dtype)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model.eval()


def measure_rate(device: torch.device, dtype: torch.dtype, times: int = 10) -> float:
    """FLOPs a second of a matrix product, median."""
    side = 8192 if device.type == "cuda" else 256
    one, other = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    seconds = sorted(_time(lambda: one @ other) for _ in range(times + 3))
    return 2 * side**3 / seconds[len(seconds) // 2]


def measure_share(model: Any, processor: Any, pictures: int, k: int, words: int, rate: float, times: int) -> str:
    """A sentence: pairs, tokens of the bound and FLOPs of the bound a second, and their share of the rate."""
    backend = wrap(model, processor)
    requests = [
        ScoreRequest(image, make_pairs(k, words, first=place)) for place, image in enumerate(draw_pictures(pictures))
    ]
    seconds = sorted(_time(lambda: backend.score(requests, "drop")) for _ in range(times + 1))[times // 2]
    flops, tokens = 0.0, 0
    for request in requests:
        _, rows, heads = bench_scoring.count_rows(processor, request.image, request.pairs)
        flops += count_flops(model, rows, heads) + _tower_flops(model)
        tokens += sum(fed for fed, _, _ in rows)
    return (
        f"{pictures} pictures a call, {k} pairs each: {pictures * k / seconds:.1f} pairs/s, {tokens / seconds:.0f} "
        f"tokens/s, {flops / seconds / 1e12:.0f} TFLOP/s of the {rate / 1e12:.0f} of a matrix product "
        f"({flops / seconds / rate:.0%}), memory at most {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB"
    )


def measure_ahead(model: Any, processor: Any, pictures: int, k: int, times: int) -> str:
    """A sentence: pairs a second from files on, texts read while the card computes, and by the model's own thread."""
    backend: Any = wrap(model, processor)
    with tempfile.TemporaryDirectory() as name:
        refs = bench_host.write_pictures(Path(name), pictures)

        def rate() -> float:
            taken = sorted(bench_host.measure(backend, (), Path(name), refs, k)[0] for _ in range(times + 1))
            return pictures * k / taken[times // 2]

        ahead = rate()
        backend.prepare_scores = lambda request, no_image: backend.prepare(request.image)
        return (
            f"{pictures} files of images, {k} pairs each: {ahead:.1f} pairs/s, {rate():.1f} where no text is read ahead"
        )


def _tower_flops(model: Any) -> float:
    """Of one picture: what its weights do, attention included."""
    config = model.config.vision_config
    weights = sum(p.numel() for p in model.base_model.vision_tower.parameters())
    tokens = IMAGE_TOKENS + 1
    attention = 4 * config.num_hidden_layers * config.hidden_size * tokens * tokens
    return float(2 * weights * tokens + attention)


def _time(work: Callable[[], object]) -> float:
    start = now()
    work()
    return now() - start


def measure_all(
    model: Any, processor: Any, rate: float, arguments: argparse.Namespace, *, flex: bool = False
) -> tuple[list[Measured], list[str]]:
    """The lines of the table, and what part of the card's rate scoring reaches."""
    lines: list[Measured] = []
    to_tune = deepcopy(model) if arguments.flex and not flex else model  # the tuning puts adapters on it
    for one in (model, to_tune) if flex else ():
        read_by_flex(one)
    for k in (5,) if arguments.quick else (1, 5, 20):
        lines += bench_scoring.measure(IMAGE_TOKENS, k, 8, model, processor, arguments.repetitions)
    calls = ((1, 5), (8, 5)) if arguments.quick else ((1, 1), (32, 1), (1, 5), (8, 5), (8, 20))
    shares = [measure_share(model, processor, *call, 8, rate, arguments.repetitions) for call in calls]
    shares.append(measure_ahead(model, processor, 32, 5, arguments.repetitions))
    lines.append(bench_generation.measure_prompts(IMAGE_TOKENS, 5, model, processor, 1))
    lines.append(bench_generation.measure_batch(IMAGE_TOKENS, 5, 64, model, processor, 1, pictures=8))
    lines.append(bench_tuning.measure(IMAGE_TOKENS, 5, to_tune, processor, arguments.repetitions))
    return lines, shares


def main() -> None:
    """Print the tables."""

    def add(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--layers", type=int, help="fewer than the 32 and 24 that there are")
        parser.add_argument("--flex", action="store_true", help="measure FlexAttention's block masks beside dense ones")

    arguments = parse_arguments(__doc__, add)
    if arguments.layers is None and not torch.cuda.is_available():
        sys.exit("bench_card makes a model of 7B parameters on a card, and there is none: on a CPU give --layers 2")
    processor = make_processor()
    model = make_model(processor, arguments.layers, getattr(torch, arguments.dtype))
    rate = measure_rate(model.device, model.dtype)
    for flex in (False, True) if arguments.flex else (False,):
        if flex and arguments.json:
            arguments.json = arguments.json.with_stem(f"{arguments.json.stem}-flex")
        lines, shares = measure_all(model, processor, rate, arguments, flex=flex)
        publish(lines, arguments, f"LLaVA-1.5-7B's shapes on a card{', packed rows by block masks' if flex else ''}")
        print("\n".join(f"- scoring, {share}" for share in shares), flush=True)


if __name__ == "__main__":
    main()
