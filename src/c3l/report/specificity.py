"""Is it about this picture? How specific the pairs are by the model's own numbers, and the ends of the range."""

from collections.abc import Sequence
from dataclasses import dataclass

from c3l.records import Form, ScoredPair, Specificity
from c3l.report.contents import DecidedPair, ReportContents
from c3l.report.gallery import GalleryView, embed_image
from c3l.report.rounds import label_round, split_rounds
from c3l.report.tokens import Piece, cut_pieces
from c3l.report.units import NONE, Unit, unit_of_form

LIFT: Form = "lift"
SHOWN = 4  # pairs of either end


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
class ExampleView:
    """A pair with its picture, a data URI or None with a ``problem``; no ``anchor`` where the gallery lacks it."""

    picture: str | None
    problem: str
    path: str
    question: str
    pieces: tuple[Piece, ...]
    lift: str
    anchor: str


@dataclass(frozen=True, slots=True)
class SpecificityView:
    """The section.

    Attributes:
        rows: The draft where a round has followed, all pairs of the last round, kept and dropped ones.
        all: Of the last round in numbers.
        kept: Of the kept pairs.
        most: The kept pairs with the highest lift, from the highest on.
        least: Those with the lowest, from the lowest on.
    """

    rows: tuple[SpecificityRow, ...]
    all: Specificity
    kept: Specificity
    most: tuple[ExampleView, ...]
    least: tuple[ExampleView, ...]


def build_specificity(
    contents: ReportContents, pairs: Sequence[DecidedPair], gallery: GalleryView
) -> SpecificityView | None:
    """The section, None without a pair of the last round."""
    if not pairs:
        return None
    rounds = split_rounds(contents)
    last = label_round(max(rounds)) if rounds else "All pairs"
    kept = [pair.scored for pair in pairs if pair.decision.kept]
    groups = {label_round(0): rounds[0]} if rounds else {}
    groups[last] = [pair.scored for pair in pairs]
    groups["Kept"] = kept
    groups["Dropped"] = [pair.scored for pair in pairs if not pair.decision.kept]
    measured = {label: contents.measure_specificity(group) for label, group in groups.items()}
    unit = unit_of_form(contents, LIFT)
    most, least = _find_ends(contents, kept)
    return SpecificityView(
        rows=tuple(_build_row(label, one, unit) for label, one in measured.items()),
        all=measured[last],
        kept=measured["Kept"],
        most=tuple(_build_example(contents, gallery, one, unit) for one in most),
        least=tuple(_build_example(contents, gallery, one, unit) for one in least),
    )


def _build_row(label: str, one: Specificity, unit: Unit) -> SpecificityRow:
    interval = NONE if one.low is None or one.high is None else f"{one.low:.0%} \N{EN DASH} {one.high:.0%}"
    return SpecificityRow(
        label=label,
        pairs=one.pairs,
        share=f"{one.specific / one.pairs:.0%}" if one.pairs else NONE,
        interval=interval,
        says_no=f"{one.says_no / one.pairs:.0%}" if one.pairs else NONE,
        lift=unit.show(one.median_lift),
    )


def _find_ends(
    contents: ReportContents, scored: Sequence[ScoredPair]
) -> tuple[Sequence[ScoredPair], Sequence[ScoredPair]]:
    """Those with the highest and with the lowest lift, none in both; ties by id."""
    lifts = {one.sample.sample_id: contents.compute_i2c(one.scores, LIFT) for one in scored}
    ordered = sorted(scored, key=lambda one: (-lifts[one.sample.sample_id], one.sample.sample_id))
    most, least = min(SHOWN, (len(ordered) + 1) // 2), min(SHOWN, len(ordered) // 2)
    return ordered[:most], ordered[::-1][:least]


def _build_example(contents: ReportContents, gallery: GalleryView, one: ScoredPair, unit: Unit) -> ExampleView:
    image = contents.images[one.sample.image_id]
    card = next((card for card in gallery.cards if card.image.image_id == image.image_id), None)
    picture, problem = (card.picture, card.problem) if card else embed_image(contents, image)
    return ExampleView(
        picture=picture,
        problem=problem,
        path=image.path,
        question=one.sample.question,
        pieces=cut_pieces(one.sample.answer, one.scores),
        lift=unit.show(contents.compute_i2c(one.scores, LIFT)),
        anchor=f"p-{one.sample.sample_id}" if card else "",
    )
