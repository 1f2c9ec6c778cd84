"""The same numbers on a CUDA card as on the processor: scores, texts, gradients, tunings."""

import math
from copy import deepcopy

import pytest
import torch

import tiny_models
from c3l.models.hf import layout
from c3l.models.hf.finetunable import FinetunableHfModel
from c3l.models.hf.inference import HfModel
from c3l.models.hf.trainable import TrainableHfModel
from c3l.models.interface import GenerateRequest, Pair, Sampling, ScoreRequest
from c3l.records import Provenance
from c3l.settings.tuning import ContrastiveConfig, FinetuningConfig
from c3l.training.arguments import TrainingPlace
from c3l.training.comparison import ContrastiveModel
from c3l.training.contrastive import tune
from c3l.training.finetuning import TextConversation, finetune
from c3l.training.groups import GroupCollator
from scores import score_rows
from tiny_models import FAMILIES, make_picture
from training.tiny_groups import SHORT, make_groups, open_item_image

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
PROVENANCE = Provenance("tiny", "", "hf", "float32", "cuda", 0, {})
PAIRS = tuple(
    Pair(f"{prompt}{text}", prompt, text) for prompt in ("What is it?", "What is there?") for text in ("A dog.", "x")
)
REQUESTS = [
    ScoreRequest(make_picture(n, (40 + 24 * n, 30)), PAIRS, seed=n, others=(make_picture(7), make_picture(8)))
    for n in range(3)
]


@pytest.fixture(params=FAMILIES)
def family(request, tiny):
    return tiny(request.param)


