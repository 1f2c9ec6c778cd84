"""Instruction tuning of tiny real models: what is taught, that the picture matters, and exact resume."""

import json
from copy import deepcopy
from functools import cache

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText

from c3l.errors import BackendError, DataError
from c3l.models.hf.company import Company
from c3l.models.hf.connectors import find_connectors, shorten
from c3l.models.hf.finetunable import FinetunableHfModel
from c3l.models.tunable import IGNORE_INDEX, Conversation
from c3l.records import Provenance
from c3l.settings.tuning import FinetuningConfig
from c3l.training.arguments import TrainingPlace, count_steps
from c3l.training.checkpoints import WEIGHTS, find_checkpoint
from c3l.training.finetuning import TextConversation, finetune, make_trainer
from tiny_models import FAMILIES, Tiny, load_tiny, make_picture
from wide import widen

PROVENANCE = {name: Provenance("tiny", "", "hf", name, "cpu", 0, {}) for name in ("float32", "bfloat16")}
PROVENANCE["float64"] = PROVENANCE["float32"]  # nobody can ask for it, but a test may widen a model
SHORT = {"lora_r": 4, "lora_alpha": 8, "lora_dropout": 0.0, "batch_size": 2, "gradient_accumulation": 1,
         "save_steps": 100, "learning_rate": 1e-2}  # fmt: skip
