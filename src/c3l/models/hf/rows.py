"""Which teacher-forced rows a score needs: with the image, and without it in each way of leaving it out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from c3l.errors import BackendError
from c3l.models.interface import ScoreRequest
from c3l.records import NoImageMode

GREY = (128, 128, 128)


@dataclass(frozen=True, slots=True)
class ForcingRow:
    """One completion after one prompt, shown one picture, no picture, or one that it may not look at.

    Attributes:
        image: What is shown.
        prompt: The user's turn.
        completion: Token ids.
        request: Number of the request that it belongs to; rows of equal number share what they begin with.
        hide_image: Whether the picture's tokens are there but must not be looked at.
        system: The system prompt; empty for none.
        earlier: What was said before the prompt, in turns; the picture stands before the first of them.
    """

    image: Image.Image | None
    prompt: str
    completion: tuple[int, ...]
    request: int = 0
    hide_image: bool = False
    system: str = ""
    earlier: tuple[tuple[str, str], ...] = ()


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
    images: Sequence[Image.Image | None],
) -> list[ForcingRow]:
    return [
        ForcingRow(image, pair.prompt, completion, number, system=request.system, earlier=pair.earlier)
        for number, (request, of_request, image) in enumerate(zip(requests, completions, images, strict=True))
        for pair, completion in zip(request.pairs, of_request, strict=True)
        if completion
    ]


def _share(rows: list[ForcingRow]) -> list[ForcingRow]:
    """Rows that show one picture as if they were of one request."""
    first: dict[int, int] = {}
    return [replace(row, request=first.setdefault(id(row.image), row.request)) for row in rows]


def _stand_in(request: ScoreRequest, no_image: NoImageMode) -> Image.Image | None:
    """What is shown in place of the image: nothing, mid-grey, or uniform noise of the same size."""
    if no_image == "blank":
        return Image.new("RGB", request.image.size, GREY)
    if no_image == "noise":
        width, height = request.image.size
        pixels = np.random.default_rng(request.seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
        return Image.fromarray(pixels)
    return None
