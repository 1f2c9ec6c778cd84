"""The model that is tuned, on real tiny models of every family: its readings, its adapters, what it saves."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from peft import PeftModel
from torch import nn
from transformers import AutoModelForImageTextToText

from c3l.errors import BackendError, DataError
from c3l.models.hf.trainable import TrainableHfModel, find_targets
from c3l.models.hf.vision import FeatureStore
from c3l.models.interface import Pair, ScoreRequest
from c3l.models.tunable import ForcedRow
from c3l.records import Provenance
from c3l.settings.tuning import ContrastiveConfig
from scores import score_rows
from tiny_models import FAMILIES, describe_tried, load_tiny, make_picture, try_out

pytestmark = pytest.mark.usefixtures("tried_once")
PROVENANCE = Provenance("tiny", "", "hf", "float32", "cpu", 0, {})
TOLERANCE = 1e-4
PICTURES = [make_picture(1), make_picture(2, (64, 30))]
ROWS = [
    ForcedRow(PICTURES[0], "What is it?", "A dog."),
    ForcedRow(PICTURES[1], "Where?", "In the garden, by the 🌳"),
    ForcedRow(PICTURES[0], "What is it?", "x"),
]


def make(tiny, stir=True, dtype=torch.float32, **settings):
    """A model to tune, a copy; its adapters stirred, since fresh ones change nothing."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = ContrastiveConfig(**{"lora_r": 4, "lora_alpha": 8} | settings)
        copy = replace(tiny, model=deepcopy(tiny.model).to(dtype))
        model = TrainableHfModel(copy.model, copy.processor, describe_tried(copy), config)
        for name, parameter in model.named_parameters():
            if stir and "lora_B" in name:
                nn.init.normal_(parameter, std=0.2)
    return model


def read(model, rows):
    return model.read(model.collate(rows))


@torch.no_grad()
def log_likelihoods(model, rows=ROWS):
    model.eval()
    return read(model, rows).log_likelihood.tolist()


def scores_of(tiny, rows=ROWS):
    requests = [ScoreRequest(row.image, (Pair("p", row.prompt, row.completion),)) for row in rows]
    scores = [one[0].logprobs_with_image for one in score_rows(try_out(tiny), requests, "drop")]
    return [sum(each) / len(each) for each in scores]


def gradient(model, loss):
    names, wanted = zip(*((n, p) for n, p in model.named_parameters() if p.requires_grad), strict=True)
    return dict(zip(names, torch.autograd.grad(loss, wanted, allow_unused=True), strict=True))


def assert_same(found, expected, tolerance=TOLERANCE):
    assert found == pytest.approx(expected, abs=tolerance)


def test_fresh_adapters_give_the_likelihoods_of_the_scorer(family):
    found = log_likelihoods(make(family, stir=False))
    assert_same(found, scores_of(family))
    assert len({round(value, 2) for value in found}) == len(ROWS)


@torch.no_grad()
def test_states_are_those_of_the_base_model_alone_without_padding(family):
    model = make(family).eval()
    readings = read(model, ROWS)
    assert readings.states.shape[2] == model.hidden_size
    for place, row in enumerate(ROWS):
        encoded = model._encoder.encode_prompt(row.prompt, row.image)
        completion = list(model._encoder.encode_completion(row.completion))
        fed = {"input_ids": torch.tensor([[*encoded.ids, *completion]])}
        fed |= {key: torch.tensor([[*types, *[0] * len(completion)]]) for key, types in encoded.types.items()}
        fed["attention_mask"] = torch.ones_like(fed["input_ids"])
        plain = model.lvlm.get_base_model().base_model(**fed, **encoded.vision).last_hidden_state[0]
        width, start = plain.shape[0], len(encoded.ids)
        assert torch.allclose(readings.states[place, :width], plain, atol=TOLERANCE)
        marked = torch.arange(readings.states.shape[1])
        assert readings.in_prompt[place].equal(marked < start)
        assert readings.in_completion[place].equal((marked >= start) & (marked < width))


@torch.no_grad()
def test_batch_order_and_padding_change_nothing(family):
    model = make(family).eval()
    whole = read(model, ROWS)
    for place, row in enumerate(ROWS):
        alone = read(model, [row])
        width = alone.states.shape[1]
        assert_same(alone.log_likelihood.item(), whole.log_likelihood[place].item())
        assert torch.allclose(alone.states[0], whole.states[place, :width], atol=TOLERANCE)
    assert_same(log_likelihoods(model, ROWS[::-1])[::-1], whole.log_likelihood.tolist())


def test_another_image_changes_states_likelihood_and_gradient(family):
    model = make(family)
    one, two = (read(model, [ForcedRow(make_picture(seed), "What is it?", "A dog.")]) for seed in (1, 7))
    assert not torch.allclose(one.states[one.in_completion], two.states[two.in_completion], atol=0.05)
    assert abs(one.log_likelihood - two.log_likelihood) > 0.005
    before, after = gradient(model, one.log_likelihood.mean()), gradient(model, two.log_likelihood.mean())
    assert max((before[name] - after[name]).abs().max() for name in before) > 0.01


