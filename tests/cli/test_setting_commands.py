"""The commands about settings: a config to begin with, and the schema."""

import json
from pathlib import Path

import pytest

from c3l.cli.main import main
from c3l.settings.json_schema import MODELINE
from c3l.settings.load import load_config
from c3l.settings.schema import RunConfig


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_config_is_written_that_names_a_schema_which_is_there(capsys):
    assert main(["init"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {"config": "c3l.yaml"}
    assert load_config(Path("c3l.yaml")) == RunConfig()
    schema = Path(Path("c3l.yaml").read_text().splitlines()[0].removeprefix(MODELINE))
    assert schema.is_absolute()
    assert "properties" in json.loads(schema.read_text())
    assert "`c3l run --config c3l.yaml`" in Path("c3l.yaml").read_text()


def test_a_file_that_is_there_is_written_over_only_when_told(folder, capsys):
    Path("mine.yaml").write_text("seed: 3\n")
    assert main(["init", "mine.yaml"]) == 2
    assert "mine.yaml is there already" in capsys.readouterr().err
    assert Path("mine.yaml").read_text() == "seed: 3\n"
    assert main(["init", "mine.yaml", "--force"]) == 0
    assert load_config(Path("mine.yaml")) == RunConfig()
    assert main(["init", str(folder), "--force"]) == 2, "a folder is never written over"
    assert main(["init", "configs/new.yaml"]) == 0
    assert Path("configs/new.yaml").exists()


def test_the_schema_is_printed(capsys):
    assert main(["settings", "--json-schema"]) == 0
    assert "scoring" in json.loads(capsys.readouterr().out)["properties"]
