"""Instruction tuning of tiny real models: what is taught, that the picture matters, and exact resume."""

from copy import deepcopy

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForImageTextToText

from c3l.config import FinetuningConfig
from c3l.errors import BackendError, DataError
from c3l.models.finetunable import IGNORE_INDEX, FinetunableHfModel, find_connectors
from c3l.models.interface import Conversation
from c3l.records import Provenance
from c3l.training.checkpoints import find_checkpoint
from c3l.training.finetuning import TextConversation, count_steps, finetune
from tiny_models import FAMILIES, make_picture

PROVENANCE = Provenance("tiny", "", "hf", "float32", "cpu", 0, {})
SHORT = {"lora_r": 4, "lora_alpha": 8, "lora_dropout": 0.0, "batch_size": 2, "gradient_accumulation": 1,
         "save_steps": 2, "learning_rate": 1e-2}  # fmt: skip
TURNS = (("What is it?", "A dog."), ("And its <image> colour?", "Brown, I think."))
APART = {"llava", "llava_next", "fast_vlm", "idefics3", "gemma3"}


def make(tiny, **settings):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = FinetuningConfig(**SHORT | settings)
        return FinetunableHfModel(deepcopy(tiny.model), tiny.processor, PROVENANCE, config), config


def make_conversations(count=6):
    return [TextConversation(f"{n}.png", (("What?", f"Yes {n}" + "!" * n), ("So?", "No."))) for n in range(count)]


def open_picture(name):
    return make_picture(int(name.partition(".")[0]))


def run(tiny, folder, conversations=None, advance=lambda steps: None, **settings):
    lvlm, config = make(tiny, **settings)
    log = finetune(lvlm, conversations or make_conversations(), open_picture, config, 0, folder, advance)
    return lvlm, log


def weights_of(lvlm):
    return {name: p.detach().clone() for name, p in lvlm.module.named_parameters() if p.requires_grad}


@pytest.fixture(params=FAMILIES)
def family(request, tiny):
    return tiny(request.param)


def test_every_answer_and_its_end_is_taught_and_nothing_else(family):
    lvlm, _ = make(family)
    batch = lvlm.collate([Conversation(make_picture(0), TURNS), Conversation(make_picture(1, (64, 30)), TURNS[:1])])
    tokenizer = family.processor.tokenizer
    for row, expected in zip(batch["labels"], (TURNS, TURNS[:1]), strict=True):
        taught = row[row != IGNORE_INDEX].tolist()
        end = tokenizer.eos_token
        assert tokenizer.decode(taught) == "".join(answer + end for _, answer in expected)
    learned = batch["labels"] != IGNORE_INDEX
    assert torch.equal(batch["input_ids"][learned], batch["labels"][learned])
    assert lvlm.count_taught(Conversation(make_picture(0), TURNS)) == int(learned[0].sum())


def test_the_prompt_is_that_of_inference_and_the_rest_follows_the_template(family):
    lvlm, _ = make(family)
    picture = make_picture(0)
    ids = lvlm.collate([Conversation(picture, TURNS)])["input_ids"][0]
    prompt = lvlm._encoder.encode_prompt(TURNS[0][0], picture).ids
    assert tuple(ids[: len(prompt)].tolist()) == prompt
    plain = [
        {"role": role, "content": [{"type": "text", "text": text}]}
        for question, answer in (TURNS[0], (lvlm._encoder._disarm(TURNS[1][0]), TURNS[1][1]))
        for role, text in (("user", question), ("assistant", answer))
    ]
    expected = family.processor.apply_chat_template(plain, tokenize=False)
    written = family.processor.tokenizer.decode(ids[len(prompt) :].tolist())
    assert expected.strip().endswith(written)


def test_the_picture_changes_the_loss(family):
    lvlm, _ = make(family)
    losses = []
    for number in (0, 1):
        batch = lvlm.collate([Conversation(make_picture(number), TURNS)])
        losses.append(float(lvlm.module(**{k: v for k, v in batch.items()}, use_cache=False).loss.detach()))
    assert abs(losses[0] - losses[1]) > 1e-3


def test_what_is_cut_off_is_not_taught_and_a_prompt_that_fills_all_teaches_nothing(tiny):
    lvlm, _ = make(tiny("llava"))
    picture = make_picture(0)
    prompt = len(lvlm._encoder.encode_prompt(TURNS[0][0], picture).ids)
    for room, taught in ((0, 0), (1, 1), (3, 3)):
        short, _ = make(tiny("llava"), max_length=prompt + room)
        assert short.count_taught(Conversation(picture, TURNS)) == taught


