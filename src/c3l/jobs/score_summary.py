"""What the rows of a scored data file say together: how much of it is specific, and the ends of the range.

The rows are read once, from the file, whoever wrote them and in how many goes; none but the shown ones is held.
"""

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from c3l.jobs.score_state import ScoreRow, list_shown
from c3l.method.other_images import count_others
from c3l.method.specificity import SpecificityTally, tell_specificity
from c3l.progress import cut_line
from c3l.records import Specificity, says_no
from c3l.settings.schema import ScoringConfig

SHOWN = 3
"""Rows of either end that are shown."""


@dataclass(frozen=True, slots=True)
class ScoreSummary:
    """The scored rows together; those with the highest lift, from the highest on, and those with the lowest."""

    specificity: Specificity
    most: tuple[ScoreRow, ...]
    least: tuple[ScoreRow, ...]


def summarise_rows(rows: Iterable[ScoreRow], scoring: ScoringConfig, drawn: Iterable[str] = ()) -> ScoreSummary | None:
    """Count the rows that hold a score; None where there is none. Of equal lifts the first row comes first.

    Args:
        rows: Of the file, in order.
        scoring: What they were scored with.
        drawn: Images that may have stood for no image, some perhaps of no row, as where few of many are scored.
    """
    tally = SpecificityTally(scoring.no_image)
    images, most_shown = set(drawn), 1
    most: list[tuple[float, int, ScoreRow]] = []
    least: list[tuple[float, int, ScoreRow]] = []
    for place, row in enumerate(rows):
        lift = row.get("lift")
        if lift is None:  # rejected, or of an older c3l
            continue
        shown = list_shown(row)
        images.update(shown)
        most_shown = max(most_shown, len(shown))
        tally.add("\n".join(shown), lift, says_no(row["answer"]))
        for heap, key in ((most, lift), (least, -lift)):
            _keep_largest(heap, (key, -place, row))
    if not tally.images:
        return None
    found = tally.summarise(count_others(scoring, len(images) - most_shown + 1))
    first, last = min(SHOWN, (found.pairs + 1) // 2), min(SHOWN, found.pairs // 2)
    return ScoreSummary(found, _take_rows(most, first), _take_rows(least, last))


def _keep_largest(heap: list[tuple[float, int, ScoreRow]], entry: tuple[float, int, ScoreRow]) -> None:
    if len(heap) < SHOWN:
        heapq.heappush(heap, entry)
    else:
        heapq.heappushpop(heap, entry)


def _take_rows(heap: list[tuple[float, int, ScoreRow]], most: int) -> tuple[ScoreRow, ...]:
    return tuple(row for _, _, row in sorted(heap, reverse=True)[:most])


def tell_summary(summary: ScoreSummary, width: int) -> Iterator[str]:
    """The summary in words, then the rows of both ends, each in a line of at most ``width`` columns."""
    yield tell_specificity(summary.specificity)
    for words, rows in (("highest", summary.most), ("lowest", summary.least)):
        for row in rows:
            shown = ", ".join(list_shown(row))
            yield cut_line(f"{words} lift {row['lift']:+.3f}  {shown}  {row['question']} {row['answer']}", width)
