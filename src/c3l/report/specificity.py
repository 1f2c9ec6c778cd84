"""Is it about this image? How specific the pairs are, by the numbers of the model that scored them."""

from collections.abc import Sequence
from dataclasses import dataclass

from c3l.records import Specificity
from c3l.report.contents import ReportContents
from c3l.report.facts import LIFT, Facts, PairFacts, measure
from c3l.report.rounds import label_round
from c3l.report.units import NONE, Unit, unit_of_form


@dataclass(frozen=True, slots=True)
class SpecificityRow:
    """Some of the pairs in numbers; dashes where there is none."""

    label: str
    pairs: int
    share: str
    interval: str
    says_no: str
    lift: str


@dataclass(frozen=True, slots=True)
class SpecificityView:
    """The section.

    Attributes:
        rows: The draft where a round has followed, all pairs of the last round, kept and dropped ones.
        all: Of the last round in numbers.
        kept: Of the kept pairs.
        dropped: Of the others.
        caution: What the intervals of the kept and the dropped say of the filter; empty where one has no pair.
    """

    rows: tuple[SpecificityRow, ...]
    all: Specificity
    kept: Specificity
    dropped: Specificity
    caution: str


def build_specificity(contents: ReportContents, facts: Facts) -> SpecificityView | None:
    """The section, None without a pair of the last round."""
    if not facts.pairs:
        return None
    last = label_round(max(facts.rounds)) if facts.rounds else "All pairs"
    groups: dict[str, Sequence[PairFacts]] = {label_round(0): facts.rounds[0]} if facts.rounds else {}
    groups |= {last: facts.pairs, "Kept": facts.kept, "Dropped": facts.dropped}
    measured = {label: measure(contents, group) for label, group in groups.items()}
    unit = unit_of_form(contents, LIFT)
    return SpecificityView(
        rows=tuple(_build_row(label, one, unit) for label, one in measured.items()),
        all=measured[last],
        kept=measured["Kept"],
        dropped=measured["Dropped"],
        caution=judge_difference(measured["Kept"], measured["Dropped"]),
    )


def judge_difference(kept: Specificity, dropped: Specificity) -> str:
    """Whether the filter chose the more specific pairs, as far as the two intervals can tell."""
    if kept.low is None or kept.high is None or dropped.low is None or dropped.high is None:
        return ""
    shares = f"Of the dropped pairs it is {show_share(dropped)} ({show_interval(dropped)})"
    if kept.low > dropped.high:
        return f"{shares}: the filter kept the more specific ones."
    if kept.high < dropped.low:
        return f"{shares}: the filter kept the less specific ones."
    return f"{shares}: the intervals overlap, so this run does not show that the filter kept the more specific ones."


def show_share(one: Specificity) -> str:
    """The share in percent, a dash where there is no pair."""
    return f"{one.specific / one.pairs:.0%}" if one.pairs else NONE


def show_interval(one: Specificity) -> str:
    """Its 95% interval, a dash where there is no pair."""
    return NONE if one.low is None or one.high is None else f"{one.low:.0%} \N{EN DASH} {one.high:.0%}"


def _build_row(label: str, one: Specificity, unit: Unit) -> SpecificityRow:
    return SpecificityRow(
        label=label,
        pairs=one.pairs,
        share=show_share(one),
        interval=show_interval(one),
        says_no=f"{one.says_no / one.pairs:.0%}" if one.pairs else NONE,
        lift=unit.show(one.median_lift),
    )
