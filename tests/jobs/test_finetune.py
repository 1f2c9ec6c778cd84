"""``finetune_files``: a LLaVA file in, a tuned model out; what is rejected; stop, go on, and do nothing twice."""

import json
import shutil
import sys
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from c3l.cli.main import main
from c3l.errors import BackendError, ConfigError, DataError, StaleStageError, TooManyRejectedError
from c3l.jobs import finetune as finetuning
from c3l.jobs import learnable
from c3l.jobs.finetune import finetune_files
from c3l.models.hf.inference import HfModel
from c3l.models.load import load_model
from c3l.progress import SilentProgress
from c3l.settings.load import load_config
from c3l.training.checkpoints import Advance
from processes import fork_together
from runs import draw_pictures

SETTINGS = (
    "model.dtype=float32", "model.device=cpu", "finetuning.lora_r=4", "finetuning.lora_alpha=8",
    "finetuning.lora_dropout=0", "finetuning.batch_size=2", "finetuning.gradient_accumulation=1",
    "finetuning.learning_rate=0.01", "finetuning.save_steps=1", "finetuning.max_length=300", "max_error_rate=0.6",
)  # fmt: skip


pytestmark = pytest.mark.usefixtures("one_thread")


def write_data(root: Path) -> Path:
    def row(name, image, *texts):
        roles = ("human", "gpt") * len(texts)
        turns = [{"from": role, "value": text} for role, text in zip(roles, texts, strict=False)]
        return {"id": name, **({"image": image} if image else {}), "conversations": turns}

    rows = [row(f"r{n}", f"picture_{n}.png", "<image>\nWhat?", f"Yes {n}.", "So?", "No.") for n in range(4)]
    rows += [
        row("gone", "nowhere.png", "<image>\nWhat?", "Yes."),
        row("bad", "broken.jpg", "<image>\nWhat?", "Yes."),
        row("blind", None, "What is two and two?", "Four."),
        row("lost", None, "<image>\nWhat?", "Yes."),
        row("long", "picture_0.png", "<image>\n" + "Why? " * 300, "Yes."),
        row("torn", "picture_0.png", "<image>\nWhat?", "Yes.", "And?", "", "So?", "No."),
        row("two", ["picture_0.png", "picture_1.png"], "<image>\n<image>\nWhat?", "Yes."),
    ]
    path = root / "data.json"
    path.write_text(json.dumps(rows))
    return path


@pytest.fixture(scope="module")
def world(tmp_path_factory, copy_tiny):
    root = tmp_path_factory.mktemp("finetuning")
    draw_pictures(root / "images")
    copy_tiny("llava", root / "model")
    return root, write_data(root)


def configure(root, *overrides):
    return load_config(None, [f"model.name={root / 'model'}", f"images.root={root / 'images'}", *SETTINGS, *overrides])


def read(path):
    return json.loads(path.read_text())


def read_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.filterwarnings("error::FutureWarning")
def test_a_file_becomes_a_model_and_every_row_is_accounted_for(world, tmp_path):
    root, data = world
    out = tmp_path / "out"
    summary = finetune_files([data], out, configure(root), SilentProgress())
    assert (summary["rows"], summary["trained"]) == (11, 5)
    assert summary["rejected"] == {
        "missing_image": 1, "not_an_image": 1, "no_image": 1, "no_supervised_token": 1, "empty_answer": 1,
        "several_images": 1,
    }  # fmt: skip
    assert summary["steps"] == len((out / "log.jsonl").read_text().splitlines()) == 3
    assert summary["above_max_error_rate"] is False
    assert finetune_files([data], out, configure(root, "max_error_rate=0.5"), SilentProgress())["above_max_error_rate"]
    lost = [json.loads(line)["id"] for line in (out / "rejected.jsonl").read_text().splitlines()]
    assert lost == ["gone", "bad", "lost", "long", "torn", "two"]
    assert sorted(path.name for path in out.iterdir()) == [
        ".lock", "adapter", "finetune.json", "log.jsonl", "merged", "rejected.jsonl", "settings.json",
    ]  # fmt: skip
    kept = read(out / "finetune.json")
    assert kept["settings"]["finetuning.lora_r"] == 4 and len(kept["settings"]["data"]) == 64
    assert kept["base"]["weights"] == kept["settings"]["weights"]
    tuned = load_model(configure(out, f"model.name={out / 'merged'}").model, 0)
    assert isinstance(tuned, HfModel)


