import json
import shutil

import numpy as np
import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor
from transformers.utils import is_torchvision_available
from transformers.video_processing_utils import VideoProcessorMixin

from c3l.errors import BackendError
from c3l.models.hf.processors import load_processor, save_processor
from c3l.models.interface import GenerateRequest, Pair, Sampling, ScoreRequest
from c3l.models.load import load_finetunable, load_model, load_trainable
from c3l.models.tunable import Conversation, ForcedRow
from c3l.settings.schema import ModelConfig
from c3l.settings.tuning import ContrastiveConfig, FinetuningConfig
from hub_layouts import LAYOUTS, copy_hub_folder, edit_json, put_template
from scores import score_rows
from tiny_models import make_picture

IMAGES, VIDEOS, BOTH = "preprocessor_config.json", "video_preprocessor_config.json", "processor_config.json"
PAIR = Pair("p", "What?", "A dog.")


pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return tmp_path_factory.mktemp("hub")


def config_of(folder):
    return ModelConfig(name=str(folder), dtype="float32", device="cpu")


def logprobs(model, seed):
    return score_rows(model, [ScoreRequest(make_picture(seed), (PAIR,))], "drop")[0][0].logprobs_with_image


def say_videos(folder):
    """What the files of a folder say of videos, as a stock video processor reads it."""
    return VideoProcessorMixin.get_video_processor_dict(folder)[0]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_folder_as_the_hub_has_it_scores_writes_is_tuned_and_loaded_again(layout, made, tmp_path):
    folder = copy_hub_folder(layout, made, tmp_path / "model")
    model = load_model(config_of(folder), 0)
    before = logprobs(model, 1)
    assert max(abs(one - two) for one, two in zip(before, logprobs(model, 2), strict=True)) > 0.05
    greedy = Sampling(temperature=0.0, top_p=1.0, max_new_tokens=3)
    assert len(model.generate([GenerateRequest("r", make_picture(1), "What?", 0)], greedy)) == 1
    tuned = load_trainable(config_of(folder), ContrastiveConfig(lora_r=2), 0)
    found = tuned.read(tuned.collate([ForcedRow(make_picture(1), PAIR.prompt, PAIR.completion)]))
    assert found.log_likelihood.item() == pytest.approx(sum(before) / len(before), abs=1e-3)
    taught = load_finetunable(config_of(folder), FinetuningConfig(lora_r=2), 0)
    batch = taught.collate([Conversation(make_picture(1), (("What?", "A dog."), ("Sure?", "Yes.")))])
    assert torch.isfinite(taught.module(**batch).loss)
    taught.save_merged(tmp_path / "merged")
    assert logprobs(load_model(config_of(tmp_path / "merged"), 0), 1) == pytest.approx(before, abs=1e-4)
    assert say_videos(tmp_path / "merged") == say_videos(folder)
    for name in {IMAGES, VIDEOS} & {path.name for path in folder.iterdir()}:
        assert (tmp_path / "merged" / name).read_bytes() == (folder / name).read_bytes()


def pixels(folder):
    processor = load_processor(str(folder), "main", False)
    return processor.image_processor(make_picture(3, (50, 40)), return_tensors="np")["pixel_values"]


@pytest.mark.parametrize("kind", ["Qwen2VLImageProcessor", "Qwen2VLImageProcessorFast", "Qwen2VLImageProcessorPil"])
def test_pixels_are_those_of_pillow_whichever_class_the_folder_names(kind, made, tmp_path):
    folder = copy_hub_folder("qwen2_vl", made, tmp_path / "model")
    expected = pixels(folder)
    edit_json(folder / IMAGES, lambda it: it.update(image_processor_type=kind))
    np.testing.assert_array_equal(pixels(folder), expected)
    assert type(load_processor(str(folder), "main", False).image_processor).__name__ == "Qwen2VLImageProcessorPil"


def test_a_processor_class_that_nobody_knows_is_that_of_the_family(made, tmp_path):
    folder = copy_hub_folder("qwen2_vl", made, tmp_path / "model")
    expected = logprobs(load_model(config_of(folder), 0), 1)
    edit_json(folder / IMAGES, lambda it: it.update(processor_class="MyProcessor"))
    assert logprobs(load_model(config_of(folder), 0), 1) == expected


