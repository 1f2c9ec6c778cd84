"""How much of the data is specific to its images, by the model's own numbers: no oracle, no model.

A pair's lift, one of the forms of S(I2C), compares its answer's probability with the image to that without. Where
"without" is the mean over other images, the lift says how specific the pair is: "No, there is no sheepdog." is as
likely under them. Where it is no image at all, the lift says how much an image is needed, not which.
"""

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from c3l.records import NoImageMode, Specificity

SPECIFIC_LIFT = 0.2
"""The lift from which on a pair counts as specific to its image; ours.

With it about as many pairs of the built-in LVLM's drafts count as the oracle says are specific: docs/experiments.md.
"""

Z = 1.96  # half of the width of a 95% interval, in standard errors

_BASELINES: dict[NoImageMode, str] = {
    "drop": "no image",
    "blank": "a grey image",
    "noise": "an image of noise",
    "mask": "an image that the model cannot attend to",
}


class SpecificityTally:
    """Counts pairs one by one; of each it holds one number, of each image two."""

    def __init__(self, no_image: NoImageMode) -> None:
        self._no_image: NoImageMode = no_image
        self._lifts = array("d")
        self._says_no = 0
        self._pairs, self._specific = Counter[str](), Counter[str]()

    def add(self, image: str, lift: float, says_no: bool) -> None:
        """Count a pair; ``image`` is whatever tells the images apart."""
        self._lifts.append(lift)
        self._says_no += says_no
        self._pairs[image] += 1
        if lift >= SPECIFIC_LIFT:
            self._specific[image] += 1

    @property
    def images(self) -> int:
        """How many were counted."""
        return len(self._pairs)

    def summarise(self, others: int) -> Specificity:
        """What was counted, where so many other images stood for an image."""
        low, high = find_interval(self._pairs, self._specific)
        return Specificity(
            pairs=len(self._lifts),
            pictures=self.images,
            specific=self._specific.total(),
            low=low,
            high=high,
            says_no=self._says_no,
            median_lift=_find_median(self._lifts),
            least_lift=SPECIFIC_LIFT,
            over=_name_baseline(self._no_image, others),
            of_this=self._no_image == "others" and others > 0,
        )


def measure_specificity(pairs: Iterable[tuple[str, float, bool]], no_image: NoImageMode, others: int) -> Specificity:
    """How specific pairs are.

    Args:
        pairs: Of each what tells its image apart, its lift, and whether its answer says no.
        no_image: What they were scored without the image as.
        others: How many other images stood for it in the mode ``others``.
    """
    tally = SpecificityTally(no_image)
    for image, lift, says_no in pairs:
        tally.add(image, lift, says_no)
    return tally.summarise(others)


def find_interval(pairs: Counter[str], specific: Counter[str]) -> tuple[float | None, float | None]:
    """The 95% interval of the share of specific pairs, by Wilson's formula; pairs of an image stand or fall together.

    Args:
        pairs: How many each image has.
        specific: How many of them are specific.
    """
    total, images = pairs.total(), len(pairs)
    if not total:
        return None, None
    share = specific.total() / total
    spread = sum((specific[image] - share * count) ** 2 for image, count in pairs.items())
    # so many pairs that are independent would leave as much doubt
    worth: float = total
    if images == 1 or share in (0, 1):
        worth = images
    elif spread:
        worth = min(total, share * (1 - share) * total**2 / spread)
    middle, scale = share + Z**2 / (2 * worth), 1 + Z**2 / worth
    reach = Z * math.sqrt(share * (1 - share) / worth + (Z / (2 * worth)) ** 2)
    return max(0.0, (middle - reach) / scale), min(1.0, (middle + reach) / scale)


def tell_specificity(one: Specificity) -> str:
    """The summary in words: ``37% of 812 pairs are specific to their image (lift >= 0.2 over ...), 12% say no``."""
    claim = "are specific to their image" if one.of_this else "need their image"
    caution = "" if one.of_this else ", not over other images as with scoring.no_image=others"
    number = "1 pair" if one.pairs == 1 else f"{one.pairs:,} pairs"
    share, no = (f"{count / one.pairs:.0%}" for count in (one.specific, one.says_no))
    return f"{share} of {number} {claim} (lift >= {one.least_lift:g} over {one.over}{caution}), {no} say no"


def _name_baseline(no_image: NoImageMode, others: int) -> str:
    """What stands for the image in this mode."""
    if no_image != "others":
        return _BASELINES[no_image]
    if not others:  # a grey one stood for them
        return _BASELINES["blank"]
    return f"{others} other images" if others > 1 else "another image"


def show_specificity(one: Specificity) -> dict[str, Any]:
    """The summary for programs: the fields, numbers cut to four decimals."""
    fields = asdict(one)
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in fields.items()}


def _find_median(values: Sequence[float]) -> float | None:
    if not values:
        return None
    ordered, middle = sorted(values), len(values) // 2
    return ordered[middle] if len(values) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