def test_a_finished_one_does_nothing_and_other_settings_are_refused(world, tmp_path, monkeypatch):
    root, data = world
    notes = []
    monkeypatch.setattr(SilentProgress, "note", lambda self, line: notes.append(line))
    first = finetune_files([data], tmp_path / "out", configure(root), SilentProgress())
    assert notes == [
        "data: layout `conversations` of `from` and `value` (LLaVA, ShareGPT)",
        "6 of 11 rows rejected: 1 empty_answer, 1 missing_image, 1 no_image, 1 no_supervised_token, 1 not_an_image, "
        f"1 several_images; {tmp_path / 'out/rejected.jsonl'} says more",
        "1 of 5 rows were taught as text, since they name no image",
    ]
    monkeypatch.setattr(finetuning, "load_finetunable", None)
    assert (
        finetune_files([data], tmp_path / "out", configure(root, "finetuning.save_steps=7"), SilentProgress()) == first
    )
    for change, told in (
        ("finetuning.lora_r=2", r"finetuning\.lora_r: 4 -> 2"),
        ("images.min_side=9", r"images\.min_side"),
    ):
        with pytest.raises(StaleStageError, match=told):
            finetune_files([data], tmp_path / "out", configure(root, change), SilentProgress())
    monkeypatch.setenv("RANK", "1")  # nor do the other processes of a finished one
    finetune_files([data], tmp_path / "out", configure(root), SilentProgress())


def test_all_of_the_language_model_can_learn_and_there_is_no_adapter_then(world, tmp_path):
    root, data = world
    out = tmp_path / "out"
    summary = finetune_files([data], out, configure(root, "finetuning.method=full"), SilentProgress())
    assert summary["loss_last"] != summary["loss_first"]
    assert not (out / "adapter").exists()
    assert isinstance(load_model(configure(out, f"model.name={out / 'merged'}").model, 0), HfModel)


class Stopped(Exception):
    pass


def stop(*_):
    raise Stopped


@pytest.fixture(scope="module")
def whole(world):
    """A function from a method to the folder of a finetuning that was not stopped."""
    root, data = world

    @cache
    def make(method):
        out = root / f"whole_{method}"
        finetune_files([data], out, configure(root, f"finetuning.method={method}"), SilentProgress())
        return out

    return make


@pytest.mark.parametrize("method", ["lora", "full"])
@pytest.mark.parametrize("place", [(Advance, "on_step_begin"), (finetuning, "_save")], ids=["training", "saving"])
def test_a_stopped_one_goes_on_to_the_same_model(place, method, world, whole, tmp_path, monkeypatch):
    root, data = world
    settings = f"finetuning.method={method}"

    def stop_after_two(self, args, state, control, **_):
        if state.global_step == 2:
            raise Stopped

    expected = whole(method)
    with monkeypatch.context() as patched:
        patched.setattr(*place, stop if place[0] is finetuning else stop_after_two, raising=False)
        with pytest.raises(Stopped):
            finetune_files([data], tmp_path / "cut", configure(root, settings), SilentProgress())
    assert not (tmp_path / "cut" / "finetune.json").exists()
    with pytest.raises(StaleStageError, match=r"images\.min_side"):
        finetune_files([data], tmp_path / "cut", configure(root, settings, "images.min_side=9"), SilentProgress())
    monkeypatch.setattr(learnable, "_judge", None)  # no picture is looked through a second time
    finetune_files([data], tmp_path / "cut", configure(root, settings), SilentProgress())
    for name in ("merged/model.safetensors", "log.jsonl", "rejected.jsonl"):
        assert (tmp_path / "cut" / name).read_bytes() == (expected / name).read_bytes()
    assert not (tmp_path / "cut" / "checkpoints").exists()


def test_two_processes_learn_as_one_with_twice_the_batch(world, tmp_path, in_float64):
    """Two pictures in twelve rows, two a process and step: some batches have none, and the connector learns nothing."""
    root, _ = world
    rows = json.loads(write_data(tmp_path).read_text())
    blind = next(row for row in rows if row["id"] == "blind")
    (tmp_path / "data.json").write_text(json.dumps([*rows[:2], *[blind | {"id": f"b{n}"} for n in range(10)]]))
    recipe = ["finetuning.warmup_share=0", "finetuning.learning_rate=0.001"]
    single = configure(root, *recipe, "finetuning.batch_size=4")
    finetune_files([tmp_path / "data.json"], tmp_path / "alone", single, SilentProgress())
    settings = [word for setting in (*SETTINGS, *recipe) for word in ("--set", setting)]
    command = ["finetune", "--data", str(tmp_path / "data.json"), "--out", str(tmp_path / "together"),
               "--image-root", str(root / "images"), "--model", str(root / "model"), *settings]  # fmt: skip
    log = tmp_path / "log"
    assert fork_together(lambda: main(command), 2, log) == [0, 0], log.read_text()
    one, two = (load_file(tmp_path / out / "adapter/adapter_model.safetensors") for out in ("alone", "together"))
    assert max(float(one[name].abs().max()) for name in one if "lora_B" in name) > 1e-3, "nothing was tuned"
    assert one.keys() == two.keys() and any("projector" in name for name in one)
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=0, atol=1e-5)
    for first, second in zip(*(read_lines(tmp_path / out / "log.jsonl") for out in ("alone", "together")), strict=True):
        assert first == pytest.approx(second, rel=1e-5)


