"""Parquet with the images inside, typed so that ``datasets`` opens it untold: for TRL, and as FineVision has it."""

import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from c3l.data.images import open_image, read_image_bytes
from c3l.data.roots import has_root
from c3l.errors import ConfigError, DataError
from c3l.records import ImageRef
from c3l.settings.roots import Address
from c3l.settings.schema import ImagesConfig
from c3l.storage.atomic import atomic_path

ParquetRow = dict[str, Any]

CHAT = [{"role": "string", "content": "string"}]
TEXTS = [{"user": "string", "assistant": "string"}]

_ROWS_A_GROUP = 64  # images in memory at once, and what a reader must load to see one row
_MOST_ROWS_A_GROUP = 256
_BYTES_A_GROUP = 2**28  # arrow reads no more than 2 GiB of images at once
_DICTIONARY_BYTES = 2**31 - 1  # the most that a page can have
_JPEG = b"\xff\xd8\xff"


def write_pictures(
    path: Path,
    rows: Iterable[tuple[ParquetRow, ImageRef]],
    columns: Mapping[str, Any],
    image_root: Path | Address | None,
    name: str,
) -> None:
    """Write rows of these columns, each with its image in the column `images`.

    Args:
        path: The file.
        rows: A row, and its image.
        columns: Each to its type: a name that ``datasets.Value`` knows, ``CHAT`` or ``TEXTS``, or a list of one.
        image_root: Where the images lie.
        name: Of the format, for errors.

    Raises:
        BadImageError: If an image is gone or not the one that the run began with.
        DataError: If ``image_root`` is no folder.
        ConfigError: If there is no ``image_root``, or the packages of the extra `export` are missing.
    """
    if image_root is None:
        raise ConfigError(f"the export format {name} holds the images themselves, so it needs --image-root")
    if not has_root(image_root):
        raise DataError(
            f"got the image root {image_root}, which is not a folder, expected the images that the export format "
            f"{name} holds; say where they lie now with --image-root"
        )
    datasets = _datasets(name)
    import pyarrow
    from pyarrow import parquet

    features = {column: _feature(datasets, kind) for column, kind in columns.items()}
    # the schema carries the types of `datasets`
    schema = datasets.Features({**features, "images": datasets.List(datasets.Image())}).arrow_schema
    # a dictionary holds every different image of a group once, however many rows show it
    once = {"use_dictionary": True, "dictionary_pagesize_limit": _DICTIONARY_BYTES}
    with atomic_path(path) as temporary, parquet.ParquetWriter(temporary, schema, **once) as writer:
        for group in _group(rows, partial(_embed, image_root)):
            writer.write_table(pyarrow.Table.from_pylist(group, schema=schema))


def _group(
    rows: Iterable[tuple[ParquetRow, ImageRef]], embed: Callable[[ImageRef], ParquetRow]
) -> Iterator[list[ParquetRow]]:
    """Rows with their images by the group, those of an image in one while they are not too many or too large."""
    group: list[ParquetRow] = []
    embedded: dict[ImageRef, ParquetRow] = {}
    size = 0
    for row, image in rows:
        is_full = (len(group) >= _ROWS_A_GROUP or size >= _BYTES_A_GROUP) and image not in embedded
        # every row counts: a reader has the image of each by itself
        if is_full or len(group) >= _MOST_ROWS_A_GROUP or size >= 2 * _BYTES_A_GROUP:
            yield group
            group, embedded, size = [], {}, 0
        if image not in embedded:
            embedded[image] = embed(image)
        group.append({**row, "images": [embedded[image]]})
        size += len(embedded[image]["bytes"])
    if group:
        yield group


def _feature(datasets: Any, kind: Any) -> Any:
    if isinstance(kind, str):
        return datasets.Value(kind)
    if isinstance(kind, list):
        return datasets.List(_feature(datasets, kind[0]))
    return {name: _feature(datasets, one) for name, one in kind.items()}


def read_parquet(path: Path) -> Iterator[ParquetRow]:
    """The rows of a file that was written here."""
    _datasets("trl")
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(_ROWS_A_GROUP):
            yield from batch.to_pylist()


def check_parquet(name: str) -> None:
    """Look whether what writes a format is installed, without importing it.

    Raises:
        ConfigError: If it is not.
    """
    if missing := [one for one in ("datasets", "pyarrow") if find_spec(one) is None]:
        raise ConfigError(f"the export format {name} needs {' and '.join(missing)}: pip install 'c3l[export]'")


def _datasets(name: str) -> Any:
    check_parquet(name)
    import datasets

    return datasets


def _embed(image_root: Path | Address, image: ImageRef) -> ParquetRow:
    """The image as trainers will see it: JPEG files as they are, all others as the RGB that was scored."""
    content = read_image_bytes(image_root, image, "all")  # its hash says that it is the run's
    if not content.startswith(_JPEG):
        buffer = io.BytesIO()
        open_image(image_root, image, _rules_that_admit(image)).save(buffer, "PNG")
        content = buffer.getvalue()
    return {"bytes": content, "path": image.path}


def _rules_that_admit(image: ImageRef) -> ImagesConfig:
    # the run's own rules let it in, and its bytes are still the same
    pixels = image.width * image.height
    return ImagesConfig.model_validate(
        {"max_pixels": pixels, "min_side": 1, "max_aspect": pixels, "follow_links": "all"}
    )
