"""The gallery: which images it shows, and each as a card with its pairs."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from c3l.records import FilterDecision, ImageRef, Rejected, ScoredPair
from c3l.report.album import Album
from c3l.report.charts import draw_meter
from c3l.report.contents import ReportContents
from c3l.report.facts import Facts, PairFacts
from c3l.report.rounds import label_round, mean_by_image
from c3l.report.statistics import find_quantiles
from c3l.report.tokens import Piece, cut_pieces
from c3l.report.units import Unit

MAX_CHARACTERS = 13_500_000
"""Where the gallery, with the examples above it, stops growing, so that a report stays below 15 MB."""


@dataclass(frozen=True, slots=True)
class PairView:
    """One pair as the template prints it; a pair of the draft has a rank and no decision."""

    anchor: str
    question: str
    answer: str
    pieces: tuple[Piece, ...]
    instruction: str
    tokens: int
    score: str
    meter: Markup
    rank: int
    decision: FilterDecision | None
    round: int


@dataclass(frozen=True, slots=True)
class ColumnView:
    """What one round wrote about an image, by rank; ``mean`` S(I2C) is empty where it has no pair."""

    label: str
    pairs: tuple[PairView, ...]
    mean: str


@dataclass(frozen=True, slots=True)
class CardView:
    """One image with its pairs by rank; ``image`` is a data URI, or None with a ``problem``.

    Attributes:
        pairs: Those of the last round; may be empty where the draft has some.
        columns: The draft and the last round side by side; empty where there was one round only.
        lost: What was rejected of what was written about it, in any round.
        highest: Largest S(I2C) among ``pairs``; None where there is none.
        lowest: Smallest.
    """

    image: ImageRef
    anchor: str
    picture: str | None
    problem: str
    pairs: tuple[PairView, ...]
    columns: tuple[ColumnView, ...]
    lost: Sequence[Rejected]
    kept: int
    highest: float | None
    lowest: float | None


@dataclass(frozen=True, slots=True)
class GalleryView:
    """The cards in order of image, out of ``total`` images that have pairs of the last round or the draft."""

    cards: tuple[CardView, ...]
    total: int
    total_pairs: int
    total_draft: int

    @property
    def shown_pairs(self) -> int:
        """How many pairs of the last round the cards hold."""
        return sum(len(card.pairs) for card in self.cards)

    @property
    def shown_draft(self) -> int:
        """How many pairs of the draft the cards hold."""
        return sum(len(card.columns[0].pairs) for card in self.cards if card.columns)


@dataclass(frozen=True, slots=True)
class Scale:
    """How scores are shown: their unit, and the value at which a meter is full."""

    unit: Unit
    full: float


@dataclass(frozen=True, slots=True)
class Material:
    """What cards are made of.

    Attributes:
        shown: The pairs of their images with texts and tokens, by sample id.
        lost: What was rejected of each image.
        album: Opens the images.
        spent: How many characters the images of the examples take.
    """

    shown: Mapping[str, ScoredPair]
    lost: Mapping[str, Sequence[Rejected]]
    album: Album
    spent: int


@dataclass(frozen=True, slots=True)
class Groups:
    """The pairs of each image by rank: of the last round, and of the draft, where a round has followed."""

    last: Mapping[str, Sequence[PairFacts]]
    draft: Mapping[str, Sequence[PairFacts]] | None
    label: str


def build_gallery(
    contents: ReportContents, facts: Facts, chosen: Sequence[str], material: Material, scale: Scale
) -> GalleryView:
    """Cards of the chosen images, the first first, until the size is reached."""
    groups, means = group_pairs(facts), mean_of_images(contents, facts)
    cards: dict[str, CardView] = {}
    size = material.spent
    for image_id in chosen:
        card = _build_card(contents.images[image_id], groups, material, scale)
        size += _estimate_size(card)
        if size > MAX_CHARACTERS and cards:
            break
        cards[image_id] = card
    shown = tuple(cards[image_id] for image_id in means if image_id in cards)
    draft = sum(map(len, groups.draft.values())) if groups.draft is not None else 0
    return GalleryView(shown, len(means), len(facts.pairs), draft)


def find_scale(facts: Facts, unit: Unit) -> Scale:
    """Full length of a meter: nearly the largest |S(I2C)|, so that one odd pair does not flatten the rest."""
    draft = facts.rounds.get(0, ())
    sizes = [abs(one.i2c) for one in (*facts.pairs, *draft)]
    return Scale(unit, find_quantiles(sizes, (0.98,))[0] if sizes else 0.0)


def mean_of_images(contents: ReportContents, facts: Facts) -> dict[str, float]:
    """Mean S(I2C) of the images in their order: of the last round, of the draft where that alone has pairs."""
    means = mean_by_image(facts.rounds.get(0, ())) | mean_by_image(facts.pairs)
    return {image_id: means[image_id] for image_id in contents.images if image_id in means}


def group_pairs(facts: Facts) -> Groups:
    """The pairs of every image, the highest S(I2C) first."""
    last = _group(sorted(facts.pairs, key=lambda pair: pair.rank))
    if not facts.rounds:
        return Groups(last, None, "")
    draft = _group(sorted(facts.rounds[0], key=lambda pair: (-pair.i2c, pair.sample_id)))
    return Groups(last, draft, label_round(max(facts.rounds)))


def _group(pairs: Sequence[PairFacts]) -> dict[str, list[PairFacts]]:
    groups = defaultdict(list)
    for pair in pairs:
        groups[pair.image_id].append(pair)
    return dict(groups)


def choose_images(means: Mapping[str, float], limit: int, first: Sequence[str] = ()) -> list[str]:
    """Ids to show: all, or, above the limit, ``first``, then the best, the median and the worst by mean S(I2C)."""
    if len(means) <= limit:
        return list(means)
    ordered = sorted(means, key=lambda image_id: (-means[image_id], image_id))
    middle = (len(ordered) - 1) / 2
    central = [ordered[place] for place in sorted(range(len(ordered)), key=lambda place: abs(place - middle))]
    queues = (ordered, ordered[::-1], central)
    in_turn = (image_id for turn in zip(*queues, strict=True) for image_id in turn)
    return list(dict.fromkeys([*first, *in_turn]))[:limit]


def _build_card(image: ImageRef, groups: Groups, material: Material, scale: Scale) -> CardView:
    picture, problem = material.album.embed(image)
    pairs = groups.last.get(image.image_id, ())
    scores = [pair.i2c for pair in pairs]
    views = tuple(_build_pair(material.shown[pair.sample_id], pair.rank, pair.decision, scale) for pair in pairs)
    return CardView(
        image=image,
        anchor=f"c-{image.image_id}",
        picture=picture,
        problem=problem,
        pairs=views,
        columns=_build_columns(image, groups, material, views, scale),
        lost=material.lost.get(image.image_id, ()),
        kept=sum(pair.kept for pair in pairs),
        highest=max(scores, default=None),
        lowest=min(scores, default=None),
    )


def _build_columns(
    image: ImageRef, groups: Groups, material: Material, last: tuple[PairView, ...], scale: Scale
) -> tuple[ColumnView, ...]:
    if groups.draft is None:
        return ()
    draft, after = (of_round.get(image.image_id, ()) for of_round in (groups.draft, groups.last))
    views = tuple(
        _build_pair(material.shown[pair.sample_id], rank, None, scale) for rank, pair in enumerate(draft, start=1)
    )
    return (
        ColumnView(label_round(0), views, _show_mean(draft, scale)),
        ColumnView(groups.label, last, _show_mean(after, scale)),
    )


def _show_mean(pairs: Sequence[PairFacts], scale: Scale) -> str:
    return scale.unit.show(sum(pair.i2c for pair in pairs) / len(pairs)) if pairs else ""


def _build_pair(scored: ScoredPair, rank: int, decision: FilterDecision | None, scale: Scale) -> PairView:
    sample, scores = scored.sample, scored.scores
    return PairView(
        anchor=f"p-{sample.sample_id}",
        question=sample.question,
        answer=sample.answer,
        pieces=cut_pieces(sample.answer, scores),
        instruction=sample.instruction_id,
        tokens=len(scores.token_ids),
        score=scale.unit.show(scored.i2c),
        meter=draw_meter(scored.i2c, scale.full),
        rank=rank,
        decision=decision,
        round=sample.round,
    )


def _estimate_size(card: CardView) -> int:
    draft = card.columns[0].pairs if card.columns else ()
    pairs = sum(900 + len(pair.question) + 60 * len(pair.pieces) + len(pair.answer) for pair in (*card.pairs, *draft))
    lost = sum(200 + len(one.reason) + len(one.detail) for one in card.lost)
    return 600 + len(card.picture or "") + pairs + lost
