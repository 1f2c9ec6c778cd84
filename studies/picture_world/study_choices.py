"""What every measure finds and chooses in the draft, for every way of leaving the picture out."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from c3l.method.i2c import compute_i2c
from studies.picture_world.candidates import CANDIDATES, STEPS, Measure
from studies.picture_world.grading import (
    GradedPair,
    GradedRun,
    bootstrap,
    difference,
    diversity,
    keep,
    kind_counts,
    qualities,
    remeasure,
    same_kinds,
    split_positives,
)
from studies.picture_world.measure import auroc, spearman
from studies.picture_world.table_cells import show_qualities, show_share, show_signed

SHARES = (0.5, 0.25)


def choose(arms: Mapping[str, Sequence[GradedRun]]) -> list[dict[str, Any]]:
    """For each way of leaving the picture out and each measure or rule in two steps: what it would keep."""
    rows = []
    for mode, runs in _modes(arms).items():
        chance = {share: [keep(run, "random", fraction=share) for run in runs] for share in SHARES}
        if mode == "drop":
            rows.append({"mode": "", "by": "a random choice", **_kept(chance, {})})
        for name, measure in CANDIDATES.items():
            if mode == "drop" or not _ignores_mode(name):
                measured = [remeasure(run, measure) for run in runs]
                kept = {share: [keep(run, "top_fraction", fraction=share) for run in measured] for share in SHARES}
                more = {**_openings(measured, chance[0.5]), **_positives(measured)}
                rows.append({"mode": mode, "by": name, **_kept(kept, chance), **more})
        for name, steps in STEPS.items():
            stepped = {share: [keep_in_steps(run, steps, share) for run in runs] for share in SHARES}
            rows.append({"mode": mode, "by": name, **_kept(stepped, chance)})
    return rows


def keep_in_steps(run: GradedRun, steps: tuple[Measure, Measure], share: float) -> GradedRun:
    """What two measures keep one after the other, each the same part of what it is given."""
    part = math.sqrt(share)
    for measure in steps:
        run = keep(remeasure(run, measure), "top_fraction", fraction=part)
    return run


def _modes(arms: Mapping[str, Sequence[GradedRun]]) -> dict[str, Sequence[GradedRun]]:
    found = {"drop": arms["draft"]} if "draft" in arms else {}
    return found | {
        arm.removeprefix("no_image_"): runs for arm, runs in arms.items() if arm.startswith("no_image_")
    }  # fmt: skip


def _ignores_mode(name: str) -> bool:
    """Whether a measure reads the pass with the image alone."""
    return name.startswith(("answer l", "likelihood of"))


def _kept(kept: Mapping[float, list[GradedRun]], chance: Mapping[float, list[GradedRun]]) -> dict[str, Any]:
    out: dict[str, Any] = {"things_of_100": diversity(kept[0.25])[1]}
    for share, runs in kept.items():
        out[f"kept_{share}"] = {name: asdict(value) for name, value in qualities(runs).items()}
        if chance:
            out[f"over_random_{share}"] = asdict(qualities(runs, chance[share])["lift"])
    if chance:
        even = same_kinds(kept[0.5], chance[0.5])
        out["true_over_random_same_kinds"] = asdict(difference(kept[0.5], chance[0.5], even))
    out["log_ratio"] = asdict(bootstrap(kept[0.5], _mean_log_ratio))
    return out


def _mean_log_ratio(pairs: Sequence[GradedPair]) -> float:
    """How much likelier the picture makes the answers, nats a token, whatever they were chosen by."""
    return float(np.mean([compute_i2c(pair.scored.scores, "log_ratio") for pair in pairs]))


def _openings(measured: Sequence[GradedRun], chance: Sequence[GradedRun]) -> dict[str, Any]:
    """The highest half among equal first words of question and answer, so that the mixture of kinds stays."""
    kept = [keep(run, "top_fraction", stratify="openings") for run in measured]
    return {
        "openings": {name: asdict(value) for name, value in qualities(kept).items()},
        "openings_over_random": asdict(qualities(kept, chance)["true"]),
    }


def _positives(measured: Sequence[GradedRun]) -> dict[str, Any]:
    positives, negatives = zip(*(split_positives(run) for run in measured), strict=True)
    return {
        "positives": {name: asdict(value) for name, value in qualities(positives).items()},
        "positives_over_negatives": asdict(qualities(positives, negatives)["lift"]),
    }


def choices_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Markdown of ``choose``; in each cell true / specific / lift."""
    lines = [
        "| without the image | the highest by | half kept: true / specific / lift | its lift over a random half "
        "| true over a random half, kinds evened | its mean log-ratio, nats "
        "| half among equal first words: true / specific / lift | true over a random half "
        "| quarter kept: true / specific / lift | its lift over a random quarter | things asked about, of 100 pairs "
        "| the best pair of each picture: true / specific / lift | its lift over the others |",
        "|---|---|" + "--:|" * 11,
    ]
    for row in rows:
        cells = [row["mode"], row["by"], *_share_cells(row, 0.5)]
        even, first = row.get("true_over_random_same_kinds"), row.get("openings")
        cells += [show_signed(even) if even else "", show_signed(row["log_ratio"])]
        cells += [show_qualities(first), show_signed(row["openings_over_random"])] if first else ["", ""]
        cells += [*_share_cells(row, 0.25), f"{row['things_of_100']:.1f}"]
        best = row.get("positives")
        cells += [show_qualities(best), show_signed(row["positives_over_negatives"])] if best else ["", ""]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _share_cells(row: Mapping[str, Any], share: float) -> tuple[str, str]:
    over = row.get(f"over_random_{share}")
    return show_qualities(row[f"kept_{share}"]), show_signed(over) if over else ""


