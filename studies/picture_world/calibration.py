"""From which lift on a pair counts as specific: what the model's own numbers say against what the oracle knows."""

from collections.abc import Mapping, Sequence
from typing import Any

from c3l.method.i2c import compute_i2c
from studies.picture_world.grading import GradedRun

THRESHOLDS = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3)


def calibrate(runs: Sequence[GradedRun]) -> list[dict[str, Any]]:
    """For each threshold: the share of gradable pairs above it, how many of those are specific, how many it finds.

    Args:
        runs: Scored with other pictures in place of the image.
    """
    known = [pair for run in runs for pair in run.pairs if pair.graded.grade != "ungradable"]
    lifts = [(compute_i2c(pair.scored.scores, "lift"), pair) for pair in known]
    specific = sum(pair.is_specific for pair in known)
    rows = []
    for least in THRESHOLDS:
        above = [pair for lift, pair in lifts if lift >= least]
        hits = sum(pair.is_specific for pair in above)
        rows.append(
            {
                "least_lift": least,
                "share": len(above) / max(1, len(known)),
                "precision": hits / max(1, len(above)),
                "recall": hits / max(1, specific),
                "true": sum(pair.is_true for pair in above) / max(1, len(above)),
                "specific": specific / max(1, len(known)),
            }
        )
    return rows


def calibration_table(rows: Sequence[Mapping[str, float]]) -> str:
    """Markdown of ``calibrate``."""
    lines = [
        "| lift of at least | share of pairs | of them specific | of the specific ones found | of them true |",
        "|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        cells = [f"{row['least_lift']:g}", *(f"{row[name]:.3f}" for name in ("share", "precision", "recall", "true"))]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
