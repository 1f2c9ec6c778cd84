"""What `configs/paper.yaml` costs on one card, from FLOPs alone: ``python benchmarks/estimate_paper.py``.

Arithmetic, not a measurement:

    forward    2 FLOPs a parameter and token; attention's own products are left out (a few percent at these lengths)
    decoding   every step reads all weights from memory, for a whole batch: bytes / bandwidth, nothing else
    tuning     full: forward + twice as much backward = 3 forwards; LoRA: the weights' own gradients fall away = 2;
               one more where activations are computed again (gradient checkpointing)
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

LANGUAGE_MODEL, TOWER = 6.74e9, 0.30e9  # parameters of LLaVA-1.5-7B
IMAGE = 576  # tokens of a picture
WEIGHTS = 14.1e9  # bytes in bfloat16
FORWARDS = {"full": 3, "lora": 2}
ASKED = {"POPE": 9_000, "MMBench": 4_377, "SEED-Bench, pictures": 14_233, "LLaVA-Bench": 60}


@dataclass(frozen=True)
class Card:
    """FLOP/s of dense bfloat16, bytes/s of memory, and the share of the first that is reached."""

    flops: float
    bandwidth: float
    share: float

    def compute(self, flops: float) -> float:
        """Hours of arithmetic."""
        return flops / (self.flops * self.share) / 3600

    def decode(self, tokens: float, batch: int) -> float:
        """Hours in which so many tokens are written, that many rows at once."""
        return tokens / batch * WEIGHTS / self.bandwidth / 3600


@dataclass(frozen=True)
class Work:
    """How much is done; lengths in tokens.

    Attributes:
        images: Pictures that are written about.
        pairs: K, question-answer pairs a picture.
        kept: Pairs in the data set.
        instruction: The prompt that asks for pairs.
        frame: What the chat format and system text add to a question.
        question: Length of a question.
        answer: Length of an answer.
        written: New tokens a picture; the pairs and their numbering.
        batch: Rows that are written at once.
        method: How the LVLM is tuned at the end; the contrastive tuning is always LoRA.
        checkpointing: Whether tuning computes activations again.
    """

    images: int = 10_000
    pairs: int = 5
    kept: int = 5_000
    instruction: int = 75
    frame: int = 10
    question: int = 20
    answer: int = 20
    written: int = 260
    batch: int = 8
    method: str = "lora"
    checkpointing: bool = True

    @property
    def as_tree(self) -> int:
        """Tokens that scoring computes of a picture: with and without it, what rows share only once."""
        return IMAGE + 2 * (self.frame + self.pairs * (self.question + self.answer))

    @property
    def as_rows(self) -> int:
        """The same with a row of its own for every pair."""
        return self.pairs * (IMAGE + 2 * (self.frame + self.question + self.answer))

    def forwards(self, method: str) -> int:
        """What a tuning step costs, in forwards."""
        return FORWARDS[method] + self.checkpointing


def estimate(work: Work, card: Card) -> Iterator[tuple[str, str, float]]:
    """Stage, what it is made of, hours."""

    def passes(count: float, tokens: float, pictures: float, forwards: int = 1) -> float:
        """Forwards over so many sequences; the tower is only ever run forward."""
        return card.compute(count * (2 * LANGUAGE_MODEL * tokens * forwards + 2 * TOWER * IMAGE * pictures))

    prompt, group = IMAGE + work.instruction, IMAGE + work.instruction + work.written
    contrastive, final = work.forwards("lora"), work.forwards(work.method)
    example = IMAGE + work.frame + work.question + work.answer
    writing = passes(work.images, prompt, 1) + card.decode(work.images * work.written, work.batch)
    scoring = passes(work.images, work.as_tree, 1)
    asked, blind = IMAGE + 60, 60
    questions = sum(ASKED.values())
    yield "draft", f"{work.images:,} x ({prompt} read + {work.written} written, {work.batch} at once)", writing
    yield "its scores", f"{work.images:,} x {work.as_tree:,} tokens as a tree ({work.as_rows:,} as rows)", scoring
    yield (
        "contrastive tuning",
        f"{work.images:,} x {group} tokens x {contrastive} forwards",
        passes(work.images, group, 1, contrastive),
    )
    yield "written again", "as the draft", writing
    yield "its scores", "as before", scoring
    yield (
        "instruction tuning",
        f"{work.kept:,} x {example} tokens x {final} forwards",
        passes(work.kept, example, 1, final),
    )
    yield (
        "benchmarks",
        f"2 models x {questions:,} questions x ({asked} tokens seen + {blind} blind)",
        passes(2 * questions, asked + blind, 1),
    )


def format_table(work: Work, card: Card) -> str:
    """Markdown."""
    rows = list(estimate(work, card))
    lines = ["| stage | made of | hours |", "|---|---|--:|"]
    lines += [f"| {name} | {made_of} | {hours:.2f} |" for name, made_of, hours in rows]
    return "\n".join([*lines, f"| **all** | | **{sum(hours for _, _, hours in rows):.1f}** |"])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = Work()
    for name in ("images", "pairs", "kept", "instruction", "frame", "question", "answer", "written", "batch"):
        parser.add_argument(f"--{name}", type=int, default=getattr(known, name))
    parser.add_argument("--method", choices=list(FORWARDS), default=known.method)
    parser.add_argument("--checkpointing", action=argparse.BooleanOptionalAction, default=known.checkpointing)
    parser.add_argument("--flops", type=float, default=989e12, help="H100 SXM: dense bfloat16, a second")
    parser.add_argument("--bandwidth", type=float, default=3.35e12, help="H100 SXM: bytes a second")
    parser.add_argument("--share", type=float, default=0.4, help="of the FLOPs that is reached")
    given = vars(parser.parse_args())
    card = Card(given.pop("flops"), given.pop("bandwidth"), given.pop("share"))
    print(format_table(Work(**given), card))


if __name__ == "__main__":
    main()
