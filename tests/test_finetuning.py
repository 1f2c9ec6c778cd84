"""``finetune_files``: a LLaVA file in, a tuned model out; what is rejected; stop, go on, and do nothing twice."""

import json
from pathlib import Path

import pytest

from c3l import finetuning
from c3l.cli import main
from c3l.config_file import load_config
from c3l.errors import DataError, StaleStageError
from c3l.finetuning import finetune_files
from c3l.models.hf import HfModel
from c3l.models.load import load_model
from c3l.progress import SilentProgress
from runs import draw_pictures
from tiny_models import load_tiny

SETTINGS = (
    "model.dtype=float32", "model.device=cpu", "finetuning.lora_r=4", "finetuning.lora_alpha=8",
    "finetuning.lora_dropout=0", "finetuning.batch_size=2", "finetuning.gradient_accumulation=1",
    "finetuning.learning_rate=0.01", "finetuning.save_steps=1", "finetuning.max_length=300",
)  # fmt: skip


def write_data(root: Path) -> Path:
    def row(name, image, *texts):
        roles = ("human", "gpt") * len(texts)
        turns = [{"from": role, "value": text} for role, text in zip(roles, texts, strict=False)]
        return {"id": name, **({"image": image} if image else {}), "conversations": turns}

    rows = [row(f"r{n}", f"picture_{n}.png", "<image>\nWhat?", f"Yes {n}.", "So?", "No.") for n in range(4)]
    rows += [
        row("gone", "nowhere.png", "<image>\nWhat?", "Yes."),
        row("bad", "broken.jpg", "<image>\nWhat?", "Yes."),
        row("blind", None, "What?", "Yes."),
        row("long", "picture_0.png", "<image>\n" + "Why? " * 300, "Yes."),
    ]
    path = root / "data.json"
    path.write_text(json.dumps(rows))
    return path


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("finetuning")
    draw_pictures(root / "images")
    load_tiny("llava", root / "model")
    return root, write_data(root)


def configure(root, *overrides):
    return load_config(None, [f"model.name={root / 'model'}", f"images.root={root / 'images'}", *SETTINGS, *overrides])


def read(path):
    return json.loads(path.read_text())


def test_a_file_becomes_a_model_and_every_row_is_accounted_for(world, tmp_path):
    root, data = world
    out = tmp_path / "out"
    summary = finetune_files(data, out, configure(root), SilentProgress())
    assert (summary["rows"], summary["trained"]) == (8, 4)
    assert summary["rejected"] == {"unreadable_image": 2, "no_image": 1, "no_supervised_token": 1}
    assert summary["steps"] == len((out / "log.jsonl").read_text().splitlines()) == 2
    assert summary["above_max_error_rate"] is False
    assert sorted(path.name for path in out.iterdir()) == [
        ".lock", "adapter", "finetune.json", "log.jsonl", "merged", "rejected.jsonl", "settings.json",
    ]  # fmt: skip
    assert len((out / "rejected.jsonl").read_text().splitlines()) == 4
    tuned = load_model(configure(out, f"model.name={out / 'merged'}").model, 0)
    assert isinstance(tuned, HfModel)


def test_a_finished_one_does_nothing_and_other_settings_are_refused(world, tmp_path, monkeypatch):
    root, data = world
    first = finetune_files(data, tmp_path / "out", configure(root), SilentProgress())
    monkeypatch.setattr(finetuning, "load_finetunable", None)
    assert finetune_files(data, tmp_path / "out", configure(root, "finetuning.save_steps=7"), SilentProgress()) == first
    with pytest.raises(StaleStageError, match=r"finetuning\.lora_r: 4 -> 2"):
        finetune_files(data, tmp_path / "out", configure(root, "finetuning.lora_r=2"), SilentProgress())


def test_a_stopped_one_goes_on_to_the_same_model(world, tmp_path, monkeypatch):
    root, data = world
    finetune_files(data, tmp_path / "whole", configure(root), SilentProgress())

    class Stopped(Exception):
        pass

    def stop(*_):
        raise Stopped

    with monkeypatch.context() as patched:
        patched.setattr(finetuning, "_save", stop)
        with pytest.raises(Stopped):
            finetune_files(data, tmp_path / "cut", configure(root), SilentProgress())
    assert not (tmp_path / "cut" / "finetune.json").exists()
    finetune_files(data, tmp_path / "cut", configure(root), SilentProgress())
    for name in ("merged/model.safetensors", "log.jsonl", "rejected.jsonl"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not (tmp_path / "cut" / "checkpoints").exists()


def test_nothing_to_learn_is_one_line(world, tmp_path):
    root, _ = world
    data = tmp_path / "empty.json"
    data.write_text("[]")
    with pytest.raises(DataError, match="no conversation"):
        finetune_files(data, tmp_path / "out", configure(root), SilentProgress())


def test_the_command_ends_with_one_line_and_code_3_where_too_much_was_rejected(world, tmp_path, capsys):
    root, data = world
    named = ["--data", str(data), "--out", str(tmp_path / "out"), "--image-root", str(root / "images"),
             "--model", str(root / "model")]  # fmt: skip
    more = [word for setting in (*SETTINGS, "max_error_rate=0.1") for word in ("--set", setting)]
    assert main(["finetune", *named, *more]) == 3
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["trained"] == 4
