"""The images that stand for "no image" in the ``others`` mode: which, in which order; none beside a copy of itself."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import nsmallest
from itertools import islice
from threading import Lock

from PIL.Image import Image, Resampling
from PIL.Image import new as new_image

from c3l.errors import BadImageError
from c3l.method.generation import OpenImage
from c3l.models.interface import Shown
from c3l.records import ImageRef, make_id
from c3l.settings.schema import ScoringConfig

logger = logging.getLogger(__name__)

# Other images drawn beyond the m that are needed, to stand in for those that do not open.
_SPARE_OTHERS = 8


@dataclass(frozen=True, slots=True)
class ImageSource:
    """The images that samples are about.

    Attributes:
        refs: By id: those of the samples, and those of the pool.
        open: Opens one as RGB, or raises BadImageError.
        pool: Ids of all images of the run, from which the ``others`` mode draws.
        sets: Of samples about several images the ids of these, in order, by what such a sample has as ``image_id``.
        open_other: Opens one that stands for no image; ``open`` where that is no other way.
    """

    refs: Mapping[str, ImageRef]
    open: OpenImage
    pool: Sequence[str] = ()
    sets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    open_other: OpenImage | None = None

    def list_ids(self, image_id: str) -> tuple[str, ...]:
        """The ids of the image, or of the several, of a sample with this one."""
        return self.sets.get(image_id, (image_id,))


class OtherImages:
    """The images that stand for "no image": the first m of the pool in an order drawn by the run's seed.

    They are the same for all images, but for those that are among them, under the same name or another: so a model
    encodes each of them once, and what its rows begin with is computed once for all pairs of a batch.

    For several images stand as many of them, one behind the other: first the first n, then those from the second on,
    m times; after the last of them comes the first again.
    """

    def __init__(self, images: ImageSource, config: ScoringConfig, seed: int) -> None:
        self._images, pool = images, sorted(set(images.pool))
        self._shows, self._wanted = config.no_image == "others", count_others(config, len(pool))
        self._open_other = images.open_other or images.open
        self._opened: dict[str, Image | None] = {}
        self._told = False
        self._opening = Lock()  # images are opened by threads, and each of these once
        self._order = draw_pool(pool, config, seed, max(map(len, images.sets.values()), default=1))
        self._sets: dict[tuple[str, ...], tuple[Image, ...]] = {}

    def __call__(self, image_id: str, shown: Shown) -> tuple[Shown, ...]:
        """Those for what is shown: as many as open, or grey ones of its size if none does."""
        if not self._shows:
            return ()
        pictures, own = shown if isinstance(shown, tuple) else (shown,), self._images.list_ids(image_id)
        names = (name for name in self._order if name not in own and self._shows_another(name, pictures))
        found = list(islice(names, self._wanted + len(own) - 1))
        if not found:
            self._tell_grey(own)
            grey = tuple(new_image("RGB", picture.size, "grey") for picture in pictures)
            return (grey,) if isinstance(shown, tuple) else grey
        turns = range(min(self._wanted, len(found)))
        sets = [self._keep(tuple(found[(turn + place) % len(found)] for place in range(len(own)))) for turn in turns]
        return tuple(sets) if isinstance(shown, tuple) else tuple(image for one in sets for image in one)

    def _keep(self, names: tuple[str, ...]) -> tuple[Image, ...]:
        """These images, as one object for all that they stand for."""
        pictures = tuple(image for name in names if (image := self._open(name)) is not None)
        return self._sets.setdefault(names, pictures)

    def _shows_another(self, name: str, pictures: Sequence[Image]) -> bool:
        """Whether the image opens, and is no copy of those shown, which would tell nothing beside them."""
        image = self._open(name)
        return image is not None and not any(_show_the_same(image, picture) for picture in pictures)

    def _tell_grey(self, own: Sequence[str]) -> None:
        """Say once where images were drawn and none can be shown; where there is none, whoever asked says so."""
        if not self._told and set(self._order) - set(own):
            self._told = True
            logger.warning(
                "of the images drawn to stand for no image none opens and is another than the one shown, so a grey one "
                "is shown instead where that is so"
            )

    def _open(self, image_id: str) -> Image | None:
        """The image; None if it does not open: a rejection where it is scored itself, here the next one serves."""
        with self._opening:
            if image_id not in self._opened:
                try:
                    self._opened[image_id] = self._open_other(self._images.refs[image_id])
                except BadImageError:
                    self._opened[image_id] = None
            return self._opened[image_id]


def _show_the_same(one: Image, other: Image) -> bool:
    """Whether two images are equal, pixel for pixel; a few pixels tell most apart, and cost nothing."""
    return one.size == other.size and _glance(one) == _glance(other) and one.tobytes() == other.tobytes()


def _glance(image: Image) -> bytes:
    return image.resize((16, 16), Resampling.NEAREST).tobytes()


def draw_pool(pool: Iterable[str], config: ScoringConfig, seed: int, several: int = 1) -> list[str]:
    """Those of the ids that the ``others`` mode may show, in the order in which it does; none in the other modes.

    Args:
        pool: All ids.
        config: The mode, and m.
        seed: The run's seed.
        several: How many images a sample has at most: as many are not to be shown, and as many are shown at once.
    """
    if config.no_image != "others":
        return []
    wanted = count_compared(config, several) + _SPARE_OTHERS
    # a place of one's own for each, so that a longer pool moves few
    return nsmallest(wanted, pool, key=lambda image_id: make_id(seed, image_id, "others"))


def count_compared(config: ScoringConfig, several: int = 1) -> int:
    """How many of those drawn are shown beside some image, where all open and none is a copy.

    Args:
        config: With m.
        several: As of ``draw_pool``.
    """
    return config.others + 2 * several - 1


def count_others(config: ScoringConfig, images: int) -> int:
    """How many other images stand for an image where there are so many in all: m, or all others if they are fewer."""
    return min(config.others, max(images - 1, 0)) if config.no_image == "others" else 0


def tell_few_others(config: ScoringConfig, images: int) -> str:
    """A line for who runs it where the ``others`` mode has fewer than m to show; empty where it has enough."""
    found = count_others(config, images)
    if config.no_image != "others" or found == config.others:
        return ""
    if not found:
        return (
            "there is no other image to compare with, so a grey one is shown instead: scores say whether an answer "
            "needs an image at all, not whether it needs its own"
        )
    number = f"{found} other{'s' * (found > 1)}"
    return f"each image is compared with {number}, not with scoring.others={config.others}: scores are less exact"
