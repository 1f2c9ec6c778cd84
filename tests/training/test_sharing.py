"""Two processes that share one model (FSDP) tune it as one process does that has all of it."""

import json
import os
import shutil
import signal

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from c3l.cli.main import main
from c3l.errors import BackendError
from c3l.models.load import load_model, load_trainable
from c3l.settings.load import load_config
from c3l.settings.tuning import ContrastiveConfig
from c3l.training.checkpoints import ResumableTrainer, find_checkpoint
from processes import fork, fork_together
from runs import draw_pictures
from tiny_models import load_tiny
from training.tiny_groups import tune_tiny
from wide import double_precision

# 4 groups to train on: 2 steps an epoch of 2 groups, by one process or one each by two
RECIPE = {"count": 5, "held_out": 0.2, "epochs": 2.0, "learning_rate": 1e-2, "dtype": torch.float64}
TOLERANCE = 1e-5  # weights move by 1e-3 and more; with four times a processor's rounding the two ways are 1e-6 apart

pytestmark = pytest.mark.usefixtures("one_thread", "in_float64")


def tune_into(tiny, folder, **settings):
    """Tune; the process that has the whole weights writes them, and how much of the decoder lay in it meanwhile."""
    shares, policies = [], []
    together = ResumableTrainer.gather_weights

    def look(trainer):
        for part in trainer.model.modules():
            if isinstance(part, FSDPModule):
                part.reshard()
        weights = list(trainer.model.lvlm.lvlm.get_base_model().get_decoder().parameters())
        held = sum((weight.to_local() if isinstance(weight, DTensor) else weight).numel() for weight in weights)
        shares.append(held / sum(weight.numel() for weight in weights))
        plugin = getattr(trainer.accelerator.state, "fsdp_plugin", None)
        policies.append(str(plugin.mixed_precision_policy if plugin else None))
        together(trainer)

    ResumableTrainer.gather_weights = look
    tuning, weights = tune_tiny(tiny, folder / "checkpoints", **RECIPE | settings)
    if os.environ.get("RANK", "0") == "0":
        save_file({name: weight.contiguous() for name, weight in weights.items()}, folder / "weights.safetensors")
        figures = [one.contrastive + one.likelihood for one in (*tuning.measured, *tuning.log)]
        told = {"share": shares[0], "policy": policies[0], "figures": figures}
        (folder / "tuning.json").write_text(json.dumps(told))
    return 0


def tune_alone(tiny, folder):
    folder.mkdir()
    process = fork(lambda: tune_into(tiny, folder), folder / "log")
    process.join(200)
    assert process.exitcode == 0, (folder / "log").read_text()
    return folder


def tune_together(tiny, folder, **settings):
    folder.mkdir(exist_ok=True)
    work = lambda: tune_into(tiny, folder, batch_size=1, **settings)  # noqa: E731
    codes = fork_together(work, 2, folder / "log", in_pieces=True)
    assert codes == [0, 0], (folder / "log").read_text()
    return folder


def assert_same(one, two, tolerance):
    weights, others = (load_file(folder / "weights.safetensors") for folder in (one, two))
    assert weights.keys() == others.keys()
    assert max(float(weight.abs().max()) for name, weight in weights.items() if "lora_B" in name) > 1e-3
    for name, weight in weights.items():
        torch.testing.assert_close(others[name], weight, rtol=0, atol=tolerance, msg=name)
    told, other = (json.loads((folder / "tuning.json").read_text()) for folder in (one, two))
    assert other["figures"] == pytest.approx(told["figures"], rel=1e-5)
    return told["share"], other["share"]


@pytest.fixture(scope="module")
def llava_together(tiny, tmp_path_factory):
    with double_precision():
        return tune_together(tiny("llava"), tmp_path_factory.mktemp("llava") / "together")


def test_a_model_in_pieces_is_tuned_as_a_whole_one(tiny, tmp_path, llava_together):
    shares = assert_same(tune_alone(tiny("llava"), tmp_path / "alone"), llava_together, TOLERANCE)
    assert shares == (1, pytest.approx(0.5, abs=0.01)), "of the decoder's weights: in one process, in each of two"


