"""What is asked and answered: first words, in the draft, in the last round and in what was kept."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from c3l.report.facts import Facts, PairFacts
from c3l.report.rounds import label_round

SHOWN = 8
"""First words with a row of their own, those of which the data has most."""


@dataclass(frozen=True, slots=True)
class OpeningRow:
    """A first word, and its share of each column's pairs in percent."""

    opening: str
    shares: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OpeningsView:
    """A table, and how far the last column is from the first.

    Attributes:
        title: What the words begin.
        stratify: The setting of the filter that keeps this mixture.
        heads: What each column counts.
        rows: Most frequent first; what is rarer is together in the last.
        moved: Percent of the kept pairs that would have to begin otherwise for the first column's mixture.
    """

    title: str
    stratify: str
    heads: tuple[str, ...]
    rows: tuple[OpeningRow, ...]
    moved: float


def build_openings(facts: Facts) -> tuple[OpeningsView, ...]:
    """The mixtures of the questions' and the answers' first words; none if nothing was kept or the draft is empty."""
    columns = {label_round(0): facts.rounds[0]} if facts.rounds else {}
    columns[label_round(max(facts.rounds)) if facts.rounds else "All pairs"] = facts.pairs
    columns["Kept"] = facts.kept
    if not all(columns.values()):
        return ()
    return (
        _view("Questions", "opening", columns, lambda pair: pair.opening),
        _view("Answers", "openings", columns, lambda pair: pair.answer_opening),
    )


def _view(
    title: str, stratify: str, columns: Mapping[str, Sequence[PairFacts]], word: Callable[[PairFacts], str]
) -> OpeningsView:
    words = {head: Counter(map(word, pairs)) for head, pairs in columns.items()}
    mixtures = [{one: 100 * n / count.total() for one, n in count.items()} for count in words.values()]
    counts = sum(words.values(), Counter[str]())
    by_count = sorted(counts, key=lambda opening: (-counts[opening], opening))
    rows = [OpeningRow(_shorten(opening), _show(mixtures, [opening])) for opening in by_count[:SHOWN]]
    if rest := by_count[SHOWN:]:
        rows.append(OpeningRow("1 other" if len(rest) == 1 else f"{len(rest)} others", _show(mixtures, rest)))
    first, last = mixtures[0], mixtures[-1]
    moved = sum(max(0.0, last[one] - first.get(one, 0.0)) for one in last)
    return OpeningsView(title, stratify, tuple(columns), tuple(rows), moved)


def _shorten(opening: str, most: int = 24) -> str:
    """A word that fits the table: languages without spaces make one of the whole question."""
    return opening if len(opening) <= most else opening[: most - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _show(mixtures: Sequence[Mapping[str, float]], openings: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{sum(mixture.get(opening, 0.0) for opening in openings):.0f}%" for mixture in mixtures)
