"""The results of the study of answers, as tables in Markdown and as JSON."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from c3l.storage.atomic import write_atomic
from studies.picture_world.candidates import CANDIDATES
from studies.picture_world.grading import GradedPair, GradedRun, mean_lift, qualities, remeasure
from studies.picture_world.table_cells import show_share, show_signed

Row = dict[str, Any]
QUALITIES = ("true", "specific", "lift")


@dataclass(frozen=True)
class SeedResults:
    """What one seed gave, graded.

    Attributes:
        seed: Its number.
        questions: How many were asked.
        drafts: What each model writes anew; ``draft`` is what the untuned one wrote.
        answers: What each model answers to the questions; ``own`` are all answers of the untuned one.
        different: The different ones among those, with their scores.
        tunings: Of each arm the numbers of groups, of held-out ones and of steps.
    """

    seed: int
    questions: int
    drafts: Mapping[str, GradedRun]
    answers: Mapping[str, GradedRun]
    different: GradedRun
    tunings: Mapping[str, Mapping[str, int]]


def write_results(results: Sequence[SeedResults], phrases: Mapping[str, str], by: str, count: int, out: Path) -> str:
    """Write ``results.json`` and ``tables.md`` over all seeds; returns the tables."""
    named = {"draft": "the draft", "cool": "not tuned, temperature 0.5", **phrases}
    drafts = {named[name]: [one.drafts[name] for one in results] for name in results[0].drafts}
    said = {
        f"not tuned, any of {count}": [one.answers["own"] for one in results],
        f"not tuned, best of {count} by {by}": [best(one.different) for one in results],
        f"not tuned, worst of {count} by {by}": [best(one.different, lambda p: -p.scored.i2c) for one in results],
    } | {named[name]: [one.answers[name] for one in results] for name in results[0].answers if name != "own"}
    rows = {"drafts": _compare(drafts), "answers": _compare(said), "best": _compare(_by_measures(results, count))}
    text = "\n\n".join(
        [
            _table("what the model writes anew", rows["drafts"], "the draft"),
            _table("what it answers to the same questions", rows["answers"], "any"),
            _table(f"best of {count} by", rows["best"], "any"),
            _counts(results, phrases),
        ]
    )
    write_atomic(out / "results.json", json.dumps(rows, indent=1) + "\n")
    write_atomic(out / "tables.md", text + "\n")
    return text


def best(run: GradedRun, value: Callable[[GradedPair], float] = lambda pair: pair.scored.i2c) -> GradedRun:
    """The answer to each question with the highest number in the place of S(I2C), or by another value."""
    chosen: dict[tuple[str, str], GradedPair] = {}
    for pair in run.pairs:
        key = pair.picture, pair.scored.sample.question
        if key not in chosen or value(pair) > value(chosen[key]):
            chosen[key] = pair
    return replace(run, pairs=tuple(chosen.values()))


def _by_measures(results: Sequence[SeedResults], count: int) -> dict[str, list[GradedRun]]:
    """What every measure would choose among the answers."""
    chosen = {
        name: [best(remeasure(one.different, measure)) for one in results] for name, measure in CANDIDATES.items()
    }
    return {f"any of {count}": [one.answers["own"] for one in results], **chosen}


def _compare(variants: Mapping[str, Sequence[GradedRun]]) -> dict[str, Row]:
    """Each variant's figures, and its differences to the first."""
    base = next(iter(variants.values()))
    rows = {}
    for name, runs in variants.items():
        pairs = [pair for run in runs for pair in run.pairs]
        over = {} if runs is base else {key: asdict(one) for key, one in qualities(runs, base).items()}
        rows[name] = {
            "pairs": len(pairs),
            "gradable": sum(pair.graded.grade != "ungradable" for pair in pairs) / max(1, len(pairs)),
            "says_no": sum(pair.graded.kind == "no" for pair in pairs) / max(1, len(pairs)),
            **{key: asdict(one) for key, one in qualities(runs).items()},
            "over": over,
            "by_seed": [mean_lift(run.pairs) for run in runs],
        }
    return rows


def _table(title: str, rows: Mapping[str, Row], base: str) -> str:
    heads = [title, "pairs", "gradable", "say no", *QUALITIES, *(f"{name}, over {base}" for name in QUALITIES)]
    lines = [f"| {' | '.join(heads)} | lift by seed |", "|---|" + "--:|" * (len(heads) - 1) + "---|"]
    for name, row in rows.items():
        cells = [name, str(row["pairs"]), f"{row['gradable']:.0%}", f"{row['says_no']:.0%}"]
        cells += [show_share(row["true"]), show_share(row["specific"]), show_signed(row["lift"])]
        cells += [show_signed(row["over"][key]) if row["over"] else "" for key in QUALITIES]
        cells.append(", ".join(f"{value:+.3f}" for value in row["by_seed"]))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _counts(results: Sequence[SeedResults], phrases: Mapping[str, str]) -> str:
    """What there was to contrast, and what each arm was tuned on."""
    lines = ["| seed | questions | answers, not tuned | cut off | different ones | questions with two |",
             "|---|" + "--:|" * 5]  # fmt: skip
    for one in results:
        own, asked = one.answers["own"], [(p.picture, p.scored.sample.question) for p in one.different.pairs]
        several = sum(asked.count(key) > 1 for key in set(asked))
        cells = [one.seed, one.questions, own.texts, own.texts - len(own.pairs), len(asked), several]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    lines += ["", "| seed | tuned by | groups | held out | steps | answers cut off |", "|---|---|" + "--:|" * 4]
    for one in results:
        for name, tuned in one.tunings.items():
            said = one.answers[name]
            numbers = (tuned["groups"], tuned["held_out"], tuned["steps"], said.texts - len(said.pairs))
            lines.append(f"| {one.seed} | {phrases[name]} | {' | '.join(map(str, numbers))} |")
    return "\n".join(lines)
