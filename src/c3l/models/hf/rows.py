"""Which teacher-forced rows a score needs: with the image, and without it in each way of leaving it out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from c3l.errors import BackendError
from c3l.models.interface import Pair, ScoreRequest, Shown
from c3l.records import NoImageMode

GREY = (128, 128, 128)


@dataclass(frozen=True, slots=True)
class ForcingRow:
    """One completion after one prompt, shown one image, no image, or one that it may not look at.

    Attributes:
        image: What is shown.
        prompt: The user's turn.
        completion: Token ids.
        request: Number of the request that it belongs to; rows of equal number share what they begin with.
        hide_image: Whether the image's tokens are there but must not be looked at.
        system: The system prompt; empty for none.
        earlier: What was said before the prompt, in turns; the image stands before the first of them.
        images: In place of ``image`` several, each where the texts have an ``<image>``; empty where they are left out.
    """

    image: Image.Image | None
    prompt: str
    completion: tuple[int, ...]
    request: int = 0
    hide_image: bool = False
    system: str = ""
    earlier: tuple[tuple[str, str], ...] = ()
    images: tuple[Image.Image, ...] | None = None

    @property
    def shown(self) -> Shown | None:
        """The image, or the images."""
        return self.image if self.images is None else self.images or None


def make_row(shown: Shown | None, pair: Pair, completion: tuple[int, ...], request: int, system: str) -> ForcingRow:
    """The row of a pair."""
    one, several = (None, shown) if isinstance(shown, tuple) else (shown, None)
    return ForcingRow(one, pair.prompt, completion, request, False, system, pair.earlier, several)


def rows_with(requests: Sequence[ScoreRequest], completions: Sequence[Sequence[tuple[int, ...]]]) -> list[ForcingRow]:
    """One row for each completion that has tokens, with its own image."""
    return _rows(requests, completions, [request.image for request in requests])


def rows_without(
    requests: Sequence[ScoreRequest], completions: Sequence[Sequence[tuple[int, ...]]], no_image: NoImageMode
) -> Iterator[list[ForcingRow]]:
    """The same rows without it: one list of all rows, or m of them for the mixture over m other images.

    Raises:
        BackendError: If the mode is ``others`` and the requests bring none, or not all as many.
    """
    if no_image == "others":
        counts = {len(request.others) for request in requests}
        if len(counts) != 1 or 0 in counts:
            raise BackendError(f"got {sorted(counts)} other images, expected the same number >= 1 a request")
        for others in zip(*(request.others for request in requests), strict=True):
            yield _share(_rows(requests, completions, others))
    elif no_image == "mask":
        yield [replace(row, hide_image=True) for row in rows_with(requests, completions)]
    else:
        yield _rows(requests, completions, [_stand_in(request, no_image) for request in requests])


def _rows(
    requests: Sequence[ScoreRequest],
    completions: Sequence[Sequence[tuple[int, ...]]],
    images: Sequence[Shown | None],
) -> list[ForcingRow]:
    return [
        make_row(image, pair, completion, number, request.system)
        for number, (request, of_request, image) in enumerate(zip(requests, completions, images, strict=True))
        for pair, completion in zip(request.pairs, of_request, strict=True)
        if completion
    ]


def _share(rows: list[ForcingRow]) -> list[ForcingRow]:
    """Rows that show one image as if they were of one request."""
    first: dict[int, int] = {}
    return [replace(row, request=first.setdefault(id(row.shown), row.request)) for row in rows]


def _stand_in(request: ScoreRequest, no_image: NoImageMode) -> Shown | None:
    """What is shown in place of the image: nothing, mid-grey, or uniform noise of the same size."""
    shown, random = request.image, np.random.default_rng(request.seed)
    images = shown if isinstance(shown, tuple) else (shown,)
    found: list[Image.Image] = []
    for image in images if no_image in ("blank", "noise") else ():
        width, height = image.size
        pixels = random.integers(0, 256, (height, width, 3), dtype=np.uint8) if no_image == "noise" else None
        found.append(Image.new("RGB", image.size, GREY) if pixels is None else Image.fromarray(pixels))
    return tuple(found) if isinstance(shown, tuple) else next(iter(found), None)