TURNS = (("What is it?", "A dog."), ("And its <image> colour?", "Brown, I think."))
APART = {"llava", "llava_next", "fast_vlm", "idefics3", "gemma3"}
# that of llava-hf/llava-1.5-7b-hf: no token ends an answer, and the first token is left to the tokenizer
LLAVA_15 = (
    "{% for message in messages %}{{ message['role'].upper() + ': ' }}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\n' }}{% endfor %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{{ content['text'] + ' ' }}"
    "{% endfor %}{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)


def make(tiny, dtype="float32", **settings):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = FinetuningConfig(**SHORT | settings)
        model = deepcopy(tiny.model).to(getattr(torch, dtype))
        lvlm = FinetunableHfModel(model, tiny.processor, PROVENANCE[dtype], config)
        return (widen(lvlm) if dtype == "float64" else lvlm), config


def make_conversations(count=6):
    return [TextConversation(f"{n}.png", (("What?", f"Yes {n}" + "!" * n), ("So?", "No."))) for n in range(count)]


def open_item_image(name):
    return make_picture(int(name.partition(".")[0]))


def run(tiny, folder, conversations=None, advance=lambda steps: None, dtype="float32", **settings):
    lvlm, config = make(tiny, dtype, **settings)
    log = finetune(
        lvlm, conversations or make_conversations(), open_item_image, config, TrainingPlace(0, folder, advance)
    )
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
    assert lvlm.count_taught(Conversation(make_picture(0), TURNS)) == (int(learned[0].sum()), 0)


def test_the_prompt_is_that_of_inference_and_the_rest_follows_the_template(family):
    lvlm, _ = make(family)
    picture = make_picture(0)
    ids = lvlm.collate([Conversation(picture, TURNS)])["input_ids"][0]
    prompt = lvlm._encoder.encode_prompt(TURNS[0][0], picture).ids
    assert tuple(ids[: len(prompt)].tolist()) == prompt
    plain = [
        {"role": role, "content": [{"type": "text", "text": text}]}
        for question, answer in (TURNS[0], (lvlm._encoder.control.disarm(TURNS[1][0]), TURNS[1][1]))
        for role, text in (("user", question), ("assistant", answer))
    ]
    expected = family.processor.apply_chat_template(plain, tokenize=False)
    written = family.processor.tokenizer.decode(ids[len(prompt) :].tolist())
    assert expected.strip().endswith(written)


def test_without_an_end_in_the_template_an_answer_ends_as_in_llava(tiny):
    processor = deepcopy(tiny("llava").processor)
    processor.chat_template = LLAVA_15
    lvlm, _ = make(Tiny("llava", tiny("llava").model, processor))
    batch = lvlm.collate([Conversation(make_picture(0), (TURNS[0], ("Why?", "I see it.")))])
    text = processor.tokenizer.decode(batch["input_ids"][0].tolist()).replace("<image>", "")
    assert text == "USER: \nWhat is it? ASSISTANT: A dog.<|im_end|>USER: Why? ASSISTANT: I see it.<|im_end|>"
    taught = batch["labels"][0][batch["labels"][0] != IGNORE_INDEX].tolist()
    assert processor.tokenizer.decode(taught) == " A dog.<|im_end|> I see it.<|im_end|>"


def loss_of(lvlm, *conversations):
    """Sum over the taught tokens, nats, and how many there are."""
    batch = lvlm.collate(conversations)
    taught = int((batch["labels"][:, 1:] != IGNORE_INDEX).sum())
    return lvlm.module(**batch, use_cache=False).loss * taught, taught


def test_the_picture_changes_the_loss_and_the_gradient(family):
    lvlm, _ = make(family)
    losses, gradients = [], []
    for number in (0, 1):
        loss, _ = loss_of(lvlm, Conversation(make_picture(number), TURNS))
        lvlm.module.zero_grad()
        loss.backward()
        losses.append(float(loss.detach()))
        gradients.append(torch.cat([p.grad.flatten() for p in lvlm.module.parameters() if p.grad is not None]))
    assert abs(losses[0] - losses[1]) > 1e-2
    assert (gradients[0] - gradients[1]).norm() > 1e-2 * gradients[0].norm() > 0


def test_a_batch_of_pictures_of_any_size_and_of_none_is_its_rows(family):
    lvlm, _ = make(family)
    rows = [
        Conversation(make_picture(0), TURNS),
        Conversation(None, (("Say hello.", "Hello!"),)),
        Conversation(make_picture(1, (90, 40)), (("What?", "A cat, an old one."),)),
    ]
    with torch.no_grad():
        apart = [loss_of(lvlm, row) for row in rows]
        together, taught = loss_of(lvlm, *rows)
    assert taught == sum(count for _, count in apart)
    torch.testing.assert_close(together, sum(loss for loss, _ in apart), rtol=0, atol=2e-3)


def test_a_family_whose_rows_change_each_other_is_taught_one_at_a_time(tiny, tmp_path, caplog, monkeypatch):
    together = {"batch_size": 4, "gradient_accumulation": 1, "max_steps": 1}
    expected, _ = run(tiny("llava"), tmp_path / "plain", **together)
    lvlm, config = make(tiny("llava"), **together)
    sizes, model = [], lvlm._model
    inner = model.forward

    def mix(*args, **kwargs):
        found = inner(*args, **kwargs)
        if len(found.logits) > 1:
            found.logits = found.logits + found.logits.mean(dim=0)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(model, "forward", mix)
        lvlm._company = Company(model, lvlm.collate, lvlm._encoder)

    def count(module, args, kwargs):
        if module.training:
            sizes.append(len(kwargs["inputs_embeds"]))

    model.get_decoder().register_forward_pre_hook(count, with_kwargs=True)
    finetune(lvlm, make_conversations(), open_item_image, config, TrainingPlace(0, tmp_path / "alone"))
    assert sizes == [1, 1, 1, 1]  # one step of as many
    assert "one conversation at a time" in caplog.text
    # the same step: the loss is the mean over the taught tokens of all four
    wanted, found = weights_of(expected), weights_of(lvlm)
    assert all(torch.allclose(found[name], wanted[name], atol=2e-3) for name in wanted)


def test_rows_without_a_picture_are_learned(tiny, tmp_path):
    rows = [TextConversation("", ((f"Say {n}.", f"{n}!"),)) for n in range(4)]
    _, log = run(tiny("llava"), tmp_path, rows, epochs=6)
    assert log[-1].loss < 0.7 * log[0].loss


# the same lines widen whatever learns: ``full`` has the layers of each family, and adapters are alike
@pytest.mark.parametrize(
    ("name", "method"), [*((name, "full") for name in FAMILIES), ("llava", "lora"), ("gemma3", "lora")]
)
def test_in_bfloat16_small_steps_are_not_lost(name, method, tiny, tmp_path):
    family = tiny(name)
    before, _ = make(family, "bfloat16", method=method)
    recipe = {"learning_rate": 2e-5, "warmup_share": 0.0, "max_steps": 1 if method == "full" else 2}
    lvlm, _ = run(family, tmp_path / "c", dtype="bfloat16", method=method, **recipe)
    old, new = weights_of(before), weights_of(lvlm)
    assert {weight.dtype for weight in new.values()} == {torch.float32}
    moved = sum(int((new[name] != old[name]).sum()) for name in new if "embed" not in name)
    assert moved > 0.8 * sum(new[name].numel() for name in new if "embed" not in name)
    lvlm.save_merged(tmp_path / "merged")
    assert {w.dtype for w in load_file(tmp_path / "merged/model.safetensors").values() if w.is_floating_point()} == {
        torch.bfloat16
    }


def test_what_a_family_keeps_in_float32_is_saved_so(tiny, tmp_path):
    """As the corrections by which the experts of GLM-4.5V are chosen."""
    model = deepcopy(tiny("llava").model).bfloat16()
    layer = model.model.language_model.layers[0]
    layer.register_buffer("kept_buffer", torch.tensor([1 / 3]))
    layer.kept_weight = torch.nn.Parameter(torch.tensor([1 / 3]))
    for method in ("lora", "full"):
        config = FinetuningConfig(**SHORT | {"method": method})
        lvlm = FinetunableHfModel(deepcopy(model), tiny("llava").processor, PROVENANCE["bfloat16"], config)
        lvlm.save_merged(tmp_path / method)
        saved = load_file(tmp_path / method / "model.safetensors")
        wide = {name.rpartition(".")[2]: value for name, value in saved.items() if value.dtype == torch.float32}
        assert wide == {"kept_buffer": torch.tensor([1 / 3]), "kept_weight": torch.tensor([1 / 3])}


def test_a_model_is_saved_with_the_configs_that_it_came_with(copy_tiny, tmp_path):
    """As Vicuna's, with settings of sampling that greedy decoding does not use, and without a begin token."""
    folder = copy_tiny("llava", tmp_path / "llava")
    sampling = {"do_sample": False, "temperature": 0.9, "top_p": 0.6, "eos_token_id": 258, "pad_token_id": 256}
    (folder / "generation_config.json").write_text(json.dumps(sampling))
    lvlm, _ = run(load_tiny("llava", folder), tmp_path / "c", max_steps=1)
    lvlm.save_merged(tmp_path / "merged")
    found = json.loads((tmp_path / "merged/generation_config.json").read_text())
    assert found == sampling | {"transformers_version": found["transformers_version"]}
    one, two = (json.loads((place / "config.json").read_text()) for place in (folder, tmp_path / "merged"))
    assert one == two


def test_a_family_that_trl_would_scale_otherwise_is_taught_its_own_numbers(tiny, tmp_path, caplog, in_float64):
    """As Aya Vision: its text's config names a scale, which its own forward does not use."""
    recipe = {"batch_size": 2, "gradient_accumulation": 2, "warmup_share": 0.0, "dtype": "float64"}
    plain, log = run(tiny("llava"), tmp_path / "plain", make_conversations(4), **recipe)
    assert "own logits" not in caplog.text
    named = deepcopy(tiny("llava").model)
    named.config.get_text_config().logit_scale = 0.0625
    scaled, again = run(Tiny("llava", named, tiny("llava").processor), tmp_path / "s", make_conversations(4), **recipe)
    assert "own logits" in caplog.text
    assert [one.loss for one in again] == pytest.approx([one.loss for one in log], rel=1e-5)
    assert [one.accuracy for one in again] == [one.accuracy for one in log]
    for name, weight in weights_of(plain).items():
        torch.testing.assert_close(weights_of(scaled)[name], weight, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_trl_s_own_way_is_used_where_it_gives_the_model_s_numbers(dtype, family, tmp_path, caplog):
    lvlm, config = make(family, dtype)
    make_trainer(lvlm, make_conversations(2), open_item_image, config, TrainingPlace(0, tmp_path))
    assert "own logits" not in caplog.text


def test_what_is_cut_off_is_not_taught_and_a_prompt_that_fills_all_teaches_nothing(tiny):
    lvlm, _ = make(tiny("llava"))
    picture = make_picture(0)
    prompt = len(lvlm._encoder.encode_prompt(TURNS[0][0], picture).ids)
    whole, _ = lvlm.count_taught(Conversation(picture, TURNS))
    for room, taught in ((0, 0), (1, 1), (3, 3)):
        short, _ = make(tiny("llava"), max_length=prompt + room)
        assert short.count_taught(Conversation(picture, TURNS)) == (taught, whole - taught)


def test_what_is_taught_behind_the_cut_is_told_as_such(tiny):
    picture = make_picture(0)
    conversation = Conversation(picture, (TURNS[0], ("Why?", "I see it.")), untaught=frozenset({0}))
    lvlm, _ = make(tiny("llava"))
    prompt = len(lvlm._encoder.encode_prompt(TURNS[0][0], picture).ids)
    short, _ = make(tiny("llava"), max_length=prompt + 1)
    fault = short.find_fault(conversation)
    assert fault.reason == "no_supervised_token"
    assert f"{prompt} tokens, and what is taught begins after {prompt + 1} of the conversation" in fault.detail
    full, _ = make(tiny("llava"), max_length=prompt)
    assert "begins after" not in full.find_fault(conversation).detail


@pytest.mark.parametrize("name", ["llava", "qwen2_vl", "fast_vlm"])
def test_the_loss_falls_and_merged_is_unmerged(name, tiny, tmp_path, in_float64):
    lvlm, log = run(tiny(name), tmp_path / "c", make_conversations(4), dtype="float64", epochs=5,
                    warmup_share=0.0, learning_rate=3e-2)  # fmt: skip
    assert log[-1].loss < 0.5 * log[0].loss
    assert [step.step for step in log] == list(range(1, 11))
    batch = lvlm.collate([Conversation(make_picture(0), TURNS)])
    lvlm.module.eval()
    with torch.no_grad():
        before = lvlm.module(**batch, use_cache=False).logits
    lvlm.save_adapter(tmp_path / "adapter")
    lvlm.save_merged(tmp_path / "merged")
    merged = AutoModelForImageTextToText.from_pretrained(tmp_path / "merged", dtype=torch.float64).eval()
    begun = deepcopy(tiny(name).model).double()
    with torch.no_grad():
        assert not torch.allclose(begun(**batch, use_cache=False).logits, before, atol=1e-2)
        adapted = PeftModel.from_pretrained(begun, str(tmp_path / "adapter")).eval()
        torch.testing.assert_close(merged(**batch, use_cache=False).logits, before, rtol=0, atol=1e-4)
        torch.testing.assert_close(adapted(**batch, use_cache=False).logits, before, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "method", "connector"),  # each two of them together
    [(name, method, (method == "lora") is (name != "fast_vlm"))
     for name in ("llava", "fast_vlm", "idefics3") for method in ("lora", "full")],
)  # fmt: skip
def test_what_learns_is_what_was_said_and_never_the_tower(name, method, connector, tiny, tmp_path):
    before = {n: value.clone() for n, value in tiny(name).model.state_dict().items()}
    lvlm, _ = run(tiny(name), tmp_path / "c", make_conversations(2), method=method, tune_connector=connector,
                  connector_learning_rate=1e-2, warmup_share=0.0, max_steps=2)  # fmt: skip
    lvlm.save_merged(tmp_path / "merged")
    merged = AutoModelForImageTextToText.from_pretrained(tmp_path / "merged")
    changed = {n for n, value in merged.state_dict().items() if not torch.equal(value, before[n])}
    connectors = find_connectors(tiny(name).model)
    assert any(n.startswith(tuple(connectors)) for n in changed) is connector
    assert not any("vision" in n for n in changed)
    assert any("layers" in n for n in changed)
    assert any("norm" in n for n in changed) is (method == "full")


@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_connector_has_a_rate_of_its_own(method, tiny, tmp_path):
    before, _ = make(tiny("llava"), method=method)
    lvlm, _ = run(tiny("llava"), tmp_path, method=method, warmup_share=0.0, connector_learning_rate=1e-5)
    old, new = weights_of(before), weights_of(lvlm)
    moved = {name: float((new[name] - old[name]).abs().max()) for name in new}
    assert all((value < 1e-4) is lvlm.is_connector(name) for name, value in moved.items())
    assert all(value > 0 for value in moved.values())


def test_connectors_that_lie_in_a_list_are_taught_one_by_one(tiny):
    """As those of Granite 4 Vision, one for each layer that they feed."""
    model = deepcopy(tiny("llava").model)
    model.model.multi_modal_projector = torch.nn.ModuleList([model.model.multi_modal_projector])
    assert find_connectors(model) == ["model.multi_modal_projector.0"]
    names = [name for name, _ in model.named_modules()]
    assert shorten("model.multi_modal_projector.0", names) == "multi_modal_projector.0"
    assert shorten("model.multi_modal_projector", names) == "multi_modal_projector"
    # peft takes all modules whose names end so
    assert shorten("model.aligner", ["model.aligner", "model.generation_aligner"]) == "model.aligner"


@pytest.mark.parametrize("method", ["lora", "full"])
def test_what_draws_images_beside_the_connector_does_not_learn(method, tiny):
    """As Janus' generation head: it would never have a gradient, and several processes wait for one."""
    model = deepcopy(tiny("llava").model)
    model.model.generation_multi_modal_projector = torch.nn.Linear(4, 4)
    lvlm, _ = make(Tiny("llava", model, tiny("llava").processor), method=method)
    loss_of(lvlm, Conversation(make_picture(0), TURNS))[0].backward()
    learned = {name: p.grad is not None for name, p in lvlm.module.named_parameters() if p.requires_grad}
    assert any(".multi_modal_projector." in name for name in learned)
    assert all(learned.values()), [name for name, felt in learned.items() if not felt]


def test_a_family_whose_connector_is_part_of_its_tower_says_so(tiny):
    for name in FAMILIES:
        assert bool(find_connectors(tiny(name).model)) is (name in APART)
    with pytest.raises(BackendError, match="tune_connector=false"):
        make(tiny("qwen2_vl"), tune_connector=True)


@pytest.mark.parametrize("name", ["llava", "qwen3_vl"])
def test_accumulated_batches_are_one_large_batch(name, tiny, tmp_path, in_float64):
    """The answers differ in length: means of means would differ. Qwen3-VL says that it cannot count over batches."""
    found = []
    for place, (size, accumulated) in enumerate(((4, 1), (1, 4))):
        lvlm, _ = run(tiny(name), tmp_path / str(place), make_conversations(4), batch_size=size,
                      gradient_accumulation=accumulated, warmup_share=0.0, dtype="float64")  # fmt: skip
        found.append(weights_of(lvlm))
    for name, weight in found[0].items():
        torch.testing.assert_close(found[1][name], weight, rtol=0, atol=1e-5)


def test_experts_are_not_balanced_and_the_config_stays(tiny, tmp_path):
    family = tiny("llava")
    config = family.model.config.get_text_config()
    plain, _ = run(family, tmp_path / "plain", make_conversations(4))
    config.router_aux_loss_coef, config.output_router_logits = 0.5, False
    try:
        routed, _ = run(family, tmp_path / "routed", make_conversations(4))
        assert (config.router_aux_loss_coef, config.output_router_logits) == (0.5, False)
        its = routed.module.config.get_text_config()
        assert (its.router_aux_loss_coef, its.output_router_logits) == (0.5, False)
    finally:
        del config.router_aux_loss_coef, config.output_router_logits
    for name, weight in weights_of(plain).items():
        torch.testing.assert_close(weights_of(routed)[name], weight, rtol=0, atol=1e-6)


def test_nothing_is_reported_to_anybody(tiny, tmp_path, monkeypatch):
    reported = []
    monkeypatch.setattr("trl.trainer.base_trainer.send_telemetry", lambda *given, **more: reported.append(given))
    for name in ("CI", "HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"):
        monkeypatch.delenv(name, raising=False)
    run(tiny("llava"), tmp_path / "out", make_conversations(2))
    assert reported == []


class Stopped(Exception):
    pass


@pytest.fixture(scope="module")
def unstopped(tiny, tmp_path_factory, tried_once, one_thread):
    """A function from a method to its recipe, and the weights and log that a tuning by it ends with."""

    @cache
    def tune(method):
        recipe = {"epochs": 2.0, "lora_dropout": 0.1, "method": method, "save_steps": 2}
        whole, log = run(tiny("llava"), tmp_path_factory.mktemp(method), **recipe)
        return recipe, weights_of(whole), log

    return tune


@pytest.mark.parametrize(("method", "stop"), [("lora", 1), ("lora", 3), ("lora", 4), ("lora", 6), ("full", 4)])
def test_a_stopped_tuning_goes_on_to_the_same_weights(method, stop, tiny, tmp_path, unstopped):
    recipe, whole, log = unstopped(method)
    seen = []

    def advance(steps):
        seen.append(steps)
        if sum(seen) == stop:
            raise Stopped

    with pytest.raises(Stopped):
        run(tiny("llava"), tmp_path / "cut", advance=advance, **recipe)
    assert (find_checkpoint(tmp_path / "cut") is None) is (stop < 3)
    for checkpoint in (tmp_path / "cut").glob("checkpoint-*"):
        assert load_file(checkpoint / WEIGHTS).keys() == whole.keys()
    rest = []
    resumed, again = run(tiny("llava"), tmp_path / "cut", advance=rest.append, **recipe)
    assert len(rest) == 6 - 2 * ((stop - 1) // 2)
    assert [step.loss for step in again] == [step.loss for step in log]
    found = weights_of(resumed)
    for name, weight in whole.items():
        assert torch.equal(found[name], weight), name


def test_steps_are_counted_and_nothing_to_learn_is_an_error(tiny, tmp_path):
    config = FinetuningConfig(batch_size=4, gradient_accumulation=2, epochs=1.5)
    assert [count_steps(count, config) for count in (1, 8, 9, 33)] == [2, 2, 3, 8]
    assert count_steps(33, config, processes=2) == 5
    with pytest.raises(DataError, match="no conversation"):
        finetune(make(tiny("llava"))[0], [], open_item_image, config, TrainingPlace(0, tmp_path))


def test_a_batch_is_made_of_the_conversations_themselves_and_no_text_is_held_twice(tiny, tmp_path):
    """A column of strings in Arrow ends at 2 GB."""
    lvlm, config = make(tiny("llava"))
    marked = TextConversation("1.png", (("What \ud83d?", "Yes."), ("So?", "No.")), "S", frozenset({1}), frozenset({0}))
    rows = [*make_conversations(2), TextConversation("", (("二?", "四。"),)), marked]
    trainer = make_trainer(lvlm, rows, open_item_image, config, TrainingPlace(0, tmp_path))
    assert {column.dtype for column in trainer.train_dataset.features.values()} == {"int64"}
    lvlm.collate = list
    found = trainer.data_collator([trainer.train_dataset[place] for place in (3, 2, 0)])
    assert found == [
        Conversation(make_picture(1), marked.turns, "S", frozenset({1}), frozenset({0})),
        Conversation(None, rows[2].turns),
        Conversation(make_picture(0), rows[0].turns),
    ]
    assert all(one.turns is rows[place].turns for one, place in zip(found, (3, 2, 0), strict=True))


def test_a_loss_that_is_no_number_stops_the_tuning(tiny, tmp_path):
    lvlm, config = make(tiny("llava"))
    with torch.no_grad():
        lvlm.module.get_output_embeddings().weight.fill_(float("nan"))
    with pytest.raises(DataError, match="broke down"):
        finetune(lvlm, make_conversations(), open_item_image, config, TrainingPlace(0, tmp_path))