@pytest.fixture(autouse=True)
def exact(monkeypatch):
    """As `load_model` does it."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def make_backend(family, device, dtype=torch.float32):
    return HfModel(deepcopy(family.model).to(device, dtype), family.processor, PROVENANCE)


def score(backend, mode, requests=REQUESTS):
    return torch.tensor(
        [
            numbers
            for of_request in score_rows(backend, requests, mode)
            for one in of_request
            for numbers in zip(one.logprobs_with_image, one.logprobs_without_image, one.token_kl, strict=True)
        ]
    )


@pytest.mark.parametrize("mode", ["drop", "blank", "noise", "others", "mask"])
def test_scores(family, mode):
    card, processor = make_backend(family, "cuda"), make_backend(family, "cpu")
    if mode not in card.no_image_modes():
        pytest.skip("the family cannot do it")
    found = score(card, mode)
    assert card._forcing.packs()
    torch.testing.assert_close(found, score(processor, mode), rtol=0, atol=1e-4)
    others = [ScoreRequest(make_picture(9), one.pairs, one.seed, one.others) for one in REQUESTS]
    assert not torch.allclose(found, score(card, mode, others), atol=1e-2)  # the picture matters


def test_images_that_other_threads_prepared_are_fetched_beside_the_work_and_score_the_same(family):
    card = make_backend(family, "cuda")
    found = score(card, "drop")  # how this family is called
    for request in REQUESTS:
        card.prepare(request.image)
    ahead = [value for *_, output in card._encoder._processed._ahead.values() for value in output.values()]
    assert len(ahead) >= len(REQUESTS)
    assert all(value.is_pinned() for value in ahead if isinstance(value, torch.Tensor))
    torch.testing.assert_close(score(card, "drop"), found, rtol=0, atol=1e-5)


@pytest.fixture
def wide(tmp_path, monkeypatch):
    """A LLaVA with heads of 16 numbers: FlexAttention knows no smaller ones on a card."""
    monkeypatch.setitem(tiny_models.TEXT, "num_attention_heads", 2)
    monkeypatch.setitem(tiny_models.TEXT, "num_key_value_heads", 1)
    return tiny_models.load_tiny("llava", tmp_path / "wide")


@pytest.fixture
def made(monkeypatch):
    """Counts block masks."""
    counted, make = [], layout._block_mask
    monkeypatch.setattr(layout, "_block_mask", lambda *given: counted.append(1) or make(*given))
    return counted


def test_scores_by_block_masks(wide, made):
    copy = deepcopy(wide.model).to("cuda")
    layout.read_by_flex(copy)
    card = HfModel(copy, wide.processor, PROVENANCE)
    found = score(card, "drop")
    assert card._forcing.packs() and made
    torch.testing.assert_close(found, score(make_backend(wide, "cpu"), "drop"), rtol=0, atol=1e-4)


def test_scores_in_bfloat16(family):
    card = make_backend(family, "cuda", torch.bfloat16)
    gap = score(card, "drop")[:, :2] - score(make_backend(family, "cpu"), "drop")[:, :2]
    assert card._forcing.packs()
    assert float(gap.square().mean().sqrt()) < 0.25
    assert math.isfinite(float(gap.abs().max()))


def test_texts(family):
    requests = [
        GenerateRequest(f"{n}{prompt}", make_picture(n), prompt, seed=n)
        for n in range(3)
        for prompt in ("What is it?", "Is there a dog, or none?")
    ]
    card, processor = make_backend(family, "cuda"), make_backend(family, "cpu")
    for sampling in (Sampling(0.0, 1.0, 70), Sampling(1.0, 0.9, 70)):
        assert card.generate(requests, sampling) == processor.generate(requests, sampling)
    assert card._writing.ways().shared


@pytest.mark.parametrize("similarity", ["likelihood", "hidden"])
def test_contrastive_gradients(family, similarity):
    compare_gradients(family, similarity)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_contrastive_gradients_by_block_masks(wide, made, checkpointing):
    compare_gradients(wide, "hidden", flex=True, gradient_checkpointing=checkpointing)
    assert made


def compare_gradients(family, similarity, flex=False, **changes):
    recipe = ContrastiveConfig(**SHORT | {"similarity": similarity, "lora_dropout": 0.0} | changes)
    found = []
    for device in ("cuda", "cpu"):
        torch.manual_seed(0)
        copy = deepcopy(family.model).to(device)
        if flex and device == "cuda":
            layout.read_by_flex(copy)
        lvlm = TrainableHfModel(copy, family.processor, PROVENANCE, recipe)
        torch.manual_seed(1)
        model = ContrastiveModel(lvlm, recipe)
        batch = GroupCollator(lvlm, open_item_image)(make_groups(3))
        parts = model.to(device)(**{k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in batch.items()})
        parts["loss"].backward()
        named = model.named_parameters()
        found.append({name: p.grad.cpu() for name, p in named if p.grad is not None} | {"": parts["loss"].cpu()})
        assert lvlm._packs
    assert found[0].keys() == found[1].keys() and len(found[0]) > 4
    for name, gradient in found[0].items():
        torch.testing.assert_close(gradient, found[1][name], rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_a_tuning_that_was_stopped_goes_on(tiny, tmp_path, precision):
    family, ends = tiny("llava"), []
    recipe = ContrastiveConfig(**SHORT | {"epochs": 2, "mixed_precision": precision})
    for folder, stops in ((tmp_path / "whole", False), (tmp_path / "stopped", True)):
        for attempt in range(1 + stops):
            torch.manual_seed(0)
            lvlm = TrainableHfModel(deepcopy(family.model).to("cuda"), family.processor, PROVENANCE, recipe)
            steps = []

            def advance(count, steps=steps, stops=stops and attempt == 0):
                steps.append(count)
                if stops and len(steps) == 5:
                    raise KeyboardInterrupt

            try:
                tuning = tune(lvlm, make_groups(6), open_item_image, recipe, TrainingPlace(0, folder, advance))
            except KeyboardInterrupt:
                continue
        assert tuning.steps == 6
        ends.append({name: p.detach().cpu() for name, p in lvlm.named_parameters() if p.requires_grad})
    for name, weights in ends[0].items():
        torch.testing.assert_close(weights, ends[1][name], rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_instruction_tuning_lowers_the_loss(family, tmp_path, method):
    config = FinetuningConfig(
        method=method, lora_r=4, lora_alpha=8, batch_size=2, gradient_accumulation=1, learning_rate=1e-2, epochs=4,
        logging_steps=1, mixed_precision="bf16",
    )  # fmt: skip
    model = deepcopy(family.model).to("cuda", torch.bfloat16)
    lvlm = FinetunableHfModel(model, family.processor, PROVENANCE, config)
    talks = [TextConversation(f"{n}.png", (("What?", f"Yes {n}."), ("So?", "No."))) for n in range(4)]
    log = finetune(lvlm, talks, lambda name: make_picture(int(name[0])), config, TrainingPlace(0, tmp_path))
    assert log[-1].loss < log[0].loss
    lvlm.save_merged(tmp_path / "merged")
    assert (tmp_path / "merged" / "model.safetensors").exists()