def test_nothing_to_learn_is_one_line(world, tmp_path):
    root, _ = world
    data = tmp_path / "empty.json"
    data.write_text("[]")
    with pytest.raises(DataError, match="no conversation"):
        finetune_files([data], tmp_path / "out", configure(root), SilentProgress())


def name_all(root, data, out, *settings):
    named = [
        "--data",
        str(data),
        "--out",
        str(out),
        "--image-root",
        str(root / "images"),
        "--model",
        str(root / "model"),
    ]
    return ["finetune", *named, *(word for setting in (*SETTINGS, *settings) for word in ("--set", setting))]


def test_where_too_much_is_rejected_nothing_is_trained_and_the_code_is_3(world, tmp_path, capsys):
    root, data = world
    strict = name_all(root, data, tmp_path / "out", "max_error_rate=0.1")
    assert main(strict) == 3
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "6 of 11 rows cannot be learned, above max_error_rate 10%; the commonest reason: " in error
    assert len(read_lines(tmp_path / "out" / "rejected.jsonl")) == 6
    assert not (tmp_path / "out" / "merged").exists()
    assert main(name_all(root, data, tmp_path / "out")) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["trained"] == 5
    assert main(strict) == 3


def test_columns_of_other_names_are_taught_as_the_usual_ones(world, tmp_path, capsys):
    root, data = world
    (tmp_path / "other.json").write_text(data.read_text().replace('"conversations"', '"talk"'))
    command = name_all(root, tmp_path / "other.json", tmp_path / "out")
    assert main(command) == 1
    assert "got a row of `id`, `image`, `talk`, expected" in capsys.readouterr().err
    assert main([*command, "--columns", "turns=talk"]) == 0
    told = capsys.readouterr()
    assert "c3l: data: layout `conversations` of `from` and `value` (LLaVA, ShareGPT), columns by --columns" in told.err
    summary = json.loads(told.out.splitlines()[-1])
    assert (summary["rows"], summary["trained"]) == (11, 5)


def test_what_was_too_bad_is_looked_through_again_when_it_is_mended(world, tmp_path):
    root, data = world
    config = configure(root, f"images.root={tmp_path / 'images'}")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "notes.txt").touch()
    with pytest.raises(TooManyRejectedError, match="commonest reason: missing_image"):
        finetune_files([data], tmp_path / "out", config, SilentProgress())
    shutil.copytree(root / "images", tmp_path / "images", dirs_exist_ok=True)
    assert finetune_files([data], tmp_path / "out", config, SilentProgress())["trained"] == 5


def test_pictures_that_move_while_it_learns_do_not_matter(world, tmp_path, monkeypatch):
    root, data = world
    with monkeypatch.context() as patched:
        patched.setattr(finetuning, "_save", stop)
        with pytest.raises(Stopped):
            finetune_files([data], tmp_path / "out", configure(root), SilentProgress())
    shutil.copytree(root / "images", tmp_path / "moved")
    moved = configure(root, f"images.root={tmp_path / 'moved'}")
    assert finetune_files([data], tmp_path / "out", moved, SilentProgress())["trained"] == 5


def test_of_several_processes_none_trains_where_too_much_is_rejected(world, tmp_path, monkeypatch):
    root, data = world
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(TooManyRejectedError, match="6 of 11"):
        finetune_files([data], tmp_path / "out", configure(root, "max_error_rate=0.1"), SilentProgress())


def test_a_folder_of_others_is_refused_untouched(world, tmp_path):
    root, data = world
    for name, content in (("notes.txt", "mine"), ("settings.json", '{"made_with": {}}')):
        out = tmp_path / name.partition(".")[0]
        out.mkdir()
        (out / name).write_text(content)
        with pytest.raises(DataError, match=f"holds {name}.* and was not made by c3l finetune"):
            finetune_files([data], out, configure(root), SilentProgress())
        assert [path.name for path in out.iterdir()] == [name]


