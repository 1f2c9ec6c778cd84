"""Selection: an image's pair with the highest S(I2C) is the positive, its other pairs are the negatives."""

import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace

from c3l.records import ContrastiveGroup, Rejected, Role, ScoredPair, make_id
from c3l.settings.schema import SelectionConfig


@dataclass(frozen=True, slots=True)
class RankedPair:
    """What a scored pair is ranked by: without its texts and tokens, which memory need not hold of all pairs.

    Attributes:
        sample_id: The pair.
        image_id: Its image.
        i2c: S(I2C).
        kind: Such as the question's first word, where pairs are compared with others of their kind.
    """

    sample_id: str
    image_id: str
    i2c: float
    kind: str = ""


def to_ranked(one: ScoredPair, kind: str = "") -> RankedPair:
    """What this pair is ranked by."""
    sample = one.sample
    return RankedPair(sample.sample_id, sys.intern(sample.image_id), one.i2c, sys.intern(kind))


def select(
    scored: Iterable[ScoredPair], config: SelectionConfig | None = None, seed: int = 0
) -> list[ContrastiveGroup | Rejected]:
    """One group an image, in order of image id: the positive, and the negatives in order of falling S(I2C).

    An image with one pair has nothing to contrast: it is rejected as ``one_pair``. With ``among``, a pair counts for
    what it has over the mean of its kind: else the kind that scores highest, a short no say, is every image's positive.

    Args:
        scored: Samples with finite S(I2C), each once, in any order.
        config: Which pair is the positive; the highest by default.
        seed: Draws the positive of the control ``random``.
    """
    config = config or SelectionConfig()
    if config.among == "all":
        pairs = [to_ranked(one) for one in scored]
    else:
        pairs = _less_their_mean(to_ranked(one, getattr(one.sample, config.among)) for one in scored)
    return [_group(image_id, ranked, config.positive, seed) for image_id, ranked in _ranked_by_image(pairs).items()]


def _less_their_mean(pairs: Iterable[RankedPair]) -> list[RankedPair]:
    kinds: dict[str, list[RankedPair]] = {}
    for one in pairs:
        kinds.setdefault(one.kind, []).append(one)
    # exact sums: the order of the input changes nothing
    means = {kind: math.fsum(one.i2c for one in alike) / len(alike) for kind, alike in kinds.items()}
    return [replace(one, i2c=one.i2c - means[kind]) for kind, alike in kinds.items() for one in alike]


def _group(image_id: str, ranked: list[RankedPair], rule: str, seed: int) -> ContrastiveGroup | Rejected:
    ids = [one.sample_id for one in ranked]
    if len(ids) == 1:
        return Rejected(ids[0], image_id, "selection", "one_pair", "the only pair of its image: nothing to contrast")
    positive = {"highest": ids[0], "lowest": ids[-1]}.get(rule) or min(ids, key=lambda i: make_id("positive", seed, i))
    return ContrastiveGroup(image_id, positive, tuple(i for i in ids if i != positive))


def rank_pairs(pairs: Iterable[RankedPair]) -> dict[str, tuple[int, Role]]:
    """The rank of every sample among its image's pairs, 1 the highest, and its role; images by id, pairs by rank."""
    return {
        one.sample_id: (rank, _role(rank, len(ranked)))
        for ranked in _ranked_by_image(pairs).values()
        for rank, one in enumerate(ranked, start=1)
    }


def by_falling_score(scored: ScoredPair) -> tuple[float, str]:
    """Sort key: highest S(I2C) first, ties by sample id."""
    return -scored.i2c, scored.sample.sample_id


def by_rank(pair: RankedPair) -> tuple[float, str]:
    """The same of what a pair is ranked by."""
    return -pair.i2c, pair.sample_id


def _ranked_by_image(pairs: Iterable[RankedPair]) -> dict[str, list[RankedPair]]:
    images: dict[str, list[RankedPair]] = {}
    for one in sorted(pairs, key=by_rank):
        images.setdefault(one.image_id, []).append(one)
    return dict(sorted(images.items()))


def _role(rank: int, pairs: int) -> Role:
    if pairs == 1:
        return "only"
    return "positive" if rank == 1 else "negative"
