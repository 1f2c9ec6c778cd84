"""How scoring grows with pairs, pictures and processes: ``python -m benchmarks.scaling``; a table, and a plot.

The built-in LVLM scores pairs of 8-word answers. Memory is the largest that the process has held, over what it held
before it scored anything.
"""

import argparse
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import torch

from benchmarks.setting import describe_machine, draw_pictures, load, make_pairs, wrap
from c3l.method.other_images import ImageSource
from c3l.method.scoring import score_samples
from c3l.models.hf.inference import HfModel
from c3l.records import ImageRef, Sample
from c3l.settings.schema import ScoringConfig

PAIRS = (1, 2, 5, 10, 20)
PICTURES = (8, 16, 32, 64)
ANSWER_WORDS = 8


@dataclass(frozen=True, slots=True)
class Point:
    """One measurement: pictures with K pairs each, by so many processes of so many threads."""

    series: str
    pictures: int
    k: int
    processes: int
    threads: int
    seconds: float
    megabytes: float

    @property
    def pairs(self) -> int:
        """All pairs together."""
        return self.pictures * self.k


def score(model: HfModel, pictures: int, k: int) -> float:
    """Seconds that it takes."""
    shown = dict(zip((str(n) for n in range(pictures)), draw_pictures(pictures), strict=True))
    refs = {name: ImageRef(name, name, "", *image.size) for name, image in shown.items()}
    samples = [
        Sample(f"{name}-{pair.pair_id}", name, "data", pair.prompt, pair.completion, 0, place)
        for name in shown
        for place, pair in enumerate(make_pairs(k, ANSWER_WORDS, first=int(name)))
    ]
    start = time.perf_counter()
    source = ImageSource(refs, lambda ref: shown[ref.image_id], list(refs))
    for _ in score_samples(samples, source, model, ScoringConfig(), 0):
        pass
    return time.perf_counter() - start


def _load(threads: int) -> HfModel:
    torch.set_num_threads(threads)
    model = wrap(*load(49, torch.float32))
    score(model, 2, 2)
    return model


def _held() -> float:
    """Megabytes, at most, so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure_alone(threads: int) -> Iterator[Point]:
    """K and the number of pictures, one after the other, in this process."""
    model = _load(threads)
    before = _held()
    for pictures in PICTURES:
        yield Point("pictures", pictures, 5, 1, threads, score(model, pictures, 5), _held() - before)
    for k in PAIRS:
        yield Point("pairs", 16, k, 1, threads, score(model, 16, k), _held() - before)


def _share(pictures: int) -> float:
    return score(_load(1), pictures, 5)


def measure_processes(counts: Sequence[int], pictures: int = 32) -> Iterator[Point]:
    """The same pictures by processes of one thread each."""
    for count in counts:
        with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:
            seconds = max(pool.map(_share, [pictures // count] * count))
        yield Point("processes", pictures, 5, count, 1, seconds, float("nan"))


def format_table(points: Sequence[Point]) -> str:
    """Markdown."""
    lines = [
        "| pictures | K | processes x threads | seconds | pairs/s | more memory, MB |",
        "|--:|--:|--:|--:|--:|--:|",
    ]
    for one in points:
        memory = "-" if one.megabytes != one.megabytes else f"{one.megabytes:.0f}"
        lines.append(
            f"| {one.pictures} | {one.k} | {one.processes} x {one.threads} | {one.seconds:.1f} "
            f"| {one.pairs / one.seconds:.1f} | {memory} |"
        )
    return "\n".join(lines)


def plot(points: Sequence[Point], path: Path) -> None:
    """Seconds against pictures, pairs/s against K and against processes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.2), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    series = {name: [one for one in points if one.series == name] for name in ("pictures", "pairs", "processes")}
    left.plot([one.pictures for one in series["pictures"]], [one.seconds for one in series["pictures"]], "o-")
    left.set(xlabel="pictures, 5 pairs each", ylabel="seconds", xlim=0, ylim=0)
    middle.plot([one.k for one in series["pairs"]], [one.pairs / one.seconds for one in series["pairs"]], "o-")
    middle.set(xlabel="pairs a picture", ylabel="pairs/s", xlim=0, ylim=0)
    rates = [one.pairs / one.seconds for one in series["processes"]]
    right.bar([str(one.processes) for one in series["processes"]], rates, color="tab:blue", width=0.5)
    right.set(xlabel="processes of one thread", ylabel="pairs/s")
    for axes in (left, middle, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


def main() -> None:
    """Print the table and write the plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--plot", type=Path, default=Path(__file__).with_name("scaling.svg"))
    arguments = parser.parse_args()
    points = [*measure_alone(torch.get_num_threads()), *measure_processes(arguments.processes)]
    command = " ".join(["python -m benchmarks.scaling", *sys.argv[1:]])
    print(f"## Scaling of scoring\n\n`{command}`; {describe_machine()}\n\n{format_table(points)}\n")
    print(f"![time and pairs/s against pictures, pairs and processes]({arguments.plot.name})\n")
    plot(points, arguments.plot)


if __name__ == "__main__":
    main()
