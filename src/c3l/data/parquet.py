"""Parquet for TRL: pictures inside the file, typed so that ``datasets`` and TRL open it untold."""

import io
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from c3l.data.images import open_image, read_image_bytes
from c3l.errors import ConfigError, DataError
from c3l.records import ImageRef
from c3l.settings.schema import ImagesConfig
from c3l.storage.atomic import atomic_path

ParquetRow = dict[str, Any]

_ROWS_A_GROUP = 64  # pictures in memory at once, and what a reader must load to see one row
_JPEG = b"\xff\xd8\xff"


def write_trl(
    path: Path,
    rows: Iterable[tuple[ParquetRow, ImageRef]],
    score_types: Mapping[str, str],
    image_root: Path | None,
) -> None:
    """Write rows of `id`, `messages` and scores, each with its picture; TRL joins picture and messages.

    Args:
        path: The file.
        rows: A row, with messages of plain strings, and its picture.
        score_types: The score columns that every row has, to their ``datasets`` types, such as ``float64``.
        image_root: Where the pictures lie.

    Raises:
        BadImageError: If a picture is gone or not the one that the run began with.
        DataError: If ``image_root`` is no folder.
        ConfigError: If there is no ``image_root``, or the packages of the extra `export` are missing.
    """
    if image_root is None:
        raise ConfigError("the export format trl holds the pictures themselves, so it needs --image-root")
    if not image_root.is_dir():
        raise DataError(
            f"got the image root {image_root}, which is not a folder, expected the pictures that the export format trl "
            "holds; say where they lie now with --image-root"
        )
    pyarrow, parquet, schema = _packages(score_types)
    pending = iter(rows)
    with atomic_path(path) as temporary, parquet.ParquetWriter(temporary, schema) as writer:
        while group := list(islice(pending, _ROWS_A_GROUP)):
            filled = [{**row, "images": [_embed(image_root, image)]} for row, image in group]
            writer.write_table(pyarrow.Table.from_pylist(filled, schema=schema))


def read_trl(path: Path) -> Iterator[ParquetRow]:
    """The rows of a file that ``write_trl`` wrote."""
    _, parquet, _ = _packages({})
    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(_ROWS_A_GROUP):
            yield from batch.to_pylist()


def _packages(score_types: Mapping[str, str]) -> tuple[Any, Any, Any]:
    """Pyarrow, its parquet part, and the schema of the file, which carries the types of ``datasets``."""
    try:
        import datasets
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise ConfigError("the export format trl needs more packages: pip install 'c3l[export]'") from None
    text = datasets.Value("string")
    features = {
        "id": text,
        "messages": datasets.List({"role": text, "content": text}),
        **{name: datasets.Value(kind) for name, kind in score_types.items()},
        "images": datasets.List(datasets.Image()),
    }
    return pyarrow, parquet, datasets.Features(features).arrow_schema


def _embed(image_root: Path, image: ImageRef) -> ParquetRow:
    """The picture as trainers will see it: JPEG files as they are, all others as the RGB that was scored."""
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
