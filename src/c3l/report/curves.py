"""A contrastive tuning as curves over its steps, and what it did to groups that it did not see."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from c3l.records import HeldOut, TuningStep
from c3l.report.charts import Frame, draw_figure, draw_grid
from c3l.report.contents import TuningCurves
from c3l.report.tokens import format_signed

MAX_POINTS = 240
"""Points of a line, about one every other unit of the drawing, so that thousands of steps keep the page small."""
LARGEST = 1e6
"""Nats from which on a number is not drawn: it would press all others flat."""
RUIN = 0.5
"""Nats a token by which both likelihoods may rise on held-out groups before the page warns; choice."""
FEW = 20
"""Groups below which an accuracy is mostly chance; choice."""

Points = list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Line:
    """One quantity over the steps; its class is its colour and dash."""

    name: str
    css: str
    read: Callable[[TuningStep], float]


LOSSES = (
    Line("contrastive (InfoNCE)", "contrastive", lambda step: step.contrastive),
    Line("likelihood (NLL a token of the positives)", "likelihood", lambda step: step.likelihood),
)
ACCURACY = (Line("accuracy", "accuracy", lambda step: step.accuracy),)


@dataclass(frozen=True, slots=True)
class Measure:
    """One row of the held-out table."""

    name: str
    before: str
    after: str
    change: str


@dataclass(frozen=True, slots=True)
class TuningView:
    """One tuning as the template prints it; ``window`` is 1 where the lines are not smoothed."""

    name: str
    trained: int
    groups: int
    steps: int
    losses: Markup
    accuracy: Markup
    window: int
    undrawn: int
    measures: tuple[Measure, ...]
    verdict: str
    warns: bool


def build_tuning(curves: TuningCurves) -> TuningView:
    """The section's part about one tuning."""
    before, after = (_find(curves.held_out, when) for when in ("before", "after"))
    verdict, warns = judge_held_out(before, after)
    known = after or before
    lines = (*LOSSES, *ACCURACY)
    return TuningView(
        name=curves.name,
        trained=curves.trained,
        groups=known.groups if known else 0,
        steps=max((step.step for step in curves.steps), default=0),
        losses=draw_curves(curves.steps, LOSSES, "nats"),
        accuracy=draw_curves(curves.steps, ACCURACY, "share of groups", top=1.15),
        window=choose_window(len(curves.steps)),
        undrawn=sum(not all(_can_draw(line.read(step)) for line in lines) for step in curves.steps),
        measures=_build_measures(before, after),
        verdict=verdict,
        warns=warns,
    )


def judge_held_out(before: HeldOut | None, after: HeldOut | None) -> tuple[str, bool]:
    """What the held-out groups say in plain words, and whether it is a warning."""
    if before is None and after is None:
        return "No group was held out: nothing here says what the tuning does to images that it did not see.", False
    if before is None or after is None:
        when = "after" if before is None else "before"
        return f"The held-out groups were measured only {when} the tuning, so there is nothing to compare.", False
    if not _is_finite(after):
        return "After the tuning not every number is finite: the model is broken, do not use what it writes.", True
    positives, negatives = (
        after.likelihood - before.likelihood,
        after.negatives_likelihood - before.negatives_likelihood,
    )
    if positives > RUIN and negatives > RUIN:
        return (
            f"Positives and negatives both became much less likely to the model ({format_signed(positives)} and "
            f"{format_signed(negatives)} nats a token). It may be going to ruin: unlearning to write instead of "
            "learning what depends on the image. Read what it wrote, and try a lower learning rate, fewer steps or "
            "more weight on the likelihood."
        ), True
    return _tell_accuracy(before, after), False


def _tell_accuracy(before: HeldOut, after: HeldOut) -> str:
    groups = f"{after.groups} held-out {'group' if after.groups == 1 else 'groups'}"
    few = " So few groups leave much to chance." if after.groups < FEW else ""
    return (
        f"Of {groups} the positive is the most similar candidate in {_percent(before.accuracy)} before and "
        f"{_percent(after.accuracy)} after the tuning.{few} The negative log-likelihoods of positives and negatives "
        f"did not both rise by more than {RUIN} nats a token, so nothing here says that the model is going to ruin."
    )


