"""A control: what the question adds to an answer, in the place of what the picture adds.

Run ``python -m studies.picture_world.questionless WORLD STUDY OUT`` where STUDY is the folder of ``study``. Every
answer of its drafts is forced once more behind its picture and no question at all; what it gains by the question is
then ranked as S(I2C) ranks what it gains by the picture. ``OUT/questionless.md`` has the
table, over all seeds of the study.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
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

MEASURED = ("log_ratio", "discounted_likelihood", "lift", "probability_gain", "perplexity saved (VIG)")
BATCH = 4  # pictures


def without_questions(run: GradedRun, model: InferenceModel, folder: Path) -> GradedRun:
    """The run with the answers' numbers without their questions in the place of those without the picture."""
    by_picture: dict[str, list[GradedPair]] = {}
    for pair in run.pairs:
        by_picture.setdefault(pair.picture, []).append(pair)
    names, found = list(by_picture), dict[str, AnswerScores]()
    for first in range(0, len(names), BATCH):
        batch = names[first : first + BATCH]
        scores = model.score([_ask(folder, name, by_picture[name]) for name in batch], "blank")
        for pair_id, numbers in scores.items():
            assert isinstance(numbers, AnswerScores), "it was scored before"
            found[pair_id] = numbers
    return replace(run, pairs=tuple(_exchange(pair, found[pair.scored.sample.sample_id]) for pair in run.pairs))


def _ask(folder: Path, name: str, pairs: Sequence[GradedPair]) -> ScoreRequest:
    samples = [pair.scored.sample for pair in pairs]
    image = Image.open(folder / name).convert("RGB")
    return ScoreRequest(image, tuple(Pair(sample.sample_id, "", sample.answer) for sample in samples))


def _exchange(pair: GradedPair, alone: AnswerScores) -> GradedPair:
    scores = replace(pair.scored.scores, logprobs_without_image=alone.logprobs_with_image, token_kl=None)
    return replace(pair, scored=replace(pair.scored, scores=scores))


def measure(runs: Sequence[GradedRun]) -> list[dict[Any, Any]]:
    """For each form: what it ranks, and the half and the quarter that it keeps."""
    rows: list[dict[Any, Any]] = []
    for name in MEASURED:
        measured = [remeasure(run, CANDIDATES[name]) for run in runs]
        kept = {
            share: qualities([keep(run, "top_fraction", fraction=share) for run in measured]) for share in (0.5, 0.25)
        }
        rows.append(
            {"by": name}
            | {
                key: asdict(bootstrap(measured, one))
                for key, one in (("true", true_auroc), ("specific", specific_auroc))
            }
            | {share: {key: asdict(one) for key, one in found.items()} for share, found in kept.items()}
        )
    return rows


def table(rows: Sequence[Mapping[Any, Any]]) -> str:
    """Markdown of the rows."""
    lines = [
        "| gained by the question | AUROC true | AUROC specific | half kept: true / specific / lift | quarter kept |",
        "|---|--:|--:|--:|--:|",
    ]
    for row in rows:
        cells = [
            row["by"],
            show_share(row["true"]),
            show_share(row["specific"]),
            *map(show_qualities, (row[0.5], row[0.25])),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Force the answers, grade, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("world", type=Path)
    parser.add_argument("study", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    need_file(arguments.study / "study.json", call("study", arguments.world, arguments.study))
    note = json.loads((arguments.study / "study.json").read_bytes())
    scenes, folder = (
        paint_scenes(arguments.world, arguments.study / "scenes", note["pictures"]),
        arguments.study / "scenes",
    )
    oracle, runs = build_oracle(arguments.world), []
    for seed in note["seeds"]:
        config = make_config(ARMS[0], arguments.study, seed, note["pictures"], "builtin", note["set"])
        run = grade_run(Run.reader(config.run), config, "draft", oracle, scenes)
        runs.append(without_questions(run, load_model(config.model, config.seed), folder))
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "questionless.md").write_text(table(measure(runs)), encoding="utf-8")
    print(table(measure(runs)))


if __name__ == "__main__":
    main()
