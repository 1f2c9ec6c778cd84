"""Pairs to look at first, each beside its image: some kept, some dropped, and the ends of what was kept."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from c3l.records import ScoredPair
from c3l.report.album import Album
from c3l.report.contents import ReportContents
from c3l.report.facts import LIFT, Facts, PairFacts
from c3l.report.tokens import Piece, cut_pieces
from c3l.report.units import unit_in_use, unit_of_form

EITHER = 8
"""Kept pairs that are shown, and as many dropped ones."""
ENDS = 4
"""Kept pairs of either end of the lift."""


@dataclass(frozen=True, slots=True)
class Picks:
    """Which pairs are shown.

    Attributes:
        kept: Of what was kept, from the highest S(I2C) to the lowest at even steps.
        dropped: Of what was dropped, likewise.
        most: The kept pairs with the highest lift, from the highest on.
        least: Those with the lowest, from the lowest on.
    """

    kept: Sequence[PairFacts]
    dropped: Sequence[PairFacts]
    most: Sequence[PairFacts]
    least: Sequence[PairFacts]

    @property
    def all(self) -> list[PairFacts]:
        """Every pair as often as it is shown, those that stand first on the page first."""
        return [*self.kept, *self.dropped, *self.most, *self.least]


@dataclass(frozen=True, slots=True)
class ExampleView:
    """A pair with its image, a data URI or None with a ``problem``; no ``anchor`` where the gallery lacks it."""

    picture: str | None
    problem: str
    path: str
    question: str
    pieces: tuple[Piece, ...]
    score: str
    reason: str
    anchor: str


@dataclass(frozen=True, slots=True)
class ExamplesView:
    """The picked pairs as the template prints them; ``score`` is S(I2C) of the first two, lift of the others."""

    kept: tuple[ExampleView, ...]
    dropped: tuple[ExampleView, ...]
    most: tuple[ExampleView, ...]
    least: tuple[ExampleView, ...]


def pick_examples(facts: Facts) -> Picks:
    """The same pairs for the same numbers, whatever their order: ties by id, none in both ends."""
    by_lift = sorted(facts.kept, key=lambda pair: (-pair.lift, pair.sample_id))
    most, least = min(ENDS, (len(by_lift) + 1) // 2), min(ENDS, len(by_lift) // 2)
    return Picks(
        pick_evenly(facts.kept),
        pick_evenly(facts.dropped),
        by_lift[:most],
        by_lift[::-1][:least],
    )


def pick_evenly(pairs: Sequence[PairFacts], most: int = EITHER) -> list[PairFacts]:
    """At most so many pairs at even steps of rank, the highest and the lowest S(I2C) among them."""
    ordered = sorted(pairs, key=lambda pair: (-pair.i2c, pair.sample_id))
    if len(ordered) <= most:
        return ordered
    return [ordered[place * (len(ordered) - 1) // (most - 1)] for place in range(most)]


def build_examples(
    contents: ReportContents,
    facts: Facts,
    picks: Picks,
    shown: Mapping[str, ScoredPair],
    album: Album,
    cards: Collection[str],
) -> ExamplesView:
    """The picked pairs; ``shown`` has their texts, ``cards`` the ids of the gallery's images."""
    in_use, of_lift = unit_in_use(contents, facts), unit_of_form(contents, LIFT)

    def view(pairs: Sequence[PairFacts], show: Callable[[PairFacts], str]) -> tuple[ExampleView, ...]:
        return tuple(_view(contents, pair, shown[pair.sample_id], album, show(pair), cards) for pair in pairs)

    return ExamplesView(
        kept=view(picks.kept, lambda pair: in_use.show(pair.i2c)),
        dropped=view(picks.dropped, lambda pair: in_use.show(pair.i2c)),
        most=view(picks.most, lambda pair: of_lift.show(pair.lift)),
        least=view(picks.least, lambda pair: of_lift.show(pair.lift)),
    )


def _view(
    contents: ReportContents, pair: PairFacts, scored: ScoredPair, album: Album, score: str, cards: Collection[str]
) -> ExampleView:
    image = contents.images[pair.image_id]
    picture, problem = album.embed(image)
    return ExampleView(
        picture=picture,
        problem=problem,
        path=image.path,
        question=scored.sample.question,
        pieces=cut_pieces(scored.sample.answer, scored.scores),
        score=score,
        reason=pair.decision.reason if pair.decision else "",
        anchor=f"p-{pair.sample_id}" if pair.image_id in cards else "",
    )
