"""What is asked: the first words of the questions, in the draft, in the last round and in what was kept."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from c3l.records import Sample
from c3l.report.contents import Pair, ReportContents
from c3l.report.rounds import label_round, split_rounds

SHOWN = 8
"""First words with a row of their own, those of which the data has most."""


@dataclass(frozen=True, slots=True)
class OpeningRow:
    """A first word, and its share of each column's pairs in percent."""

    opening: str
    shares: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OpeningsView:
    """The table, and how far the last column is from the first.

    Attributes:
        heads: What each column counts.
        rows: Most frequent first; what is rarer is together in the last.
        moved: Percent of the kept pairs that would have to ask something else for the first column's mixture.
    """

    heads: tuple[str, ...]
    rows: tuple[OpeningRow, ...]
    moved: float


def build_openings(contents: ReportContents, pairs: Sequence[Pair]) -> OpeningsView | None:
    """The mixture of first words in every column; None where nothing was kept or the draft is empty."""
    rounds = split_rounds(contents)
    columns = {label_round(0): [one.sample for one in rounds[0]]} if rounds else {}
    columns[label_round(max(rounds)) if rounds else "All pairs"] = [pair.scored.sample for pair in pairs]
    columns["Kept"] = [pair.scored.sample for pair in pairs if pair.decision.kept]
    if not all(columns.values()):
        return None
    mixtures = [_mix(samples) for samples in columns.values()]
    counts = Counter(sample.opening for samples in columns.values() for sample in samples)
    by_count = sorted(counts, key=lambda opening: (-counts[opening], opening))
    rows = [OpeningRow(_shorten(opening), _show(mixtures, [opening])) for opening in by_count[:SHOWN]]
    if rest := by_count[SHOWN:]:
        rows.append(OpeningRow("1 other" if len(rest) == 1 else f"{len(rest)} others", _show(mixtures, rest)))
    first, last = mixtures[0], mixtures[-1]
    return OpeningsView(tuple(columns), tuple(rows), sum(max(0.0, last[o] - first.get(o, 0.0)) for o in last))


def _mix(samples: Sequence[Sample]) -> dict[str, float]:
    """Percent of the questions that begin with each word."""
    counts = Counter(sample.opening for sample in samples)
    return {opening: 100 * count / len(samples) for opening, count in counts.items()}


def _shorten(opening: str, most: int = 24) -> str:
    """A word that fits the table: languages without spaces make one of the whole question."""
    return opening if len(opening) <= most else opening[: most - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _show(mixtures: Sequence[Mapping[str, float]], openings: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{sum(mixture.get(opening, 0.0) for opening in openings):.0f}%" for mixture in mixtures)
