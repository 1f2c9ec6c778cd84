"""Parquet with pictures: however many rows show a picture, it is stored once."""

from collections import Counter
from pathlib import Path

import datasets
import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image

from c3l.data import parquet
from c3l.data.images import inspect_image
from c3l.records import ImageRef
from c3l.settings.schema import ImagesConfig

PICTURES, ROWS_EACH = 30, 5


def write(folder: Path, rows_each: int = ROWS_EACH) -> tuple[Path, int]:
    """A file about noisy pictures, and the bytes of these."""
    root = folder / "images"
    root.mkdir()
    for seed in range(PICTURES):
        noise = np.random.default_rng(seed).integers(0, 256, (150, 200, 3), dtype=np.uint8)
        Image.fromarray(noise).save(root / f"{seed:02d}.jpg", quality=95)
    images = [inspect_image(root, path.name, ImagesConfig()) for path in sorted(root.iterdir())]
    rows = [
        ({"id": f"{place}-{number}"}, image)
        for place, image in enumerate(images)
        for number in range(rows_each)
        if isinstance(image, ImageRef)
    ]
    parquet.write_pictures(folder / "a.parquet", rows, {"id": "string"}, root, "trl")
    return folder / "a.parquet", sum(path.stat().st_size for path in root.iterdir())


def test_a_picture_of_many_rows_is_stored_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    path, pictures = write(tmp_path)
    assert pictures > 2**20, "more than a dictionary page of pyarrow's default"
    assert path.stat().st_size < 1.02 * pictures
    found = datasets.load_dataset("parquet", data_files=str(path), split="train")
    assert Counter(row["images"][0].size for row in found) == {(200, 150): PICTURES * ROWS_EACH}
    raw = [row["images"][0]["bytes"] for row in parquet.read_parquet(path)]
    assert raw == [one for one in dict.fromkeys(raw) for _ in range(ROWS_EACH)]


def test_groups_end_with_a_picture_unless_it_has_very_many_rows(tmp_path: Path) -> None:
    path, _ = write(tmp_path)
    groups = pyarrow.parquet.ParquetFile(path).metadata
    assert [groups.row_group(number).num_rows for number in range(groups.num_row_groups)] == [65, 65, 20]
    (tmp_path / "many").mkdir()
    path, _ = write(tmp_path / "many", 300)
    groups = pyarrow.parquet.ParquetFile(path).metadata
    assert max(groups.row_group(number).num_rows for number in range(groups.num_row_groups)) == 256
