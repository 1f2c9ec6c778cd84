"""How much likelier the picture makes each taught token: equal to a plain loop, and about this very picture."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch

from c3l.errors import BackendError
from c3l.models.hf.finetunable import FinetunableHfModel
from c3l.models.interface import Pair, ScoreRequest
from c3l.models.tunable import IGNORE_INDEX, Conversation
from c3l.records import Provenance
from c3l.settings.tuning import FinetuningConfig
from tiny_models import FAMILIES, make_picture, try_out

pytestmark = pytest.mark.usefixtures("tried_once")
TURNS = (("What is it?", "A dog."), ("And its colour?", "Brown, I think."))
PROVENANCE = Provenance("tiny", "", "hf", "float32", "cpu", 0, {})


def make(tiny, dtype=torch.float32, **settings):
    settings = {"lora_r": 4, "lora_dropout": 0.5, "taught_share": 0.5, **settings}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = deepcopy(tiny.model).to(dtype)
        return FinetunableHfModel(model, tiny.processor, PROVENANCE, FinetuningConfig(**settings))


@torch.no_grad()
def read_slowly(tiny, lvlm, conversation):
    """The log-probability of every token that is taught, one forward of the untuned model a token."""
    encoded = lvlm._encode(conversation)
    found = []
    for place, token in enumerate(encoded.ids):
        ids = torch.tensor([[*encoded.prompt.ids, *encoded.ids[:place]]])
        logits = tiny.model(input_ids=ids, **encoded.prompt.vision).logits[0, -1]
        if encoded.taught[place]:
            found.append(float(logits.log_softmax(-1)[token]))
    return found


@pytest.mark.parametrize("name", ["llava", "fast_vlm", "idefics3"])
def test_a_gain_is_the_difference_that_a_plain_loop_finds(name, tiny):
    """Turn by turn, with a system prompt and without dropout; the ends of turns alone have none."""
    lvlm = make(tiny(name))
    lvlm.module.train()  # as a trainer leaves it
    modes = set()
    lvlm._model.get_decoder().register_forward_hook(lambda module, *_: modes.add(module.training))
    conversation = Conversation(make_picture(0), TURNS, "Be kind.")
    gains = lvlm.measure_gains(conversation)
    assert modes == {False}
    ends = len("A dog."), len("A dog.") + 1 + len("Brown, I think.")  # a byte is a token
    assert [number for number, gain in enumerate(gains) if gain is None] == [*ends]
    with_image = read_slowly(tiny(name), lvlm, conversation)
    without = read_slowly(tiny(name), lvlm, replace(conversation, image=None))
    expected = [p - q for p, q in zip(with_image, without, strict=True)]
    assert max(map(abs, expected)) > 0.1, "the picture has to matter"
    for number, (gain, right) in enumerate(zip(gains, expected, strict=True)):
        assert number in ends or gain == pytest.approx(right, abs=1e-4)


@pytest.mark.parametrize("name", FAMILIES)
def test_of_one_turn_gains_are_what_scoring_measures(name, tiny):
    answer = "Brown, I think."
    scorer = try_out(tiny(name))
    request = ScoreRequest(make_picture(0), (Pair("1", "What is it?", answer),))
    [scores] = scorer.score([request], no_image="drop").values()
    gains = make(tiny(name)).measure_gains(Conversation(make_picture(0), (("What is it?", answer),)))
    ratios = zip(scores.logprobs_with_image, scores.logprobs_without_image, strict=True)
    assert gains == (*(pytest.approx(p - q, abs=2e-4) for p, q in ratios), None)


@pytest.mark.parametrize("name", ["qwen2_vl", "gemma3"])
def test_another_picture_gives_other_gains(name, tiny):
    lvlm = make(tiny(name))
    one, two = (lvlm.measure_gains(Conversation(make_picture(number), TURNS)) for number in (0, 1))
    assert max(abs(a - b) for a, b in zip(one, two, strict=True) if a is not None) > 0.1
    assert not any(parameter.grad is not None for parameter in lvlm.module.parameters())


def test_what_is_not_taught_or_has_no_picture_is_not_measured(tiny):
    lvlm = make(tiny("llava"))
    picture = make_picture(0)
    first = lvlm.measure_gains(Conversation(picture, TURNS, untaught=frozenset({1})))
    assert first == pytest.approx(lvlm.measure_gains(Conversation(picture, TURNS))[:7])
    assert lvlm.measure_gains(Conversation(None, TURNS[:1])) == (None,) * 7


def test_what_is_cut_off_changes_no_gain_before_it(tiny):
    """Without its picture a conversation is shorter, so that less of it is cut off."""
    whole = make(tiny("llava"))
    conversation = Conversation(make_picture(0), TURNS)
    prompt = len(whole._encode(conversation).prompt.ids)
    for room in (3, 9):
        short = make(tiny("llava"), max_length=prompt + room)
        gains = short.measure_gains(conversation)
        taught = sum(whole._encode(conversation).taught[:room])
        assert len(gains) == taught == short.count_taught(conversation)[0]
        assert gains == pytest.approx(whole.measure_gains(conversation)[:taught], abs=1e-5)


def test_a_template_that_says_more_where_there_is_no_picture_does_not_say_it_where_tokens_are_weighed(tiny):
    other = deepcopy(tiny("llava"))
    wordy = "{% if not messages[-1]['content'] | selectattr('type', 'equalto', 'image') | list %}"
    other.processor.chat_template = wordy + "Blind. " * 20 + "{% endif %}" + other.processor.chat_template
    whole = make(other)
    conversation = Conversation(make_picture(0), TURNS[:1])
    seen, bare = (len(whole._encode(one).prompt.ids) for one in (conversation, replace(conversation, image=None)))
    assert bare == seen - 16
    gains = make(other, max_length=seen + 2).measure_gains(conversation)
    assert gains == pytest.approx(make(tiny("llava")).measure_gains(conversation)[:2], abs=1e-4)


def count_calls(monkeypatch, owner, name):
    """The arguments of each call of a method, which does what it did."""
    calls, inner = [], getattr(owner, name)

    def call(*given, **more):
        calls.append(given)
        return inner(*given, **more)

    monkeypatch.setattr(owner, name, call)
    return calls


def test_a_conversation_is_encoded_once_however_often_it_is_asked_about(tiny, monkeypatch):
    lvlm = make(tiny("llava"))
    conversation = Conversation(make_picture(0), TURNS)
    expected = lvlm.count_taught(conversation), lvlm.measure_gains(conversation)
    assert lvlm.find_fault(conversation) is None  # the first time it tries out whether a second question can be asked
    texts = count_calls(monkeypatch, lvlm._encoder, "encode_completion")
    looked = count_calls(monkeypatch, type(lvlm.processor.image_processor), "__call__")
    with lvlm.batch():
        assert lvlm.find_fault(conversation) is None
        assert (lvlm.count_taught(conversation), lvlm.measure_gains(replace(conversation))) == expected
    shown, bare = [TURNS[0][1], TURNS[1][1]], [TURNS[0][1], TURNS[1][1]]
    assert [text for (text,) in texts] == [*shown, *bare]
    assert len(looked) == 1
    other = replace(conversation, image=make_picture(1), untaught=frozenset({0}))
    with lvlm.batch():
        assert lvlm.count_taught(other)[0] < lvlm.count_taught(replace(other, untaught=frozenset()))[0]


def test_an_image_that_was_prepared_is_not_processed_again(tiny, monkeypatch):
    lvlm = make(tiny("llava"))
    picture = make_picture(1, (50, 40))
    looked = count_calls(monkeypatch, type(lvlm.processor.image_processor), "__call__")
    lvlm.prepare(picture)
    assert len(looked) == 1
    with lvlm.batch():
        assert lvlm.find_fault(Conversation(picture, TURNS[:1])) is None
    assert len(looked) == 1


def test_skipped_tokens_are_said_and_not_taught(tiny):
    lvlm = make(tiny("llava"))
    conversation = Conversation(make_picture(0), TURNS)
    whole, fewer = (
        lvlm.collate([replace(conversation, skipped=skipped)]) for skipped in (frozenset(), frozenset({0, 4, 8}))
    )
    assert torch.equal(whole["input_ids"], fewer["input_ids"])
    taught = whole["labels"][whole["labels"] != IGNORE_INDEX].tolist()
    kept = fewer["labels"][fewer["labels"] != IGNORE_INDEX].tolist()
    assert kept == [token for number, token in enumerate(taught) if number not in {0, 4, 8}]
    assert lvlm.count_taught(replace(conversation, skipped=frozenset({0, 4, 8}))) == (len(taught) - 3, 0)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_in_bfloat16_gains_are_those_of_float32_but_for_rounding(method, tiny):
    exact, rounded = (make(tiny("llava"), dtype, method=method) for dtype in (torch.float32, torch.bfloat16))
    conversation = Conversation(make_picture(0), TURNS)
    one, two = exact.measure_gains(conversation), rounded.measure_gains(conversation)
    assert [gain is None for gain in one] == [gain is None for gain in two]
    off = [abs(a - b) for a, b in zip(one, two, strict=True) if a is not None]
    assert 0 < max(off) < 0.5 * max(abs(gain) for gain in one if gain is not None)


def test_a_model_that_gives_no_numbers_says_so(tiny):
    lvlm = make(tiny("llava"))
    with torch.no_grad():
        lvlm.module.get_output_embeddings().weight.fill_(float("nan"))
    with pytest.raises(BackendError, match=r"no numbers for 'What is it\?': set model\.dtype=float32"):
        lvlm.measure_gains(Conversation(make_picture(0), TURNS))


def test_a_model_that_is_shared_out_is_refused_at_loading(tiny, monkeypatch):
    for name, value in (("ACCELERATE_USE_FSDP", "true"), ("FSDP_VERSION", "2"), ("LOCAL_RANK", "0")):
        monkeypatch.setenv(name, value)
    with pytest.raises(BackendError, match=r"got a launch with FSDP.*launch it without.*taught_share=null"):
        make(tiny("llava"))
    make(tiny("llava"), taught_share=None)
