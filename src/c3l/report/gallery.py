"""The gallery: which pictures it shows, and each as a card with its pairs."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from c3l.errors import DataError
from c3l.records import ImageRef, Selected
from c3l.report.charts import draw_meter
from c3l.report.contents import Pair, ReportContents
from c3l.report.statistics import find_quantiles
from c3l.report.tokens import Piece, cut_pieces, format_signed

MAX_CHARACTERS = 11_000_000
"""Where the gallery stops growing, so that a report stays well below 15 MB."""


@dataclass(frozen=True, slots=True)
class PairView:
    """One pair as the template prints it."""

    anchor: str
    question: str
    answer: str
    pieces: tuple[Piece, ...]
    instruction: str
    tokens: int
    score: str
    meter: Markup
    decision: Selected
    round: int


@dataclass(frozen=True, slots=True)
class CardView:
    """One picture with its pairs by rank; ``picture`` is a data URI, or None with a ``problem``."""

    image: ImageRef
    picture: str | None
    problem: str
    pairs: tuple[PairView, ...]
    kept: int
    highest: float
    lowest: float


@dataclass(frozen=True, slots=True)
class GalleryView:
    """The cards in order of picture, out of ``total`` pictures that have pairs."""

    cards: tuple[CardView, ...]
    total: int
    total_pairs: int

    @property
    def shown_pairs(self) -> int:
        """How many pairs the cards hold."""
        return sum(len(card.pairs) for card in self.cards)


def build_gallery(contents: ReportContents, pairs: Sequence[Pair]) -> GalleryView:
    """Cards of the pictures chosen by ``choose_pictures``, until the limit or the size is reached."""
    by_image = group_by_image(contents.images, pairs)
    scale = _find_scale(pairs)
    cards: dict[str, CardView] = {}
    size = 0
    for image_id in choose_pictures(by_image, contents.gallery_limit):
        card = _build_card(contents, contents.images[image_id], by_image[image_id], scale)
        size += _estimate_size(card)
        if size > MAX_CHARACTERS and cards:
            break
        cards[image_id] = card
    ordered = tuple(cards[image_id] for image_id in by_image if image_id in cards)
    return GalleryView(ordered, len(by_image), len(pairs))


def group_by_image(images: Mapping[str, ImageRef], pairs: Sequence[Pair]) -> dict[str, list[Pair]]:
    """The pairs of each picture that has some, pictures in the order of ``images``, pairs by rank."""
    groups: dict[str, list[Pair]] = {image_id: [] for image_id in images}
    for pair in pairs:
        groups[pair.scored.sample.image_id].append(pair)
    return {image_id: sorted(group, key=lambda pair: pair.decision.rank) for image_id, group in groups.items() if group}


def choose_pictures(by_image: Mapping[str, Sequence[Pair]], limit: int) -> list[str]:
    """Ids to show: all, or, above the limit, the best, the median and the worst by mean S(I2C), in turn."""
    if len(by_image) <= limit:
        return list(by_image)
    ordered = sorted(by_image, key=lambda image_id: (-_mean_score(by_image[image_id]), image_id))
    middle = (len(ordered) - 1) / 2
    central = [ordered[place] for place in sorted(range(len(ordered)), key=lambda place: abs(place - middle))]
    queues = (ordered, ordered[::-1], central)
    chosen = dict.fromkeys(image_id for turn in zip(*queues, strict=True) for image_id in turn)
    return list(chosen)[:limit]


def _mean_score(pairs: Sequence[Pair]) -> float:
    return sum(pair.scored.i2c for pair in pairs) / len(pairs)


def _find_scale(pairs: Sequence[Pair]) -> float:
    """Full length of a meter: nearly the largest |S(I2C)|, so that one odd pair does not flatten the rest."""
    return find_quantiles([abs(pair.scored.i2c) for pair in pairs], (0.98,))[0] if pairs else 0.0


def _build_card(contents: ReportContents, image: ImageRef, pairs: Sequence[Pair], scale: float) -> CardView:
    picture, problem = _embed(contents, image)
    scores = [pair.scored.i2c for pair in pairs]
    return CardView(
        image=image,
        picture=picture,
        problem=problem,
        pairs=tuple(_build_pair(pair, scale) for pair in pairs),
        kept=sum(pair.decision.kept for pair in pairs),
        highest=max(scores),
        lowest=min(scores),
    )


def _embed(contents: ReportContents, image: ImageRef) -> tuple[str | None, str]:
    try:
        data = contents.open_thumbnail(image)
    except (OSError, DataError) as error:
        return None, f"picture not shown: {error}"
    return "data:image/jpeg;base64," + base64.b64encode(data).decode("ascii"), ""


def _build_pair(pair: Pair, scale: float) -> PairView:
    sample, scores = pair.scored.sample, pair.scored.scores
    return PairView(
        anchor=f"p-{sample.sample_id}",
        question=sample.question,
        answer=sample.answer,
        pieces=cut_pieces(sample.answer, scores),
        instruction=sample.instruction_id,
        tokens=len(scores.token_ids),
        score=format_signed(pair.scored.i2c),
        meter=draw_meter(pair.scored.i2c, scale),
        decision=pair.decision,
        round=sample.round,
    )


def _estimate_size(card: CardView) -> int:
    pairs = sum(900 + len(pair.question) + 60 * len(pair.pieces) + len(pair.answer) for pair in card.pairs)
    return 600 + len(card.picture or "") + pairs
