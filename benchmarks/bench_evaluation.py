"""POPE's questions against a loop that asks one after the other: ``python -m benchmarks.bench_evaluation``.

Six questions about each picture, "Is there a dog in the image?", with the picture, and where ``blind`` is said without
it too, as ``c3l evaluate`` asks them. The loop is transformers' plain ``generate``. The 3,000 questions of a split of
POPE name 80 objects, so that fewer of many questions are asked blind than of few; ``--pictures 500 --every 10``
measures that, where the loop is given every tenth question and its time counts tenfold.
"""

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.bench_generation import write_plainly
from benchmarks.setting import Measured, draw_pictures, load, parse_arguments, publish, race, wrap
from c3l.evaluation.pope import SUFFIX
from c3l.evaluation.predict import predict
from c3l.evaluation.task import Item, Prediction
from c3l.models.interface import InferenceModel
from c3l.settings.evaluation import EvaluationConfig

QUESTIONS = 6  # about each picture, as in POPE
OBJECTS = 80  # as COCO has
TOKENS = 16  # an answer has one or two


def make_items(pictures: int) -> list[Item]:
    """Six questions about each picture, no two of one picture alike."""
    rng = np.random.default_rng(0)
    return [
        Item(f"{picture}/{thing}", str(picture), f"Is there a thing of kind {thing} in the image?{SUFFIX}")
        for picture in range(pictures)
        for thing in rng.choice(OBJECTS, QUESTIONS, replace=False)
    ]


def ask(backend: InferenceModel, items: Sequence[Item], shown: Sequence[Image.Image], blind: bool) -> list[Prediction]:
    """What ``c3l evaluate`` makes of the questions."""
    batch_size = EvaluationConfig().batch_size
    return [
        *predict(
            items,
            backend,
            lambda image: shown[int(image)],
            max_new_tokens=TOKENS,
            batch_size=batch_size,
            blind=blind,
        )
    ]


def measure(
    image_tokens: int, pictures: int, blind: bool, every: int, model: Any, processor: Any, repetitions: int
) -> Measured:
    """All questions, ours against one after the other, which is given one in ``every``."""
    backend, shown, items = wrap(model, processor), draw_pictures(pictures), make_items(pictures)

    def ours() -> list[str | None]:
        made = ask(backend, items, shown, blind)[::every]
        return [text for one in made for text in ((one.text, one.blind_text) if blind else (one.text,))]

    def one_by_one() -> list[str]:
        made = []
        for item in items[::every]:
            for image in (shown[int(item.image)], None) if blind else (shown[int(item.image)],):
                made += write_plainly(model, processor, image, [item.prompt], TOKENS)
        return made

    seconds, speedup, texts, plain = race(ours, one_by_one, repetitions)
    other = sum(a != b for a, b in zip(texts, plain, strict=True)) / len(texts)
    label = f"{len(items)} questions about {pictures} pictures{', and blind' if blind else ''}"
    label += f", the loop one in {every}" if every > 1 else ""
    dtype = str(model.dtype).removeprefix("torch.")
    return Measured(
        f"{label} (difference: share of other texts)",
        image_tokens,
        QUESTIONS,
        dtype,
        "one by one",
        seconds,
        speedup * every,
        None,
        other,
    )


def main() -> None:
    """Print the table."""

    def extend(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--pictures", type=int, default=8)
        parser.add_argument("--every", type=int, default=1, help="the loop is given one question in so many")

    arguments = parse_arguments(__doc__, extend)
    lines = []
    for image_tokens in (49,) if arguments.quick else (49, 576):
        both = load(image_tokens, getattr(torch, arguments.dtype))
        lines += [
            measure(image_tokens, arguments.pictures, blind, arguments.every, *both, arguments.repetitions)
            for blind in (False, True)
        ]
    publish(lines, arguments, "Evaluation")


if __name__ == "__main__":
    main()
