"""Pictures in S3, from a server that a test starts on this machine."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from c3l.data import remote
from c3l.data.finding import find_images
from c3l.errors import DataError
from c3l.jobs.score import score_file
from c3l.progress import SilentProgress
from c3l.run.run_folder import Run
from c3l.settings.load import load_config
from c3l.settings.roots import Address
from fakes import FakeModel, write_fake_model
from runs import Loader, make_config, walk

moto = pytest.importorskip("moto.server", reason="needs the extra dev: moto and s3fs")
pytest.importorskip("s3fs", reason="needs the extra dev: moto and s3fs")

ROOT = "s3://pictures/some/prefix"


def encode(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), (number * 40, 9, 9)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Six pictures and one file that is none; the server is stopped by ``bucket.stop()``."""
    import s3fs

    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "key",
                        "AWS_SECRET_ACCESS_KEY": "secret", "AWS_MAX_ATTEMPTS": "1", "AWS_DEFAULT_REGION": "us-east-1",
                        "C3L_CACHE": str(tmp_path / "cache")}.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    system = s3fs.S3FileSystem()
    system.makedirs("pictures", exist_ok=True)  # the buckets outlive a server
    for number in range(6):
        system.pipe(f"pictures/some/prefix/{number}.png", encode(number))
    system.pipe("pictures/some/prefix/broken.jpg", b"<html>")
    system.pipe("pictures/secret.png", encode(3))
    yield server
    server.stop()
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    write_fake_model(tmp_path / "model")
    return tmp_path / "model"


def test_a_run_reads_its_pictures_from_a_bucket(bucket: Any, model: Path, tmp_path: Path) -> None:
    config = make_config(tmp_path / "run", Path("unused"), model, f"images.root={ROOT}")
    walk(config, Loader(FakeModel))
    stage = Run.reader(tmp_path / "run").stored("images")
    assert stage is not None
    assert [(one.id, one.reason) for one in stage.rejected()] == [("broken.jpg", "not_an_image")]
    exported = json.loads((tmp_path / "run/export/llava.json").read_text())
    assert {row["image"] for row in exported} <= {f"{number}.png" for number in range(6)}
    assert exported
    assert f"root: {ROOT}" in (tmp_path / "run/config.yaml").read_text()


def test_rows_of_a_data_file_have_their_pictures_in_a_bucket(
    bucket: Any, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["0.png", "1.png", "gone.png", "broken.jpg", "../../secret.png"]
    rows = [{"image": name, "question": "What?", "answer": "A cat."} for name in names]
    (tmp_path / "data.json").write_text(json.dumps(rows))
    config = load_config(None, [f"model.name={model}", "model.dtype=float32", f"images.root={ROOT}",
                                "scoring.no_image=drop", "scoring.form=log_ratio"])  # fmt: skip

    def score(out: str) -> Any:
        return score_file([tmp_path / "data.json"], tmp_path / out, config, SilentProgress(), Loader())

    summary = score("out.jsonl")
    assert (summary["ok"], summary["rejected"]) == (2, {"unreadable_image": 2, "bad_path": 1})
    bucket.stop()
    monkeypatch.setattr(remote, "PAUSES", (0.1,))
    for ask in (lambda: find_images(Address(ROOT)), lambda: score("other.jsonl")):
        with pytest.raises(DataError, match=r"cannot read s3://pictures/some/prefix: .*; is its server there"):
            ask()