@pytest.mark.parametrize("name", ["llava", "qwen2_vl", "fast_vlm"])
def test_the_loss_falls_and_merged_is_unmerged(name, tiny, tmp_path):
    lvlm, log = run(tiny(name), tmp_path / "c", make_conversations(4), epochs=12)
    assert log[-1].loss < 0.5 * log[0].loss
    assert [step.step for step in log] == list(range(1, 25))
    batch = lvlm.collate([Conversation(make_picture(0), TURNS)])
    lvlm.module.eval()
    with torch.no_grad():
        before = lvlm.module(**batch, use_cache=False).logits
    lvlm.save_adapter(tmp_path / "adapter")
    lvlm.save_merged(tmp_path / "merged")
    merged = AutoModelForImageTextToText.from_pretrained(tmp_path / "merged").eval()
    adapted = PeftModel.from_pretrained(deepcopy(tiny(name).model), str(tmp_path / "adapter")).eval()
    with torch.no_grad():
        torch.testing.assert_close(merged(**batch, use_cache=False).logits, before, rtol=0, atol=1e-4)
        torch.testing.assert_close(adapted(**batch, use_cache=False).logits, before, rtol=0, atol=1e-4)
        assert not torch.allclose(tiny(name).model(**batch, use_cache=False).logits, before, atol=1e-2)


@pytest.mark.parametrize("name", ["llava", "idefics3"])
@pytest.mark.parametrize("method", ["lora", "full"])
@pytest.mark.parametrize("connector", [True, False])
def test_what_learns_is_what_was_said_and_never_the_tower(name, method, connector, tiny, tmp_path):
    before = {n: p.detach().clone() for n, p in tiny(name).model.named_parameters()}
    lvlm, _ = run(tiny(name), tmp_path / "c", make_conversations(4), method=method, tune_connector=connector,
                  connector_learning_rate=1e-2)  # fmt: skip
    lvlm.save_merged(tmp_path / "merged")
    merged = AutoModelForImageTextToText.from_pretrained(tmp_path / "merged")
    changed = {n for n, p in merged.named_parameters() if not torch.equal(p, before[n])}
    connectors = find_connectors(tiny(name).model)
    assert any(n.startswith(tuple(connectors)) for n in changed) is connector
    assert not any("vision" in n for n in changed)
    assert any("layers" in n for n in changed)
    assert any("norm" in n for n in changed) is (method == "full")


def test_a_family_whose_connector_is_part_of_its_tower_says_so(tiny):
    for name in FAMILIES:
        assert bool(find_connectors(tiny(name).model)) is (name in APART)
    with pytest.raises(BackendError, match="tune_connector=false"):
        make(tiny("qwen2_vl"), tune_connector=True)


def test_accumulated_batches_are_one_large_batch(tiny, tmp_path):
    """The answers differ in length: means of means would differ."""
    found = []
    for place, (size, accumulated) in enumerate(((4, 1), (1, 4))):
        lvlm, _ = run(tiny("llava"), tmp_path / str(place), make_conversations(4), batch_size=size,
                      gradient_accumulation=accumulated, warmup_share=0.0)  # fmt: skip
        found.append(weights_of(lvlm))
    for name, weight in found[0].items():
        torch.testing.assert_close(found[1][name], weight, rtol=0, atol=1e-5)


class Stopped(Exception):
    pass


@pytest.mark.parametrize("stop", [1, 3, 4, 6])
def test_a_stopped_tuning_goes_on_to_the_same_weights(stop, tiny, tmp_path):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums in another order are other bits
    try:
        recipe = {"epochs": 2.0, "lora_dropout": 0.1}
        whole, log = run(tiny("llava"), tmp_path / "whole", **recipe)
        seen = []

        def advance(steps):
            seen.append(steps)
            if sum(seen) == stop:
                raise Stopped

        with pytest.raises(Stopped):
            run(tiny("llava"), tmp_path / "cut", advance=advance, **recipe)
        assert (find_checkpoint(tmp_path / "cut") is None) is (stop < 3)
        resumed, again = run(tiny("llava"), tmp_path / "cut", **recipe)
        assert [step.loss for step in again] == [step.loss for step in log]
        for name, weight in weights_of(whole).items():
            assert torch.equal(weights_of(resumed)[name], weight), name
    finally:
        torch.set_num_threads(threads)


def test_steps_are_counted_and_nothing_to_learn_is_an_error(tiny, tmp_path):
    config = FinetuningConfig(batch_size=4, gradient_accumulation=2, epochs=1.5)
    assert [count_steps(count, config) for count in (1, 8, 9, 33)] == [2, 2, 3, 8]
    assert count_steps(33, config, processes=2) == 5
    with pytest.raises(DataError, match="no conversation"):
        finetune(make(tiny("llava"))[0], [], open_picture, config, 0, tmp_path, lambda steps: None)


def test_a_loss_that_is_no_number_stops_the_tuning(tiny, tmp_path):
    lvlm, config = make(tiny("llava"))
    with torch.no_grad():
        lvlm.module.get_output_embeddings().weight.fill_(float("nan"))
    with pytest.raises(DataError, match="broke down"):
        finetune(lvlm, make_conversations(), open_picture, config, 0, tmp_path, lambda steps: None)
