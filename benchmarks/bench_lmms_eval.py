"""POPE's questions by lmms-eval beside c3l: ``python -m benchmarks.bench_lmms_eval``; one loaded model, in one process.

lmms-eval's class for LLaVA in transformers takes one question at a time. Its way of scoring answers, ``loglikelihood``,
does not run with transformers 5.23: it gives the processor an image's mark without the image, which is refused. It
would be the "naive" way of ``bench_scoring`` but for the pass without the image. lmms-eval requires torchvision, which
has no build beside torch's for processors, so it is installed without what it requires, and with what this file needs:

``pip install --no-deps lmms-eval==0.7.3 evaluate decord loguru pytz``
"""

import argparse
from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image

from benchmarks.bench_evaluation import QUESTIONS, TOKENS, ask, make_items
from benchmarks.setting import Measured, draw_pictures, load, parse_arguments, publish, race, wrap
from c3l.evaluation.task import Item


def build_peer(model: Any, processor: Any) -> Any:
    """lmms-eval's class around a model that is loaded; by itself it would load its own families alone."""
    from accelerate import Accelerator
    from lmms_eval.api.model import CacheHook
    from lmms_eval.models.simple.llava_hf import LlavaHf

    peer = LlavaHf.__new__(LlavaHf)
    peer._model, peer._image_processor, peer._tokenizer = model, processor, processor.tokenizer
    peer._device, peer._rank, peer._world_size = model.device, 0, 1
    peer.accelerator, peer.chat_template = Accelerator(), processor.chat_template
    peer.batch_size_per_gpu, peer.use_cache, peer.cache_hook = 1, True, CacheHook(None)
    return peer


def ask_peer(peer: Any, items: Sequence[Item], shown: Sequence[Image.Image]) -> list[str]:
    """Its answers, in order."""
    from lmms_eval.api.instance import Instance

    peer.task_dict = {"pope": {"test": items}}
    requests = [
        Instance(
            request_type="generate_until",
            arguments=(
                item.prompt,
                {"max_new_tokens": TOKENS, "temperature": 0},
                lambda item: [shown[int(item.image)]],
                place,
                "pope",
                "test",
            ),
            idx=0,
            metadata={"task": "pope", "doc_id": place, "repeats": 1},
        )
        for place, item in enumerate(items)
    ]
    return [str(text) for text in peer.generate_until(requests)]


def measure(image_tokens: int, pictures: int, model: Any, processor: Any, repetitions: int) -> Measured:
    """All questions, ours against lmms-eval's."""
    backend, shown, items = wrap(model, processor), draw_pictures(pictures), make_items(pictures)
    peer = build_peer(model, processor)

    def ours() -> list[str | None]:
        return [one.text for one in ask(backend, items, shown, blind=False)]

    seconds, speedup, texts, theirs = race(ours, lambda: ask_peer(peer, items, shown), repetitions)
    other = sum(a != b for a, b in zip(texts, theirs, strict=True)) / len(texts)
    label = f"{len(items)} questions about {pictures} pictures (difference: share of other texts)"
    dtype = str(model.dtype).removeprefix("torch.")
    return Measured(label, image_tokens, QUESTIONS, dtype, "lmms-eval", seconds, speedup, None, other)


def main() -> None:
    """Print the table."""

    def extend(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--pictures", type=int, default=8)

    arguments = parse_arguments(__doc__, extend)
    lines = [
        measure(tokens, arguments.pictures, *load(tokens, getattr(torch, arguments.dtype)), arguments.repetitions)
        for tokens in ((49,) if arguments.quick else (49, 576))
    ]
    publish(lines, arguments, "Evaluation beside lmms-eval")


if __name__ == "__main__":
    main()
