"""What a run's scores become in another dtype, batch size and order: ``python -m benchmarks.flips RUN``.

Scores the pairs of a run's draft anew, in float32 and in bfloat16, and in float32 one picture at a time, in reverse;
then how far float32 is from float64, in the scorer and in a plain loop that shares nothing.
A pair flips if it is kept in one and dropped in the other; a picture's best pair is the positive of contrastive tuning.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from benchmarks.bench_scoring import score_naively
from benchmarks.setting import describe_machine, load
from c3l.errors import C3LError
from c3l.method.filtering import filter_samples
from c3l.method.other_images import ImageSource
from c3l.method.scoring import score_samples
from c3l.models.interface import Pair
from c3l.models.load import load_model
from c3l.records import ImageRef, Sample, ScoredPair
from c3l.run.run_folder import Run
from c3l.run.shards import image_opener
from c3l.settings.load import load_config
from c3l.settings.schema import FilteringConfig, RunConfig


@dataclass(frozen=True, slots=True)
class Flips:
    """Between two scorings of the same pairs."""

    pairs: int
    pictures: int
    largest: float
    kept_flips: int
    best_flips: int


def compare(one: Sequence[ScoredPair], other: Sequence[ScoredPair]) -> Flips:
    """How much another scoring changes; the filter keeps the half with the highest S(I2C)."""
    verdicts = [filter_samples(scored, FilteringConfig(fraction=0.5), 0) for scored in (one, other)]
    kept = [{it.sample_id for it in of_one if it.kept} for of_one in verdicts]
    best = [{it.sample_id for it in of_one if it.rank == 1} for of_one in verdicts]
    return Flips(len(one), len(best[0]), find_largest(one, other), len(kept[0] - kept[1]), len(best[0] - best[1]))


def find_largest(one: Sequence[ScoredPair], other: Sequence[ScoredPair]) -> float:
    """The largest difference of a log-probability, nats."""
    numbers = [
        [p for it in scored for p in (*it.scores.logprobs_with_image, *it.scores.logprobs_without_image)]
        for scored in (one, other)
    ]
    largest: float = max(abs(p - q) for p, q in zip(*numbers, strict=True))
    return largest


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run folder of the built-in LVLM with draft/parsed")
    parser.add_argument("--limit", type=int, default=200, help="pairs at most")
    arguments = parser.parse_args()
    try:
        run, config = Run.reader(arguments.run), load_config(arguments.run / "config.yaml", [])
    except C3LError as error:
        sys.exit(str(error))
    stages = [run.stored(name) for name in ("images", "draft/parsed")]
    images, parsed = (stage for stage in stages if stage is not None)
    refs = {ref.image_id: ref for ref in images.read(ImageRef)}
    samples = list(parsed.read(Sample))[: arguments.limit]

    def score(dtype: str, batch_size: int, order: int) -> list[ScoredPair]:
        model = load_model(config.model.model_copy(update={"dtype": dtype}), config.seed)
        rules = config.scoring.model_copy(update={"batch_size": batch_size})
        source = ImageSource(refs, image_opener(config), list(refs))
        made = list(score_samples(samples[::order], source, model, rules, config.seed))
        return [one for one in made[::order] if isinstance(one, ScoredPair)]

    whole = score("float32", 4, 1)
    print(f"`python -m benchmarks.flips {arguments.run}`; {describe_machine()}\n")
    print("| against float32, 4 pictures a batch | pairs | largest difference, nats | flips | best pair flips |")
    print("|---|--:|--:|--:|--:|")
    for name, scored in (
        ("float32, pictures one at a time, in reverse", score("float32", 1, -1)),
        ("bfloat16", score("bfloat16", 4, 1)),
    ):
        it = compare(whole, scored)
        print(
            f"| {name} | {it.pairs} | {it.largest:.1e} | {2 * it.kept_flips} of {it.pairs} pairs "
            f"| {it.best_flips} of {it.pictures} pictures |"
        )
    exact = score("float64", 1, 1)
    print("\n| against float64 | largest difference, nats |\n|---|--:|")
    print(f"| float32, 4 pictures a batch | {find_largest(exact, whole):.1e} |")
    print(
        f"| float32, a plain loop, one pair at a time | {find_largest(exact, read_plainly(exact, config, refs)):.1e} |"
    )


def read_plainly(pairs: Sequence[ScoredPair], config: RunConfig, refs: Mapping[str, ImageRef]) -> list[ScoredPair]:
    """The same pairs with the numbers of a plain loop over them, in float32."""
    model, processor = load(49, torch.float32)
    open_image = image_opener(config)
    out = []
    for one in pairs:
        asked = Pair("0", one.sample.question, one.sample.answer)
        seen, blind = score_naively(model, processor, open_image(refs[one.sample.image_id]), [asked])
        scores = replace(one.scores, logprobs_with_image=tuple(seen), logprobs_without_image=tuple(blind))
        out.append(replace(one, scores=scores))
    return out


if __name__ == "__main__":
    main()
