"""What a person asks first: what did I get, is it good, what was thrown away and why."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from c3l.records import name_round
from c3l.report.contents import ReportContents
from c3l.report.facts import Facts
from c3l.report.rounds import label_round

SHOWN = 5
"""Reasons with a row of their own, the most frequent."""


@dataclass(frozen=True, slots=True)
class LeadView:
    """The first screen; the share of specific pairs is in ``SpecificityView``.

    Attributes:
        pairs: How many pairs the export holds.
        pictures: How many images these are about.
        came: How many images went into the run.
        scored: How many pairs the filter chose among.
        dropped: How many of them it dropped.
        files: Format and file of the export, within the run folder, and its rows where these are not the pairs.
        written: The round that they are of; empty where there was one round only.
        lost: Reason, stage and count of what was thrown away on the way to these pairs, the most frequent first.
        others: How many were thrown away for the reasons that ``lost`` leaves out.
    """

    pairs: int
    pictures: int
    came: int
    scored: int
    dropped: int
    files: Sequence[tuple[str, str, int | None]]
    written: str
    lost: Sequence[tuple[str, str, int]]
    others: int


def build_lead(contents: ReportContents, facts: Facts) -> LeadView:
    """The numbers of the first screen."""
    lost = count_lost(contents, max(facts.rounds, default=0))
    return LeadView(
        pairs=contents.exported,
        pictures=len({pair.image_id for pair in facts.kept}),
        came=contents.stages[0].count_in if contents.stages else len(contents.images),
        scored=len(facts.pairs),
        dropped=len(facts.dropped),
        files=[(name, file, _rows_of_its_own(contents, name)) for name, file in contents.exports.items()],
        written=label_round(max(facts.rounds)) if facts.rounds else "",
        lost=[(_say(reason), stage, count) for (reason, stage), count in lost[:SHOWN]],
        others=sum(count for _, count in lost[SHOWN:]),
    )


def _rows_of_its_own(contents: ReportContents, name: str) -> int | None:
    """How many rows a format's file holds, where these are other than the pairs: conversations, or preferences."""
    rows = contents.rows.get(name)
    return None if rows == contents.exported else rows


_LEADS_TO_EXPORT = ("images", "generated", "parsed", "scored", "filtered", "export")


def count_lost(contents: ReportContents, last: int) -> list[tuple[tuple[str, str], int]]:
    """Of each reason and stage on the way to the export how many did not come out.

    What earlier rounds lost, and what was not tuned on or is asked later, is no part of what came out.
    """
    earlier = tuple(f"{name_round(number)}/" for number in range(last))
    counts: Counter[tuple[str, str]] = Counter()
    for stage in contents.stages:
        if stage.name.rpartition("/")[2] in _LEADS_TO_EXPORT and not stage.name.startswith(earlier):
            counts.update(_by_reason(stage.name, stage.rejected))
    return sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))


def _by_reason(stage: str, rejected: Mapping[str, int]) -> dict[tuple[str, str], int]:
    return {(reason, stage): count for reason, count in rejected.items()}


def _say(reason: str) -> str:
    return reason.replace("_", " ")
