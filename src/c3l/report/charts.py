"""The report's drawings as inline SVG: classes instead of colours, so that the page's style decides them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

from markupsafe import Markup

from c3l.report.statistics import count_bins, find_ticks
from c3l.report.units import Unit

WIDTH, LEFT, RIGHT, BOTTOM, TOP = 480, 44, 10, 42, 12


@dataclass(frozen=True, slots=True)
class Dot:
    """A pair in the scatter: length in tokens, S(I2C), and its place in the gallery if it has one."""

    tokens: int
    i2c: float
    kept: bool
    anchor: str | None


@dataclass(frozen=True, slots=True)
class Frame:
    """Maps data to the drawing's units; y grows upwards in the data, downwards in the drawing."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float
    height: int

    def x(self, value: float) -> float:
        """Horizontal place of a value."""
        share = (value - self.x_low) / ((self.x_high - self.x_low) or 1.0)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def y(self, value: float) -> float:
        """Vertical place of a value."""
        share = (value - self.y_low) / ((self.y_high - self.y_low) or 1.0)
        return round(self.height - BOTTOM - share * (self.height - BOTTOM - TOP), 1)


def draw_histogram(
    kept: Sequence[float],
    dropped: Sequence[float],
    edges: Sequence[float],
    median: float,
    unit: Unit,
    height: int = 280,
) -> Markup:
    """Counts of S(I2C) per bin, kept stacked on dropped, with the median of all as a line."""
    below, above = count_bins(dropped, edges), count_bins(kept, edges)
    tallest = max(a + b for a, b in zip(above, below, strict=True))
    frame = Frame(edges[0], edges[-1], 0, max(tallest, 1) * 1.08, height)
    bars = []
    for left, right, low, high in zip(edges, edges[1:], below, above, strict=False):
        bars.append(draw_bar(frame, left, right, 0, low, "dropped"))
        bars.append(draw_bar(frame, left, right, low, low + high, "kept"))
    return draw_figure(
        frame,
        f"Histogram of S(I2C) of {len(kept) + len(dropped)} pairs, median {unit.say(median)}",
        draw_grid(frame, unit.axis, "pairs", whole=True)
        + Markup("").join(bars)
        + draw_upright(frame, median, "median", f"median {unit.show(median)}"),
    )


def draw_scatter(dots: Sequence[Dot], unit: Unit, height: int = 280) -> Markup:
    """S(I2C) against answer length; dots of pairs in the gallery link there, the others are a path."""
    lengths, scores = [dot.tokens for dot in dots], [dot.i2c for dot in dots]
    pad = (max(scores) - min(scores)) * 0.06 or 1.0
    frame = Frame(0, max(lengths) * 1.04, min(scores) - pad, max(scores) + pad, height)
    names = {False: "dropped", True: "kept"}
    places = {dot: (frame.x(dot.tokens), frame.y(dot.i2c)) for dot in dots}
    paths = [
        draw_far(css, (places[dot] for dot in dots if dot.kept is kept and not dot.anchor))
        for kept, css in names.items()
    ]
    links = [draw_link(dot.anchor, names[dot.kept], *places[dot], _tell(dot, unit)) for dot in dots if dot.anchor]
    return draw_figure(
        frame,
        f"S(I2C) against answer length of {len(dots)} pairs",
        draw_grid(frame, "answer length, tokens", unit.axis, whole=False) + Markup("").join(paths + links),
        role="group" if links else "img",
    )


def draw_meter(value: float, scale: float) -> Markup:
    """A small bar from the middle to the right for a positive S(I2C), to the left for a negative one."""
    length = round(min(abs(value) / scale, 1.0) * 48 if scale else 0.0, 1)
    return Markup(
        '<svg class="meter" viewBox="0 0 100 10" aria-hidden="true"><path class="track" d="M1 5H99"/>'
        '<rect class="{}" x="{}" y="2" width="{}" height="6" rx="1.5"/>'
        '<path class="zero" d="M50 0V10"/></svg>'
    ).format("for" if value >= 0 else "against", 50 if value >= 0 else round(50 - length, 1), length)


def draw_share(part: int, whole: int) -> Markup:
    """A full-width bar: the share that went on, and the rest."""
    share = round(100 * part / whole, 2) if whole else 0
    return Markup(
        '<svg class="share" viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="rest" width="100" height="4"/><rect class="went" width="{}" height="4"/></svg>'
    ).format(share)


