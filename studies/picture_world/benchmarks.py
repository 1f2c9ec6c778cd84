"""POPE, MMBench, SEED-Bench and LLaVA-Bench over scenes of held-out things, in the benchmarks' own file formats.

Run ``python -m studies.picture_world.benchmarks WORLD OUT``. The scenes are those of no other measurement. Every label
is checked by the oracle; what it cannot decide, or decides otherwise, is asked about something else.
"""

import argparse
import base64
import csv
import io
import json
import random
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from c3l.data.atomic import write_atomic
from c3l.evaluation.pope import SPLITS, build_pope
from studies.picture_world.evaluate import build_oracle
from studies.picture_world.lexicon import plural
from studies.picture_world.oracle import COLOURS, Oracle
from studies.picture_world.prepare import painter
from studies.picture_world.questions import NUMBERS, QA, Asker, place_of
from studies.picture_world.scenes import Scene

DIMENSIONS = {"what": "Instance Identity", "count": "Instances Counting", "colour": "Instance Attributes",
              "where": "Instance Location"}  # fmt: skip
PLACES = ("on the left", "on the right", "at the top", "at the bottom", "in the middle", "at the top left",
          "at the top right", "at the bottom left", "at the bottom right")  # fmt: skip
OPEN = {"what": 3.0, "yes": 2.0, "no": 2.0, "count": 1.0, "colour": 1.0, "category": 1.0, "where": 1.0}
_ROTATION = 1_000_000


@dataclass(frozen=True)
class Choice:
    """A question with its right option and three wrong ones."""

    scene: Scene
    kind: str
    question: str
    right: str
    wrong: tuple[str, ...]


def write_benchmarks(
    folder: Path, pictures: Mapping[str, tuple[Image.Image, Scene]], oracle: Oracle, seed: int = 0
) -> dict[str, int]:
    """Write all of them; returns the number of questions of each.

    Args:
        folder: Gets ``images``, ``pope``, ``mmbench``, ``seed_bench``, ``llava_bench`` and ``open``.
        pictures: File name -> picture and its truth.
        oracle: Decides what is true.
        seed: Of the questions.
    """
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    for name, (picture, _) in pictures.items():
        picture.save(images / name)
    scenes = {name: scene for name, (_, scene) in pictures.items()}
    rng = random.Random(f"benchmarks:{seed}")
    names = sorted({name for scene in scenes.values() for placed in scene.placed for name in placed.names[:2]})
    asker = Asker(rng, names, general=0.0)
    choices = {name: list(_choices(scene, asker, oracle)) for name, scene in scenes.items()}
    counts = {f"pope/{split}": _write_pope(folder / "pope", scenes, oracle, split, seed) for split in SPLITS}
    counts["mmbench"] = _write_mmbench(folder / "mmbench", choices, images, rng)
    counts["seed_bench"] = _write_seed(folder / "seed_bench", choices, rng)
    counts["llava_bench"] = _write_llava(folder / "llava_bench", scenes, images, asker)
    counts["open"] = _write_open(folder / "open", scenes, asker, oracle)
    return counts


def paint(world: Path, count: int) -> dict[str, tuple[Image.Image, Scene]]:
    """Scenes of held-out things."""
    artist = painter(world, "test")
    return {f"scene-{n:04d}.png": artist.paint(f"scene-{n:04d}", f"benchmark:{n}") for n in range(count)}


def grade_open(rows: Sequence[Mapping[str, Any]], answers: Mapping[str, str], oracle: Oracle) -> dict[str, bool]:
    """Whether each answer is true, by question; answers that make no claim the truth decides are left out.

    Args:
        rows: Lines of ``open/questions.jsonl``.
        answers: Question id -> text.
        oracle: Decides.
    """
    graded = {}
    for row in rows:
        grade = oracle.grade(Scene.from_json(json.dumps(row["scene"])), row["text"], answers[row["question_id"]]).grade
        if grade != "ungradable":
            graded[row["question_id"]] = grade == "true"
    return graded


def _write_pope(folder: Path, scenes: Mapping[str, Scene], oracle: Oracle, split: str, seed: int) -> int:
    """One thing that is there and one that is not, a picture; names that would be true by another name are changed."""
    rng = random.Random(f"pope:{split}:{seed}")
    annotations = {
        name: list(dict.fromkeys(placed.names[min(1, len(placed.names) - 1)] for placed in scene.placed))
        for name, scene in scenes.items()
    }
    rows = build_pope(annotations, split, images=len(scenes), samples=1, seed=seed)  # type: ignore[arg-type]
    pool = sorted({name for names in annotations.values() for name in names})
    for row in rows:
        asked = _asked_about(row["text"])
        if row["label"] == "no" and oracle._holds(scenes[row["image"]], asked) is not False:
            absent = [name for name in pool if oracle._holds(scenes[row["image"]], name) is False]
            row["text"] = row["text"].replace(f" {asked} ", f" {rng.choice(absent)} ")
    write_atomic(folder / f"picture_world_pope_{split}.json", map(json.dumps, rows))
    return len(rows)


def _asked_about(question: str) -> str:
    return question.removeprefix("Is there a").removeprefix("n ").strip().removesuffix(" in the image?").strip()