@pytest.mark.parametrize("where", ["chat_template.jinja", "tokenizer_config.json", "named"])
def test_the_chat_template_is_found_wherever_it_is(where, made, tmp_path):
    folder = copy_hub_folder("qwen2_vl", made, tmp_path / "model")
    expected = load_model(config_of(folder), 0).show_prompt("What?", make_picture(1))
    put_template(folder, where)
    assert load_model(config_of(folder), 0).show_prompt("What?", make_picture(1)) == expected


def test_pixtral_needs_no_torchvision(tmp_path, tiny):
    tokenizer = tiny("llava").processor.tokenizer
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "mistral3"}))
    images = {"image_processor_type": "PixtralImageProcessorFast", "patch_size": 8, "size": {"longest_edge": 64}}
    (tmp_path / IMAGES).write_text(json.dumps({"processor_class": "PixtralProcessor", **images}))
    processor = load_processor(str(tmp_path), "main", False)
    assert type(processor).__name__ == "PixtralProcessor"
    assert type(processor.image_processor).__name__ == "PixtralImageProcessorPil"


@pytest.mark.skipif(is_torchvision_available(), reason="is prepared by torchvision then")
def test_a_family_that_torchvision_alone_prepares_says_so(tmp_path, tiny):
    tiny("llava").processor.tokenizer.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama4"}))
    images = {"image_processor_type": "Llama4ImageProcessorFast", "processor_class": "Llama4Processor"}
    (tmp_path / IMAGES).write_text(json.dumps(images))
    with pytest.raises(BackendError, match=r"prepares its images by torchvision, which is not installed, .* install"):
        load_processor(str(tmp_path), "main", False)


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ([IMAGES], r"without the files of its image processor \(processor_config.json or preprocessor_config.json\)"),
        (["tokenizer.json"], r"without the files of its tokenizer \(tokenizer.json or tokenizer.model\), expected"),
        ([IMAGES, "tokenizer.json"], "its tokenizer .* and its image processor"),
    ],
)
def test_files_that_are_missing_are_named(gone, message, made, tmp_path):
    folder = copy_hub_folder("qwen2_vl", made, tmp_path / "model")
    for name in gone:
        (folder / name).unlink()
    with pytest.raises(BackendError, match=message):
        load_model(config_of(folder), 0)


def test_pointers_of_git_are_told_from_files(made, tmp_path):
    folder = copy_hub_folder("qwen2_vl", made, tmp_path / "model")
    (folder / "tokenizer.json").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(BackendError, match=r"tokenizer.json is a pointer of git LFS"):
        load_model(config_of(folder), 0)


def test_transformers_is_left_as_it_was(made, tmp_path):
    folder = copy_hub_folder("qwen3_vl", made, tmp_path / "model")
    stock = shutil.copytree(folder, tmp_path / "stock")
    load_processor(str(folder), "main", False)
    if not is_torchvision_available():
        with pytest.raises(ImportError, match=r"(?i)torchvision"):
            AutoProcessor.from_pretrained(stock)


def test_a_saved_folder_is_loaded_by_stock_tools_too(copy_tiny, tmp_path):
    folder = copy_tiny("llava", tmp_path / "llava")
    processor = load_processor(str(folder), "main", False)
    save_processor(processor, tmp_path / "again")
    AutoModelForImageTextToText.from_pretrained(folder).save_pretrained(tmp_path / "again")
    stock = AutoProcessor.from_pretrained(tmp_path / "again")
    assert stock.to_dict() == AutoProcessor.from_pretrained(folder).to_dict()
    assert stock.chat_template == processor.chat_template


@pytest.mark.skipif(not is_torchvision_available(), reason="stock processors of these families need torchvision")
@pytest.mark.parametrize("layout", ["qwen2_vl", "qwen3_vl", "llava_onevision"])
def test_stock_tools_read_videos_by_a_saved_folder_as_by_the_first(layout, made, tmp_path):
    folder = copy_hub_folder(layout, made, tmp_path / "model")
    again = shutil.copytree(folder, tmp_path / "again", ignore=shutil.ignore_patterns("*processor_config.json"))
    save_processor(load_processor(str(folder), "main", False), again)
    one, two = AutoProcessor.from_pretrained(folder), AutoProcessor.from_pretrained(again)
    assert one.video_processor.to_dict() == two.video_processor.to_dict()
    assert one.image_processor.to_dict() == two.image_processor.to_dict()