def test_a_model_in_pieces_is_resumed(tiny, tmp_path, llava_together):
    steps = []

    def die(_):
        steps.append(1)
        if len(steps) == 3:
            os.kill(os.getpid(), signal.SIGKILL)

    def work():
        return tune_into(tiny("llava"), tmp_path, batch_size=1, advance=die)

    assert fork_together(work, 2, tmp_path / "log", in_pieces=True) == [-signal.SIGKILL] * 2
    assert find_checkpoint(tmp_path / "checkpoints").step == 2
    assert_same(llava_together, tune_together(tiny("llava"), tmp_path), 0)


def test_a_finished_model_in_pieces_is_measured_in_pieces(tiny, tmp_path, llava_together):
    """As where it was killed before the merged model was written: on cards only the pieces lie all together."""
    again = tmp_path / "again"
    shutil.copytree(llava_together, again)
    for name in ("weights.safetensors", "tuning.json"):
        (again / name).unlink()
    shares = assert_same(llava_together, tune_together(tiny("llava"), again), 0)
    assert shares[1] == shares[0] == pytest.approx(0.5, abs=0.01)


def test_with_mixed_precision_gradients_and_losses_are_added_up_in_32_bits(tiny, tmp_path):
    """Also where states are compared by a projection, which lies in pieces too."""
    recipe = {"mixed_precision": "bf16", "similarity": "hidden", "dtype": torch.float32}
    told = json.loads((tune_together(tiny("llava"), tmp_path, **recipe) / "tuning.json").read_text())
    assert "param_dtype=torch.bfloat16, reduce_dtype=torch.float32, output_dtype=None" in told["policy"]
    figures = torch.tensor(told["figures"], dtype=torch.float64)
    assert not torch.equal(figures, figures.bfloat16().double()), "what is no more than 16 bits"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("sharing")
    draw_pictures(root / "images")
    load_tiny("llava", root / "model")
    turns = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "Yes so."}]
    rows = [{"id": f"r{n}", "image": f"picture_{n}.png", "conversations": turns} for n in range(3)]
    told = [{"from": "human", "value": "What is two and two?"}, {"from": "gpt", "value": "Four."}]
    rows += [{"id": f"b{n}", "conversations": told} for n in range(5)]  # of some batches the connector learns nothing
    (root / "data.json").write_text(json.dumps(rows))
    return root


def read_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def finetune(world, out, *settings):
    recipe = ["model.dtype=float32", "finetuning.lora_r=4", "finetuning.lora_dropout=0", "finetuning.warmup_share=0"]
    recipe += ["finetuning.learning_rate=0.001", "finetuning.gradient_accumulation=1", "finetuning.epochs=2"]
    command = ["finetune", "--data", str(world / "data.json"), "--out", str(out), "--model", str(world / "model")]
    command += ["--image-root", str(world / "images")]
    return main([*command, *(word for setting in (*recipe, *settings) for word in ("--set", setting))])


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_model_in_pieces_is_instruction_tuned_as_a_whole_one(world, tmp_path, method):
    way = f"finetuning.method={method}"
    assert finetune(world, tmp_path / "alone", way, "finetuning.batch_size=4") == 0
    log = tmp_path / "log"
    work = lambda: finetune(world, tmp_path / "together", way, "finetuning.batch_size=2")  # noqa: E731
    assert fork_together(work, 2, log, in_pieces=True) == [0, 0], log.read_text()
    begun = load_file(world / "model/model.safetensors")
    one, two = (load_file(tmp_path / out / "merged/model.safetensors") for out in ("alone", "together"))
    assert one.keys() == two.keys() == begun.keys()
    assert max(float((one[name] - begun[name]).abs().max()) for name in one) > 1e-4, "nothing was tuned"
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=0, atol=TOLERANCE, msg=name)
    logs = [read_lines(tmp_path / out / "log.jsonl") for out in ("alone", "together")]
    for first, second in zip(*logs, strict=True):
        assert second == pytest.approx(first, rel=1e-5)
    told = [json.loads((tmp_path / out / "merged/config.json").read_text()) for out in ("alone", "together")]
    assert told[0] == told[1]
    config = load_config(None, [f"model.name={tmp_path / 'together/merged'}", "model.device=cpu"])
    assert load_model(config.model, 0).provenance.weights


def test_the_older_way_of_sharing_is_refused(world, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setenv("LOCAL_RANK", "0")
    config = load_config(None, [f"model.name={world / 'model'}"])
    with pytest.raises(BackendError, match="got a launch with FSDP version 1, expected 2"):
        load_trainable(config.model, ContrastiveConfig(), 0)
