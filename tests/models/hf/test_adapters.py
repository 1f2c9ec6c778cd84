import warnings

import pytest
import torch
from safetensors.torch import load_file, save_file

from c3l.errors import BackendError
from c3l.models.load import load_model, load_trainable, merge_adapter
from c3l.models.tunable import ForcedRow
from c3l.settings.schema import ModelConfig
from c3l.settings.tuning import ContrastiveConfig
from hub_layouts import edit_json
from tiny_models import make_picture

FILE = "adapter_model.safetensors"


@pytest.fixture
def config(tmp_path, copy_tiny, own_cache):
    return ModelConfig(name=str(copy_tiny("llava", tmp_path / "llava")), dtype="float32", device="cpu")


@pytest.fixture
def adapter(config, tmp_path):
    """An adapter that changes something, and the likelihood of a row with it."""
    model = load_trainable(config, ContrastiveConfig(lora_r=2), 0)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "lora_B" in name:
                value.normal_(std=0.3)
    model.save_adapter(tmp_path / "adapter")
    return tmp_path / "adapter", likelihood(model)


def likelihood(model):
    return model.read(model.collate([ForcedRow(make_picture(1), "What?", "A dog.")])).log_likelihood.item()


def test_an_adapter_is_merged_without_a_word_of_others(config, adapter, tmp_path):
    folder, expected = adapter
    plain = likelihood(load_trainable(config, ContrastiveConfig(lora_r=2), 0))
    assert abs(plain - expected) > 0.01
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        merge_adapter(config, folder, tmp_path / "merged")
    merged = ModelConfig(name=str(tmp_path / "merged"), dtype="float32", device="cpu")
    assert likelihood(load_trainable(merged, ContrastiveConfig(lora_r=2), 0)) == pytest.approx(expected, abs=1e-4)


def test_an_adapter_with_a_hole_is_refused(config, adapter, tmp_path):
    tensors = load_file(adapter[0] / FILE)
    save_file(dict(list(tensors.items())[1:]), adapter[0] / FILE, metadata={"format": "pt"})
    with pytest.raises(BackendError, match=rf"without 1 of the {len(tensors)} tensors that its adapter_config.json"):
        merge_adapter(config, adapter[0], tmp_path / "merged")


def test_an_adapter_of_other_names_is_refused(config, adapter, tmp_path):
    tensors = {key.replace("self_attn", "attention"): it for key, it in load_file(adapter[0] / FILE).items()}
    save_file(tensors, adapter[0] / FILE, metadata={"format": "pt"})
    with pytest.raises(BackendError, match=r"without \d+ of the \d+ tensors"):
        merge_adapter(config, adapter[0], tmp_path / "merged")


def test_an_adapter_with_more_than_its_config_asks_for_is_refused(config, adapter, tmp_path):
    edit_json(adapter[0] / "adapter_config.json", lambda it: it.update(target_modules=it["target_modules"][:2]))
    with pytest.raises(BackendError, match=r"holds \d+ tensors that have no place in a Llava.*of another model"):
        merge_adapter(config, adapter[0], tmp_path / "merged")


@pytest.mark.parametrize("content", [b"", b"{}"])
def test_an_adapter_that_cannot_be_read_is_one_line(config, adapter, tmp_path, content):
    (adapter[0] / FILE).write_bytes(content)
    with pytest.raises(BackendError, match="cannot read the adapter") as caught:
        merge_adapter(config, adapter[0], tmp_path / "merged")
    assert "\n" not in str(caught.value)
    assert load_model(config, 0)
