"""A made-up run folder of any size, and what its report costs: ``python -m tests.report.large_run --pictures 20000``.

The records are written with the run folder's own classes, so that ``c3l report`` takes the folder for one of its own.
"""

import argparse
import hashlib
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.report.browser import Browser, open_browser
from tests.report.fake_run import MAKER, PAIRS, SCENES, make_scores

from c3l.data.images import inspect_image
from c3l.records import FilterDecision, ImageRef, Rejected, Sample, ScoredSample
from c3l.run.context import save_settings
from c3l.run.plan import make_plan
from c3l.run.run_folder import Run
from c3l.settings.schema import ImagesConfig, ModelConfig, RunConfig
from c3l.storage.stage import Stage, write_records

EXAMPLES = Path(__file__).parents[2] / "examples" / "images"
SHARD = 64
PICTURE_TIMES = """(() => {
  const [page] = performance.getEntriesByType("navigation");
  const [paint] = performance.getEntriesByName("first-contentful-paint");
  return [Math.round(paint.startTime), Math.round(page.loadEventEnd)];
})()"""


def write_run(folder: Path, pictures: int) -> None:
    """A run of one round over so many pictures with five pairs each, half of them kept, and one rejected a shard."""
    refs = make_pictures(folder / "pictures", pictures)
    config = RunConfig(
        run=folder / "run",
        rounds=0,
        model=ModelConfig(name="builtin", dtype="float32"),
        images=ImagesConfig(root=folder / "pictures"),
    )
    plan = make_plan(config, "weights")
    shards = -(-pictures // SHARD)

    def begin(name: str, shards: int) -> Stage:
        return run.stage(name, fingerprint=plan[name].fingerprint, settings=plan[name].settings, shards=shards)

    def fill(name: str, records: Iterator[list[object]], inputs: int) -> None:
        stage = begin(name, shards)
        for number, of_shard in enumerate(records):
            stage.write_shard(number, of_shard)
        stage.finish(None if name == "images" else MAKER, 1.0, inputs=inputs)

    with Run.open(folder / "run") as run:
        save_settings(run, config)
        fill("images", cut(refs), pictures)
        for name in ("draft/generated", "draft/parsed"):
            begin(name, 0).finish(MAKER, 1.0)
        fill("draft/scored", cut(refs, 0), len(PAIRS) * pictures + shards)
        stage = begin("filtered", 1)
        stage.write_shard(0, decide(refs))
        stage.finish(None, 1.0, inputs=len(PAIRS) * pictures)
        write_records(run.path / "decisions.jsonl", decide(refs))
        begin("export", 0).finish(MAKER, 1.0, inputs=len(PAIRS) * pictures // 2)


def make_pictures(root: Path, number: int) -> list[ImageRef]:
    """So many pictures: hard links to a few photographs, so that thumbnails have the size of real ones."""
    root.mkdir(parents=True)
    sources = []
    for source in sorted(EXAMPLES.glob("*.jpg")):
        shutil.copy(source, root / source.name)
        sources.append(inspect_image(root, source.name, ImagesConfig(root=root)))
    refs = []
    for place in range(number):
        source = sources[place % len(sources)]
        path = f"{SCENES[place % len(SCENES)]}-{place:06d}.jpg"
        os.link(root / source.path, root / path)
        refs.append(replace(source, path=path, image_id=hashlib.sha256(path.encode()).hexdigest()[:16]))
    return refs


def cut(refs: list[ImageRef], seed: int | None = None) -> Iterator[list[object]]:
    """The records of each shard: the pictures themselves, or, with a seed, their scored pairs."""
    rng = random.Random(seed)
    for start in range(0, len(refs), SHARD):
        of_shard = refs[start : start + SHARD]
        if seed is None:
            yield list(of_shard)
        else:
            first = of_shard[0]
            lost = Rejected(f"{first.image_id}x", first.image_id, "scoring", "non_finite", "token 3 is nan")
            yield [lost, *(one for ref in of_shard for one in make_pairs(rng, ref))]


def make_pairs(rng: random.Random, ref: ImageRef) -> Iterator[ScoredSample]:
    for index, (question, answer) in enumerate(PAIRS):
        text = f"{answer} It is seen at {ref.path[:-4]}."
        sample = Sample(name_pair(ref, index), ref.image_id, "plain", question.format(scene=ref.path), text, 0, index)
        yield ScoredSample(sample, make_scores(rng, text, look=rng.gauss(0.8, 0.7)), "others")


def name_pair(ref: ImageRef, index: int) -> str:
    return f"{ref.image_id[:-1]}{index}"


def decide(refs: list[ImageRef]) -> Iterator[FilterDecision]:
    for place, ref in enumerate(refs):
        for index in range(len(PAIRS)):
            kept = (place + index) % 2 == 0
            reason = f"top_fraction 0.5: rank {place * len(PAIRS) + index} of {len(refs) * len(PAIRS)}"
            role = "negative" if index else "positive"
            yield FilterDecision(name_pair(ref, index), ref.image_id, 0.1, index + 1, role, kept, reason)


def measure_build(run: Path) -> tuple[float, float, float]:
    """What ``c3l report`` took: seconds, seconds of a processor, and the most megabytes."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "c3l", "report", str(run)], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, f"c3l report ended with {status}"
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def measure_opening(browser: Browser, page: Path) -> tuple[int, int]:
    """Milliseconds until the first contentful paint and until the load event has ended, the better of two."""
    times = []
    for _ in range(2):
        browser.open(page)
        times.append(browser.evaluate(f"new Promise(done => setTimeout(() => done({PICTURE_TIMES}), 500))"))
    paint, load = min(times)
    return paint, load


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, nargs="+", default=[20_000])
    parser.add_argument("--folder", type=Path, help="where the runs are kept; else they are removed")
    given = parser.parse_args()
    print("| images | pairs | build, s | of a processor, s | peak MB | page, MB | first paint, ms | loaded, ms |")
    print("|---|---|---|---|---|---|---|---|")
    for pictures in given.pictures:
        with TemporaryDirectory() as temporary, open_browser() as browser:
            folder = (given.folder or Path(temporary)) / str(pictures)
            if not folder.exists():
                write_run(folder, pictures)
            seconds, busy, megabytes = measure_build(folder / "run")
            page = folder / "run" / "report.html"
            browser.resize(1366, 768)
            paint, load = measure_opening(browser, page)
            size = page.stat().st_size / 1e6
            print(
                f"| {pictures:,} | {pictures * len(PAIRS):,} | {seconds:.1f} | {busy:.1f} | {megabytes:.0f} "
                f"| {size:.1f} | {paint} | {load} |"
            )


if __name__ == "__main__":
    main()
