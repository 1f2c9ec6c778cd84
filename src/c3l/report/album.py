"""The images on the page: each opened once, however often it is shown."""

import base64
from collections.abc import Iterable

from c3l.errors import DataError
from c3l.records import ImageRef
from c3l.report.contents import ReportContents


class Album:
    """Opens images for the page and remembers what came of each."""

    def __init__(self, contents: ReportContents) -> None:
        self._contents = contents
        self._embedded: dict[str, tuple[str | None, str]] = {}

    def embed(self, image: ImageRef) -> tuple[str | None, str]:
        """The image as a data URI and an empty text; or None and what is wrong with it."""
        if image.image_id not in self._embedded:
            self._embedded[image.image_id] = self._open(image)
        return self._embedded[image.image_id]

    def measure(self, image_ids: Iterable[str]) -> int:
        """How many characters these images take on the page, each as often as it is named."""
        return sum(len(self.embed(self._contents.images[image_id])[0] or "") for image_id in image_ids)

    def _open(self, image: ImageRef) -> tuple[str | None, str]:
        try:
            data = self._contents.open_thumbnail(image)
        except (OSError, DataError) as error:
            return None, f"image not shown: {error}"
        return "data:image/jpeg;base64," + base64.b64encode(data).decode("ascii"), ""
