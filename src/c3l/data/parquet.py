"""Parquet with the pictures inside, typed so that ``datasets`` opens it untold: for TRL, and as FineVision has it."""

import io
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
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

_ROWS_A_GROUP = 64  # pictures in memory at once, and what a reader must load to see one row
_JPEG = b"\xff\xd8\xff"


def write_trl(
    path: Path,
    rows: Iterable[tuple[ParquetRow, ImageRef]],
    score_types: Mapping[str, str],
    image_root: Path | Address | None,
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
    datasets = _datasets("trl")
    text = datasets.Value("string")
    columns = {
        "id": text,
        "messages": datasets.List({"role": text, "content": text}),
        **{name: datasets.Value(kind) for name, kind in score_types.items()},
    }
    _write(path, rows, columns, image_root, "trl")


def write_finevision(
    path: Path, rows: Iterable[tuple[ParquetRow, ImageRef]], image_root: Path | Address | None
) -> None:
    """Write a row a picture in FineVision's columns: `texts` of `user` and `assistant`, `source`, and their scores.

    Args:
        path: The file.
        rows: `texts`, `source`, `ids`, `i2c_scores`, `i2c_min`; and the picture.
        image_root: Where the pictures lie.

    Raises:
        BadImageError: As ``write_trl``, and so for the others.
    """
    datasets = _datasets("finevision")
    text, number = datasets.Value("string"), datasets.Value("float64")
    columns = {
        "texts": datasets.List({"user": text, "assistant": text}),
        "source": text,
        "ids": datasets.List(text),
        "i2c_scores": datasets.List(number),
        "i2c_min": number,
    }
    _write(path, rows, columns, image_root, "finevision")


def _write(
    path: Path,
    rows: Iterable[tuple[ParquetRow, ImageRef]],
    columns: Mapping[str, Any],
    image_root: Path | Address | None,
    name: str,
) -> None:
    if image_root is None:
        raise ConfigError(f"the export format {name} holds the pictures themselves, so it needs --image-root")
    if not has_root(image_root):
        raise DataError(
            f"got the image root {image_root}, which is not a folder, expected the pictures that the export format "
            f"{name} holds; say where they lie now with --image-root"
        )
    datasets = _datasets(name)
    import pyarrow
    from pyarrow import parquet

    # the schema carries the types of `datasets`
    schema = datasets.Features({**columns, "images": datasets.List(datasets.Image())}).arrow_schema
    pending = iter(rows)
    with atomic_path(path) as temporary, parquet.ParquetWriter(temporary, schema) as writer:
        while group := list(islice(pending, _ROWS_A_GROUP)):
            filled = [{**row, "images": [_embed(image_root, image)]} for row, image in group]
            writer.write_table(pyarrow.Table.from_pylist(filled, schema=schema))


def read_parquet(path: Path) -> Iterator[ParquetRow]:
    """The rows of a file that was written here."""
    _datasets("trl")
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(_ROWS_A_GROUP):
            yield from batch.to_pylist()


def _datasets(name: str) -> Any:
    try:
        import datasets
    except ImportError:
        raise ConfigError(f"the export format {name} needs more packages: pip install 'c3l[export]'") from None
    return datasets


def _embed(image_root: Path | Address, image: ImageRef) -> ParquetRow:
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
