"""Which special tokens steer a chat, and which are words: taught and read as the model's own tokenizer has them."""

from functools import partialmethod
from types import SimpleNamespace
from typing import ClassVar

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from transformers import AddedToken

from c3l.models.hf.control import find_control_tokens
from c3l.models.hf.encoding import ChatEncoder
from c3l.models.interface import GenerateRequest, Pair, Sampling, ScoreRequest, Unfit
from c3l.models.load import load_finetunable, load_model, load_trainable
from c3l.models.tunable import Conversation, ForcedRow
from c3l.settings.schema import ModelConfig
from c3l.settings.tuning import ContrastiveConfig, FinetuningConfig
from scores import score_rows
from tiny_models import _llava, make_picture, write_scripted

# family: what steers its chats, and what is a word of its own
KNOWN = {
    "qwen": (
        "<|endoftext|> <|im_start|> <|vision_start|> <|vision_end|> <|vision_pad|> <|image_pad|> <|video_pad|>",
        "<|object_ref_start|> <|object_ref_end|> <|box_start|> <|box_end|> <|quad_start|> <|quad_end|>",
    ),
    "internvl": ("<img> </img> <IMG_CONTEXT>", "<quad> </quad> <ref> </ref> <box> </box>"),
    "paligemma": ("<bos> <eos>", "<loc0001> <loc1023> <seg001>"),
    "florence": ("<sep> <mask>", "<od> </od> <loc_0> <loc_999> <region_cap> <poly> <grounding>"),
    "mistral": ("[INST] [/INST] [AVAILABLE_TOOLS] [IMG] [IMG_BREAK] [PREFIX] <SPECIAL_20>", "[THINK] [/THINK]"),
    "llama": ("<|begin_of_text|> <|eot_id|> <|start_header_id|> <|reserved_special_token_3|> <|image|>", ""),
    "glm": ("[gMASK] <sop> <|user|> <|assistant|> <|observation|> <|begin_of_image|>", "<|begin_of_box|>"),
    "deepseek": ("<|User|> <|Assistant|> <｜end▁of▁sentence｜>", "<|ref|> <|/ref|> <|det|> <|/det|> <|grounding|>"),  # noqa: RUF001
    "kosmos": ("</image>", "<patch_index_0000> <phrase> </phrase> <object> <delimiter_of_multi_objects/>"),
    "idefics": ("<fake_token_around_image> <row_1_col_2> <global-img> <end_of_utterance>", ""),
}


@pytest.mark.parametrize("family", KNOWN)
def test_what_steers_is_told_from_what_is_said(family):
    steers, said = (names.split() for names in KNOWN[family])
    _, processor = _llava()
    added = [AddedToken(name, special=True, normalized=False) for name in (*steers, *said)]
    processor.tokenizer.add_tokens(added, special_tokens=True)
    found = find_control_tokens(processor, processor.tokenizer, "", ())
    assert set(found.texts) == {*steers, "<pad>", "<s>", "<unk>", "<|im_end|>", "<image>"}


def test_what_the_template_writes_and_where_the_model_stops_steers_too():
    _, processor = _llava()
    names = ("<alpha>", "<beta>", "<gamma>", "\n\n")
    special = [AddedToken(name, special=name == "<beta>", normalized=False) for name in names]
    processor.tokenizer.add_tokens(special)
    stop = processor.tokenizer.convert_tokens_to_ids("<gamma>")
    plain = set(find_control_tokens(processor, processor.tokenizer, "", ()).texts)
    written = find_control_tokens(processor, processor.tokenizer, "user\n\n<alpha>", ())
    assert set(written.texts) == plain | {"<alpha>"}  # not the line break, which some tokenizers add
    processor.chat_template = "{% if tools %}<beta>{% endif %}" + processor.chat_template
    branch = find_control_tokens(processor, processor.tokenizer, "", (stop,))
    assert set(branch.texts) == plain | {"<beta>", "<gamma>"}


def test_what_thousands_of_tokens_are_is_asked_a_few_times_and_not_for_each(monkeypatch):
    """Gemma 3 has 6,242 of them in a vocabulary of 262,144, which transformers copies whenever it is asked for."""
    _, processor = _llava()
    processor.tokenizer.add_tokens([f"<unused{place}>" for place in range(6242)], special_tokens=True)
    kind, asked = type(processor.tokenizer), []
    whole, added = kind.get_vocab, kind.added_tokens_decoder.fget
    monkeypatch.setattr(kind, "get_vocab", lambda self: asked.append("all") or whole(self))
    monkeypatch.setattr(kind, "added_tokens_decoder", property(lambda self: asked.append("added") or added(self)))
    encoder = ChatEncoder(processor)
    assert len(encoder.control.texts) > 6242
    ready = len(asked)
    for number in range(30):
        with encoder.batch():
            encoder.encode_prompt(f"Which of {number}?", make_picture(number))
            encoder.encode_prompt(f"Which one of {number}?", make_picture(number))
    assert ready < 20
    assert len(asked) == ready
    assert encoder.control.disarm("Is <unused7> a word?") == "Is < unused7> a word?"
    assert encoder.find_control_token("Is 1 < 2?") is None
    assert encoder.find_control_token("Is <unused6241> there?") == "<unused6241>"


