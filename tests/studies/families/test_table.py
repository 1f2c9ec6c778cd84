"""The page of families: that a family of each way of computing rows is as it says, and that it has them all."""

import re
from pathlib import Path

import pytest
from studies.families.folder import write_folder
from studies.families.parts import PAD
from studies.families.table import FAMILIES, make_line, make_page
from studies.families.trial import Outcome, try_family

from c3l.errors import BackendError
from c3l.evaluation.judges import ModelJudge
from c3l.evaluation.predict import predict
from c3l.evaluation.task import Item
from c3l.models.hf.trials import draw
from c3l.models.load import load_finetunable, load_model
from c3l.settings.schema import ModelConfig
from c3l.settings.tuning import FinetuningConfig

PAGE = Path(__file__).parents[3] / "docs" / "models.md"
BY_NAME = {family.known_as: family for family in FAMILIES}


def without_figures(line):
    return re.sub(r"(1e-?\d+|\d+\.\d+)", "#", line)


def lines_of(part):
    return [line for line in part.splitlines() if line.startswith("| ") and "`model_type`" not in line]


# one that looks at pictures by layers of its own, one whose rows change each other, one with a generate of its own,
# one without chats that show no picture, one whose loss TRL would make of other logits
@pytest.mark.parametrize(
    "name",
    [
        "Llama 3.2 Vision",
        "HunYuan-VL, HunyuanOCR",
        "Janus, Janus-Pro",
        "PaliGemma",
        "Granite 4 Vision",
        "Aya Vision",
    ],
)
def test_a_family_is_as_the_page_says(name, tmp_path):
    found = try_family(BY_NAME[name], tmp_path / "model")
    assert found.off < 1e-5 < 1e-2 < found.effect
    assert isinstance(found.several, float) and found.several < 1e-5
    assert found.tuned < 1e-5
    assert found.finetuned < 1e-5
    [line] = [line for line in PAGE.read_text().splitlines() if line.startswith(f"| {name} |")]
    assert without_figures(make_line(found).strip()) == without_figures(line)


def test_a_family_whose_chats_need_a_picture_is_evaluated_with_it_alone(tmp_path):
    write_folder(BY_NAME["PaliGemma"].build(), tmp_path / "model")
    model = load_model(ModelConfig(name=str(tmp_path / "model"), dtype="float32", device="cpu"), 0)
    assert "drop" not in model.no_image_modes()
    items = [Item("1", "a.png", "Is it?"), Item("2", "a.png", "What?", ("A dog.", "A cat."))]

    def ask(*, blind):
        return list(predict(items, model, lambda image: draw(64, 64), max_new_tokens=4, batch_size=2, blind=blind))

    written, compared = ask(blind=False)
    assert "tokens were used up" in written.failed, "the tiny model writes line breaks alone"
    assert len(set(compared.likelihoods)) == 2
    for asked in (items[:1], items[1:]):
        items = asked
        with pytest.raises(BackendError, match=r"no chats without an image.*evaluation\.blind=false"):
            ask(blind=True)
    with pytest.raises(BackendError, match="no chats without an image"):
        ModelJudge(model, "m").ask("You judge.", "Which is better?", 0)
    with pytest.raises(BackendError, match=r"to weigh its tokens by: set finetuning\.taught_share=null"):
        load_finetunable(
            ModelConfig(name=str(tmp_path / "model"), dtype="float32", device="cpu"),
            FinetuningConfig(lora_r=2, lora_dropout=0, taught_share=0.5),
            0,
        )


def test_a_family_that_shows_no_several_images_says_why_as_on_the_page(tmp_path):
    found = try_family(BY_NAME["GOT-OCR2"], tmp_path / "model")
    assert f"| GOT-OCR2 | {found.several} |" in PAGE.read_text()
    assert "| **no** |" in make_line(found)


@pytest.mark.parametrize("name", ["Florence-2"])
def test_a_family_that_cannot_is_refused_as_the_page_says(name, tmp_path):
    found = try_family(BY_NAME[name], tmp_path / "model")
    assert f"| {name} | `{found.family.model_type}` | {found.refused} |" in PAGE.read_text()


def test_the_page_has_every_family_and_many_that_work():
    working, _, rest = PAGE.read_text().partition("## Refused")
    refused, _, _ = rest.partition("## No several images")
    names = [line.split(" | ")[0].removeprefix("| ") for part in (working, refused) for line in lines_of(part)]
    assert sorted(names) == sorted(BY_NAME)
    assert len(lines_of(working)) >= 25


def test_no_line_is_written_about_a_picture_that_does_not_matter():
    found = Outcome(FAMILIES[0], modes=("drop",), off=1e-6, effect=1e-4)
    with pytest.raises(AssertionError, match="another image"):
        make_page([found])


def test_a_folder_is_laid_out_as_those_of_the_hub(tmp_path):
    write_folder(BY_NAME["Qwen2-VL"].build(), tmp_path)
    files = {path.name for path in tmp_path.iterdir()}
    assert {"preprocessor_config.json", "video_preprocessor_config.json", "chat_template.jinja"} <= files
    assert PAD in (tmp_path / "tokenizer_config.json").read_text()
