"""The gallery: which pictures it shows, and each as a card with its pairs."""

import base64
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from c3l.errors import DataError
from c3l.records import FilterDecision, ImageRef, ScoredPair
from c3l.report.charts import draw_meter
from c3l.report.contents import DecidedPair, ReportContents
from c3l.report.rounds import label_round, mean_by_image, split_rounds
from c3l.report.statistics import find_quantiles
from c3l.report.tokens import Piece, cut_pieces
from c3l.report.units import Unit, unit_in_use

MAX_CHARACTERS = 11_000_000
"""Where the gallery stops growing, so that a report stays well below 15 MB."""


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
    """What one round wrote about a picture, by rank; ``mean`` S(I2C) is empty where it has no pair."""

    label: str
    pairs: tuple[PairView, ...]
    mean: str


@dataclass(frozen=True, slots=True)
class CardView:
    """One picture with its pairs by rank; ``picture`` is a data URI, or None with a ``problem``.

    Attributes:
        pairs: Those of the last round; may be empty where the draft has some.
        columns: The draft and the last round side by side; empty where there was one round only.
        highest: Largest S(I2C) among ``pairs``; None where there is none.
        lowest: Smallest.
    """

    image: ImageRef
    anchor: str
    picture: str | None
    problem: str
    pairs: tuple[PairView, ...]
    columns: tuple[ColumnView, ...]
    kept: int
    highest: float | None
    lowest: float | None


@dataclass(frozen=True, slots=True)
class GalleryView:
    """The cards in order of picture, out of ``total`` pictures that have pairs of the last round or the draft."""

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
class Drafts:
    """The draft's pairs of each picture by rank, and what the page calls the last round."""

    by_image: Mapping[str, Sequence[ScoredPair]]
    last: str


@dataclass(frozen=True, slots=True)
class Scale:
    """How scores are shown: their unit, and the value at which a meter is full."""

    unit: Unit
    full: float


def build_gallery(contents: ReportContents, pairs: Sequence[DecidedPair]) -> GalleryView:
    """Cards of the pictures chosen by ``choose_images``, until the limit or the size is reached."""
    by_image, drafts = group_by_image(contents.images, pairs), find_drafts(contents)
    before = [] if drafts is None else [scored for group in drafts.by_image.values() for scored in group]
    means = mean_by_image(before) | mean_by_image([pair.scored for pair in pairs])
    scale = Scale(unit_in_use(contents), _find_full([*before, *(pair.scored for pair in pairs)]))
    cards: dict[str, CardView] = {}
    size = 0
    ordered = {image_id: means[image_id] for image_id in contents.images if image_id in means}
    for image_id in choose_images(ordered, contents.gallery_limit):
        card = _build_card(contents, contents.images[image_id], by_image.get(image_id, []), drafts, scale)
        size += _estimate_size(card)
        if size > MAX_CHARACTERS and cards:
            break
        cards[image_id] = card
    shown = tuple(cards[image_id] for image_id in ordered if image_id in cards)
    return GalleryView(shown, len(ordered), len(pairs), len(before))


def find_drafts(contents: ReportContents) -> Drafts | None:
    """The pairs of round 0 where a later round has followed."""
    rounds = split_rounds(contents)
    if not rounds:
        return None
    groups = defaultdict(list)
    for scored in sorted(rounds[0], key=lambda scored: (-scored.i2c, scored.sample.sample_id)):
        groups[scored.sample.image_id].append(scored)
    return Drafts(groups, label_round(max(rounds)))


def group_by_image(images: Mapping[str, ImageRef], pairs: Sequence[DecidedPair]) -> dict[str, list[DecidedPair]]:
    """The pairs of each picture that has some, pictures in the order of ``images``, pairs by rank."""
    groups: dict[str, list[DecidedPair]] = {image_id: [] for image_id in images}
    for pair in pairs:
        groups[pair.scored.sample.image_id].append(pair)
    return {image_id: sorted(group, key=lambda pair: pair.decision.rank) for image_id, group in groups.items() if group}


def choose_images(means: Mapping[str, float], limit: int) -> list[str]:
    """Ids to show: all, or, above the limit, the best, the median and the worst by mean S(I2C), in turn."""
    if len(means) <= limit:
        return list(means)
    ordered = sorted(means, key=lambda image_id: (-means[image_id], image_id))
    middle = (len(ordered) - 1) / 2
    central = [ordered[place] for place in sorted(range(len(ordered)), key=lambda place: abs(place - middle))]
    queues = (ordered, ordered[::-1], central)
    chosen = dict.fromkeys(image_id for turn in zip(*queues, strict=True) for image_id in turn)
    return list(chosen)[:limit]


def _find_full(scored: Sequence[ScoredPair]) -> float:
    """Full length of a meter: nearly the largest |S(I2C)|, so that one odd pair does not flatten the rest."""
    return find_quantiles([abs(one.i2c) for one in scored], (0.98,))[0] if scored else 0.0


def _build_card(
    contents: ReportContents, image: ImageRef, pairs: Sequence[DecidedPair], drafts: Drafts | None, scale: Scale
) -> CardView:
    picture, problem = embed_image(contents, image)
    scores = [pair.scored.i2c for pair in pairs]
    views = tuple(_build_pair(pair.scored, pair.decision.rank, pair.decision, scale) for pair in pairs)
    return CardView(
        image=image,
        anchor=f"c-{image.image_id}",
        picture=picture,
        problem=problem,
        pairs=views,
        columns=() if drafts is None else _build_columns(drafts, image, views, scores, scale),
        kept=sum(pair.decision.kept for pair in pairs),
        highest=max(scores, default=None),
        lowest=min(scores, default=None),
    )


def _build_columns(
    drafts: Drafts, image: ImageRef, last: tuple[PairView, ...], scores: Sequence[float], scale: Scale
) -> tuple[ColumnView, ...]:
    scored = drafts.by_image.get(image.image_id, [])
    draft = tuple(_build_pair(one, rank, None, scale) for rank, one in enumerate(scored, start=1))
    return (
        ColumnView(label_round(0), draft, _show_mean([one.i2c for one in scored], scale)),
        ColumnView(drafts.last, last, _show_mean(scores, scale)),
    )


def _show_mean(scores: Sequence[float], scale: Scale) -> str:
    return scale.unit.show(sum(scores) / len(scores)) if scores else ""


def embed_image(contents: ReportContents, image: ImageRef) -> tuple[str | None, str]:
    """The picture as a data URI and an empty text; or None and what is wrong with it."""
    try:
        data = contents.open_thumbnail(image)
    except (OSError, DataError) as error:
        return None, f"picture not shown: {error}"
    return "data:image/jpeg;base64," + base64.b64encode(data).decode("ascii"), ""


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
    return 600 + len(card.picture or "") + pairs
