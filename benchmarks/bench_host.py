"""Where the time goes while a model scores, and how much of it waits for the host: ``python -m benchmarks.bench_host``.

Pictures are files of 640 x 480 pixels, opened as ``c3l score`` opens them. The shares are the time inside the model's
vision encoder, its decoder and its LM head, and in what is made of its logits, over all of the time; what is left is
the host's: opening pictures, templates, tokens, trees and records.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.setting import describe_machine, draw_pictures, load, make_pairs, now, parse_arguments, wrap
from c3l.data.images import open_image
from c3l.method.other_images import ImageSource
from c3l.method.scoring import score_samples
from c3l.models.hf import logits
from c3l.records import ImageRef, Sample
from c3l.settings.schema import ImagesConfig, ScoringConfig


class Clock:
    """Seconds spent inside some functions, none of which calls another."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def around(self, holder: Any, name: str) -> None:
        """Count the time in a function of a model or a module from here on."""
        work = getattr(holder, name)

        @wraps(work)  # c3l and transformers look which arguments a family takes
        def counted(*given: Any, **more: Any) -> Any:
            start = now()
            try:
                return work(*given, **more)
            finally:
                self.seconds += now() - start

        setattr(holder, name, counted)


def write_pictures(folder: Path, count: int) -> list[ImageRef]:
    """Files of pictures that are larger than what the model sees, as most are."""
    refs = []
    for number, picture in enumerate(draw_pictures(count)):
        path = folder / f"{number}.jpg"
        picture.resize((640, 480)).save(path, quality=90)
        refs.append(ImageRef(str(number), path.name, "", 640, 480))
    return refs


def measure(backend: Any, clocks: Sequence[Clock], folder: Path, refs: list[ImageRef], k: int) -> tuple[float, ...]:
    """Seconds of all, and the share of it on each clock."""
    samples = [
        Sample(f"{ref.image_id}-{pair.pair_id}", ref.image_id, "data", pair.prompt, pair.completion, 0, place)
        for ref in refs
        for place, pair in enumerate(make_pairs(k, 8, first=int(ref.image_id)))
    ]
    rules = ImagesConfig(root=folder)
    source = ImageSource({ref.image_id: ref for ref in refs}, lambda ref: open_image(folder, ref.path, rules))
    for clock in clocks:
        clock.seconds = 0.0
    start = now()
    for _ in score_samples(samples, source, backend, ScoringConfig(no_image="drop"), 0):
        pass
    whole = now() - start
    return (whole, *(clock.seconds / whole for clock in clocks))


def main() -> None:
    """Print the table."""

    def extend(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--pictures", type=int, default=32)

    arguments = parse_arguments(__doc__, extend)
    model, processor = load(49, getattr(torch, arguments.dtype))
    clocks = encoder, decoder, head, of_logits = Clock(), Clock(), Clock(), Clock()
    encoder.around(model.base_model, "get_image_features")
    decoder.around(model.get_decoder(), "forward")
    head.around(model.get_output_embeddings(), "forward")
    for name in ("log_probs", "vocabulary_kl", "pick"):
        of_logits.around(logits, name)
    backend = wrap(model, processor)
    command = " ".join(["python -m benchmarks.bench_host", *sys.argv[1:]])
    print(f"## The host\n\n`{command}`; {describe_machine()}\n")
    print("| pictures | pairs each | dtype | seconds | vision encoder | decoder | LM head | its logits | together |")
    print("|--:|--:|---|--:|--:|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        refs = write_pictures(folder, arguments.pictures)
        measure(backend, clocks, folder, refs[:2], 1)  # warm-up
        for k in (5, 1):
            found = [measure(backend, clocks, folder, refs, k) for _ in range(arguments.repetitions)]
            seconds, *shares = (float(np.median(column)) for column in zip(*found, strict=True))
            told = " | ".join(f"{share:.1%}" for share in (*shares, sum(shares)))
            print(f"| {len(refs)} | {k} | {arguments.dtype} | {seconds:.2f} | {told} |", flush=True)


if __name__ == "__main__":
    main()
