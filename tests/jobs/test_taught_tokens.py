"""Which tokens are taught: the choice by hand, then ``finetune_files`` with it, killed, shared, all and half."""

import json
from contextlib import contextmanager
from threading import Barrier
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from c3l.cli.main import main
from c3l.errors import StaleStageError
from c3l.jobs import finetune as finetuning
from c3l.jobs import learnable
from c3l.jobs import taught_tokens as weighing
from c3l.jobs.finetune import finetune_files
from c3l.jobs.learnable import iterate_rows, make_opener, to_conversation
from c3l.jobs.taught_tokens import TokenChoice, count_tokens, skip_tokens, weigh_tokens
from c3l.models.hf.finetunable import FinetunableHfModel
from c3l.models.load import load_finetunable
from c3l.progress import SilentProgress
from c3l.run.plan import make_plan
from c3l.settings.load import load_config
from c3l.storage.journal import append_lines
from c3l.training import finetuning as teaching
from jobs.test_finetune import SETTINGS, Stopped, stop
from processes import fork_together
from runs import draw_pictures
from tiny_models import make_picture

pytestmark = pytest.mark.usefixtures("one_thread")
SHARE = "finetuning.taught_share=0.5"
ANSWERS = (("It is red.", "No."), ("A dog.",), ("Two of them, I think.",), ("Four.",))


@pytest.fixture(scope="module")
def world(tmp_path_factory, copy_tiny):
    """Three conversations about pictures, one of two turns, and one about none."""
    root = tmp_path_factory.mktemp("weighing")
    draw_pictures(root / "images")
    copy_tiny("llava", root / "model")
    rows = []
    for number, answers in enumerate(ANSWERS):
        turns = [{"from": who, "value": text} for one in answers for who, text in (("human", "What?"), ("gpt", one))]
        picture = {"image": f"picture_{number}.png"} if number < 3 else {}
        rows.append({"id": f"r{number}", "conversations": turns, **picture})
    (root / "data.json").write_text(json.dumps(rows))
    return root


def configure(root, *overrides):
    return load_config(None, [f"model.name={root / 'model'}", f"images.root={root / 'images'}", *SETTINGS, *overrides])


def tune(root, out, *overrides):
    return finetune_files([root / "data.json"], out, configure(root, *overrides), SilentProgress())


def test_the_share_with_the_highest_gains_is_kept_and_what_was_not_measured_too():
    gains = (0.3, -1.0, None, 2.0, 0.3, None, 0.1)
    assert skip_tokens(gains, 0.2) == (0, 1, 4, 6)  # one of five
    assert skip_tokens(gains, 0.21) == (1, 4, 6)  # rounded up; of equal ones the earlier
    assert skip_tokens(gains, 0.6) == (1, 6)
    assert skip_tokens(gains, 1) == ()
    assert skip_tokens((None, None), 0.1) == skip_tokens((), 0.1) == ()
    assert len(skip_tokens([0.0] * 100, 0.07)) == 93
    assert skip_tokens((float("inf"), 1.0, float("-inf")), 0.3) == (1, 2)


def test_tokens_are_counted_and_nothing_is_said_where_all_are_taught():
    assert count_tokens({}) == {}
    assert count_tokens({3: TokenChoice(3, 5, (0, 2)), 9: TokenChoice(9, 4, ())}) == {"tokens": {"taught": 7, "of": 9}}


