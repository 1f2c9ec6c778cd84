"""WebDataset's tars: opened by its library and by `datasets`, the pictures' own bytes, the same bytes each time."""

import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import datasets
import pytest
from PIL import Image

from c3l.data import export_tar
from c3l.data.export import export, verify
from c3l.data.export_rows import ExportSource
from c3l.data.images import inspect_image
from c3l.errors import ConfigError, DataError
from c3l.records import AnswerScores, ImageRef, Provenance, Sample, ScoredPair
from c3l.settings.schema import ExportConfig, ImagesConfig

SCORES = AnswerScores((1,), ("a",), (-1.0,), (-2.0,))
NAMES = ("sub/a.jpg", "really.a.png.jpg", "c.webp", "d.tif", "e.gif", "f.bmp", "g.ppm")
CONFIG = ExportConfig(formats=("webdataset",))


@pytest.fixture
def source(tmp_path: Path) -> ExportSource:
    root = tmp_path / "images"
    (root / "sub").mkdir(parents=True)
    for place, name in enumerate(NAMES):
        picture = Image.new("RGB", (24 + place, 16), (40 * (place + 1) % 256, 9, 9))
        picture.save(root / name, "PNG" if ".png" in name else None)
    found = [inspect_image(root, name, ImagesConfig()) for name in NAMES]
    images = {image.image_id: image for image in found if isinstance(image, ImageRef)}
    pairs = [
        ScoredPair(Sample(f"s{n}", name, "conversation", "What?", f"A {n}.", 0, 0), SCORES, 0.1, "log_ratio", "drop")
        for n, name in enumerate([*images, *images])
    ]
    return ExportSource(pairs, images, Provenance("m", "w", "hf", "float32", "cpu", 0, {}), root)


def test_webdataset_opens_them_with_the_pictures_own_bytes(source: ExportSource, tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    [folder] = export(source, tmp_path / "export", CONFIG)
    found = list(webdataset.WebDataset(str(folder / "00000.tar"), shardshuffle=False))
    assert [row["__key__"] for row in found] == [pair.sample.sample_id for pair in source.pairs]
    assert source.image_root is not None
    for row, ending in zip(found, ["jpg", "png", "webp", "tiff", "gif", "bmp", "ppm"] * 2, strict=True):
        told = json.loads(row["json"])
        assert row[ending] == (source.image_root / told["image"]).read_bytes()
        assert told["conversations"][0] == {"from": "human", "value": "<image>\nWhat?"}
    decoded = webdataset.WebDataset(str(folder / "00000.tar"), shardshuffle=False).decode("pil")
    assert next(iter(decoded))["jpg"].size == (24, 16)


def test_datasets_opens_them_where_the_pictures_are_of_one_kind(
    source: ExportSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    of_one_kind = [source.pairs[0], source.pairs[7]]
    [folder] = export(replace(source, pairs=of_one_kind), tmp_path / "export", CONFIG)
    found = datasets.load_dataset("webdataset", data_files=str(folder / "*.tar"), split="train")
    assert [(row["jpg"].size, row["json"]["id"]) for row in found] == [((24, 16), "s0"), ((24, 16), "s7")]


def test_a_large_tiff_is_a_tiff(source: ExportSource, tmp_path: Path) -> None:
    assert source.image_root is not None
    Image.new("RGB", (24, 16)).save(source.image_root / "big.tif", big_tiff=True)
    assert (source.image_root / "big.tif").read_bytes()[:4] == b"II+\0"
    found = inspect_image(source.image_root, "big.tif", ImagesConfig())
    assert isinstance(found, ImageRef)
    [first, *_] = source.pairs
    pair = replace(first, sample=replace(first.sample, image_id=found.image_id))
    [folder] = export(replace(source, pairs=[pair], images={found.image_id: found}), tmp_path / "export", CONFIG)
    with tarfile.open(folder / "00000.tar") as tar:
        assert [name.rpartition(".")[2] for name in tar.getnames()] == ["tiff", "json"]


def test_they_are_of_nobody_and_of_no_time(source: ExportSource, tmp_path: Path) -> None:
    [folder] = export(source, tmp_path / "export", CONFIG)
    with tarfile.open(folder / "00000.tar") as tar:
        entries = tar.getmembers()
    assert {(one.mtime, one.uid, one.gid, one.uname, one.gname, one.mode) for one in entries} == {
        (0, 0, 0, "", "", 0o644)
    }


def test_a_full_tar_is_followed_by_another_and_a_smaller_export_leaves_none_behind(
    source: ExportSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_tar, "MOST_ROWS", 6)
    [folder] = export(source, tmp_path / "export", CONFIG)
    assert [path.name for path in sorted(folder.iterdir())] == ["00000.tar", "00001.tar", "00002.tar"]
    assert verify(folder, "webdataset") == 14
    monkeypatch.setattr(export_tar, "MOST_BYTES", 1)
    export(source, tmp_path / "small", CONFIG)
    assert len(list((tmp_path / "small/webdataset").iterdir())) == 14
    monkeypatch.undo()
    export(source, tmp_path / "export", CONFIG)
    assert [path.name for path in folder.iterdir()] == ["00000.tar"]


def test_tars_of_others_in_the_folder_are_neither_removed_nor_read(
    source: ExportSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = ["00000-of-00002.tar", "00009.tar", "1.tar", "backup.tar"]
    (tmp_path / "export/webdataset").mkdir(parents=True)
    for name in theirs:
        (tmp_path / "export/webdataset" / name).write_bytes(b"somebody's own")
    monkeypatch.setattr(export_tar, "MOST_ROWS", 6)
    for rows in (source.pairs, source.pairs[:7], source.pairs[:1]):
        [folder] = export(replace(source, pairs=rows), tmp_path / "export", CONFIG)
        own = [f"{number:05d}.tar" for number in range(-(-len(rows) // 6))]
        assert sorted(path.name for path in folder.iterdir()) == sorted([*own, *theirs])
        assert verify(folder, "webdataset") == len(rows)


def test_what_cannot_be_written_or_read_back_is_told(source: ExportSource, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="webdataset holds the images themselves"):
        export(ExportSource(source.pairs, source.images, source.provenance), tmp_path / "none", CONFIG)
    odd = ScoredPair(Sample("a.b", source.pairs[0].sample.image_id, "c", "Q?", "A.", 0, 0), SCORES, 0.1, "lift", "drop")
    with pytest.raises(DataError, match=r"got the id 'a\.b'"):
        export(ExportSource([odd], source.images, source.provenance, source.image_root), tmp_path / "odd", CONFIG)
    [folder] = export(source, tmp_path / "export", CONFIG)
    path = folder / "00000.tar"
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"s1.png", b"sX.png"))
    with pytest.raises(DataError, match="is damaged after"):  # its header's sum
        verify(folder, "webdataset")
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError):
        verify(folder, "webdataset")
    with tarfile.open(path, "w") as tar:
        row = json.dumps({"id": "s2", "image": "a.jpg", "conversations": []}).encode()
        for name, content in (("s1.jpg", b"\xff"), ("s2.json", row)):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    with pytest.raises(DataError, match=r"s2.json is of row s2 after the image 's1.jpg'"):
        verify(folder, "webdataset")