def choose_window(steps: int) -> int:
    """Over how many logged steps the strong line is averaged: an odd number, 1 where there are few steps."""
    return 2 * (steps // 40) + 1


def draw_curves(
    steps: Sequence[TuningStep], lines: Sequence[Line], unit: str, top: float | None = None, height: int = 260
) -> Markup:
    """Quantities over the optimiser steps from 0 up; empty where there is no number that can be drawn.

    Args:
        steps: What was logged, in order.
        lines: What is drawn of it.
        unit: Of all lines.
        top: Where the vertical axis ends; the largest number if None.
        height: In the drawing's units.
    """
    raw = [[(float(step.step), line.read(step)) for step in steps] for line in lines]
    drawn = [value for points in raw for _, value in points if _can_draw(value)]
    if not drawn:
        return Markup("")
    last = max(step.step for step in steps)
    frame = Frame(0, last * 1.03, min(0.0, *drawn), top or max(drawn) * 1.15 or 1.0, height)
    window = choose_window(len(steps))
    faint = [_draw_line(frame, points, f"line {line.css} faint") for points, line in zip(raw, lines, strict=True)]
    strong = [
        _draw_line(frame, smooth(points, window), f"line {line.css}") for points, line in zip(raw, lines, strict=True)
    ]
    return draw_figure(
        frame,
        "; ".join(_describe(line, points) for line, points in zip(lines, raw, strict=True)),
        draw_grid(frame, "optimiser steps", unit, whole=False, whole_x=True)
        + Markup("").join((faint if window > 1 else []) + strong),
    )


def smooth(points: Points, window: int) -> Points:
    """Each number as the mean of those around it; one that cannot be drawn stays a gap and enters no mean."""
    values = np.array([value if _can_draw(value) else 0.0 for _, value in points])
    known = np.array([_can_draw(value) for _, value in points], dtype=np.float64)
    kernel = np.ones(min(window, len(points)))
    sums, counts = (np.convolve(array, kernel, mode="same") for array in (values, known))
    return [
        (step, float(total / count) if knows else math.nan)
        for (step, _), total, count, knows in zip(points, sums, counts, known, strict=True)
    ]


def thin(points: Points, limit: int = MAX_POINTS) -> Points:
    """At most ``limit`` points that keep every peak: of each stretch its lowest and its highest."""
    if len(points) <= limit:
        return points
    kept = []
    for stretch in np.array_split(np.arange(len(points)), limit // 2):
        drawable = [index for index in stretch if _can_draw(points[index][1])]
        ends = (
            {min(drawable, key=lambda i: points[i][1]), max(drawable, key=lambda i: points[i][1])} if drawable else ()
        )
        kept += [points[index] for index in sorted(ends)] or [points[stretch[0]]]
    return kept


def _draw_line(frame: Frame, points: Points, css: str) -> Markup:
    """A line with gaps where a number cannot be drawn; a point between two gaps is a dot."""
    runs: list[Points] = [[]]
    for point in thin(points):
        if _can_draw(point[1]):
            runs[-1].append(point)
        elif runs[-1]:
            runs.append([])
    path = "".join("M" + "L".join(f"{frame.x(x)} {frame.y(y)}" for x, y in run) for run in runs if len(run) > 1)
    dots = [
        Markup('<circle class="{}" cx="{}" cy="{}" r="4"/>').format(css, frame.x(run[0][0]), frame.y(run[0][1]))
        for run in runs
        if len(run) == 1
    ]
    drawn = Markup('<path class="{}" d="{}"/>').format(css, path) if path else Markup("")
    return drawn + Markup("").join(dots)


def _describe(line: Line, points: Points) -> str:
    drawn = [value for _, value in points if _can_draw(value)]
    return f"{line.name} from {drawn[0]:.2f} to {drawn[-1]:.2f}" if drawn else f"{line.name} not drawable"


def _can_draw(value: float) -> bool:
    return math.isfinite(value) and abs(value) < LARGEST


def _find(held_out: Sequence[HeldOut], when: str) -> HeldOut | None:
    return next((one for one in held_out if one.when == when), None)


def _is_finite(one: HeldOut) -> bool:
    return all(map(math.isfinite, (one.contrastive, one.accuracy, one.likelihood, one.negatives_likelihood)))


def _build_measures(before: HeldOut | None, after: HeldOut | None) -> tuple[Measure, ...]:
    rows: tuple[tuple[str, Callable[[HeldOut], float]], ...] = (
        ("Contrastive loss (InfoNCE), nats", lambda one: one.contrastive),
        ("Accuracy: the positive is the most similar", lambda one: one.accuracy),
        ("Negative log-likelihood a token, positives, nats", lambda one: one.likelihood),
        ("Negative log-likelihood a token, negatives, nats", lambda one: one.negatives_likelihood),
    )
    if before is None and after is None:
        return ()
    return tuple(
        _build_measure(name, read(before) if before else None, read(after) if after else None) for name, read in rows
    )


def _build_measure(name: str, before: float | None, after: float | None) -> Measure:
    change = None if before is None or after is None else after - before
    return Measure(name, _show(before), _show(after), _show(change, signed=True))


def _show(value: float | None, signed: bool = False) -> str:
    if value is None:
        return "\N{EN DASH}"
    if not math.isfinite(value):
        return "not finite"
    return format_signed(value) if signed else f"{value:.2f}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%" if math.isfinite(share) else "an unknown share"