def test_half_of_the_tokens_are_taught_and_the_summary_says_so(world, tmp_path, monkeypatch):
    """What training sees is what a loop over gains says; turns share one choice, text alone is whole."""
    seen = {}
    collate = FinetunableHfModel.collate

    def keep(self, conversations):
        batch = collate(self, conversations)
        for one, labels in zip(conversations, batch["labels"], strict=True):  # the trainer comes last
            seen[one.turns] = [int(token) for token in labels if token != -100]
        return batch

    notes = []
    monkeypatch.setattr(FinetunableHfModel, "collate", keep)
    monkeypatch.setattr(SilentProgress, "note", lambda self, line: notes.append(line))
    summary = tune(world, tmp_path / "out", SHARE)
    monkeypatch.undo()

    config = configure(world, SHARE)
    lvlm = load_finetunable(config.model, config.finetuning, config.seed)
    tokenizer, count = lvlm.processor.tokenizer, 0
    for row in iterate_rows([world / "data.json"], config):
        conversation = to_conversation(row, lvlm, make_opener(config))
        ids = [token for _, answer in row.turns for token in [*tokenizer(answer)["input_ids"], tokenizer.eos_token_id]]
        gains = lvlm.measure_gains(conversation)
        measured = sorted((gain for gain in gains if gain is not None), reverse=True)
        least = measured[(len(measured) + 1) // 2 - 1] if measured else 0.0
        expected = [t for t, gain in zip(ids, gains, strict=True) if gain is None or gain >= least]
        assert seen[row.turns] == expected
        assert len(expected) < len(ids) or not row.image
        count += len(expected)
    whole = sum(len(answer) + 1 for answers in ANSWERS for answer in answers)  # a byte is a token
    assert summary["tokens"] == {"taught": count, "of": whole}
    assert json.loads((tmp_path / "out/finetune.json").read_text())["tokens"] == summary["tokens"]
    assert any(line.startswith(f"{count} of {whole} tokens of the answers were taught") for line in notes)


def test_images_of_what_is_weighed_are_opened_ahead_and_each_is_processed_once(world, tmp_path, monkeypatch):
    together, prepared, blocks = Barrier(3, timeout=200), [], []
    monkeypatch.setattr(learnable, "open_image", lambda *_: make_picture(together.wait()))

    @contextmanager
    def batch():
        blocks.append(1)
        yield
        blocks.pop()

    def measure(conversation):
        assert blocks == [1]
        assert conversation.image is None or any(conversation.image is one for one in prepared)
        return (1.0, 0.0) * len(conversation.turns)

    config = configure(world, SHARE)
    lvlm = SimpleNamespace(takes_system=False, batch=batch, prepare=prepared.append, measure_gains=measure)
    rows = dict(enumerate(iterate_rows([world / "data.json"], config)))
    found = weigh_tokens(rows, tmp_path / "weighed.jsonl", config, lvlm, SilentProgress())
    assert {place: one.skipped for place, one in found.items()} == {0: (1, 3), 1: (1,), 2: (1,), 3: (1,)}
    assert len(prepared) == 3


def test_a_share_of_one_is_what_null_is_and_half_is_not(world, tmp_path):
    shares = {"null": (), "one": ("finetuning.taught_share=1",), "half": (SHARE,)}
    dropout = "finetuning.lora_dropout=0.2"  # drawn alike, and drawn at all, whatever was weighed before
    whole, one, half = (tune(world, tmp_path / name, dropout, *more) for name, more in shares.items())
    assert "tokens" not in whole
    assert one["tokens"]["taught"] == one["tokens"]["of"]
    weights = {name: (tmp_path / name / "merged/model.safetensors").read_bytes() for name in ("null", "one", "half")}
    assert weights["null"] == weights["one"] != weights["half"]
    assert (tmp_path / "null/log.jsonl").read_bytes() == (tmp_path / "one/log.jsonl").read_bytes()
    assert half["loss_first"] != whole["loss_first"]
    before = json.loads((tmp_path / "null/settings.json").read_text())["settings"]
    del before["finetuning.taught_share"]  # written as before there was a choice
    (tmp_path / "null/settings.json").write_text(json.dumps(before))
    assert tune(world, tmp_path / "null", dropout) == whole
    with pytest.raises(StaleStageError, match=r"finetuning\.taught_share: null -> 0\.5"):
        tune(world, tmp_path / "null", dropout, SHARE)


@pytest.mark.parametrize("place", ["weighing", "training"])
def test_what_was_weighed_before_a_kill_is_not_weighed_again(place, world, tmp_path, monkeypatch):
    tune(world, tmp_path / "whole", SHARE)
    measured = []
    measure = FinetunableHfModel.measure_gains

    def measure_two(self, conversation):
        measured.append(conversation)
        if place == "weighing" and len(measured) == 3:
            raise Stopped
        return measure(self, conversation)

    monkeypatch.setattr(weighing, "_SYNC_EVERY", 1)
    monkeypatch.setattr(FinetunableHfModel, "measure_gains", measure_two)
    with monkeypatch.context() as patched:
        patched.setattr(finetuning, "_save", stop)
        with pytest.raises(Stopped):
            tune(world, tmp_path / "cut", SHARE)
    if place == "training":
        with pytest.raises(StaleStageError, match=r"finetuning\.taught_share: 0\.5 -> 0\.25"):
            tune(world, tmp_path / "cut", "finetuning.taught_share=0.25")
    done = len((tmp_path / "cut/checkpoints/weighed.jsonl").read_text().splitlines())
    assert done == (2 if place == "weighing" else 4)
    measured[:] = [None] * 10
    tune(world, tmp_path / "cut", SHARE)
    assert len(measured) == 10 + len(ANSWERS) - done
    for name in ("merged/model.safetensors", "log.jsonl"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_another_share_before_anything_was_learned_weighs_anew(world, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(teaching, "_to_dataset", stop)
        with pytest.raises(Stopped):
            tune(world, tmp_path / "out", SHARE)
    assert (tmp_path / "out/checkpoints/weighed.jsonl").exists()
    less = tune(world, tmp_path / "out", "finetuning.taught_share=0.1")["tokens"]
    assert less["taught"] == sum(max(1, -(-n // 10)) for n in (13, 6, 22)) + 4 + 6  # ends, and the text


def test_of_several_processes_one_writes_and_the_others_read_what_is_there(world, tmp_path):
    config = configure(world, SHARE)
    lvlm = load_finetunable(config.model, config.finetuning, config.seed)
    rows = dict(enumerate(iterate_rows([world / "data.json"], config)))
    file = tmp_path / "weighed.jsonl"
    alone = weigh_tokens(rows, file, config, lvlm, SilentProgress(), writes=False)
    assert not file.exists()
    assert weigh_tokens(rows, file, config, lvlm, SilentProgress()) == alone
    content = file.read_bytes()
    append_lines(file, ["{"])
    file.write_bytes(torn := content + b'{"place"')
    assert weigh_tokens(rows, file, config, replace_measuring(lvlm), SilentProgress(), writes=False) == alone
    assert file.read_bytes() == torn  # the first process may be writing it
    assert weigh_tokens(rows, file, config, replace_measuring(lvlm), SilentProgress()) == alone
    assert file.read_bytes() == content


def replace_measuring(lvlm):
    lvlm.measure_gains = stop
    return lvlm


def test_two_processes_learn_as_one_with_twice_the_batch(world, tmp_path, in_float64):
    recipe = [SHARE, "finetuning.warmup_share=0", "finetuning.learning_rate=0.001"]
    tune(world, tmp_path / "alone", *recipe, "finetuning.batch_size=4")
    settings = [word for setting in (*SETTINGS, *recipe) for word in ("--set", setting)]
    command = ["finetune", "--data", str(world / "data.json"), "--out", str(tmp_path / "together"),
               "--image-root", str(world / "images"), "--model", str(world / "model"), *settings]  # fmt: skip
    log = tmp_path / "log"
    assert fork_together(lambda: main(command), 2, log) == [0, 0], log.read_text()
    one, two = (load_file(tmp_path / out / "adapter/adapter_model.safetensors") for out in ("alone", "together"))
    assert max(float(one[name].abs().max()) for name in one if "lora_B" in name) > 1e-4, "nothing was tuned"
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=0, atol=1e-5)
    kept = [json.loads((tmp_path / out / "finetune.json").read_text())["tokens"] for out in ("alone", "together")]
    assert kept[0] == kept[1]


def test_in_a_run_the_share_is_part_of_what_the_tuning_depends_on_and_null_changes_nothing():
    base = load_config(None, ["finetuning.enabled=true", "model.dtype=float32"])
    half = base.model_copy(update={"finetuning": base.finetuning.model_copy(update={"taught_share": 0.5})})
    plain, chosen = (make_plan(one, "weights")["finetuned"] for one in (base, half))
    assert "finetuning.taught_share" not in plain.settings
    assert chosen.settings["finetuning.taught_share"] == 0.5
    assert plain.fingerprint != chosen.fingerprint
