"""The tuning on tiny real models: what the loss is made of, whom its gradient reaches, and what a whole run does."""

import math
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from c3l.errors import BackendError, DataError
from c3l.method.losses import info_nce
from c3l.records import HeldOut, from_json, to_json
from c3l.settings.tuning import ContrastiveConfig
from c3l.training.arguments import TrainingPlace
from c3l.training.contrastive import (
    ContrastiveModel,
    ContrastiveTrainer,
    count_steps,
    make_arguments,
    scale_loss,
    tune,
)
from c3l.training.groups import GroupCollator, GroupDataset
from tiny_models import make_picture
from training.tiny_groups import SHORT, make_group, make_groups, make_lvlm, open_item_image, tune_tiny

GROUPS = [make_group(1, 2), make_group(2, 1), make_group(3, 3)]


def make(tiny, dtype=torch.float32, **settings):
    config = ContrastiveConfig(**SHORT | settings)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return ContrastiveModel(make_lvlm(tiny("llava"), config, dtype), config)


def collate(model, groups=GROUPS, open_image=open_item_image):
    return GroupCollator(model.lvlm, open_image)(groups)


def gradients(model, loss):
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    found = torch.autograd.grad(loss, [p for _, p in named], allow_unused=True)
    return {name: torch.zeros_like(p) if g is None else g for (name, p), g in zip(named, found, strict=True)}


def same(one, two, tolerance=0.0):
    return one.keys() == two.keys() and all(torch.allclose(one[n], two[n], rtol=0, atol=tolerance) for n in one)


def states_by_hand(model, group, text):
    """States of prompt and of completion, of one row alone."""
    row = make_row(group, text)
    readings = model.lvlm.read(model.lvlm.collate([row]))
    return readings.states[0][readings.in_prompt[0]], readings.states[0][readings.in_completion[0]]


def make_row(group, text):
    from c3l.models.tunable import ForcedRow

    return ForcedRow(open_item_image(group.image), group.prompt, text)


@pytest.mark.parametrize("pooling", ["mean", "last"])
@pytest.mark.parametrize("projection", ["none", "linear_relu"])
def test_the_loss_is_that_of_a_plain_loop(tiny, pooling, projection, in_float64):
    model = make(
        tiny, torch.float64, pooling=pooling, projection=projection, temperature=0.2, likelihood_weight=0.5
    ).eval()
    found = model(**collate(model))
    project = model.projection if projection == "linear_relu" else lambda vector: vector
    nce, nll, negatives, hits = [], [], [], 0
    for group in GROUPS:
        prompt, _ = states_by_hand(model, group, group.completions[0])
        anchor = prompt.mean(dim=0) if pooling == "mean" else prompt[-1]
        cosines = []
        for text in group.completions:
            _, states = states_by_hand(model, group, text)
            pair = states.mean(dim=0) if pooling == "mean" else states[-1]
            cosines.append(functional.cosine_similarity(project(anchor), project(pair), dim=0))
        scaled = torch.stack(cosines) / 0.2
        nce.append(-scaled.log_softmax(0)[0])
        hits += int(scaled.argmax()) == 0
        each = [-model.lvlm.read(model.lvlm.collate([make_row(group, t)])).log_likelihood for t in group.completions]
        nll.append(each[0])
        negatives.append(torch.cat(each[1:]).mean())
    assert found["contrastive"].item() == pytest.approx(torch.stack(nce).mean().item(), abs=1e-5)
    assert found["likelihood"].item() == pytest.approx(torch.cat(nll).mean().item(), abs=1e-5)
    assert found["negatives_likelihood"].item() == pytest.approx(torch.stack(negatives).mean().item(), abs=1e-5)
    assert found["accuracy"].item() == pytest.approx(hits / 3)
    assert found["loss"].item() == pytest.approx(found["contrastive"].item() + 0.5 * found["likelihood"].item())
    assert isinstance(model.projection, torch.nn.Identity) is (projection == "none")