def draw_figure(frame: Frame, label: str, inner: Markup, role: Literal["img", "group"] = "img") -> Markup:
    """The drawing itself, named for those who do not see it; one that holds links is a group, as no image may."""
    return Markup('<svg class="chart" viewBox="0 0 {} {}" role="{}" aria-label="{}">{}</svg>').format(
        WIDTH, frame.height, role, label, inner
    )


def draw_bar(frame: Frame, left: float, right: float, low: float, high: float, css: str) -> Markup:
    """A bar from ``low`` to ``high`` over the bin from ``left`` to ``right``."""
    if high == low:
        return Markup("")
    x, y = frame.x(left), frame.y(high)
    width, height = max(frame.x(right) - x - 1, 1), frame.y(low) - y
    return Markup('<rect class="{}" x="{}" y="{}" width="{:.1f}" height="{:.1f}"/>').format(css, x, y, width, height)


def draw_grid(frame: Frame, x_label: str, y_label: str, whole: bool, whole_x: bool = False) -> Markup:
    """Axis lines, ticks and labels; ``whole`` leaves fractions off the vertical axis, ``whole_x`` off the other."""
    floor = frame.height - BOTTOM
    parts = []
    for tick in find_ticks(frame.y_low, frame.y_high, 5):
        if whole and tick != round(tick):
            continue
        y = frame.y(tick)
        css = "zero" if tick == 0 else "grid"
        parts.append(Markup('<path class="{}" d="M{} {}H{}"/>').format(css, LEFT, y, WIDTH - RIGHT))
        parts.append(_label(LEFT - 7, y + 4.5, tick, "end"))
    for tick in find_ticks(frame.x_low, frame.x_high, 6):
        if whole_x and tick != round(tick):
            continue
        parts.append(_label(frame.x(tick), floor + 17, tick, "middle"))
        if tick == 0 and frame.x_low < 0:
            parts.append(Markup('<path class="zero" d="M{} {}V{}"/>').format(frame.x(0), TOP, floor))
    # names last, so that no line crosses them
    return Markup("").join(parts) + Markup(
        '<text class="axis" x="{}" y="{}" text-anchor="end">{}</text><text class="axis" x="{}" y="{}">{}</text>'
    ).format(WIDTH - RIGHT, frame.height - 4, x_label, LEFT + 6, TOP + 4, y_label)


def draw_upright(frame: Frame, value: float, css: str, label: str) -> Markup:
    """An upright line at a value, with its label on the side that has room."""
    x = frame.x(value)
    at_right = x > WIDTH * 0.7
    return Markup('<path class="{}" d="M{} {}V{}"/><text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>').format(
        css,
        x,
        TOP,
        frame.height - BOTTOM,
        css,
        x - 6 if at_right else x + 6,
        TOP + 4,
        "end" if at_right else "start",
        label,
    )


def _tell(dot: Dot, unit: Unit) -> str:
    return f"{unit.say(dot.i2c)}, {dot.tokens} tokens: show the pair"


def draw_far(css: str, places: Iterable[tuple[float, float]]) -> Markup:
    """Dots without a link, as one path: there may be thousands."""
    drawn = sorted({(round(x), round(y)) for x, y in places})
    if not drawn:
        return Markup("")
    return Markup('<path class="far {}" d="{}"/>').format(css, "".join(f"M{x} {y}h0" for x, y in drawn))


def draw_link(anchor: str, css: str, x: float, y: float, title: str) -> Markup:
    """A dot that leads to its pair: for a pointer, since a thousand dots are no way for the keyboard."""
    return Markup(
        '<a href="#{}" tabindex="-1" aria-hidden="true">'
        '<circle class="{}" cx="{}" cy="{}" r="4.5"><title>{}</title></circle></a>'
    ).format(quote(anchor, safe=""), css, x, y, title)


def _label(x: float, y: float, value: float, anchor: str) -> Markup:
    text = f"{round(value, 6):g}".replace("-", "\N{MINUS SIGN}")
    return Markup('<text class="tick" x="{}" y="{}" text-anchor="{}">{}</text>').format(x, y, anchor, text)
