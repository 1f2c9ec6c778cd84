"""What `configs/paper.yaml` costs on a card of so many FLOP/s: ``python -m benchmarks.estimate_paper``.

Arithmetic, not a measurement: a token costs 2 FLOPs a parameter forward; a step of LoRA training costs 2.5 times its
forward pass (3.5 with checkpointing); decoding is bound by reading the weights once a step of the batch.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

DECODER, TOWER = 6.74e9, 0.30e9  # parameters of LLaVA-1.5-7B
IMAGE, PROMPT, QUESTION, ANSWER = 576, 75, 20, 20  # tokens
WEIGHTS = 14.1e9  # bytes in bfloat16


@dataclass(frozen=True)
class Card:
    """FLOP/s of dense bfloat16, bytes/s, and what share of the first a good program reaches."""

    flops: float
    bandwidth: float
    share: float

    def compute(self, flops: float) -> float:
        """Hours."""
        return flops / (self.flops * self.share) / 3600

    def decode(self, tokens: float, batch: int) -> float:
        """Hours."""
        return tokens / batch * WEIGHTS / self.bandwidth / 3600


def estimate(images: int, pairs: int, kept: int, batch: int, card: Card) -> Iterator[tuple[str, str, float]]:
    """Stage, what it is made of, hours."""
    encode = 2 * TOWER * IMAGE
    written = pairs * (QUESTION + ANSWER + 12)
    prefill = 2 * DECODER * (IMAGE + PROMPT) + encode
    writing = card.compute(images * prefill) + card.decode(images * written, batch)
    tree = IMAGE + 10 + 2 * pairs * (QUESTION + ANSWER)
    plain = pairs * (IMAGE + 10 + 2 * (QUESTION + ANSWER))
    scoring = card.compute(images * (2 * DECODER * tree + encode))
    group = IMAGE + PROMPT + pairs * (QUESTION + ANSWER + 12)
    learned = IMAGE + QUESTION + ANSWER + 10
    yield "draft", f"{images:,} x (prefill {IMAGE + PROMPT} + {written} new tokens, batch {batch})", writing
    yield "its scores", f"{images:,} x {tree} tokens as a tree ({plain} as rows)", scoring
    yield "contrastive tuning", f"{images:,} x {group} tokens x 3.5", card.compute(images * 7 * DECODER * group)
    yield "written again", "as the draft", writing
    yield "its scores", "as before", scoring
    yield "instruction tuning", f"{kept:,} x {learned} tokens x 3.5", card.compute(kept * 7 * DECODER * learned)
    asked = {"POPE": 9_000, "MMBench": 4_377, "SEED-Bench, pictures": 14_233}
    tokens = sum(asked.values()) * (IMAGE + 60)
    names = ", ".join(f"{name} {count:,}" for name, count in asked.items())
    yield "benchmarks, twice", f"{names}; seen and blind", 2 * card.compute(2 * DECODER * tokens * 1.1)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--kept", type=int, default=5_000)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--flops", type=float, default=989e12, help="H100: dense bfloat16")
    parser.add_argument("--bandwidth", type=float, default=3.35e12, help="H100: bytes a second")
    parser.add_argument("--share", type=float, default=0.3)
    arguments = parser.parse_args()
    card = Card(arguments.flops, arguments.bandwidth, arguments.share)
    rows = list(estimate(arguments.images, arguments.pairs, arguments.kept, arguments.batch, card))
    print("| stage | made of | hours |\n|---|---|--:|")
    for name, what, hours in rows:
        print(f"| {name} | {what} | {hours:.1f} |")
    print(f"| **all** | | **{sum(hours for _, _, hours in rows):.1f}** |")


if __name__ == "__main__":
    main()
