"""The study's results as tables in Markdown, as JSON and as one plot."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from c3l.settings.schema import FilterRule
from studies.picture_world.calibration import calibrate, calibration_table
from studies.picture_world.grading import (
    GradedRun,
    Share,
    difference,
    diversity,
    keep,
    kind_counts,
    mean_lift,
    qualities,
    same_kinds,
    specific_share,
    true_share,
)
from studies.picture_world.study_choices import choices_table, choose, rank, ranks_table
from studies.picture_world.table_cells import show_share, show_signed

CONTROLS: tuple[FilterRule, ...] = ("top_fraction", "random", "longest", "lowest", "band")
PIECES = ("contrastive_only", "temperature_0.5", "temperature_2", "two_epochs", "scorer_tuned", "two_rounds")
FILTERED = ("draft", "hidden", "likelihood", "c3l", "scorer_tuned", "two_rounds", "among_openings", "gain")


def write_results(runs: Sequence[GradedRun], phrases: Mapping[str, str], out: Path) -> str:
    """Write ``results.json``, ``tables.md`` and ``lift.svg``; returns the tables."""
    arms: dict[str, list[GradedRun]] = {}
    for run in runs:
        arms.setdefault(run.arm, []).append(run)
    variants = _variants(arms, phrases)
    results: dict[str, Any] = {"data": _data(variants, arms.get("draft")), "pairs": _compare(variants, phrases)}
    results |= {"choices": choose(arms), "forms": rank(arms), "calibration": calibrate(arms.get("no_image_others", []))}
    (out / "results.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
    tables = [_data_table(results["data"]), _pairs_table(results["pairs"]), choices_table(results["choices"])]
    tables += [ranks_table(results["forms"]), calibration_table(results["calibration"]), _kinds_table(arms)]
    text = "\n\n".join(tables) + "\n"
    (out / "tables.md").write_text(text, encoding="utf-8")
    _plot({name: row["lift"] for name, row in results["data"].items()}, out / "lift.svg")
    return text


def _variants(arms: Mapping[str, Sequence[GradedRun]], phrases: Mapping[str, str]) -> dict[str, list[GradedRun]]:
    """What is graded: every arm as written, and some filtered to half, by S(I2C) and the controls."""
    out: dict[str, list[GradedRun]] = {}
    for arm, runs in arms.items():
        if arm.startswith("no_image_"):
            continue
        out[phrases[arm]] = list(runs)
        for rule in CONTROLS if arm in FILTERED else ():
            name = "highest S(I2C)" if rule == "top_fraction" else rule
            out[f"{phrases[arm]}, half kept: {name}"] = [keep(run, rule) for run in runs]
    return out


def _data(variants: Mapping[str, list[GradedRun]], draft: list[GradedRun] | None) -> dict[str, dict[str, Any]]:
    out = {}
    for name, runs in variants.items():
        pairs = [pair for run in runs for pair in run.pairs]
        gradable = sum(pair.graded.grade != "ungradable" for pair in pairs)
        questions, nouns = diversity(runs)
        out[name] = {
            "pairs": len(pairs),
            "pairs_a_text": len(pairs) / max(1, sum(run.texts for run in runs)),
            "gradable": gradable / max(1, len(pairs)),
            **_as_dicts(qualities(runs)),
            "over_draft": _as_dicts(qualities(runs, draft)) if draft else None,
            "true_over_draft_same_kinds": asdict(difference(runs, draft, same_kinds(runs, draft))) if draft else None,
            "says_no": sum(pair.graded.kind == "no" for pair in pairs) / max(1, len(pairs)),
            "questions_of_100": questions,
            "nouns_of_100": nouns,
            "by_seed": [mean_lift(run.pairs) for run in runs],
        }
    return out


def _compare(variants: Mapping[str, list[GradedRun]], phrases: Mapping[str, str]) -> list[dict[str, Any]]:
    """Contrastive tunings against the controls, and each half kept by S(I2C) against the other halves of its data."""
    controls = [
        phrases[arm] for arm in ("likelihood", "likelihood_gain", "random_positive", "likelihood_random", "cooler")
    ]
    wanted = []
    for arm in ("hidden", "c3l", "gain", "among_openings"):
        wanted += [(phrases[arm], control) for control in controls]
        best, control = (f"{phrases[one]}, half kept: highest S(I2C)" for one in (arm, "likelihood"))
        wanted.append((best, control))
    wanted += [(phrases[arm], phrases["c3l"]) for arm in PIECES if arm in phrases]
    for arm in FILTERED:
        best = f"{phrases[arm]}, half kept: highest S(I2C)"
        wanted += [(best, f"{phrases[arm]}, half kept: {rule}") for rule in CONTROLS if rule != "top_fraction"]
    return [
        {
            "data": one,
            "against": other,
            **_as_dicts(qualities(variants[one], variants[other])),
            "same_kinds": asdict(
                difference(variants[one], variants[other], same_kinds(variants[one], variants[other]))
            ),
        }
        for one, other in wanted
        if one in variants and other in variants
    ]


def _as_dicts(found: Mapping[str, Share]) -> dict[str, dict[str, float]]:
    return {name: asdict(value) for name, value in found.items()}


def _data_table(data: Mapping[str, Mapping[str, Any]]) -> str:
    head = (
        "| data | pairs | a text | gradable | say no | true of gradable | specific | lift | lift over the draft "
        "| true over the draft, kinds evened | questions, of 100 pairs | things asked about, of 100 pairs "
        "| lift by seed |"
    )
    rows = [head, "|---|" + "--:|" * 11 + "---|"]
    for name, row in data.items():
        seeds = ", ".join(f"{value:+.3f}" for value in row["by_seed"])
        over = show_signed(row["over_draft"]["lift"]) if row["over_draft"] else ""
        even = show_signed(row["true_over_draft_same_kinds"]) if row["true_over_draft_same_kinds"] else ""
        rows.append(
            f"| {name} | {row['pairs']} | {row['pairs_a_text']:.2f} | {row['gradable']:.0%} | {row['says_no']:.0%} "
            f"| {show_share(row['true'])} | {show_share(row['specific'])} | {show_signed(row['lift'])} | {over} "
            f"| {even} | {row['questions_of_100']:.1f} | {row['nouns_of_100']:.1f} | {seeds} |"
        )
    return "\n".join(rows)


def _pairs_table(rows: Sequence[Mapping[str, Any]]) -> str:
    head = "| data | against | true, difference | specific | lift | true, kinds evened |"
    lines = [head, "|---|---|" + "--:|" * 4]
    for row in rows:
        cells = [show_signed(row[name]) for name in ("true", "specific", "lift", "same_kinds")]
        lines.append(f"| {row['data']} | {row['against']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _kinds_table(arms: Mapping[str, Sequence[GradedRun]]) -> str:
    shown = [arm for arm in arms if not arm.startswith("no_image_")]
    kinds = sorted({kind for arm in shown for kind in kind_counts(arms[arm])})
    rows = [f"| kind of question: true / specific / lift | {' | '.join(shown)} |", "|---|" + "--:|" * len(shown)]
    for kind in kinds:
        cells = []
        for arm in shown:
            pairs = [p for run in arms[arm] for p in run.pairs if p.graded.kind == kind]
            gradable = [p for p in pairs if p.graded.grade != "ungradable"]
            found = [true_share(pairs), specific_share(pairs), mean_lift(pairs)]
            cells.append("{:.2f} / {:.2f} / {:+.2f} of {}".format(*found, len(gradable)) if gradable else "")
        rows.append(f"| {kind} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _plot(truth: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    from matplotlib.figure import Figure

    names = list(truth)[::-1]
    values = np.array([truth[name]["value"] for name in names])
    errors = np.abs(np.array([[truth[name][end] for name in names] for end in ("low", "high")]) - values)
    figure = Figure(figsize=(8, 0.32 * len(names) + 1), layout="constrained")
    axes = figure.subplots()
    axes.errorbar(values, range(len(names)), xerr=errors, fmt="o", color="#1b6ca8", capsize=3)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("mean lift of the pairs that the truth decides, 95% interval over pictures")
    axes.grid(axis="x", alpha=0.3)
    figure.savefig(path, metadata={"Date": None})
