"""What did not come out of a stage, and why: counted in one pass, of which only what is shown is held."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from c3l.records import Rejected

MAX_LISTED = 200


@dataclass(frozen=True, slots=True)
class RejectionsView:
    """The rejections of all stages.

    Attributes:
        total: How many.
        reasons: Each stage and reason with its count, the most frequent first.
        listed: The first of them, in order.
        by_image: Those of the images in the gallery.
    """

    total: int
    reasons: Sequence[tuple[str, str, int]]
    listed: Sequence[Rejected]
    by_image: Mapping[str, Sequence[Rejected]]


def read_rejections(rejected: Iterable[Rejected], shown: Collection[str]) -> RejectionsView:
    """One pass over what was rejected; ``shown`` has the ids of the gallery's images."""
    counts: Counter[tuple[str, str]] = Counter()
    listed: list[Rejected] = []
    by_image: defaultdict[str, list[Rejected]] = defaultdict(list)
    for one in rejected:
        counts[one.stage, one.reason] += 1
        if len(listed) < MAX_LISTED:
            listed.append(one)
        if one.image_id in shown:
            by_image[one.image_id].append(one)
    by_count = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    return RejectionsView(counts.total(), [(*key, count) for key, count in by_count], listed, dict(by_image))
