"""Rows of parquet files, and of the Arrow files that `datasets` saves, one at a time."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from c3l.errors import DataError, name_error

_ROWS = 64  # a batch: rows may hold images
_AHEAD = 2**20  # bytes of a column that are read at once; else all of a group, which may be a million rows
MARKS = {b"PAR1": "parquet", b"ARROW1": "file", b"\xff\xff\xff\xff": "stream"}  # how such files begin


def find_table(head: bytes) -> str | None:
    """What kind of table a file is that begins so; None if it is none."""
    return next((kind for mark, kind in MARKS.items() if head.startswith(mark)), None)


def iterate_table(path: Path, kind: str) -> Iterator[dict[str, Any]]:
    """The rows of a table, each as an object.

    Raises:
        DataError: If pyarrow is not installed, or the file is not whole.
    """
    try:
        import pyarrow
        import pyarrow.ipc
        import pyarrow.parquet
    except ImportError:
        raise DataError(f"{path} needs pyarrow to be read: pip install 'c3l[export]'") from None
    try:
        if kind == "parquet":
            with pyarrow.parquet.ParquetFile(path, pre_buffer=False, buffer_size=_AHEAD) as file:
                for batch in file.iter_batches(batch_size=_ROWS):
                    yield from batch.to_pylist()
            return
        with pyarrow.memory_map(str(path)) as source:
            reader = pyarrow.ipc.open_stream(source) if kind == "stream" else pyarrow.ipc.open_file(source)
            batches = reader if kind == "stream" else map(reader.get_batch, range(reader.num_record_batches))
            for batch in batches:
                for start in range(0, batch.num_rows, _ROWS):
                    yield from batch.slice(start, _ROWS).to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise DataError(f"cannot read {path}: {name_error(error)}; is it whole?") from None
