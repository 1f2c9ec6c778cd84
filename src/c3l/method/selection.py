"""Selection: an image's pair with the highest S(I2C) is the positive, its other pairs are the negatives."""

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Literal

from c3l.records import ContrastiveGroup, Rejected, Role, ScoredPair, make_id
from c3l.settings.schema import SelectionConfig


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
    pairs = scored if config.among == "all" else _less_their_mean(scored, config.among)
    return [_group(image_id, ranked, config.positive, seed) for image_id, ranked in _ranked_by_image(pairs).items()]


def _less_their_mean(scored: Iterable[ScoredPair], among: Literal["opening", "openings"]) -> list[ScoredPair]:
    kinds: dict[str, list[ScoredPair]] = {}
    for one in scored:
        kinds.setdefault(getattr(one.sample, among), []).append(one)
    # exact sums: the order of the input changes nothing
    means = {kind: math.fsum(one.i2c for one in pairs) / len(pairs) for kind, pairs in kinds.items()}
    return [replace(one, i2c=one.i2c - means[kind]) for kind, pairs in kinds.items() for one in pairs]


def _group(image_id: str, ranked: list[ScoredPair], rule: str, seed: int) -> ContrastiveGroup | Rejected:
    ids = [one.sample.sample_id for one in ranked]
    if len(ids) == 1:
        return Rejected(ids[0], image_id, "selection", "one_pair", "the only pair of its image: nothing to contrast")
    positive = {"highest": ids[0], "lowest": ids[-1]}.get(rule) or min(ids, key=lambda i: make_id("positive", seed, i))
    return ContrastiveGroup(image_id, positive, tuple(i for i in ids if i != positive))


def rank_pairs(scored: Iterable[ScoredPair]) -> dict[str, tuple[int, Role]]:
    """The rank of every sample among its image's pairs, 1 the highest, and its role; images by id, pairs by rank."""
    return {
        one.sample.sample_id: (rank, _role(rank, len(ranked)))
        for ranked in _ranked_by_image(scored).values()
        for rank, one in enumerate(ranked, start=1)
    }


def by_falling_score(scored: ScoredPair) -> tuple[float, str]:
    """Sort key: highest S(I2C) first, ties by sample id."""
    return -scored.i2c, scored.sample.sample_id


def _ranked_by_image(scored: Iterable[ScoredPair]) -> dict[str, list[ScoredPair]]:
    images: dict[str, list[ScoredPair]] = {}
    for one in sorted(scored, key=by_falling_score):
        images.setdefault(one.sample.image_id, []).append(one)
    return dict(sorted(images.items()))


def _role(rank: int, pairs: int) -> Role:
    if pairs == 1:
        return "only"
    return "positive" if rank == 1 else "negative"