def _choices(scene: Scene, asker: Asker, oracle: Oracle) -> Iterator[Choice]:
    makers: dict[str, Callable[[Scene], tuple[QA | None, Sequence[str]]]] = {
        "what": lambda s: (_name_of(s, asker), asker.vocabulary),
        "count": lambda s: (_count_of(s, asker), NUMBERS[1:6]),
        "colour": lambda s: (asker.colour(s), sorted(COLOURS)),
        "where": lambda s: (asker.where(s), PLACES),
    }
    for kind, make in makers.items():
        qa, pool = make(scene)
        if qa is None or oracle.grade(scene, qa.question, qa.short).grade != "true":
            continue
        others = asker.rng.sample(list(pool), len(pool))
        wrong = [text for text in others if oracle.grade(scene, qa.question, text).grade == "false"][:3]
        if len(wrong) == 3 and qa.short not in wrong:
            yield Choice(scene, kind, qa.question, qa.short, tuple(wrong))


def _name_of(scene: Scene, asker: Asker) -> QA:
    name = asker.rng.choice(scene.placed).names[0]
    return QA("what", "", "What is in the picture?", name, name)


def _count_of(scene: Scene, asker: Asker) -> QA:
    names = asker.rng.choice(scene.placed).names
    name = names[min(1, len(names) - 1)]
    number = sum(name in placed.names for placed in scene.placed)
    return QA("count", name, f"How many {plural(name)} are in the picture?", NUMBERS[number], "")


def _write_mmbench(folder: Path, choices: Mapping[str, list[Choice]], images: Path, rng: random.Random) -> int:
    columns = "index question hint A B C D answer category l2-category image source comment split".split()
    out = io.StringIO()
    table = csv.DictWriter(out, columns, delimiter="\t", lineterminator="\n")
    table.writeheader()
    index = 0
    for name, of_picture in choices.items():
        image = base64.b64encode((images / name).read_bytes()).decode()
        for choice in of_picture:
            options = [choice.right, *choice.wrong]
            rng.shuffle(options)
            for shift in range(4):
                turned = options[shift:] + options[:shift]
                row = {"index": index + shift * _ROTATION, "question": choice.question, "hint": "", "comment": "",
                       **dict(zip("ABCD", turned, strict=True)), "answer": "ABCD"[turned.index(choice.right)],
                       "category": choice.kind, "l2-category": DIMENSIONS[choice.kind], "image": image,
                       "source": "picture world", "split": "dev"}  # fmt: skip
                table.writerow(row)
            index += 1
    write_atomic(folder / "picture_world_mmbench.tsv", out.getvalue())
    return index


def _write_seed(folder: Path, choices: Mapping[str, list[Choice]], rng: random.Random) -> int:
    numbers = {kind: number for number, kind in enumerate(DIMENSIONS, 1)}
    questions = []
    for name, of_picture in choices.items():
        for choice in of_picture:
            options = [choice.right, *choice.wrong]
            rng.shuffle(options)
            texts = {f"choice_{letter}": text for letter, text in zip("abcd", options, strict=True)}
            questions.append(
                {"answer": "ABCD"[options.index(choice.right)], **texts, "data_id": name, "data_type": "image",
                 "question": choice.question, "question_id": str(len(questions)),
                 "question_type_id": numbers[choice.kind]}
            )  # fmt: skip
    kinds = {DIMENSIONS[kind]: number for kind, number in numbers.items()}
    write_atomic(folder / "SEED-Bench.json", json.dumps({"questions": questions, "question_type": kinds}))
    return len(questions)


def _write_llava(folder: Path, scenes: Mapping[str, Scene], images: Path, asker: Asker) -> int:
    """Open questions with references from the truth; the files' names are the benchmark's, no GPT-4 wrote them."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    questions, contexts, answers = [], [], []
    for name, scene in scenes.items():
        shutil.copy(images / name, folder / "images" / name)
        spots = [f"a {placed.names[0]} {place_of(placed)}" for placed in scene.placed]
        contexts.append({"image": name, "caption": f"The picture shows {', '.join(spots)}."})
        for category, make in (("conv", asker.what), ("detail", asker.describe), ("complex", asker.reason)):
            if (qa := make(scene)) is not None:
                number = len(questions)
                questions.append({"question_id": number, "image": name, "text": qa.question, "category": category})
                answers.append({"question_id": number, "text": qa.long})
    for file, rows in (("questions", questions), ("context", contexts), ("answers_gpt4", answers)):
        write_atomic(folder / f"{file}.jsonl", map(json.dumps, rows))
    return len(questions)


def _write_open(folder: Path, scenes: Mapping[str, Scene], asker: Asker, oracle: Oracle) -> int:
    rows = []
    for name, scene in scenes.items():
        for qa in asker.ask(scene, 3, OPEN):
            if oracle.grade(scene, qa.question, qa.long).grade == "true":
                row = {"question_id": f"open-{len(rows)}", "image": name, "text": qa.question, "kind": qa.kind}
                rows.append({**row, "scene": json.loads(scene.to_json())})
    write_atomic(folder / "questions.jsonl", map(json.dumps, rows))
    return len(rows)


def main() -> None:
    """Write the benchmarks of that many scenes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("world", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    pictures = paint(arguments.world, arguments.scenes)
    print(json.dumps(write_benchmarks(arguments.out, pictures, build_oracle(arguments.world), arguments.seed)))


if __name__ == "__main__":
    main()