def test_likelihood_as_similarity_compares_log_likelihoods_and_has_no_projection(tiny):
    model = make(tiny, similarity="likelihood", temperature=0.7).eval()
    batch = collate(model)
    ll = model.lvlm.read(batch["rows"]).log_likelihood
    expected = torch.stack([-(ll[places] / 0.7).log_softmax(0)[0] for places in ([0, 1, 2], [3, 4], [5, 6, 7, 8])])
    assert model(**batch)["contrastive"].item() == pytest.approx(expected.mean().item(), abs=1e-5)
    assert all("lora_" in name for name, p in model.named_parameters() if p.requires_grad)


def test_negatives_of_the_batch_add_the_other_images_pairs(tiny):
    model = make(tiny, negatives="batch", projection="none").eval()
    batch = collate(model)
    readings = model.lvlm.read(batch["rows"])
    pooled = [readings.states[n][readings.in_completion[n]].mean(dim=0) for n in range(9)]
    losses = []
    for first in (0, 3, 5):
        anchor = readings.states[first][readings.in_prompt[first]].mean(dim=0)
        scaled = torch.stack([functional.cosine_similarity(anchor, pair, dim=0) for pair in pooled]) / 0.1
        losses.append(-scaled.log_softmax(0)[first])
    assert model(**batch)["contrastive"].item() == pytest.approx(torch.stack(losses).mean().item(), abs=1e-5)
    own = ContrastiveModel(model.lvlm, model.recipe.model_copy(update={"negatives": "image"}))
    assert abs(own(**batch)["contrastive"] - model(**batch)["contrastive"]) > 0.1


def test_without_a_contrastive_weight_the_gradient_is_that_of_plain_likelihood(tiny):
    model = make(tiny, contrastive_weight=0).eval()
    batch = collate(model)
    found = gradients(model, model(**batch)["loss"])
    plain = gradients(model, -model.lvlm.read(batch["rows"]).log_likelihood[[0, 3, 5]].mean())
    assert same(found, plain)
    assert max(value.abs().max() for value in plain.values()) > 1e-3


def test_without_a_likelihood_weight_the_gradient_is_that_of_the_contrast(tiny):
    model, both = make(tiny, likelihood_weight=0).eval(), make(tiny).eval()
    batch = collate(model)
    found = gradients(model, model(**batch)["loss"])
    similarities, allowed = model.compare(model.lvlm.read(batch["rows"]), batch["candidates"], batch["valid"])
    assert same(found, gradients(model, info_nce(similarities, allowed, 0.1)))
    # the layers above the last hidden state see the likelihood alone, those below see both
    assert not same(found, gradients(both, both(**batch)["loss"]), 1e-3)


def test_a_batch_is_the_mean_of_its_groups_whatever_their_number_of_negatives(tiny, in_float64):
    model = make(tiny, torch.float64).eval()
    whole = gradients(model, model(**collate(model))["loss"])
    alone = [gradients(model, model(**collate(model, [group]))["loss"]) for group in GROUPS]
    mean = {name: sum(one[name] for one in alone) / 3 for name in whole}
    assert same(whole, mean, 1e-5)
    assert not same(alone[0], alone[1], 1e-2)


def test_another_image_changes_the_anchor_the_loss_and_the_gradient(tiny):
    model = make(tiny).eval()
    batch, other = collate(model), collate(model, open_image=lambda image: make_picture(40 + int(image.image_id)))
    one, two = model(**batch)["loss"], model(**other)["loss"]
    assert abs(one - two) > 0.01
    assert not same(gradients(model, one), gradients(model, two), 1e-2)
    anchors = []
    for rows in (batch["rows"], other["rows"]):
        readings = model.lvlm.read(rows)
        anchors.append(readings.states[0][readings.in_prompt[0]].mean(dim=0))
    assert (anchors[0] - anchors[1]).abs().max() > 0.05


