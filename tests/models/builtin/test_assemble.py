import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import FastVlmForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutputWithPooling

from c3l.errors import BackendError
from c3l.models.builtin import assemble as assembly
from c3l.models.builtin import parts
from c3l.models.builtin.assemble import RECIPE_FILE, assemble
from c3l.models.load import weights_hash
from c3l.settings.cache import cache_folder
from c3l.settings.schema import ModelConfig

Pictures = Callable[[int], Image.Image]


class Saved:
    """Stands for model and processor where only the folder matters."""

    def __init__(self, name: str) -> None:
        self.name = name

    def save_pretrained(self, folder: Path) -> None:
        (folder / self.name).write_text(self.name)


@pytest.fixture
def joined(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Replace the slow joining; the file returned gets one line each time."""
    journal = tmp_path / "journal"
    journal.touch()

    def join(parts: object) -> tuple[Saved, Saved]:
        with journal.open("a") as file:
            file.write("joined\n")
        return Saved("model.safetensors"), Saved("processor_config.json")

    monkeypatch.setattr(assembly, "_join", join)
    monkeypatch.setenv("C3L_CACHE", str(tmp_path / "cache"))
    return journal


def ask(model: Any, processor: Any, image: Image.Image) -> Any:
    chat = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is this?"}]}]
    text = processor.apply_chat_template(chat, add_generation_prompt=True)
    return processor(images=image, text=text, return_tensors="pt", add_special_tokens=False)


def test_the_folder_loads_through_the_auto_classes_in_float32(model: Any, processor: Any) -> None:
    assert type(model) is FastVlmForConditionalGeneration
    assert type(processor).__name__ == "LlavaProcessor"
    assert model.dtype == torch.float32
    assert model.lm_head.weight is model.get_input_embeddings().weight


@torch.no_grad()
def test_another_picture_changes_the_logits(model: Any, processor: Any, picture: Pictures) -> None:
    first = model(**ask(model, processor, picture(0))).logits[0, -1]
    again = model(**ask(model, processor, picture(0))).logits[0, -1]
    other = model(**ask(model, processor, picture(1))).logits[0, -1]
    assert torch.equal(first, again)
    assert (first - other).abs().max() > 0.5  # 3.4 measured, before any training


@torch.no_grad()
def test_features_computed_beforehand_give_the_same_logits(model: Any, processor: Any, picture: Pictures) -> None:
    inputs = ask(model, processor, picture(0))
    expected = model(**inputs).logits
    features = model.model.vision_tower(inputs.pop("pixel_values")).last_hidden_state
    tokens = model.model.multi_modal_projector(features.flatten(2).transpose(1, 2))
    image = BaseModelOutputWithPooling(pooler_output=tokens)
    assert torch.equal(model(**inputs, mm_encoder_outputs={"image": image}).logits, expected)


def test_a_folder_is_made_once_and_again_only_by_force(joined: Path) -> None:
    folder = assemble(trained=False)
    assert folder.parent == cache_folder()
    assert {path.name for path in folder.iterdir()} == {
        "model.safetensors",
        "processor_config.json",
        RECIPE_FILE,
    }
    assert assemble(trained=False) == folder
    assert joined.read_text().count("joined") == 1
    assert assemble(trained=False, force=True) == folder
    assert joined.read_text().count("joined") == 2


def test_two_processes_make_one_folder(joined: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = multiprocessing.get_context("fork")
    together, join = context.Barrier(2, timeout=100), assembly._join

    def join_slowly(parts: Any) -> Any:
        time.sleep(0.3)  # so that the other one comes meanwhile
        return join(parts)

    def work() -> None:
        together.wait()
        assemble(trained=False)

    monkeypatch.setattr(assembly, "_join", join_slowly)
    processes = [context.Process(target=work) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(200)
    assert [process.exitcode for process in processes] == [0, 0]
    assert joined.read_text().count("joined") == 1
    assert len(list(cache_folder().glob("builtin-*"))) == 1


def test_a_failure_leaves_nothing_that_looks_whole(joined: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(parts: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(assembly, "_join", fail)
    with pytest.raises(BackendError, match="no space"):
        assemble(trained=False)
    assert [path.name for path in cache_folder().iterdir() if path.is_dir()] == []


def test_what_a_killed_process_left_is_removed(joined: Path) -> None:
    folder = assemble(trained=False)
    leftover = folder.parent / f".{folder.name}.partial-killed"
    leftover.mkdir()
    (leftover / "model.safetensors").touch()
    assemble(trained=False, force=True)
    assert not leftover.exists()


@pytest.mark.parametrize("force", [False, True])
def test_a_folder_of_somebody_else_is_never_replaced(joined: Path, tmp_path: Path, force: bool) -> None:
    mine = tmp_path / "photos"
    mine.mkdir()
    (mine / "cat.jpg").touch()
    with pytest.raises(BackendError, match="delete it or name another"):
        assemble(mine, force=force, trained=False)
    assert (mine / "cat.jpg").exists()


def test_an_assembly_of_another_version_is_replaced_only_by_force(
    joined: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = assemble(tmp_path / "lvlm", trained=False)
    old = (folder / RECIPE_FILE).read_text()
    monkeypatch.setattr(parts, "ASSEMBLY_VERSION", parts.ASSEMBLY_VERSION + 1)
    with pytest.raises(BackendError, match="not this version"):
        assemble(folder, trained=False)
    assemble(folder, trained=False, force=True)
    assert (folder / RECIPE_FILE).read_text() != old


def test_without_trained_weights_only_the_untrained_lvlm_is_made(
    joined: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(parts, "TRAINED_WEIGHTS", tmp_path / "connector_lora.safetensors")
    with pytest.raises(BackendError, match=r"without connector_lora\.safetensors"):
        assemble()
    assert joined.read_text() == ""


def test_the_folder_and_the_fingerprint_speak_of_the_same_recipe(
    joined: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(parts, "TRAINED_WEIGHTS", tmp_path / "weights")
    monkeypatch.setattr(assembly, "read_trained", lambda path: None)
    monkeypatch.setattr(assembly, "apply_trained", lambda model, trained: None)
    (tmp_path / "weights").write_bytes(b"one")
    before = weights_hash(ModelConfig())
    assert (assemble() / RECIPE_FILE).read_text().strip() == before
    (tmp_path / "weights").write_bytes(b"others")
    assert (assemble() / RECIPE_FILE).read_text().strip() == weights_hash(ModelConfig()) != before


def test_a_cache_that_cannot_be_written_is_told_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("C3L_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr("c3l.models.builtin.assemble.locate_parts", lambda: None)
    with pytest.raises(BackendError, match=r"file/cache: .*Not a directory; .* C3L_CACHE"):
        assemble()
