"""How many other pictures stand for "no image", and whether all pairs may share them.

Run ``python -m studies.picture_world.others WORLD STUDY OUT`` where STUDY is the folder of ``study``. Every pair of its
draft is scored under 1, 2, 4, ... other pictures: once the same for all pictures, as c3l does, which encodes them
once, and once drawn anew for each. ``OUT/others.md`` has the table.
"""

import argparse
import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from PIL import Image

from c3l.models.interface import InferenceModel, Pair, ScoreRequest
from c3l.models.load import load_model
from c3l.records import AnswerScores
from c3l.run.run_folder import Run
from studies.picture_world.candidates import CANDIDATES
from studies.picture_world.evaluate import build_oracle
from studies.picture_world.grading import GradedPair, GradedRun, bootstrap, grade_run, keep, qualities, remeasure
from studies.picture_world.needs import call, need_file
from studies.picture_world.study import ARMS, make_config, paint_scenes
from studies.picture_world.study_choices import specific_auroc, true_auroc
from studies.picture_world.table_cells import show_qualities, show_share

Draw = Callable[[str, int], list[str]]
MEASURED = ("discounted_likelihood", "lift", "probability_gain", "focused_gain", "log_ratio")
BATCH = 4  # pictures


def drawers(names: Sequence[str], seed: int) -> dict[str, Draw]:
    """Ways to choose m other pictures for one: the same for all, or anew for each."""

    def draw(name: str, count: int, key: str) -> list[str]:
        order = list(names)
        random.Random(key).shuffle(order)
        return [other for other in order if other != name][:count]

    return {
        "the same for all": lambda name, count: draw(name, count, f"{seed}"),
        "drawn for each": lambda name, count: draw(name, count, f"{seed}:{name}"),
    }


def rescored(run: GradedRun, model: InferenceModel, folder: Path, draw: Draw, count: int) -> GradedRun:
    """The run with the numbers that so many other pictures give."""
    by_picture: dict[str, list[GradedPair]] = {}
    for pair in run.pairs:
        by_picture.setdefault(pair.picture, []).append(pair)
    images = {
        name: Image.open(folder / name).convert("RGB") for name in sorted(path.name for path in folder.glob("*.png"))
    }
    names, scores = list(by_picture), dict[str, AnswerScores]()
    for first in range(0, len(names), BATCH):
        batch = names[first : first + BATCH]
        requests = [_request(by_picture[name], images, name, draw(name, count)) for name in batch]
        for pair_id, numbers in model.score(requests, "others").items():
            assert isinstance(numbers, AnswerScores), "it was scored before"
            scores[pair_id] = numbers
    pairs = (replace(p, scored=replace(p.scored, scores=scores[p.scored.sample.sample_id])) for p in run.pairs)
    return replace(run, pairs=tuple(pairs))


def _request(
    pairs: Sequence[GradedPair], images: Mapping[str, Image.Image], name: str, others: list[str]
) -> ScoreRequest:
    samples = [pair.scored.sample for pair in pairs]
    asked = tuple(Pair(sample.sample_id, sample.question, sample.answer) for sample in samples)
    return ScoreRequest(images[name], asked, 0, tuple(images[other] for other in others))


def measure(run: GradedRun, seconds: float, way: str, count: int) -> list[dict[str, Any]]:
    """For each form: what it ranks, and the half that it keeps."""
    rows = []
    for name in MEASURED:
        measured = remeasure(run, CANDIDATES[name])
        kept = qualities([keep(measured, "top_fraction")])
        ranked = {"true": true_auroc, "specific": specific_auroc}
        rows.append(
            {"way": way, "m": count, "by": name, "seconds": seconds}
            | {key: asdict(bootstrap([measured], statistic)) for key, statistic in ranked.items()}
            | {"kept": {key: asdict(share) for key, share in kept.items()}}
        )
    return rows


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Markdown of the rows."""
    lines = [
        "| other pictures | m | by | AUROC true | AUROC specific | half kept: true / specific / lift | seconds |",
        "|---|--:|---|--:|--:|--:|--:|",
    ]
    for row in rows:
        cells = [row["way"], str(row["m"]), row["by"], show_share(row["true"]), show_share(row["specific"])]
        lines.append(f"| {' | '.join([*cells, show_qualities(row['kept']), format(row['seconds'], '.0f')])} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Score, grade, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("world", type=Path)
    parser.add_argument("study", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--same", type=int, nargs="*", default=[1, 2, 4, 8], help="numbers of pictures, the same for all"
    )
    parser.add_argument("--drawn", type=int, nargs="*", default=[4], help="numbers of pictures, drawn for each")
    parser.add_argument("--model", default="builtin")
    arguments = parser.parse_args()
    folder = arguments.study / "runs" / str(arguments.seed) / "draft"
    need_file(folder / "images.jsonl", call("study", arguments.world, arguments.study))
    note = json.loads((arguments.study / "study.json").read_bytes())
    scenes = paint_scenes(arguments.world, arguments.study / "scenes", note["pictures"])
    config = make_config(ARMS[0], arguments.study, arguments.seed, note["pictures"], arguments.model, note["set"])
    run = grade_run(Run.reader(folder), config, "draft", build_oracle(arguments.world), scenes)
    model = load_model(config.model, config.seed)
    rows = []
    counts = {"the same for all": arguments.same, "drawn for each": arguments.drawn}
    for way, draw in drawers(sorted(scenes), arguments.seed).items():
        for count in counts[way]:
            start = time.monotonic()
            other = rescored(run, model, arguments.study / "scenes", draw, count)
            rows += measure(other, time.monotonic() - start, way, count)
            arguments.out.mkdir(parents=True, exist_ok=True)
            (arguments.out / "others.md").write_text(table(rows), encoding="utf-8")
    print(table(rows))


if __name__ == "__main__":
    main()