def test_the_gradient_of_the_contrast_reaches_anchor_positive_and_negatives(tiny):
    model = make(tiny, projection="none").eval()
    batch = collate(model)
    readings = model.lvlm.read(batch["rows"])
    states = readings.states.detach().requires_grad_()
    similarities, allowed = model.compare(
        type(readings)(states, readings.in_prompt, readings.in_completion, readings.log_likelihood.detach()),
        batch["candidates"],
        batch["valid"],
    )
    info_nce(similarities, allowed, 0.1).backward()
    felt = states.grad.abs().sum(dim=2) > 0
    positives = torch.tensor([0, 3, 5])
    assert felt[readings.in_completion].all()
    assert felt[positives][readings.in_prompt[positives]].all()
    negatives = torch.tensor([1, 2, 4, 6, 7, 8])
    assert not felt[negatives][readings.in_prompt[negatives]].any()  # one anchor a group
    assert not felt[~readings.in_prompt & ~readings.in_completion].any()


# --- whole runs ------------------------------------------------------------------------------------------


def test_a_whole_tuning_lowers_the_loss_and_raises_the_accuracy(tiny, tmp_path, in_float64):
    told = []
    # the last negative of each as its positive: the model of no tuning prefers another
    groups = [replace(group, completions=group.completions[::-1]) for group in make_groups(10)]
    recipe = {"held_out": 0.2, "max_steps": 24, "batch_size": 4, "learning_rate": 5e-3, "save_steps": 100}
    tuning, _ = tune_tiny(tiny("llava"), tmp_path, groups=groups, advance=told.append, dtype=torch.float64, **recipe)
    assert (tuning.trained, tuning.held_out, tuning.steps, sum(told)) == (8, 2, 24, 24)
    assert [entry.step for entry in tuning.log] == list(range(1, 25))
    first, last = tuning.log[:4], tuning.log[-4:]
    assert mean(last, "loss") < 0.7 * mean(first, "loss")
    assert mean(last, "contrastive") < 0.5 * mean(first, "contrastive")
    assert mean(last, "likelihood") < mean(first, "likelihood") - 0.5
    assert mean(first, "accuracy") < 0.8
    assert mean(last, "accuracy") == pytest.approx(1)
    before, after = tuning.measured
    assert (before.when, after.when, before.groups, after.groups) == ("before", "after", 2, 2)
    assert after.contrastive < before.contrastive
    assert after.likelihood < before.likelihood - 0.5
    assert from_json(HeldOut, to_json(after)) == after
    for entry in tuning.log:
        assert entry.loss == pytest.approx(entry.contrastive + entry.likelihood, abs=1e-4)
        assert entry.grad_norm > 0


def mean(entries, name):
    return sum(getattr(entry, name) for entry in entries) / len(entries)


@pytest.mark.parametrize(
    "settings",
    [
        {"similarity": "likelihood"},
        {"pooling": "last", "projection": "none"},
        {"negatives": "batch"},
        {"likelihood_weight": 0.0},
        {"contrastive_weight": 0.0},
        {"gradient_checkpointing": True},
    ],
    ids=str,
)
def test_every_setting_trains(tiny, tmp_path, settings):
    tuning, weights = tune_tiny(tiny("llava"), tmp_path, max_steps=2, learning_rate=1e-2, **settings)
    assert tuning.steps == 2
    assert tuning.measured == ()
    moved = [value.abs().max() > 0 for name, value in weights.items() if "lora_B" in name]
    # the second step moves every adapter; without a likelihood the last layer's are still below the state compared
    assert all(moved)


