"""Every shipped config: it loads, comes back from its dump, and says what it will cost without a hub."""

import json
import socket
from pathlib import Path

import pytest

from c3l.cli.main import main
from c3l.method.prompts import choose_templates
from c3l.settings.load import dump_config, load_config
from c3l.settings.schema import RunConfig
from runs import draw_pictures

FOLDER = Path(__file__).parents[2] / "configs"
CONFIGS = sorted(FOLDER.rglob("*.yaml"))
PRESETS = sorted((FOLDER / "models").glob("*.yaml"))
FAMILIES = {"llava-1.5-7b", "llava-onevision-0.5b", "llava-onevision-7b", "qwen2.5-vl", "qwen3-vl", "internvl3",
            "smolvlm2", "gemma3"}  # fmt: skip


def name_of(path):
    return path.stem


def test_the_demo_the_paper_and_a_preset_a_family_are_shipped():
    assert {path.stem for path in PRESETS} == FAMILIES
    assert {path.stem for path in CONFIGS} == FAMILIES | {"demo", "paper"}


@pytest.mark.parametrize("path", CONFIGS, ids=name_of)
def test_a_shipped_config_loads_and_comes_back_from_its_dump(path, tmp_path):
    config = load_config(path)
    assert choose_templates(config.generation)
    (tmp_path / "config.yaml").write_text(dump_config(config))
    assert load_config(tmp_path / "config.yaml") == config


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_):
        raise AssertionError("the network is asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.parametrize("path", PRESETS, ids=name_of)
def test_a_preset_says_what_a_run_will_cost_without_a_hub(path, tmp_path, monkeypatch, no_network, capsys):
    monkeypatch.chdir(tmp_path)
    draw_pictures(tmp_path / "pictures", 3)
    (tmp_path / "pictures/broken.jpg").unlink()
    assert main(["run", "--config", str(path), "--set", "images.root=pictures", "--dry-run"]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (summary["images"], summary["texts"], summary["pairs"], summary["groups"]) == (3, 6, 30, 3)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("path", PRESETS, ids=name_of)
def test_each_value_of_a_preset_has_its_source_and_the_model_is_one_that_scores(path):
    config = load_config(path)
    assert config.model.backend == "hf"
    assert "/" in config.model.name
    values = [line for line in path.read_text().splitlines() if line.startswith("  ")]
    assert len(values) > 8
    assert [line for line in values if " # " not in line] == []
    assert config.finetuning.batch_size * config.finetuning.gradient_accumulation == 128, "LLaVA-1.5's"


@pytest.mark.parametrize("path", PRESETS, ids=name_of)
def test_a_preset_goes_before_or_behind_another_config(path):
    """It names no run, no folder and no rule of the method, so the paper's stay."""
    preset, paper = load_config(path), load_config(FOLDER / "paper.yaml")
    both = load_config([FOLDER / "paper.yaml", path])
    assert (both.model, both.scoring.batch_size) == (preset.model, preset.scoring.batch_size)
    assert both.scoring.form == paper.scoring.form == "vocabulary_kl"
    untouched = {"generation", "scoring", "contrastive", "finetuning", "model"}
    for section in RunConfig.model_fields.keys() - untouched:
        assert getattr(both, section) == getattr(paper, section)
