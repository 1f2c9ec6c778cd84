"""The study's results as tables in Markdown, as JSON and as one plot."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from c3l.config import FilterRule
from c3l.method.i2c import compute_i2c
from c3l.records import AnswerScores
from studies.picture_world.grading import (
    GradedPair,
    GradedRun,
    bootstrap,
    difference,
    diversity,
    keep,
    kind_counts,
    remeasure,
    same_kinds,
    split_positives,
    true_share,
)
from studies.picture_world.measure import MEASURES, auroc, spearman

CONTROLS: tuple[FilterRule, ...] = ("top_fraction", "random", "longest", "lowest", "band")
PIECES = ("contrastive_only", "temperature_0.5", "temperature_2", "two_epochs", "scorer_tuned", "two_rounds")
FILTERED = ("draft", "hidden", "likelihood", "c3l", "scorer_tuned", "two_rounds", "among_openings")


def _discount(share: float) -> Callable[[AnswerScores], float]:
    """Log-likelihood with the image less a share of that without; 0.5 is ``discounted_likelihood``."""
    return lambda scores: float(np.mean(scores.logprobs_with_image) - share * np.mean(scores.logprobs_without_image))


CHOOSING: dict[str, Callable[[AnswerScores], float]] = {
    **MEASURES,
    **{f"likelihood, discounted by {share}": _discount(share) for share in (0.25, 0.75)},
    "likelihood of the first token": lambda scores: scores.logprobs_with_image[0],
    "likelihood of the whole answer": lambda scores: float(np.sum(scores.logprobs_with_image)),
}


def write_results(runs: Sequence[GradedRun], phrases: Mapping[str, str], out: Path) -> str:
    """Write ``results.json``, ``tables.md`` and ``true_share.svg``; returns the tables."""
    arms: dict[str, list[GradedRun]] = {}
    for run in runs:
        arms.setdefault(run.arm, []).append(run)
    variants = _variants(arms, phrases)
    results: dict[str, Any] = {"data": _data(variants, arms.get("draft")), "pairs": _compare(variants, phrases)}
    results["choices"] = _choices(arms.get("draft", []))
    results["forms"] = {
        arm: _forms(of_arm) for arm, of_arm in arms.items() if arm == "draft" or arm.startswith("no_image_")
    }
    (out / "results.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
    text = (
        "\n\n".join(
            [
                _data_table(results["data"]),
                _pairs_table(results["pairs"]),
                _choices_table(results["choices"]),
                _forms_table(results["forms"]),
                _kinds_table(arms),
            ]
        )
        + "\n"
    )
    (out / "tables.md").write_text(text, encoding="utf-8")
    _plot({name: row["true"] for name, row in results["data"].items()}, out / "true_share.svg")
    return text


def _variants(arms: Mapping[str, Sequence[GradedRun]], phrases: Mapping[str, str]) -> dict[str, list[GradedRun]]:
    """What the truth is told of: every arm as written, and some filtered to half, by S(I2C) and the controls."""
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
            "true": asdict(bootstrap(runs, true_share)),
            "over_draft": asdict(difference(runs, draft)) if draft else None,
            "over_draft_same_kinds": asdict(difference(runs, draft, same_kinds(runs, draft))) if draft else None,
            "questions_of_100": questions,
            "nouns_of_100": nouns,
            "by_seed": [true_share(run.pairs) for run in runs],
        }
    return out


def _compare(variants: Mapping[str, list[GradedRun]], phrases: Mapping[str, str]) -> list[dict[str, Any]]:
    """Contrastive tunings against the controls, and each half kept by S(I2C) against the other halves of its data."""
    controls = [phrases[arm] for arm in ("likelihood", "random_positive", "likelihood_random")]
    wanted = []
    for arm in ("hidden", "c3l", "among_openings"):
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
            "true": asdict(difference(variants[one], variants[other])),
            "same_kinds": asdict(
                difference(variants[one], variants[other], same_kinds(variants[one], variants[other]))
            ),
        }
        for one, other in wanted
        if one in variants and other in variants
    ]


def _choices(runs: Sequence[GradedRun]) -> dict[str, dict[str, Any]]:
    """For every measure: how true its highest half of the draft is, and the best pair of each picture."""
    out = {}
    half = [keep(run, "random") for run in runs]
    for name, measure in CHOOSING.items() if runs else ():
        measured = [remeasure(run, measure) for run in runs]
        best = [keep(run, "top_fraction") for run in measured]
        of_openings = [keep(run, "top_fraction", stratify="openings") for run in measured]
        positives, negatives = zip(*(split_positives(run) for run in measured), strict=True)
        out[name] = {
            "half": asdict(bootstrap(best, true_share)),
            "half_over_random": asdict(difference(best, half)),
            "half_over_random_same_kinds": asdict(difference(best, half, same_kinds(best, half))),
            "half_of_openings": asdict(bootstrap(of_openings, true_share)),
            "half_of_openings_over_random": asdict(difference(of_openings, half)),
            "half_nouns_of_100": diversity(best)[1],
            "half_log_ratio": asdict(bootstrap(best, _mean_log_ratio)),
            "positives": asdict(bootstrap(positives, true_share)),
            "positives_over_negatives_same_kinds": asdict(
                difference(positives, negatives, same_kinds(positives, negatives))
            ),
        }
    return out


def _mean_log_ratio(pairs: Sequence[GradedPair]) -> float:
    """How much likelier the picture makes the answers, nats a token, whatever they were chosen by."""
    return float(np.mean([compute_i2c(pair.scored.scores, "log_ratio") for pair in pairs]))


def _forms(runs: Sequence[GradedRun]) -> dict[str, dict[str, Any]]:
    """For every measure: AUROC of true over false, of all kinds and within each, and what follows length."""
    kinds = sorted(kind_counts(runs))
    pairs = [pair for run in runs for pair in run.pairs]
    lengths = [len(pair.scored.scores.token_ids) for pair in pairs]
    out = {}
    for name, measure in CHOOSING.items():
        values = {id(pair): measure(pair.scored.scores) for pair in pairs}

        def statistic(chosen: Sequence[GradedPair], values: Mapping[int, float] = values) -> float:
            sides = [[values[id(p)] for p in chosen if p.graded.grade == g] for g in ("true", "false")]
            return auroc(*sides)

        within = {
            kind: statistic([p for p in pairs if p.graded.kind == kind]) for kind in kinds if _enough(pairs, kind)
        }
        out[name] = {
            "all": asdict(bootstrap(runs, statistic)),
            "within": within,
            "spearman_length": spearman([values[id(p)] for p in pairs], lengths),
        }
    return out


def _enough(pairs: Sequence[GradedPair], kind: str, least: int = 10) -> bool:
    grades = [pair.graded.grade for pair in pairs if pair.graded.kind == kind]
    return min(grades.count("true"), grades.count("false")) >= least


def _data_table(data: Mapping[str, Mapping[str, Any]]) -> str:
    head = (
        "| data | pairs | a text | gradable | true of gradable | over the draft | the same, kinds evened "
        "| questions, of 100 pairs | things asked about, of 100 pairs | by seed |"
    )
    rows = [head, "|---|--:|--:|--:|--:|--:|--:|--:|--:|---|"]
    for name, row in data.items():
        seeds = ", ".join(f"{value:.3f}" for value in row["by_seed"])
        over, even = (_signed(row[key]) if row[key] else "" for key in ("over_draft", "over_draft_same_kinds"))
        rows.append(
            f"| {name} | {row['pairs']} | {row['pairs_a_text']:.2f} | {row['gradable']:.0%} | {_share(row['true'])} "
            f"| {over} | {even} | {row['questions_of_100']:.1f} | {row['nouns_of_100']:.1f} | {seeds} |"
        )
    return "\n".join(rows)


def _pairs_table(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = ["| data | against | true of gradable, difference | the same, kinds evened |", "|---|---|--:|--:|"]
    for row in rows:
        lines.append(f"| {row['data']} | {row['against']} | {_signed(row['true'])} | {_signed(row['same_kinds'])} |")
    return "\n".join(lines)


def _choices_table(choices: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        "| the draft's half with the highest | true of gradable | over a random half | the same, kinds evened "
        "| the highest half among equal first words of question and answer, true | over a random half "
        "| things asked about, of 100 pairs | its mean log-ratio, nats "
        "| the best pair of each picture | over its others, kinds evened |"
    ]
    rows.append("|---|" + "--:|" * 9)
    for name, row in choices.items():
        cells = [_share(row["half"]), _signed(row["half_over_random"]), _signed(row["half_over_random_same_kinds"])]
        cells += [_share(row["half_of_openings"]), _signed(row["half_of_openings_over_random"])]
        cells += [f"{row['half_nouns_of_100']:.1f}", _signed(row["half_log_ratio"]), _share(row["positives"])]
        cells.append(_signed(row["positives_over_negatives_same_kinds"]))
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _forms_table(forms: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    kinds = sorted({kind for table in forms.values() for row in table.values() for kind in row["within"]})
    rows = [f"| without the image | measure | all pairs | {' | '.join(kinds)} | Spearman with length |"]
    rows.append("|---|---|--:|" + "--:|" * (len(kinds) + 1))
    for arm, table in forms.items():
        mode = "drop" if arm == "draft" else arm.removeprefix("no_image_")
        for name, row in table.items():
            if mode != "drop" and name.startswith("answer l"):
                continue  # it does not depend on what is shown instead of the image
            within = [f"{row['within'][kind]:.3f}" if kind in row["within"] else "" for kind in kinds]
            rows.append(
                f"| {mode} | {name} | {_share(row['all'])} | {' | '.join(within)} | {row['spearman_length']:+.2f} |"
            )
    return "\n".join(rows)


def _kinds_table(arms: Mapping[str, Sequence[GradedRun]]) -> str:
    shown = [arm for arm in arms if not arm.startswith("no_image_")]
    kinds = sorted({kind for arm in shown for kind in kind_counts(arms[arm])})
    rows = [f"| kind of question | {' | '.join(shown)} |", "|---|" + "--:|" * len(shown)]
    for kind in kinds:
        cells = []
        for arm in shown:
            pairs = [p for run in arms[arm] for p in run.pairs if p.graded.kind == kind]
            gradable = [p for p in pairs if p.graded.grade != "ungradable"]
            cells.append(f"{true_share(pairs):.2f} of {len(gradable)}" if gradable else "")
        rows.append(f"| {kind} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _share(row: Mapping[str, float]) -> str:
    return "" if math.isnan(row["value"]) else f"{row['value']:.3f} ({row['low']:.2f}-{row['high']:.2f})"


def _signed(row: Mapping[str, float]) -> str:
    """A difference with its interval; nothing where no kind of question is frequent enough on both sides."""
    return "" if math.isnan(row["value"]) else f"{row['value']:+.3f} ({row['low']:+.2f} to {row['high']:+.2f})"


def _plot(truth: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    from matplotlib.figure import Figure

    names = list(truth)[::-1]
    values = np.array([truth[name]["value"] for name in names])
    errors = np.abs(np.array([[truth[name][end] for name in names] for end in ("low", "high")]) - values)
    figure = Figure(figsize=(8, 0.32 * len(names) + 1), layout="constrained")
    axes = figure.subplots()
    axes.errorbar(values, range(len(names)), xerr=errors, fmt="o", color="#1b6ca8", capsize=3)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("true of gradable pairs, 95% interval over pictures")
    axes.grid(axis="x", alpha=0.3)
    figure.savefig(path, metadata={"Date": None})
