"""vLLM against c3l's own scoring and writing: ``PYTHONPATH=tests python -m benchmarks.bench_vllm``, after `make vllm`.

Both compute with one LLaVA of random weights: 25 million, 196 image tokens, a token a byte.
"""

import argparse
import os
import tempfile
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.setting import draw_pictures, make_pairs, race
from c3l.models.interface import GenerateRequest, Sampling, ScoreRequest
from c3l.models.load import load_model
from c3l.records import AnswerScores, NoImageMode
from c3l.settings.load import load_config

TEXT = {
    "hidden_size": 512,
    "intermediate_size": 1536,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
}
PICTURES, PAIRS, OTHERS = 2, 5, 2
TEXTS, TOKENS = 8, 32


def compare_scores(models: Sequence[Any], mode: NoImageMode, repetitions: int) -> str:
    """A line on the scores of K pairs about each of some pictures."""
    pictures = draw_pictures(PICTURES + OTHERS)
    requests = [
        ScoreRequest(
            picture, make_pairs(PAIRS, 8, first=n), others=tuple(pictures[PICTURES:] if mode == "others" else ())
        )
        for n, picture in enumerate(pictures[:PICTURES])
    ]
    by_vllm, by_hf = models
    seconds, ratio, found, right = race(
        lambda: by_vllm.score(requests, mode), lambda: by_hf.score(requests, mode), repetitions
    )
    pairs = PICTURES * PAIRS
    told = f"{pairs / seconds:.2f} pairs/s by vLLM, {pairs / seconds / ratio:.2f} by transformers"
    return f"score {pairs} pairs about {PICTURES} pictures, {mode}: {told}; {_apart(found, right):.2g} nats apart"


def _apart(found: Any, right: Any) -> float:
    gaps = [0.0]
    for pair_id, one in found.items():
        other = right[pair_id]
        assert isinstance(one, AnswerScores) and isinstance(other, AnswerScores)
        for name in ("logprobs_with_image", "logprobs_without_image"):
            gaps += [abs(a - b) for a, b in zip(getattr(one, name), getattr(other, name), strict=True)]
    return max(gaps)


def compare_texts(models: Sequence[Any], repetitions: int) -> str:
    """A line on greedy texts, one a picture."""
    requests = [GenerateRequest(str(n), one, "What is it?", n) for n, one in enumerate(draw_pictures(TEXTS))]
    greedy = Sampling(0.0, 1.0, TOKENS)
    by_vllm, by_hf = models
    seconds, ratio, found, right = race(
        lambda: by_vllm.generate(requests, greedy), lambda: by_hf.generate(requests, greedy), repetitions
    )
    tokens = TEXTS * TOKENS
    same = sum(one.text == other.text for one, other in zip(found, right, strict=True))
    told = f"{tokens / seconds:.0f} tokens/s by vLLM, {tokens / seconds / ratio:.0f} by transformers"
    return f"write {TEXTS} texts of at most {TOKENS} tokens: {told}; {same} of {TEXTS} texts are the same"


def main() -> None:
    """Print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=3)
    repetitions = parser.parse_args().repetitions
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    with tempfile.TemporaryDirectory() as place:
        folders = import_module("models.vllm_folders")  # of the tests
        folder = folders.write_for_vllm("llava", Path(place) / "llava", TEXT, image_size=112, std=0.04)
        settings = ["model.dtype=float32", "model.memory_share=0.1"]
        configs = [load_config(None, [f"model.name={prefix}{folder}", *settings]) for prefix in ("vllm:", "")]
        models = [load_model(config.model, 0) for config in configs]
        modes: tuple[NoImageMode, ...] = ("drop", "others")
        for mode in modes:
            print(compare_scores(models, mode, repetitions), flush=True)
        print(compare_texts(models, repetitions), flush=True)


if __name__ == "__main__":
    main()
