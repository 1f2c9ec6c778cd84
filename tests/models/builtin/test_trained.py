from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    EfficientNetConfig,
    FastVlmConfig,
    FastVlmForConditionalGeneration,
    LlamaConfig,
)

from c3l.errors import BackendError
from c3l.models.builtin.trained import apply_trained, read_trained, save_trained

LAYERS = r".*language_model.*\.(q_proj|v_proj|down_proj)"


def build_small(seed: int = 0) -> FastVlmForConditionalGeneration:
    """Build an LVLM of the built-in one's kind, shrunken: 4 image tokens, 2 layers."""
    torch.manual_seed(seed)
    tower = EfficientNetConfig(
        image_size=64,
        width_coefficient=0.1,
        depth_coefficient=0.1,
        hidden_act="relu6",
        hidden_dim=128,
        hidden_size=128,
    )
    text = LlamaConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.2,
        tie_word_embeddings=True,
    )
    config = FastVlmConfig(vision_config=tower, text_config=text, image_token_index=3, image_seq_length=4)
    return FastVlmForConditionalGeneration(config).eval()


def train_at_random(save_connector: bool, **options: Any) -> PeftModel:
    """Wrap a small LVLM and give connector and update random values that bfloat16 can hold."""
    modules = ["multi_modal_projector"] if save_connector else None
    adapter = LoraConfig(r=4, lora_alpha=8, target_modules=LAYERS, modules_to_save=modules, **options)
    model = get_peft_model(build_small(), adapter)
    if not save_connector:
        model.base_model.model.model.multi_modal_projector.requires_grad_(True)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.copy_((torch.randn(parameter.shape, generator=generator) * 0.2).bfloat16())
    return model.eval()


@torch.no_grad()
def logits(model: Any) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    pixels = torch.rand(1, 3, 64, 64, generator=generator)
    tokens = torch.tensor([[1, 3, 3, 3, 3, 10, 11, 12, 13]])
    result: Tensor = model(input_ids=tokens, pixel_values=pixels).logits
    return result


@pytest.mark.parametrize("save_connector", [True, False], ids=["modules_to_save", "by hand"])
def test_the_assembled_model_equals_the_one_that_trained(tmp_path: Path, save_connector: bool) -> None:
    trained = train_at_random(save_connector)
    save_trained(trained, tmp_path / "weights.safetensors")
    assembled = build_small()
    untrained = logits(assembled)
    apply_trained(assembled, read_trained(tmp_path / "weights.safetensors"))
    assert (logits(trained) - untrained).abs().max() > 0.1
    torch.testing.assert_close(logits(assembled), logits(trained), atol=1e-4, rtol=0)


def test_connector_and_update_each_change_the_model(tmp_path: Path) -> None:
    save_trained(train_at_random(True), tmp_path / "weights.safetensors")
    whole = read_trained(tmp_path / "weights.safetensors")
    assert len(whole.connector) == 4
    assert len(whole.low_rank) == 6  # three matrices in each of two layers
    before = logits(build_small())
    model = build_small()
    model.model.multi_modal_projector.load_state_dict(whole.connector)
    with_connector = logits(model)
    apply_trained(model, whole)
    assert (with_connector - before).abs().max() > 0.1
    assert (logits(model) - with_connector).abs().max() > 0.1


def test_the_file_holds_bfloat16_only_and_nothing_of_the_parts(tmp_path: Path) -> None:
    save_trained(train_at_random(True), tmp_path / "weights.safetensors")
    tensors = load_file(tmp_path / "weights.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}
    assert all("lora_" in name or "multi_modal_projector.linear" in name for name in tensors)


def test_an_adapter_that_one_rank_and_alpha_do_not_describe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="use_rslora"):
        save_trained(train_at_random(True, use_rslora=True), tmp_path / "weights.safetensors")


def test_training_something_that_would_be_lost_is_refused(tmp_path: Path) -> None:
    model = train_at_random(True)
    model.get_input_embeddings().weight.requires_grad_(True)
    with pytest.raises(BackendError, match=r"embed_tokens\.weight was trained"):
        save_trained(model, tmp_path / "weights.safetensors")


def test_a_file_of_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({"x": torch.zeros(1)}, path, metadata={"version": "0"})
    with pytest.raises(BackendError, match="has version 0, expected 1"):
        read_trained(path)