@example({"<>a>", "< >"}, "<>a>")  # the space makes the other
@settings(max_examples=300, deadline=None)
@given(st.sets(st.text("<a >", max_size=2).map("<{}>".format), max_size=9), st.text("<a >", max_size=20))
def test_what_a_text_spells_is_found_and_disarmed_as_one_token_after_the_other_would_be(names, text):
    found = find_control_tokens(SimpleNamespace(), _Added(names), "".join(names), ())
    assert found.texts == names
    spelled, words = [], text
    for name in sorted(names, key=lambda name: (-len(name), name)):
        spelled += [name] if name in text else []
        words = words.replace(name, f"{name[0]} {name[1:]}")
    assert found.find(text) == next(iter(spelled), None)
    assert found.disarm(text) == words


class _Added:
    """A tokenizer that has these tokens."""

    chat_template = None
    special_tokens_map: ClassVar[dict[str, str]] = {}

    def __init__(self, names):
        self.added_tokens_decoder = {place: AddedToken(name) for place, name in enumerate(sorted(names))}

    def get_vocab(self):
        return {str(token): place for place, token in self.added_tokens_decoder.items()}


class _Watched(str):
    """A text that counts how often it is asked for something."""

    asked = 0

    def _count(self, name, *given):
        self.asked += 1
        return getattr(str, name)(self, *given)

    __contains__, __getitem__ = partialmethod(_count, "__contains__"), partialmethod(_count, "__getitem__")
    find, replace = partialmethod(_count, "find"), partialmethod(_count, "replace")


def test_a_text_is_asked_for_what_it_spells_and_not_for_each_of_thousands_of_tokens():
    _, processor = _llava()
    processor.tokenizer.add_tokens([f"<unused{place}>" for place in range(6242)], special_tokens=True)
    control = find_control_tokens(processor, processor.tokenizer, "", ())
    for text in ("Is 1 < 2?", "Is it <b>bold</b>?", "Is it <unused7> or <unused8>?"):
        found, disarmed = _Watched(text), _Watched(text)
        assert (control.find(found) is None) == ("unused" not in text)
        control.disarm(disarmed)
        assert found.asked < 100 and disarmed.asked < 100


BOX = ("<|box_start|>", "(1,2)", "<|box_end|>")


@pytest.fixture(scope="module")
def boxes(tmp_path_factory):
    """A tiny model that writes a box, whose corners are special tokens."""
    folder = tmp_path_factory.mktemp("boxes") / "model"
    return ModelConfig(name=str(write_scripted(folder, *BOX, special=(BOX[0], BOX[2]))), dtype="float32")


def test_a_box_is_scored_taught_and_written_as_the_models_own_tokens(boxes):
    model, answer, picture = load_model(boxes, 0), "".join(BOX), make_picture(1)
    tokenizer = model._encoder.tokenizer
    own = tuple(tokenizer.convert_tokens_to_ids(list(BOX)))
    [[scores]] = score_rows(model, [ScoreRequest(picture, (Pair("1", "Where?", answer),))], "drop")
    assert scores.token_ids == own
    [written] = model.generate([GenerateRequest("1", picture, "Where?", 0)], Sampling(temperature=0, max_new_tokens=8))
    assert written.text == answer
    taught = load_finetunable(boxes, FinetuningConfig(lora_r=2), 0)
    row = Conversation(picture, (("Where is <|box_start|>(3,4)<|box_end|>?", answer),))
    assert taught.find_fault(row) is None
    labels = taught.collate([row])["labels"][0]
    assert tuple(labels[labels != -100].tolist()) == (*own, tokenizer.eos_token_id)
    ids = taught.collate([row])["input_ids"][0].tolist()
    assert ids.count(own[0]) == 2  # the question's are its own too


@pytest.mark.parametrize("token", ["<s>", "<|im_end|>", "<image>", "<pad>"])
def test_a_text_that_would_break_the_chat_is_named_and_its_neighbours_are_scored(token, boxes):
    model, picture = load_model(boxes, 0), make_picture(1)
    pairs = (Pair("1", "What?", f"A {token} b."), Pair("2", "What?", "A dog."))
    [[bad, good]] = score_rows(model, [ScoreRequest(picture, pairs)], "drop")
    [[alone]] = score_rows(model, [ScoreRequest(picture, pairs[1:])], "drop")
    assert isinstance(bad, Unfit) and bad.reason == "control_token_in_text" and token in bad.detail
    assert good.logprobs_with_image == pytest.approx(alone.logprobs_with_image, abs=1e-4)
    assert model.find_control_token(f"Is {token} it?") == token
    taught = load_finetunable(boxes, FinetuningConfig(lora_r=2), 0)
    for turn in ((f"Is {token} it?", "Yes."), ("Is it?", f"Yes{token}")):
        assert taught.find_fault(Conversation(picture, (("A?", "b."), turn))).reason == "control_token_in_text"
    tuned = load_trainable(boxes, ContrastiveConfig(lora_r=2), 0)
    rows = [ForcedRow(picture, "Is it?", text) for text in ("Yes.", f"No{token}")]
    assert tuned.find_fault(rows).reason == "control_token_in_text"
    assert tuned.find_fault(rows[:1]) is None


def test_words_of_the_template_in_an_answer_are_words(boxes):
    model = load_model(boxes, 0)
    answer = " user: Hi\nassistant: Hello "
    [[scores]] = score_rows(model, [ScoreRequest(make_picture(1), (Pair("1", "What?", answer),))], "drop")
    assert "".join(scores.tokens) == answer
