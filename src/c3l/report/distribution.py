"""How S(I2C) is distributed, and what it has to do with the answers' length."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from c3l.report.charts import Dot, draw_histogram, draw_scatter
from c3l.report.facts import PairFacts
from c3l.report.statistics import find_bin_edges, find_quantiles
from c3l.report.units import Unit


@dataclass(frozen=True, slots=True)
class Panel:
    """One histogram: of all pairs, or of one instruction's."""

    name: str
    pairs: int
    median: str
    chart: Markup


def build_panels(pairs: Sequence[PairFacts], unit: Unit) -> list[Panel]:
    """The histogram of all pairs, then one an instruction where there are several, all on the same axis."""
    if not pairs:
        return []
    edges = find_bin_edges([pair.i2c for pair in pairs])
    instructions = sorted({pair.instruction_id for pair in pairs})
    groups = {"all pairs": list(pairs)}
    if len(instructions) > 1:
        for name in instructions:
            groups[name] = [pair for pair in pairs if pair.instruction_id == name]
    return [
        _build_panel(name, group, edges, unit, height=280 if place == 0 else 170)
        for place, (name, group) in enumerate(groups.items())
    ]


def _build_panel(name: str, group: Sequence[PairFacts], edges: Sequence[float], unit: Unit, height: int) -> Panel:
    kept = [pair.i2c for pair in group if pair.kept]
    dropped = [pair.i2c for pair in group if not pair.kept]
    median = find_quantiles(kept + dropped, (0.5,))[0]
    return Panel(name, len(group), unit.say(median), draw_histogram(kept, dropped, edges, median, unit, height))


def build_scatter(pairs: Sequence[PairFacts], unit: Unit, cards: Collection[str]) -> Markup:
    """S(I2C) against length, dots linking to the pairs of the gallery's images, whose ids ``cards`` has."""
    if not pairs:
        return Markup("")
    dots = [
        Dot(pair.tokens, pair.i2c, pair.kept, f"p-{pair.sample_id}" if pair.image_id in cards else None)
        for pair in pairs
    ]
    return draw_scatter(dots, unit)


def judge_length(spearman: float | None, pairs: int) -> str:
    """What the correlation with answer length says, in one sentence."""
    if spearman is None or pairs < 20:
        return "There are too few pairs, or too alike, for this number to say much."
    if abs(spearman) < 0.3:
        return "Here the score follows length little: it is not a length filter."
    way = "longer" if spearman > 0 else "shorter"
    if abs(spearman) < 0.5:
        return f"Here the score leans towards {way} answers: compare with a length-matched control."
    return f"Here the score largely ranks {way} answers first: much of what the filter does is choose by length."
