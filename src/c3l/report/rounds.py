"""The rounds side by side: how the scores moved from the draft to what the tuned LVLM wrote."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from c3l.records import name_round
from c3l.report.charts import Frame, draw_bar, draw_far, draw_figure, draw_grid, draw_link, draw_upright
from c3l.report.contents import ReportContents
from c3l.report.facts import Facts, PairFacts
from c3l.report.statistics import count_bins, find_bin_edges, find_median
from c3l.report.units import NONE, Unit, unit_in_use


@dataclass(frozen=True, slots=True)
class RoundRow:
    """One round: its scores in a few numbers and as a histogram; dashes and no drawing where it has no pair."""

    label: str
    pairs: int
    pictures: int
    median: str
    mean: str
    against: str
    length: str
    chart: Markup


@dataclass(frozen=True, slots=True)
class PairedView:
    """The images with pairs in both the first and the last round, by their mean S(I2C)."""

    pictures: int
    rose: int
    fell: int
    change: str
    chart: Markup


@dataclass(frozen=True, slots=True)
class RoundsView:
    """All rounds in order, what changed from the first to the last, and what to know about the measuring."""

    rows: tuple[RoundRow, ...]
    paired: PairedView | None
    caution: str


def label_round(round: int) -> str:
    """What the page calls a round."""
    return f"Refined (round {round})" if round else "Draft"


def build_rounds(contents: ReportContents, facts: Facts, shown: Mapping[str, str]) -> RoundsView | None:
    """The section on the rounds, None where there was one; ``shown`` has the anchors of the gallery's images."""
    rounds = facts.rounds
    if not rounds:
        return None
    last, unit = max(rounds), unit_in_use(contents, facts)
    return RoundsView(
        rows=_build_rows(rounds, unit),
        paired=_build_paired(contents, rounds[0], rounds[last], label_round(last), shown, unit),
        caution=_judge_scorers(contents, last),
    )


def mean_by_image(pairs: Sequence[PairFacts]) -> dict[str, float]:
    """Each image's mean S(I2C)."""
    groups = defaultdict(list)
    for one in pairs:
        groups[one.image_id].append(one.i2c)
    return {image_id: sum(scores) / len(scores) for image_id, scores in groups.items()}


def _build_rows(rounds: Mapping[int, Sequence[PairFacts]], unit: Unit) -> tuple[RoundRow, ...]:
    edges = find_bin_edges([one.i2c for scored in rounds.values() for one in scored])
    tallest = max(max(_share_bins(scored, edges)) for scored in rounds.values())
    scale = _Scale(edges, tallest, unit)
    return tuple(
        _build_row(label_round(round), scored, scale, "late" if round == max(rounds) else "early")
        for round, scored in rounds.items()
    )


@dataclass(frozen=True, slots=True)
class _Scale:
    """What the charts of all rounds share: the edges of their bins, the tallest bar in percent, the unit of S(I2C)."""

    edges: Sequence[float]
    tallest: float
    unit: Unit


def _build_row(label: str, scored: Sequence[PairFacts], scale: _Scale, css: str) -> RoundRow:
    unit = scale.unit
    scores = [one.i2c for one in scored]
    median, length = find_median(scores), find_median([one.tokens for one in scored])
    return RoundRow(
        label=label,
        pairs=len(scored),
        pictures=len({one.image_id for one in scored}),
        median=unit.show(median),
        mean=unit.show(sum(scores) / len(scores) if scores else None),
        against=f"{100 * sum(one.less_likely for one in scored) / len(scored):.0f}%" if scored else NONE,
        length=NONE if length is None else f"{length:g}",
        chart=Markup("") if median is None else _draw_round(label, scored, median, scale, css),
    )


def _share_bins(scored: Sequence[PairFacts], edges: Sequence[float]) -> list[float]:
    """Percent of the round's pairs in each bin, so that rounds of different size compare."""
    return [100 * count / max(len(scored), 1) for count in count_bins([one.i2c for one in scored], edges)]


