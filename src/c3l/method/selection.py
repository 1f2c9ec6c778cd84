"""Selection: an image's pair with the highest S(I2C) is the positive, its other pairs are the negatives."""

from collections.abc import Iterable
from dataclasses import dataclass

from c3l.records import ContrastiveGroup, Role, ScoredSample


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a pair stands among the pairs of its image: rank 1 has the highest S(I2C)."""

    rank: int
    role: Role


def select(scored: Iterable[ScoredSample]) -> list[ContrastiveGroup]:
    """One group an image, in order of image id: the positive, and the negatives in order of falling S(I2C).

    An image with one pair has nothing to contrast and gives no group; ``rank_pairs`` says ``only`` of it.
    """
    return [
        ContrastiveGroup(image_id, ranked[0].sample.sample_id, tuple(one.sample.sample_id for one in ranked[1:]))
        for image_id, ranked in _ranked_by_image(scored).items()
        if len(ranked) > 1
    ]


def rank_pairs(scored: Iterable[ScoredSample]) -> dict[str, Standing]:
    """The standing of every sample, by sample id; images in order of id, pairs in order of rank."""
    return {
        one.sample.sample_id: Standing(rank, _role(rank, len(ranked)))
        for ranked in _ranked_by_image(scored).values()
        for rank, one in enumerate(ranked, start=1)
    }


def by_falling_score(scored: ScoredSample) -> tuple[float, str]:
    """Sort key: highest S(I2C) first, ties by sample id."""
    return -scored.i2c, scored.sample.sample_id


def _ranked_by_image(scored: Iterable[ScoredSample]) -> dict[str, list[ScoredSample]]:
    images: dict[str, list[ScoredSample]] = {}
    for one in sorted(scored, key=by_falling_score):
        images.setdefault(one.sample.image_id, []).append(one)
    return dict(sorted(images.items()))


def _role(rank: int, pairs: int) -> Role:
    if pairs == 1:
        return "only"
    return "positive" if rank == 1 else "negative"
