"""Preferences as TRL, LLaMA-Factory and ms-swift read them: TRL's own trainer, and readers of the others' documents."""

import json
from pathlib import Path
from typing import Any

import datasets
import pytest
from PIL import Image

from c3l.data.export import export, verify
from c3l.data.export_layouts import FILES
from c3l.data.export_rows import ExportSource
from c3l.data.images import inspect_image
from c3l.records import AnswerScores, ImageRef, Preference, Provenance, Sample, ScoredPair
from c3l.settings.schema import ExportConfig, ExportFormat, ImagesConfig, PreferenceKind

PROVENANCE = Provenance("tiny-llava", "abc123", "hf", "float32", "cpu", 0, {})
SCORES = AnswerScores((1, 2), ("a", "b"), (-1.0, -0.5), (-2.0, -1.5))
KINDS: tuple[PreferenceKind, ...] = ("preference", "whole_pair")


def write(folder: Path, *formats: ExportFormat, with_scores: bool = False) -> Path:
    root = folder / "images"
    root.mkdir()
    Image.new("RGB", (32, 24), "red").save(root / "a.jpg")
    image = inspect_image(root, "a.jpg", ImagesConfig())
    assert isinstance(image, ImageRef)
    better, worse = (
        ScoredPair(Sample(name, image.image_id, "conversation", "What?", text, 0, 0), SCORES, i2c, "log_ratio", "drop")
        for name, text, i2c in (("s1", "A red thing.", 0.5), ("s2", "Nothing.", 0.1))
    )
    ones = {kind: [Preference("What?", "A red thing.", "Nothing.", better, worse)] for kind in KINDS}
    source = ExportSource([better], {image.image_id: image}, PROVENANCE, root, ones)
    export(source, folder / "export", ExportConfig(formats=formats, with_scores=with_scores))
    return folder / "export"


@pytest.fixture(autouse=True)
def offline_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def load_as_llamafactory(folder: Path, dataset: str) -> list[dict[str, Any]]:
    """What its document on data says of the sharegpt layout with ``ranking``: tags by default from/value, human/gpt."""
    entry = json.loads((folder / "dataset_info.json").read_text())[dataset]
    assert entry["formatting"] == "sharegpt" and entry["ranking"] is True
    columns, out = entry["columns"], []
    for row in json.loads((folder / entry["file_name"]).read_text()):
        turns = row[columns["messages"]]
        assert len(turns) % 2 == 1 and all(
            turn["from"] == ("gpt" if place % 2 else "human") for place, turn in enumerate(turns)
        )
        answers = [row[columns[name]] for name in ("chosen", "rejected")]
        assert all(one["from"] == "gpt" for one in answers)
        prompt, images = [turn["value"] for turn in turns], row[columns["images"]]
        assert "".join(prompt).count("<image>") == len(images)
        out.append({"prompt": prompt, "answers": [one["value"] for one in answers], "images": images})
    return out


def load_as_swift(path: Path) -> list[dict[str, Any]]:
    """What its document on custom data sets says: a chat that ends with the answer, and another in its place."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        assert [turn["role"] for turn in row["messages"]] == ["user", "assistant"]
        assert row["messages"][-1]["content"] != row["rejected_response"]
        assert sum(turn["content"].count("<image>") for turn in row["messages"]) == len(row["images"])
    return rows


@pytest.mark.parametrize("kind", KINDS)
def test_llamafactory_reads_them_by_its_entry(kind: PreferenceKind, tmp_path: Path) -> None:
    folder = write(tmp_path, "llamafactory", f"llamafactory_{kind}")
    assert load_as_llamafactory(folder, f"c3l_{kind}") == [
        {"prompt": ["<image>What?"], "answers": ["A red thing.", "Nothing."], "images": ["a.jpg"]}
    ]
    assert list(json.loads((folder / "dataset_info.json").read_text())) == ["c3l", f"c3l_{kind}"]


@pytest.mark.parametrize("kind", KINDS)
def test_swift_reads_them(kind: PreferenceKind, tmp_path: Path) -> None:
    [row] = load_as_swift(write(tmp_path, f"swift_{kind}") / FILES[f"swift_{kind}"])
    assert [turn["content"] for turn in row["messages"]] == ["<image>What?", "A red thing."]
    assert (row["rejected_response"], row["images"]) == ("Nothing.", ["a.jpg"])


@pytest.mark.parametrize("name", ["trl_preference", "llamafactory_preference", "swift_preference"])
def test_scores_of_both_stand_in_the_row(name: ExportFormat, tmp_path: Path) -> None:
    path = write(tmp_path, name, with_scores=True) / FILES[name]
    kind = "parquet" if path.suffix == ".parquet" else "json"
    [row] = datasets.load_dataset(kind, data_files=str(path), split="train")
    assert (row["id"], row["rejected_id"], row["i2c_chosen"], row["i2c_rejected"]) == ("s1", "s2", 0.5, 0.1)
    assert (row["form"], row["model"], row["weights"]) == ("log_ratio", "tiny-llava", "abc123")
    assert verify(path, name) == 1


def test_trl_trains_on_them(tmp_path: Path, copy_tiny: Any) -> None:
    """By its own trainer: the picture enters the prompt, the answers follow, and a step of DPO moves the model."""
    trl = pytest.importorskip("trl")
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    path = write(tmp_path, "trl_preference", with_scores=True) / FILES["trl_preference"]
    found = datasets.load_dataset("parquet", data_files=str(path), split="train")
    copy_tiny("llava", tmp_path / "llava")
    processor = AutoProcessor.from_pretrained(tmp_path / "llava")
    model = AutoModelForImageTextToText.from_pretrained(tmp_path / "llava")
    before = {name: one.detach().clone() for name, one in model.named_parameters()}
    settings = trl.DPOConfig(
        output_dir=str(tmp_path / "out"), max_steps=1, max_length=None, report_to=[], use_cpu=True, learning_rate=0.01,
        per_device_train_batch_size=1, bf16=False,
    )  # fmt: skip
    trainer = trl.DPOTrainer(model=model, args=settings, train_dataset=found, processing_class=processor)
    batch = next(iter(trainer.get_train_dataloader()))
    chosen, rejected = (
        processor.tokenizer.decode(ids[mask.bool()], skip_special_tokens=True)
        for ids, mask in zip(batch["input_ids"], batch["completion_mask"], strict=True)
    )
    assert chosen.strip() == "A red thing." and rejected.strip() == "Nothing."
    assert batch["pixel_values"].shape[0] == 2
    shown = batch["input_ids"] == model.config.image_token_id
    assert shown.any(dim=1).all()
    trainer.train()
    assert any(not torch.equal(one, before[name]) for name, one in model.named_parameters())
