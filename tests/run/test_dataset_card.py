"""The card: its head is what the Hub and `datasets` read, its command makes the same data, and no machine shows."""

import shlex
from pathlib import Path

import datasets
import pytest
from huggingface_hub import DatasetCard

from c3l.run.dataset_card import spell_command
from c3l.settings.load import load_config
from c3l.settings.schema import RunConfig
from runs import Loader, draw_pictures, make_config, make_fake_model, walk

EVERY = "export.formats=[llava, swift, trl, trl_whole_pair, finevision, webdataset, ids, swift_preference, data_juicer]"


@pytest.fixture
def make(tmp_path, monkeypatch):
    monkeypatch.setenv("C3L_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hub")

    def run(name: str, *overrides: str) -> Path:
        folder = tmp_path / name
        if not folder.exists():
            folder.mkdir()
            make_fake_model(folder / "my-model")
        root = draw_pictures(folder / "pictures", 3)
        walk(make_config(folder / "run", root, folder / "my-model", *overrides), Loader())
        return folder / "run/export"

    return run


def read_card(export: Path) -> DatasetCard:
    return DatasetCard.load(export / "README.md")


def test_datasets_finds_the_files_by_the_names_of_their_formats(make):
    export = make("one", EVERY)
    head = read_card(export).data
    assert head.task_categories == ["visual-question-answering", "image-text-to-text"]
    assert (head.size_categories, head.license) == ("n<1K", None)
    assert datasets.get_dataset_config_names(str(export)) == ["trl", "trl_whole_pair", "finevision"]
    assert len(datasets.load_dataset(str(export), split="train")) == 8
    whole = datasets.load_dataset(str(export), "trl_whole_pair", split="train")
    assert whole[0]["chosen"][0]["role"] == "assistant" and whole[0]["images"][0].size == (40, 30)


@pytest.mark.parametrize(
    ("formats", "names"),
    [("[llava, swift, ids]", ["llava", "swift"]), ("[webdataset, ids]", ["webdataset"]), ("ids", ["ids"])],
)
def test_text_and_tars_are_found_where_nothing_else_is(formats, names, make):
    export = make("one", f"export.formats={formats}")
    assert datasets.get_dataset_config_names(str(export)) == names
    for name in names:
        assert len(datasets.load_dataset(str(export), name, split="train")) == 8


def test_it_counts_what_was_made_and_names_the_measure(make):
    text = read_card(make("one", EVERY)).text
    assert "8 pairs about 3 images, written by `my-model` (revision: not pinned)." in text
    assert "| images | 4 images | 3 images | 1 not_an_image |" in text
    assert "| filtered | 15 pairs | 8 pairs | 7 outside_top_fraction |" in text
    assert "| form of S(I2C) | `discounted_likelihood`, nats |" in text and "| `drop` |" in text
    assert "| `finevision` | `finevision.parquet` | 8 | pairs |" in text
    assert "swift_preference.jsonl" not in text, "there is no such preference, and no such file"


def test_it_is_the_same_on_another_machine_and_tells_nothing_of_this_one(make, tmp_path):
    first, second = make("one", EVERY), make("two", EVERY, "shard_size=1", "scoring.batch_size=1")
    assert (first / "README.md").read_bytes() == (second / "README.md").read_bytes()
    assert str(tmp_path) not in (first / "README.md").read_text()


def test_its_command_asks_for_the_same_data():
    given = ["seed=3", "filtering.fraction=0.2", "generation.instructions=[conversation, brief_vqa]", "rounds=2"]
    given += ["model.name=hub/model", "model.revision=abc", "contrastive.epochs=3", "scoring.form=log_ratio"]
    words = shlex.split(spell_command(load_config(None, [*given, "scoring.batch_size=7", "images.root=/secret"])))
    assert words[:6] == ["c3l", "run", "--run", "RUN", "--image-root", "IMAGES"]
    overrides = words[7::2]
    assert load_config(None, overrides) == load_config(None, given)
    near = ["images.near_duplicates=drop", "images.near_distance=9"]
    assert load_config(None, shlex.split(spell_command(load_config(None, near)))[7::2]) == load_config(None, near)
    assert "near" not in spell_command(load_config(None, ["images.near_duplicates=count", "images.near_distance=9"]))
    assert spell_command(RunConfig()) == "c3l run --run RUN --image-root IMAGES"


def test_a_licence_named_later_changes_the_card_and_nothing_else(make):
    export = make("one", EVERY)
    assert "No licence was named" in read_card(export).text
    before = {path: path.stat().st_mtime_ns for path in export.rglob("*") if path.name != "README.md"}
    make("one", EVERY, "export.licence=cc-by-4.0")
    assert read_card(export).data.license == "cc-by-4.0"
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert "`cc-by-4.0`" in read_card(export).text
