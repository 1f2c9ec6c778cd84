import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from c3l.errors import BackendError
from c3l.models.load import load_finetunable, load_model, load_trainable, merge_adapter, weights_hash
from c3l.settings.schema import ModelConfig
from c3l.settings.tuning import ContrastiveConfig, FinetuningConfig
from hub_layouts import edit_json

Q_PROJ = "model.language_model.layers.0.self_attn.q_proj"


pytestmark = pytest.mark.usefixtures("own_cache")


def config_of(folder):
    return ModelConfig(name=str(folder), dtype="float32", device="cpu")


def change_weights(folder, change):
    tensors = load_file(folder / "model.safetensors")
    save_file(change(tensors), folder / "model.safetensors", metadata={"format": "pt"})


def without(words):
    return lambda tensors: {key: tensor for key, tensor in tensors.items() if words not in key}


def refusal(folder):
    with pytest.raises(BackendError) as caught:
        load_model(config_of(folder), 0)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def split(folder):
    """The weights in two files with an index, as large models have them."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    halves = {"model-00001-of-00002.safetensors": sorted(tensors)[::2], "model-00002-of-00002.safetensors": []}
    halves["model-00002-of-00002.safetensors"] = [key for key in tensors if key not in sorted(tensors)[::2]]
    for name, keys in halves.items():
        save_file({key: tensors[key] for key in keys}, folder / name, metadata={"format": "pt"})
    places = {key: name for name, keys in halves.items() for key in keys}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return folder / "model-00002-of-00002.safetensors"


@pytest.mark.parametrize(
    ("part", "first"),
    [("language_model", "lm_head.weight, model.lang"), ("vision_tower", "model.vision_tower"), ("layers.1.mlp.up", "")],
)
def test_missing_tensors_are_an_error_that_names_and_counts_them(folder, part, first):
    before = set(load_file(folder / "model.safetensors"))
    change_weights(folder, without(part))
    left_out = len(before) - len(load_file(folder / "model.safetensors"))
    told = refusal(folder)
    assert f"without {left_out} of the {len(before)} tensors of a LlavaForConditionalGeneration ({first}" in told


@pytest.mark.parametrize(
    "load",
    [
        lambda config, folder: load_trainable(config, ContrastiveConfig(), 0),
        lambda config, folder: load_finetunable(config, FinetuningConfig(), 0),
        lambda config, folder: merge_adapter(config, folder, folder / "merged"),
    ],
    ids=["tune", "finetune", "merge"],
)
def test_every_way_of_loading_refuses_a_model_with_a_hole(folder, load):
    change_weights(folder, without("multi_modal_projector.linear_1.weight"))
    with pytest.raises(BackendError, match=r"without 1 of the \d+ tensors"):
        load(config_of(folder), folder)


def test_renamed_tensors_are_told_by_both_names(folder):
    change_weights(
        folder,
        lambda tensors: {key.replace("multi_modal_projector", "mm_projector"): it for key, it in tensors.items()},
    )
    told = refusal(folder)
    assert "without 4 of the" in told
    assert "with 4 that it has no place for" in told
    assert "model.multi_modal_projector.linear_1.bias" in told
    assert "mm_projector.linear_1.bias" in told


def test_tied_weights_and_counters_may_be_missing(tmp_path, copy_tiny):
    tied = copy_tiny("llava", tmp_path / "tied")
    edit_json(tied / "config.json", lambda it: it.update(tie_word_embeddings=True))
    edit_json(tied / "config.json", lambda it: it["text_config"].update(tie_word_embeddings=True))
    change_weights(tied, without("lm_head"))
    assert load_model(config_of(tied), 0)
    counted = copy_tiny("fast_vlm", tmp_path / "counted")
    assert any("num_batches_tracked" in key for key in load_file(counted / "model.safetensors"))
    change_weights(counted, without("num_batches_tracked"))
    assert load_model(config_of(counted), 0)


def test_tensors_of_no_use_are_noted_and_nothing_else_is_printed(folder, caplog, capfd):
    change_weights(folder, lambda tensors: {**tensors, "value_head.weight": torch.ones(2)})
    load_model(config_of(folder), 0)
    assert [record.message for record in caplog.records] == [
        f"{folder} holds 1 tensors that LlavaForConditionalGeneration has no place for, they are left out: "
        "value_head.weight"
    ]
    assert "LOAD REPORT" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (f"{Q_PROJ}.lora_A.default.weight", "holds adapters that were not merged"),
        (f"{Q_PROJ}.weight_scale_inv", "compressed form"),
        (f"{Q_PROJ.replace('layers.0', 'layers.2')}.weight", "1 tensors of layers that its config.json does not count"),
    ],
)
def test_tensors_that_others_mean_nothing_without_are_an_error(folder, key, message):
    change_weights(folder, lambda tensors: {**tensors, key: torch.ones(2)})
    assert message in refusal(folder)


def test_another_size_is_one_line_with_both_sizes(folder):
    edit_json(folder / "config.json", lambda it: it["text_config"].update(intermediate_size=64))
    told = refusal(folder)
    assert "holds 6 tensors of another size than its config.json says, the first is" in told
    assert "got 32x48, expected 32x64" in told


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_an_error(folder, number):
    def spoil(tensors):
        tensors[sorted(tensors)[3]].view(-1)[1] = number
        return tensors

    change_weights(folder, spoil)
    assert "holds 1 tensors with numbers that are NaN or infinite" in refusal(folder)


def test_weights_too_large_for_float16_are_told_from_those_that_are_broken(folder):
    def enlarge(tensors):
        [head] = [key for key in tensors if "lm_head" in key]
        tensors[head] *= 1e6
        return tensors

    change_weights(folder, enlarge)
    load_model(config_of(folder), 0)
    with pytest.raises(BackendError, match=r"infinite in torch.float16 .* set model.dtype=float32"):
        load_model(ModelConfig(name=str(folder), dtype="float16", device="cpu"), 0)


def test_shards_are_looked_at_before_anything_is_hashed(folder):
    second = split(folder)
    assert load_model(config_of(folder), 0)
    whole = second.read_bytes()
    second.write_bytes(whole[:-100])
    with pytest.raises(BackendError, match=r"00002.safetensors .* is cut off or no safetensors file"):
        weights_hash(config_of(folder))
    second.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(BackendError, match=r"pointer of git LFS, .* `git lfs pull`"):
        weights_hash(config_of(folder))
    second.unlink()
    with pytest.raises(BackendError, match=r"without model-00002-of-00002.safetensors, which its .*index.json names"):
        weights_hash(config_of(folder))
    second.write_bytes(whole)
    index = folder / "model.safetensors.index.json"
    for content in ("{", "{}", '{"weight_map": []}'):
        index.write_text(content)
        with pytest.raises(BackendError, match=r"cannot read .*index.json"):
            weights_hash(config_of(folder))
    index.unlink()
    with pytest.raises(BackendError, match=r"with 2 shards of weights but without model.safetensors.index.json"):
        weights_hash(config_of(folder))


@pytest.mark.parametrize("size", [0, 5, 5000])
def test_a_file_that_is_cut_off_is_one_line(folder, size):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:size])
    assert f"model.safetensors ({size:,} bytes) is cut off" in refusal(folder)