def test_what_has_learned_nothing_does_not_block_other_settings(world, tmp_path):
    root, data = world
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{}")
    with pytest.raises(BackendError):
        finetune_files([data], tmp_path / "out", configure(root, f"model.name={tmp_path / 'broken'}"), SilentProgress())
    assert not (tmp_path / "out").exists()
    with pytest.raises(TooManyRejectedError):
        finetune_files([data], tmp_path / "out", configure(root, "images.min_side=9999"), SilentProgress())
    summary = finetune_files([data], tmp_path / "out", configure(root), SilentProgress())
    assert (summary["trained"], read(tmp_path / "out" / "finetune.json")["settings"]["images.min_side"]) == (5, 8)


@pytest.mark.parametrize("place", ["nowhere.json", "images"])
def test_data_that_is_no_file_is_one_line(place, world, tmp_path, capsys):
    root, _ = world
    assert main(name_all(root, root / place, tmp_path / "out")) == 1
    assert "expected a file of JSON" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_missing_package_is_one_line_before_the_model_is_loaded(world, tmp_path, capsys, monkeypatch):
    root, data = world
    monkeypatch.setitem(sys.modules, "trl", None)
    monkeypatch.setattr(finetuning, "load_finetunable", None)
    assert main(name_all(root, data, tmp_path / "out")) == 2
    assert capsys.readouterr().err.strip() == "c3l: finetuning needs trl: pip install 'c3l[train]'"


def test_a_file_where_the_folder_is_to_be_is_one_line(world, tmp_path, capsys):
    root, data = world
    (tmp_path / "out").write_text("")
    assert main(name_all(root, data, tmp_path / "out")) == 1
    assert "is a file, expected a folder" in capsys.readouterr().err


def test_several_files_are_learned_one_after_the_other_and_what_is_not_used_is_told(
    world, tmp_path, monkeypatch, copy_tiny
):
    root, _ = world
    model = copy_tiny("llava", tmp_path / "model")
    template = (model / "chat_template.jinja").read_text()
    refusing = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no') }}{% endif %}"
    (model / "chat_template.jinja").write_text(refusing + template)

    def row(*answers, **more):
        turns = [{"from": who, "value": text} for text in answers for who, text in (("human", "What?"), ("gpt", text))]
        for turn, text in zip(turns[1::2], answers, strict=True):
            turn |= {"loss": False} if text.startswith("No") else {}
        return {"id": "same", "image": "picture_0.png", "conversations": turns, **more}

    one = [row("A dog.", system="Be kind."), row("No dog."), row("A cat.", image="gone.png")]
    two = [row("No cat.", "A " + "long " * 300), row("A cat.", tools=[{}], image=None), row("A bird.", video="a.mp4")]
    files = [tmp_path / "one.json", tmp_path / "two.jsonl"]
    files[0].write_text(json.dumps(one))
    files[1].write_text("\n".join(map(json.dumps, two)))
    config = configure(root, f"model.name={model}", "max_error_rate=0.4")
    notes = []
    monkeypatch.setattr(SilentProgress, "note", lambda self, line: notes.append(line))
    with monkeypatch.context() as patched:
        patched.setattr(finetuning, "_save", stop)
        with pytest.raises(Stopped):
            finetune_files(files, tmp_path / "out", config, SilentProgress())
    monkeypatch.setattr(learnable, "_judge", None)  # no row is looked through a second time
    summary = finetune_files(files, tmp_path / "out", config, SilentProgress())
    assert (summary["rows"], summary["trained"], summary["above_max_error_rate"]) == (6, 3, False)
    assert summary["rejected"] == {"missing_image": 1, "not_taught": 1, "other_medium": 1}
    told = {"without_system": 1, "untaught": 1, "cut": 1, "text_only": 1, "without_tools": 1}
    assert summary["noted"] == told
    assert any("1 of 3 rows were taught without their system prompt, which" in line for line in notes)
    [gone] = [one for one in read_lines(tmp_path / "out/rejected.jsonl") if one["reason"] == "other_medium"]
    assert gone["detail"].endswith(", in two.jsonl")
    assert len(read(tmp_path / "out/settings.json")["settings"]["data"]) == 2
    with pytest.raises(StaleStageError, match="data"):
        finetune_files(files[::-1], tmp_path / "out", config, SilentProgress())


def test_a_file_given_twice_is_refused(world, tmp_path):
    root, data = world
    with pytest.raises(ConfigError, match="2 times, expected each file once"):
        finetune_files([data, data.parent / "images/../data.json"], tmp_path / "out", configure(root), SilentProgress())
