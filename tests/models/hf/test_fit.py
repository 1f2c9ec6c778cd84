import pytest
import torch

from c3l.errors import BackendError
from c3l.models.interface import Pair, ScoreRequest
from c3l.models.load import load_finetunable, load_model
from c3l.models.tunable import Conversation
from c3l.settings.schema import ModelConfig
from c3l.settings.tuning import FinetuningConfig
from hub_layouts import copy_hub_folder, edit_json
from scores import score_rows
from tiny_models import make_picture

COUNTED_BY = ("patch_size", "vision_feature_select_strategy", "num_additional_image_tokens")


pytestmark = pytest.mark.usefixtures("own_cache")


def config_of(folder):
    return ModelConfig(name=str(folder), dtype="float32", device="cpu")


def logprobs(folder):
    request = ScoreRequest(make_picture(1), (Pair("p", "What?", "A dog."),))
    return score_rows(load_model(config_of(folder), 0), [request], "drop")[0][0].logprobs_with_image


def refusals(folder):
    """What inference and tuning say; one line, the same."""
    with pytest.raises(BackendError) as scoring:
        load_model(config_of(folder), 0)
    with pytest.raises(BackendError) as teaching:
        load_finetunable(config_of(folder), FinetuningConfig(), 0)
    assert str(scoring.value) == str(teaching.value)
    assert "\n" not in str(scoring.value)
    return str(scoring.value)


def drop(folder, file, *names):
    edit_json(folder / file, lambda it: [it.pop(name, None) for name in names])


def test_without_a_pad_token_the_end_pads(folder):
    expected = logprobs(folder)
    drop(folder, "tokenizer_config.json", "pad_token")
    assert logprobs(folder) == expected
    model = load_finetunable(config_of(folder), FinetuningConfig(), 0)
    talks = [Conversation(make_picture(seed), (("What?", "A dog." * seed),)) for seed in (1, 2)]
    batch = model.collate(talks)
    assert batch["input_ids"][0, -1] == model.processor.tokenizer.eos_token_id
    assert batch["attention_mask"][0, -1] == 0
    assert torch.isfinite(model.module(**batch).loss)


def test_without_an_end_token_the_config_is_asked(folder):
    expected = logprobs(folder)
    drop(folder, "tokenizer_config.json", "pad_token", "eos_token")
    assert logprobs(folder) == expected
    drop(folder, "generation_config.json", "eos_token_id")
    assert logprobs(folder) == expected


@pytest.mark.parametrize("ends", [[257, 258], 3, None])
def test_an_end_token_that_no_config_tells_for_certain_is_one_line(folder, ends):
    drop(folder, "tokenizer_config.json", "pad_token", "eos_token")
    edit_json(folder / "generation_config.json", lambda it: it.update(eos_token_id=ends))
    edit_json(folder / "config.json", lambda it: it["text_config"].update(eos_token_id=ends))
    assert "names no eos_token, and the configs of its model do not name just one special token" in refusals(folder)


@pytest.mark.parametrize("missing", [COUNTED_BY[:1], COUNTED_BY[1:2], COUNTED_BY[2:], COUNTED_BY])
def test_what_old_processors_do_not_tell_is_taken_from_the_config(folder, missing, tmp_path):
    expected = logprobs(folder)
    drop(folder, "processor_config.json", *missing)
    assert logprobs(folder) == expected
    load_finetunable(config_of(folder), FinetuningConfig(lora_r=2), 0).save_merged(tmp_path / "merged")
    assert logprobs(tmp_path / "merged") == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("setting", "value", "tokens"),
    [("num_additional_image_tokens", 0, 15), ("patch_size", 16, 4), ("vision_feature_select_strategy", "full", 17)],
)
def test_a_processor_that_counts_wrong_is_told_with_both_numbers(folder, setting, value, tokens):
    edit_json(folder / "processor_config.json", lambda it: it.update({setting: value}))
    told = refusals(folder)
    assert f"writes {tokens} image tokens for an image of which the model makes 16 features: patch_size, " in told


def test_a_patch_size_that_nobody_tells_is_one_line(tmp_path, copy_tiny):
    folder = copy_tiny("fast_vlm", tmp_path / "fast_vlm")
    drop(folder, "processor_config.json", "patch_size")
    assert "has no patch_size, and its config.json says none either" in refusals(folder)


def test_pictures_that_the_tower_cannot_read_are_told_without_a_tensor_size(folder, tmp_path):
    large = {"crop_size": {"height": 64, "width": 64}, "size": {"shortest_edge": 64}}
    edit_json(folder / "processor_config.json", lambda it: it["image_processor"].update(large))
    assert "cannot read an image as its processor prepares it (Input image size (64*64)" in refusals(folder)
    bare = copy_hub_folder("qwen2_vl", tmp_path, tmp_path / "bare")
    (bare / "preprocessor_config.json").write_text('{"processor_class": "Qwen2VLProcessor"}')
    told = refusals(bare)
    assert "cannot read an image as its processor prepares it: preprocessor_config.json" in told
    assert "tensor" not in told


def test_a_turn_ends_where_the_template_ends_it_whatever_the_tokenizer_says(folder):
    """As of models that were trained on with the tokenizer of their base, whose end is that of a document."""
    edit_json(folder / "tokenizer_config.json", lambda it: it.update(eos_token="<unk>"))
    edit_json(folder / "generation_config.json", lambda it: it.update(eos_token_id=None))
    template = folder / "chat_template.jinja"
    template.write_text(template.read_text().replace("{{ eos_token }}", "<|im_end|>"))
    taught = load_finetunable(config_of(folder), FinetuningConfig(), 0)
    end = taught.processor.tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert end in load_model(config_of(folder), 0).stop_ids
    batch = taught.collate([Conversation(make_picture(1), (("What?", "A dog."), ("And?", "A cat.")))])
    labels = batch["labels"][0]
    assert (labels == end).sum() == 2 and labels[labels != -100][-1] == end