def test_a_bfloat16_model_trains_in_its_own_arithmetic(tiny, tmp_path):
    tuning, weights = tune_tiny(tiny("llava"), tmp_path, max_steps=3, dtype=torch.bfloat16, held_out=0.2)
    assert all(math.isfinite(entry.loss) and math.isfinite(entry.grad_norm) for entry in tuning.log)
    assert {value.dtype for value in weights.values()} == {torch.float32}  # adapters, as peft keeps them
    wide = tune_tiny(tiny("llava"), tmp_path / "wide", max_steps=3, held_out=0.2)[0]
    assert tuning.measured[0].likelihood == pytest.approx(wide.measured[0].likelihood, rel=0.02)


def test_the_loss_of_a_float16_model_is_scaled():
    for dtype, asked, expected in (("float16", "no", "fp16"), ("float16", "bf16", "bf16"), ("bfloat16", "no", "no")):
        recipe = ContrastiveConfig(mixed_precision=asked)
        assert scale_loss(recipe, dtype).mixed_precision == expected


def test_the_projection_has_its_own_rate_and_both_follow_the_schedule(tiny, tmp_path):
    steps = {"max_steps": 10, "warmup_share": 0.25, "learning_rate": 1e-3, "projection_learning_rate": 1e-2}
    model = make(tiny, **steps)
    trainer = make_trainer(model, tmp_path, GROUPS)
    lora, projection = trainer.create_optimizer().param_groups
    assert (lora["lr"], projection["lr"]) == (1e-3, 1e-2)
    assert len(projection["params"]) == 2
    assert len(lora["params"]) == 28
    tuning, _ = tune_tiny(tiny("llava"), tmp_path, count=2, **steps)
    rates = [entry.learning_rate for entry in tuning.log]
    assert rates[:3] == pytest.approx([0, 0.5e-3, 1e-3])
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert 0 < rates[-1] < 1e-4


def make_trainer(model, folder, groups, seed=0):
    steps = count_steps(len(groups), model.recipe)
    arguments = make_arguments(model.recipe, TrainingPlace(seed, folder), steps, on_cpu=True)
    return ContrastiveTrainer(
        model=model,
        args=arguments,
        train_dataset=GroupDataset(groups),
        data_collator=GroupCollator(model.lvlm, open_item_image),
    )


def test_accumulated_batches_give_the_gradient_of_one_large_batch(tiny, tmp_path, in_float64):
    felt = {}
    for batch_size, accumulation in ((2, 1), (1, 2)):
        recipe = {"batch_size": batch_size, "gradient_accumulation": accumulation, "max_grad_norm": 1e9}
        model = make(tiny, torch.float64, max_steps=1, **recipe)
        trainer = make_trainer(model, tmp_path / str(batch_size), GROUPS[1:])
        step = trainer.callback_handler.on_pre_optimizer_step

        def keep(*args, model=model, step=step, key=batch_size, **kwargs):
            felt[key] = {name: p.grad.clone() for name, p in model.named_parameters() if p.requires_grad}
            return step(*args, **kwargs)

        trainer.callback_handler.on_pre_optimizer_step = keep
        trainer.train()
    assert same(felt[2], felt[1], 1e-5)
    assert max(value.abs().max() for value in felt[1].values()) > 1e-3


@pytest.mark.parametrize("groups", [1, 4, 12])
@pytest.mark.parametrize(("batch_size", "accumulation"), [(1, 1), (2, 3), (4, 2)])
@pytest.mark.parametrize("length", [{"epochs": 1}, {"epochs": 0.4}, {"epochs": 2.5}, {"max_steps": 3}], ids=str)
def test_steps_are_counted_as_trainer_does(tiny, tmp_path, bare_trainer, groups, batch_size, accumulation, length):
    config = ContrastiveConfig(
        held_out=0.2, batch_size=batch_size, gradient_accumulation=accumulation, projection="none", **length
    )
    trainer = bare_trainer(config, make_groups(groups))
    *_, max_steps = trainer.set_initial_training_values(trainer.args, trainer.get_train_dataloader())
    assert count_steps(groups, config) == max_steps