def _draw_round(label: str, scored: Sequence[PairFacts], median: float, scale: _Scale, css: str) -> Markup:
    edges, unit = scale.edges, scale.unit
    frame = Frame(edges[0], edges[-1], 0, scale.tallest * 1.08, 160)
    bars = [
        draw_bar(frame, left, right, 0, share, css)
        for left, right, share in zip(edges, edges[1:], _share_bins(scored, edges), strict=False)
    ]
    return draw_figure(
        frame,
        f"{label}: histogram of S(I2C) of {len(scored)} pairs, median {unit.say(median)}",
        draw_grid(frame, unit.axis, "% of pairs", whole=False)
        + Markup("").join(bars)
        + draw_upright(frame, median, "median", f"median {unit.show(median)}"),
    )


def _build_paired(
    contents: ReportContents,
    first: Sequence[PairFacts],
    last: Sequence[PairFacts],
    label: str,
    shown: Mapping[str, str],
    unit: Unit,
) -> PairedView | None:
    before, after = mean_by_image(first), mean_by_image(last)
    both = [image_id for image_id in contents.images if image_id in before and image_id in after]
    changes = [after[image_id] - before[image_id] for image_id in both]
    median = find_median(changes)
    if median is None:
        return None
    points = [
        Point(before[image_id], after[image_id], contents.images[image_id].path, shown.get(image_id))
        for image_id in both
    ]
    return PairedView(
        pictures=len(both),
        rose=sum(change > 0 for change in changes),
        fell=sum(change < 0 for change in changes),
        change=unit.show(median),
        chart=draw_change(points, label, unit),
    )


@dataclass(frozen=True, slots=True)
class Point:
    """An image: mean S(I2C) in the first and the last round, its file, and its place in the gallery if it has one."""

    before: float
    after: float
    path: str
    anchor: str | None


def draw_change(points: Sequence[Point], label: str, unit: Unit, height: int = 340) -> Markup:
    """Each image's mean S(I2C) in the last round against the draft; above the diagonal it rose."""
    values = [value for point in points for value in (point.before, point.after)]
    pad = (max(values) - min(values)) * 0.06 or 1.0
    low, high = min(values) - pad, max(values) + pad
    frame = Frame(low, high, low, high, height)
    diagonal = Markup('<path class="median" d="M{} {}L{} {}"/>').format(
        frame.x(low), frame.y(low), frame.x(high), frame.y(high)
    )
    names = {False: "fell", True: "rose"}
    drawn = [
        (point, names[point.after >= point.before], (frame.x(point.before), frame.y(point.after))) for point in points
    ]
    far = [
        draw_far(css, (place for point, its, place in drawn if its == css and not point.anchor))
        for css in names.values()
    ]
    links = [draw_link(point.anchor, css, *place, _tell(point, unit)) for point, css, place in drawn if point.anchor]
    return draw_figure(
        frame,
        f"Mean S(I2C) of {len(points)} images in {label} against the draft",
        draw_grid(frame, f"draft, mean {unit.axis}", f"{label}, mean {unit.axis}", whole=False)
        + diagonal
        + Markup("").join(far + links),
        role="group" if links else "img",
    )


def _tell(point: Point, unit: Unit) -> str:
    return f"{point.path}: {unit.show(point.before)} \N{RIGHTWARDS ARROW} {unit.say(point.after)}"


def _judge_scorers(contents: ReportContents, last: int) -> str:
    """Whether one model measured all rounds, as far as the provenance tells."""
    makers = [contents.provenance.get(f"{name_round(round)}/scored") for round in range(last + 1)]
    weights = {maker.weights for maker in makers if maker}
    if len(weights) > 1:
        return (
            "The rounds were not all scored by one model, so a shift can come from what measures "
            "as well as from the pairs."
        )
    return "One model scored all rounds, so a shift comes from the pairs." if all(makers) else ""