def test_only_adapters_on_the_linear_layers_of_the_language_model_are_trained(family):
    model = make(family)
    base = model.lvlm.get_base_model()
    decoder = base.get_decoder()
    inside = {id(module) for module in decoder.modules()}
    adapted = [(name, module) for name, module in base.named_modules() if hasattr(module, "lora_A")]
    assert {name.split(".")[-1] for name, _ in adapted} == {
        *("q_proj", "k_proj", "v_proj", "o_proj"),
        *("gate_proj", "up_proj", "down_proj"),
    }
    assert len(adapted) == 7 * 2
    assert all(id(module) in inside for _, module in adapted)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert len(trained) == 2 * len(adapted)
    assert all("lora_" in name for name in trained)
    got = gradient(model, read(model, ROWS).log_likelihood.sum())
    assert all(value is not None and value.abs().max() > 0 for value in got.values())


def test_a_deep_language_model_has_its_adapters_in_the_same_places(tiny):
    # from some twenty names on, peft looks for shorter ones that could match a vision tower's layers too
    config = deepcopy(tiny("llava").model.config)
    config.text_config.num_hidden_layers = 4
    config.text_config.layer_types = None
    deep = AutoModelForImageTextToText.from_config(config)
    targets = find_targets(deep)
    model = TrainableHfModel(deep, tiny("llava").processor, PROVENANCE, ContrastiveConfig())
    adapted = [n for n, module in model.lvlm.get_base_model().named_modules() if hasattr(module, "lora_A")]
    assert len(targets) == 4 * 7
    assert sorted(adapted) == sorted(targets)


def test_a_model_without_a_language_model_inside_is_refused():
    class Alone(nn.Module):
        def get_decoder(self):
            return self

    with pytest.raises(BackendError, match="found no language model inside Alone"):
        find_targets(Alone())


def test_training_leaves_everything_but_the_adapters_as_it_was(family):
    model = make(family)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    expected = log_likelihoods(model)
    model.train()
    readings = read(model, ROWS)
    assert_same(readings.log_likelihood.tolist(), expected)  # no dropout, and no batch statistics in the vision tower
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    (-readings.log_likelihood.mean()).backward()
    optimizer.step()
    changed = {name for name, value in model.state_dict().items() if not value.equal(before[name])}
    assert changed == {name for name in before if "lora_" in name}
    assert log_likelihoods(model) != pytest.approx(expected, abs=0.01)


def test_dropout_of_the_adapters_is_on_while_training_only(tiny):
    model = make(tiny("llava"), lora_dropout=0.5)
    expected = log_likelihoods(model)
    assert log_likelihoods(model) == expected
    model.train()
    assert read(model, ROWS).log_likelihood.tolist() != pytest.approx(expected, abs=0.01)


def test_a_merged_folder_is_an_ordinary_model_that_scores_the_same(family, tmp_path):
    model = make(family)
    expected = log_likelihoods(model)
    assert expected != pytest.approx(scores_of(family), abs=0.01)
    model.save_merged(tmp_path / "merged")
    loaded = load_tiny(family.family, tmp_path / "merged")
    assert_same(scores_of(loaded), expected)
    assert loaded.model.state_dict().keys() == family.model.state_dict().keys()
    assert not (tmp_path / "merged" / "adapter_config.json").exists()


def test_an_adapter_folder_is_one_that_peft_puts_on_the_base(family, tmp_path):
    model = make(family)
    expected = log_likelihoods(model)
    model.save_adapter(tmp_path / "adapter")
    with_adapter = PeftModel.from_pretrained(deepcopy(family.model), tmp_path / "adapter")
    assert_same(scores_of(replace(family, model=with_adapter.merge_and_unload())), expected)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0.15), (torch.float64, 1e-9)])
def test_other_arithmetic_is_read_trained_and_merged(tiny, tmp_path, dtype, tolerance):
    llava = tiny("llava")
    model = make(llava, dtype=dtype)
    model.load_state_dict(make(llava).state_dict())  # the same adapters: each dtype draws its own
    readings = read(model, ROWS)
    assert readings.log_likelihood.dtype == torch.promote_types(dtype, torch.float32)
    gradients = gradient(model, readings.log_likelihood.sum())
    assert all(bool(value.isfinite().all()) and value.abs().max() > 0 for value in gradients.values())
    expected = log_likelihoods(model)
    assert_same(expected, log_likelihoods(make(llava)), 0.15 if dtype == torch.bfloat16 else TOLERANCE)
    model.save_merged(tmp_path)
    merged = AutoModelForImageTextToText.from_pretrained(tmp_path, dtype="auto")
    assert merged.dtype == dtype
    assert_same(scores_of(replace(llava, model=merged)), expected, tolerance)


def test_a_completion_without_a_token_is_refused(tiny):
    with pytest.raises(DataError, match="1 completions without a token"):
        make(tiny("llava")).collate([*ROWS, ForcedRow(PICTURES[0], "What?", "")])