@pytest.fixture(scope="module")
def bare_trainer(tiny, tmp_path_factory):
    """A trainer of these groups that is not going to train."""
    from c3l.training.groups import hold_out

    lvlm = make_lvlm(tiny("llava"), ContrastiveConfig(**SHORT))
    folder = tmp_path_factory.mktemp("steps")
    return lambda config, groups: make_trainer(ContrastiveModel(lvlm, config), folder, hold_out(groups, 0.2, 0)[0])


def test_the_number_of_steps_said_before_is_the_number_made(tiny, tmp_path):
    settings = {"epochs": 1.5, "batch_size": 2, "gradient_accumulation": 2, "held_out": 0.2}
    told = []
    tuning, _ = tune_tiny(tiny("llava"), tmp_path, count=9, advance=told.append, **settings)
    assert tuning.steps == sum(told) == count_steps(9, ContrastiveConfig(**SHORT | settings)) == 3


def test_held_out_groups_are_opened_to_measure_and_never_to_train(tiny, tmp_path):
    opened = []

    def open_image(image):
        opened.append(image.image_id)
        return open_item_image(image)

    tuning, _ = tune_tiny(tiny("llava"), tmp_path, open_image=open_image, held_out=0.34, epochs=2)
    assert (tuning.trained, tuning.held_out) == (4, 2)
    assert sorted(opened.count(str(number)) for number in range(6)) == [2] * 6  # two epochs, or before and after
    held = opened[:2]
    assert opened[-2:] == held
    assert not set(held) & set(opened[2:-2])


def test_measuring_is_the_mean_over_groups_and_not_over_batches(tiny, tmp_path):
    model = make(tiny, batch_size=2)
    trainer = make_trainer(model, tmp_path, GROUPS)
    trainer.eval_dataset = GroupDataset(GROUPS)
    measured = trainer.measure("before")
    whole = model.eval()(**collate(model))
    assert measured.groups == 3
    for name in ("contrastive", "likelihood", "accuracy"):
        assert getattr(measured, name) == pytest.approx(whole[name].item(), abs=1e-5)


def test_a_loss_that_is_no_number_stops_the_tuning_with_a_remedy(tiny, tmp_path):
    broken = deepcopy(tiny("llava"))
    broken.model.get_decoder().norm.weight.data.fill_(math.nan)
    with pytest.raises(
        DataError, match=r"broke down after step 0: got the loss nan, .*lower contrastive.learning_rate"
    ):
        tune_tiny(broken, tmp_path, max_steps=2)


def test_deepspeed_is_refused(tiny, tmp_path, monkeypatch):
    trainer = make_trainer(make(tiny), tmp_path, GROUPS)
    monkeypatch.setattr(trainer, "is_deepspeed_enabled", True)
    with pytest.raises(BackendError, match=r"got a launch with DeepSpeed, expected torchrun.*fsdp_version: 2"):
        trainer.finish_from(None)


def test_nothing_to_tune_on_is_said(tiny, tmp_path):
    config = ContrastiveConfig(**SHORT)
    with pytest.raises(DataError, match="0 groups to tune on"):
        tune(make_lvlm(tiny("llava"), config), [], open_item_image, config, TrainingPlace(0, tmp_path))


def test_what_a_tracker_is_told_lies_beside_the_checkpoints_which_are_removed(tiny, tmp_path):
    pytest.importorskip("tensorboard")
    tune_tiny(tiny("llava"), tmp_path / "checkpoints", max_steps=1, report_to=("tensorboard",))
    assert len([*tmp_path.rglob("events*")]) == len([*tmp_path.glob("tracking/*/events*")]) == 1


def test_a_seed_that_numpy_does_not_take_is_none_of_the_users_business(tiny, tmp_path):
    assert make_arguments(ContrastiveConfig(), TrainingPlace(2**32 + 5, tmp_path), 1, on_cpu=True).seed == 5
