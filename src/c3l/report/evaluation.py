"""The benchmarks as tables: each model's figures with intervals, the blind score, and what changed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from c3l.records import Estimate, EvalReport, Figure

SHOWN = 6  # figures a rule and model; the rest, such as those of each category, are in scores.json
NONE = "\N{EN DASH}"

TITLES = {
    "pope": "POPE",
    "mmbench": "MMBench",
    "seed_bench": "SEED-Bench",
    "llava_bench": "LLaVA-Bench (in the wild)",
}


@dataclass(frozen=True, slots=True)
class FigureRow:
    """One figure of one model."""

    model: str
    name: str
    value: str
    interval: str
    blind: str
    by_image: str
    difference: str
    better: str


@dataclass(frozen=True, slots=True)
class BenchmarkView:
    """One benchmark read by one rule, all models."""

    title: str
    rule: str
    about: str
    rows: tuple[FigureRow, ...]


def build_benchmarks(reports: Sequence[EvalReport]) -> list[BenchmarkView]:
    """One table a benchmark and rule; figure by figure the models follow each other."""
    groups: dict[tuple[str, str], list[EvalReport]] = {}
    for one in reports:
        groups.setdefault((one.benchmark, one.rule), []).append(one)
    return [
        BenchmarkView(TITLES.get(name, name), rule, _about(of_rule), tuple(_rows(of_rule)))
        for (name, rule), of_rule in groups.items()
    ]


def _about(reports: Sequence[EvalReport]) -> str:
    parts = [f"{reports[0].items} questions"]
    parts += [f"{_name(one)}: {one.unparsed} unread, {one.failed} failed" for one in reports]
    judge = reports[0].settings.get("judge")
    return "; ".join([*parts, *([f"judge {judge}"] if judge else [])])


def _name(report: EvalReport) -> str:
    return "base" if report.baseline is None else "after"


def _rows(reports: Sequence[EvalReport]) -> Iterator[FigureRow]:
    for place, figure in enumerate(reports[0].figures[:SHOWN]):
        for one in reports:
            yield _row(one, one.figures[place], figure.name)


def _row(report: EvalReport, figure: Figure, name: str) -> FigureRow:
    return FigureRow(
        model=_name(report),
        name=name,
        value=_show(figure.seen.value),
        interval=f"{_show(figure.seen.low)} \N{EN DASH} {_show(figure.seen.high)}",
        blind=_show(figure.blind.value if figure.blind else None),
        by_image=_signed(figure.by_image),
        difference=_signed(figure.difference),
        better=_judge(figure.difference),
    )


def _judge(difference: Estimate | None) -> str:
    """What the interval of a difference says."""
    if difference is None or difference.low is None or difference.high is None:
        return ""
    if difference.low > 0:
        return "higher"
    return "lower" if difference.high < 0 else "no clear change"


def _show(value: float | None) -> str:
    if value is None:
        return NONE
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def _signed(estimate: Estimate | None) -> str:
    if estimate is None or estimate.value is None:
        return NONE
    return estimate.signed(3).replace("-", "\N{MINUS SIGN}")