@pytest.mark.parametrize("name", ["llava", "qwen2_vl"])
def test_gradient_checkpointing_gives_the_same_loss_and_gradient_and_is_on(tiny, name):
    plain, saving = make(tiny(name)).train(), make(tiny(name), gradient_checkpointing=True).train()
    expected = read(plain, ROWS).log_likelihood.mean()
    counted = []
    for layer in saving.lvlm.get_base_model().get_decoder().layers:
        layer.input_layernorm.register_forward_hook(lambda *_: counted.append(1))
    found = read(saving, ROWS).log_likelihood.mean()
    assert_same(found.item(), expected.item(), 1e-6)
    once = len(counted)
    wanted, got = gradient(plain, expected), gradient(saving, found)
    assert len(counted) == 2 * once  # each layer is run again for its gradient
    assert all(torch.allclose(got[key], wanted[key], atol=1e-6) for key in wanted)


@pytest.mark.parametrize("name", FAMILIES)
def test_trees_give_the_readings_and_gradients_of_whole_rows(tiny, name):
    model = make(tiny(name), dtype=torch.float64)
    assert model._packs
    found = []
    for packs in (True, False):
        model._packs = packs
        batch = model.collate(ROWS)
        assert ("places" in batch) is packs
        readings = model.read(batch)
        pooled = [readings.states[mask].square().sum() for mask in (readings.in_prompt, readings.in_completion)]
        model.zero_grad()
        (pooled[0] + 3 * pooled[1] + readings.log_likelihood.sum()).backward()
        gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
        assert gradients
        found.append((readings.log_likelihood, *pooled, gradients))
    for ours, plain in zip(found[0][:3], found[1][:3], strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-10, atol=1e-10)
    largest = max(float(gradient.abs().max()) for gradient in found[1][3].values())
    for key, gradient in found[1][3].items():  # norms compute in float32 whatever the dtype
        torch.testing.assert_close(found[0][3][key], gradient, rtol=0, atol=1e-5 * largest)


@pytest.mark.parametrize("shares", [True, False])
@pytest.mark.parametrize("name", ["llava", "idefics3"])
def test_rows_fed_one_by_one_give_the_readings_of_a_batch(tiny, name, shares, monkeypatch):
    model = make(tiny(name), dtype=torch.float64)
    model._packs = False
    monkeypatch.setattr(model._vision, "can_share", shares)
    found = []
    for side_by_side in (True, False):
        model._side_by_side = side_by_side
        batch = model.collate(ROWS)
        readings = model.read(batch)
        real = readings.in_prompt | readings.in_completion
        found.append((readings.log_likelihood, readings.states[real]))
    for together, alone in zip(*found, strict=True):
        torch.testing.assert_close(alone, together, rtol=1e-10, atol=1e-10)


def test_a_tree_feeds_what_rows_begin_with_once(tiny):
    model = make(tiny("llava"))
    rows = [ForcedRow(PICTURES[0], "Write five pairs about it.", text) for text in ("a dog", "a cat", "two birds", "x")]
    fed = int((model.collate(rows)["text"]["input_ids"] != model._encoder.pad_id).sum())
    model._packs = False
    whole = int(model.collate(rows)["text"]["attention_mask"].sum())
    assert fed < 0.5 * whole


def count_encoded(model, monkeypatch):
    """A number for each image that is given to the encoder."""
    encoded, encode = [], model._vision.encode
    monkeypatch.setattr(model._vision, "encode", lambda vision: encoded.append(1) or encode(vision))
    return encoded


@pytest.mark.parametrize("name", ["llava", "qwen2_vl", "idefics3"])
def test_an_image_that_several_rows_share_is_processed_and_encoded_once(tiny, name, monkeypatch):
    model = make(tiny(name))
    encoded = count_encoded(model, monkeypatch)
    batch = model.collate(ROWS)
    # in trees each image is shown once; which of them stands first follows from their lengths
    assert sorted(batch["shown"].tolist()) == ([0, 1] if "places" in batch else [0, 0, 1])
    if model._vision.can_share:
        model.read(batch)
        assert len(encoded) == len(batch["vision"]) == 2


@pytest.mark.parametrize("name", ["llava", "qwen3_vl"])  # one tensor, and tuples of tensors in lists
def test_features_are_remembered_over_epochs_as_long_as_there_is_room(name, tiny, monkeypatch):
    model = make(tiny(name))
    encoded = count_encoded(model, monkeypatch)
    first = model.read(model.collate(ROWS))
    copies = {id(row.image): row.image.copy() for row in ROWS}
    again = model.read(model.collate([replace(row, image=copies[id(row.image)]) for row in ROWS]))
    assert len(encoded) == 2
    assert again.states.equal(first.states)
    other = model.read(model.collate([replace(row, image=make_picture(9)) for row in ROWS[:1]]))
    assert len(encoded) == 3 and not other.states.equal(first.states[:1, : other.states.shape[1]])
    model._features = FeatureStore(model._vision, model._base, room=0)
    for _ in range(2):
        assert model.read(model.collate(ROWS)).states.equal(first.states)
    assert len(encoded) == 7