def rank(arms: Mapping[str, Sequence[GradedRun]]) -> dict[str, dict[str, dict[str, Any]]]:
    """For each way of leaving the picture out and each measure: AUROC of true and of specific pairs over the others."""
    return {mode: _rank(runs, mode) for mode, runs in _modes(arms).items()}


def _rank(runs: Sequence[GradedRun], mode: str) -> dict[str, dict[str, Any]]:
    pairs = [pair for run in runs for pair in run.pairs if pair.graded.grade != "ungradable"]
    kinds = [kind for kind in sorted(kind_counts(runs)) if _enough(pairs, kind)]
    lengths = [len(pair.scored.scores.token_ids) for pair in pairs]
    out = {}
    for name, measure in CANDIDATES.items():
        if mode != "drop" and _ignores_mode(name):
            continue
        measured = [remeasure(run, measure) for run in runs]
        known = [pair for run in measured for pair in run.pairs if pair.graded.grade != "ungradable"]
        out[name] = {
            "true": asdict(bootstrap(measured, true_auroc)),
            "specific": asdict(bootstrap(measured, specific_auroc)),
            "within": {kind: true_auroc([p for p in known if p.graded.kind == kind]) for kind in kinds},
            "spearman_length": spearman([pair.scored.i2c for pair in known], lengths),
        }
    return out


def true_auroc(pairs: Sequence[GradedPair]) -> float:
    """How well the number in the place of S(I2C) ranks true pairs above false ones."""
    known = [pair for pair in pairs if pair.graded.grade != "ungradable"]
    return auroc(*([p.scored.i2c for p in known if p.is_true is side] for side in (True, False)))


def specific_auroc(pairs: Sequence[GradedPair]) -> float:
    """How well it ranks specific pairs above all others that the truth decides."""
    known = [pair for pair in pairs if pair.graded.grade != "ungradable"]
    return auroc(*([p.scored.i2c for p in known if p.is_specific is side] for side in (True, False)))


def _enough(pairs: Sequence[GradedPair], kind: str, least: int = 10) -> bool:
    truth = [pair.is_true for pair in pairs if pair.graded.kind == kind]
    return min(truth.count(True), truth.count(False)) >= least


def ranks_table(ranked: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Markdown of ``rank``."""
    kinds = sorted({kind for table in ranked.values() for row in table.values() for kind in row["within"]})
    lines = [
        "| without the image | measure | true over false | specific over the others "
        f"| true over false, {' | '.join(kinds)} | Spearman with length |",
        "|---|---|--:|--:|" + "--:|" * (len(kinds) + 1),
    ]
    for mode, table in ranked.items():
        for name, row in table.items():
            within = [f"{row['within'][kind]:.3f}" if kind in row["within"] else "" for kind in kinds]
            cells = [mode, name, show_share(row["true"]), show_share(row["specific"]), *within]
            lines.append(f"| {' | '.join(cells)} | {row['spearman_length']:+.2f} |")
    return "\n".join(lines)
