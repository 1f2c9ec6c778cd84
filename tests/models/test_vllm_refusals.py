"""What is not to be had of a model by vLLM, told without vLLM; what it computes is in ``test_vllm.py``."""

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from c3l.cli.main import main
from c3l.errors import BackendError, ConfigError
from c3l.models.load import load_finetunable, load_model, load_trainable, weights_hash
from c3l.models.vllm.engine import _read_written
from c3l.settings.load import load_config
from c3l.settings.schema import RunConfig
from models.vllm_folders import script_for_vllm
from runs import draw_pictures


def configure(name: object, *overrides: str) -> RunConfig:
    return load_config(None, [f"model.name={name}", "model.dtype=float32", *overrides])


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    draw_pictures(tmp_path / "pictures", 3)
    return tmp_path


def run(model: str, *more: str) -> int:
    return main(["run", "mine", "--model", model, "--image-root", "pictures", *more])


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--set", "rounds=0"), "scoring.form=focused_gain, which compares whole vocabularies"),
        (("--set", "scoring.form=lift"), "can write and score, but not be tuned; set rounds=0, or take --model /"),
        (("--set", "scoring.form=lift", "--set", "rounds=0", "--set", "finetuning.enabled=true"), "but not be taught"),
    ],
)
def test_what_a_run_cannot_have_of_it_is_told_before_anything_is_made(
    world: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], told: str
) -> None:
    script_for_vllm(world / "folder", "Yes")
    assert run("vllm:folder", *more) == 2
    assert told in capsys.readouterr().err
    assert not list(Path("mine").glob("draft*"))


def test_it_is_not_tuned(world: Path) -> None:
    config = configure("vllm:who/what")
    for act in (
        lambda: load_trainable(config.model, config.contrastive, 0),
        lambda: load_finetunable(config.model, config.finetuning, 0),
    ):
        with pytest.raises(BackendError, match=r"vLLM does not tune .*: take --model .*, which transformers runs"):
            act()


def test_its_weights_are_those_of_the_folder(world: Path) -> None:
    folder = script_for_vllm(world / "folder", "Yes")
    assert weights_hash(configure(f"vllm:{folder}").model) == weights_hash(configure(folder).model)
    with pytest.raises(BackendError, match="got model 'vllm:nowhere', expected"):
        weights_hash(configure("vllm:nowhere").model)


def test_what_no_model_by_vllm_has_is_refused() -> None:
    with pytest.raises(ConfigError, match="vLLM does not know the family of the built-in LVLM"):
        configure("vllm:builtin")
    with pytest.raises(ConfigError, match="vLLM chooses its attention itself"):
        configure("vllm:who/what", "model.attn_implementation=eager")


def test_without_the_package_it_says_what_is_missing(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = script_for_vllm(world / "folder", "Yes")
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(ConfigError, match=r"needs the vllm package .*docs/backends\.md"):
        load_model(configure(f"vllm:{folder}").model, 0)


def test_nothing_of_it_is_imported_before_it_is_asked_for() -> None:
    before = set(sys.modules)
    importlib.import_module("c3l.models.vllm.inference")
    assert "vllm" not in set(sys.modules) - before


def test_a_token_whose_logits_were_no_distribution_is_where_the_text_ends() -> None:
    drawn = [{5: SimpleNamespace(logprob=-0.5)}, {6: SimpleNamespace(logprob=float("nan"))}]
    assert _read_written(SimpleNamespace(token_ids=[5, 6], logprobs=drawn)) == ((5, 6), 1)
    assert _read_written(SimpleNamespace(token_ids=[5], logprobs=drawn[:1])) == ((5,), None)
