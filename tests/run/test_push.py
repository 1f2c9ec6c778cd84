"""Uploads, to a hub on this machine: what goes there, what never does, and what is said where it fails."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from c3l.cli.main import main
from c3l.errors import ConfigError, DataError, StaleStageError
from c3l.records import ImageRef
from c3l.run.push import _staged_images
from c3l.run.push import push as upload
from c3l.run.run_folder import Run
from c3l.storage import atomic
from hub_server import TOKEN, serve_hub
from runs import Loader, draw_pictures, make_config, make_fake_model, walk


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("C3L_CACHE", str(tmp_path / "cache"))
    root, model = draw_pictures(tmp_path / "pictures", 3), make_fake_model(tmp_path / "model")
    walk(make_config(tmp_path / "run", root, model, "export.formats=[llava, webdataset, ids]"), Loader())
    return tmp_path / "run"


@pytest.fixture
def hub():
    with serve_hub() as hub:
        yield hub


def push(hub, run: Path, *options: str, token: str = TOKEN) -> tuple[int, dict, str]:
    """The command itself: exit code, summary, what it told; the token is nowhere in it."""
    away = {"HF_HUB_OFFLINE", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"}
    kept = {name: value for name, value in os.environ.items() if name not in away}
    environment = {**kept, "HF_ENDPOINT": hub.url, "HF_HOME": str(run.parent / "hub-home")} | (
        {"HF_TOKEN": token} if token else {}
    )
    command = [sys.executable, "-m", "c3l", "push", str(run), "--to", "user/name", *options]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert token == "" or token not in done.stdout + done.stderr
    return done.returncode, json.loads(done.stdout.splitlines()[-1]) if done.stdout else {}, done.stderr


def test_the_files_of_the_export_and_nothing_else_go_to_the_hub(run, hub):
    code, summary, _ = push(hub, run)
    assert code == 0
    export = run / "export"
    assert set(hub.files) == {"README.md", "llava.json", "ids.txt", "webdataset/00000.tar"}
    assert all(content == (export / name).read_bytes() for name, content in hub.files.items())
    assert summary == {
        "run": str(run),
        "to": "user/name",
        "url": f"{hub.url}/datasets/user/name",
        "files": 4,
        "images": 0,
    }
    assert hub.private == {"user/name": False}


def test_with_images_those_of_the_kept_pairs_go_too(run, hub):
    code, summary, _ = push(hub, run, "--with-images", "--private")
    assert (code, summary["images"], hub.private) == (
        0,
        len(list(Run.reader(run).stored("images").read(ImageRef))),
        {"user/name": True},
    )
    sent = {name: content for name, content in hub.files.items() if name.startswith("images/")}
    named = {f"images/{row['image']}" for row in json.loads(hub.files["llava.json"])}
    assert set(sent) == named
    assert all(
        content == (run.parent / "pictures" / name.removeprefix("images/")).read_bytes()
        for name, content in sent.items()
    )
    assert not list(run.glob(".images*"))


def test_copies_of_images_that_are_thrown_away_are_not_waited_for(run, monkeypatch):
    waited = []
    monkeypatch.setattr(atomic, "sync_file", waited.append)
    with Run.open(run) as opened, _staged_images(opened) as folder:
        staged = [file.name for file in folder.rglob("*") if file.is_file()]
    assert staged and not waited


def test_what_the_export_no_longer_has_does_not_stay_on_the_hub(run, hub):
    theirs = {"webdataset/00001.tar": b"rows that the filter has thrown away", "swift.jsonl": b"{}",
              "images/gone.png": b"x", "notes.md": b"a note of theirs"}  # fmt: skip
    hub.private["user/name"] = False
    hub.files |= theirs
    code, _, told = push(hub, run, "--with-images")
    assert code == 0, told
    left = {name for name in theirs if name in hub.files}
    assert left == {"notes.md"}
    assert {"README.md", "llava.json", "ids.txt", "webdataset/00000.tar"} < set(hub.files)
    assert any(name.startswith("images/") for name in hub.files)


def test_a_failed_upload_is_one_line_and_the_same_command_goes_on(run, hub):
    hub.failing = {0: 403}
    code, summary, told = push(hub, run)
    assert (code, summary) == (1, {})
    assert told.count("\n") == 1 and told.startswith("c3l: cannot upload to user/name: ")
    assert "the same command goes on" in told
    assert push(hub, run)[0] == 0
    assert "llava.json" in hub.files


def test_private_is_never_public(run, hub):
    hub.private["user/name"] = False
    code, _, told = push(hub, run, "--private")
    assert code == 2 and "got --private, but user/name is there and public" in told
    assert hub.files == {}


def test_without_a_token_or_with_a_wrong_one_nothing_goes(run, hub):
    code, _, told = push(hub, run, token="")
    assert code == 2 and "asks for a token" in told and not hub.requests
    code, _, told = push(hub, run, token="hf_wrong_wrong_wrong")
    assert code == 1 and told.count("\n") == 1 and "401" in told
    assert hub.files == {}


def test_only_a_finished_export_goes(run, tmp_path, capsys):
    (run / "export/stage.json").unlink()
    with pytest.raises(DataError, match=r"the export of .* is missing, .* make it with `c3l export"):
        upload(run, "user/name", private=False, with_images=False)
    assert main(["push", str(tmp_path / "pictures"), "--to", "user/name"]) == 1
    assert "is no run folder" in capsys.readouterr().err


def test_an_export_of_other_settings_than_the_run_has_now_does_not_go(run):
    saved = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(saved.replace("with_scores: false", "with_scores: true"))
    with pytest.raises(StaleStageError, match="is stale"):
        upload(run, "user/name", private=False, with_images=False)


def test_a_name_without_its_owner_is_refused(run):
    with pytest.raises(ConfigError, match="got --to 'name', expected user/name"):
        upload(run, "name", private=False, with_images=False)
