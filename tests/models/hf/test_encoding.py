from copy import copy, deepcopy

import pytest
from studies.families.folder import write_folder
from studies.families.tiles import _idefics2

from c3l.errors import BackendError
from c3l.models.hf.encoded import EncodedPrompt, EncodedRow
from c3l.models.hf.encoding import ChatEncoder
from c3l.models.hf.expansion import learn_expansion
from c3l.models.hf.processors import load_processor
from hub_layouts import edit_json
from tiny_models import FAMILIES, load_tiny, make_picture


@pytest.fixture
def encoder(tiny):
    return ChatEncoder(tiny("llava").processor)


def test_answer_mask_marks_the_positions_that_predict_the_answer(encoder):
    prompt = EncodedPrompt((10, 11, 12), {}, {})
    batch = encoder.collate([EncodedRow(prompt, (20, 21)), EncodedRow(prompt, (30, 31, 32, 33))])
    pad = encoder.pad_id
    assert batch.text["input_ids"].tolist() == [[10, 11, 12, 20, pad, pad], [10, 11, 12, 30, 31, 32]]
    assert batch.text["attention_mask"].tolist() == [[1, 1, 1, 1, 0, 0], [1] * 6]
    assert batch.completion_mask.int().tolist() == [[0, 0, 1, 1, 0, 0], [0, 0, 1, 1, 1, 1]]


def test_token_types_are_padded_and_a_completion_is_text(encoder):
    prompt = EncodedPrompt((10, 11), {"token_type_ids": (1, 1)}, {})
    batch = encoder.collate([EncodedRow(prompt, (20, 21)), EncodedRow(prompt, (20, 21, 22))])
    assert batch.text["token_type_ids"].tolist() == [[1, 1, 0, 0], [1, 1, 0, 0]]


@pytest.mark.parametrize("family", FAMILIES)
def test_prompt_without_image_is_the_same_chat_without_image_tokens(family, tiny):
    encoder = ChatEncoder(tiny(family).processor)
    seen = encoder.encode_prompt("What is it?", make_picture(1))
    blind = encoder.encode_prompt("What is it?", None)
    assert len(seen.ids) > len(blind.ids)
    assert not blind.vision
    assert seen.vision
    tail = encoder.encode_completion("What is it?")
    assert tail == blind.ids[6 + 1 : 6 + 1 + len(tail)]  # after <s> and "user: "
    assert seen.ids[-len(tail) - 5 :] == blind.ids[-len(tail) - 5 :]
    assert all(len(values) == len(seen.ids) for values in seen.types.values())


def test_a_template_without_first_token_gets_it_from_the_tokenizer_and_never_twice(tiny):
    processor = tiny("llava").processor
    encoder = ChatEncoder(processor)
    bos = processor.tokenizer.bos_token_id
    assert encoder.encode_prompt("Hi", None).ids.count(bos) == 1


def test_completion_is_tokenised_alone_and_without_special_tokens(encoder):
    assert encoder.encode_completion("ab") == (
        *encoder.encode_completion("a"),
        *encoder.encode_completion("b"),
    )
    assert encoder.encode_completion("") == ()


@pytest.mark.parametrize("token", ["<image>", "<|im_end|>", "<s>"])
def test_control_tokens_in_a_question_stay_words_and_are_told(encoder, token):
    control = encoder.tokenizer.convert_tokens_to_ids(token)
    assert encoder.find_control_token(f"a {token} b") == token
    plain = encoder.encode_prompt("a b", make_picture(1)).ids
    told = encoder.encode_prompt(f"a {token} b", make_picture(1)).ids
    assert told.count(control) == plain.count(control)


@pytest.mark.parametrize("text", ["A dog.", "naïve café", "日本語 and 🐕‍🦺!", " leading", "a\nb", "�x"])
def test_display_tokens_join_to_the_text(encoder, text):
    ids = encoder.encode_completion(text)
    pieces = encoder.display_tokens(ids)
    assert len(pieces) == len(ids)
    assert "".join(pieces) == text


def test_half_characters_are_not_shown(encoder):
    pieces = encoder.display_tokens(encoder.encode_completion("é🐕"))
    assert pieces == ("", "é", "", "", "", "🐕")


def test_a_picture_is_processed_once_for_all_its_prompts(encoder, tiny, monkeypatch):
    calls = []
    kind = type(tiny("llava").processor.image_processor)
    inner = kind.preprocess
    monkeypatch.setattr(kind, "preprocess", lambda *args, **kw: calls.append(1) or inner(*args, **kw))
    picture, other = make_picture(1), make_picture(2)
    with encoder.batch():
        first, second = (encoder.encode_prompt(text, picture) for text in ("one", "two"))
        assert len(calls) == 1
        assert first.vision["pixel_values"].equal(second.vision["pixel_values"])
        with encoder.batch():  # a block within a block forgets nothing
            third = encoder.encode_prompt("one", other)
        assert not third.vision["pixel_values"].equal(first.vision["pixel_values"])
        encoder.encode_prompt("three", picture)
        assert len(calls) == 2
    for _ in range(2):  # outside of a block nothing is kept
        encoder.encode_prompt("one", picture)
    assert len(calls) == 4
    assert not (encoder._kept._kept or encoder._expansions or encoder._processed._outputs)


def test_the_given_processor_is_left_as_it_is(tiny):
    processor = tiny("llava").processor
    before = processor.image_processor
    ChatEncoder(processor)
    assert processor.image_processor is before


def test_generation_prompts_are_padded_on_the_left(encoder):
    inputs = encoder.encode_for_generation(["a", "longer"], None)
    assert inputs["attention_mask"].tolist()[0][:5] == [0] * 5
    assert inputs["input_ids"][:, -1].unique().numel() == 1


@pytest.mark.parametrize("family", FAMILIES)
def test_a_length_that_the_tokenizer_once_cut_at_cuts_no_prompt(family, tiny, recwarn):
    processor = copy(tiny(family).processor)
    whole = ChatEncoder(processor)
    processor.tokenizer = deepcopy(processor.tokenizer)
    processor.tokenizer.init_kwargs["max_length"] = 8
    encoder = ChatEncoder(processor)
    for image in (make_picture(1), None):
        assert encoder.encode_prompt("What is it?", image).ids == whole.encode_prompt("What is it?", image).ids
    pictures = [make_picture(1), make_picture(2)]
    found, expected = (one.encode_for_generation(["What?", "And?"], pictures) for one in (encoder, whole))
    assert found["input_ids"].equal(expected["input_ids"])
    assert not [one for one in recwarn if "max_length" in str(one.message)]


@pytest.mark.parametrize("file", ["tokenizer.json", "tokenizer_config.json"])
def test_a_folder_of_a_tokenizer_that_once_cut_texts_encodes_whole_prompts(file, folder):
    def encode():
        encoder = ChatEncoder(load_processor(str(folder), "main", trust_remote_code=False))
        return encoder.encode_prompt("What is it?", make_picture(1)).ids

    whole = encode()
    truncation = {"max_length": 8, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}
    cuts = {"max_length": 8, "stride": 0, "truncation_side": "right", "truncation_strategy": "longest_first"}
    edit_json(folder / file, lambda it: it.update(cuts if "config" in file else {"truncation": truncation}))
    assert encode() == whole


def test_token_types_that_a_tokenizer_gives_and_the_model_does_not_read_are_left_out(folder, tiny):
    names = {"model_input_names": ["input_ids", "token_type_ids", "attention_mask"]}
    edit_json(folder / "tokenizer_config.json", lambda it: it.update(names))
    llava = load_tiny("llava", folder)
    assert ChatEncoder(llava.processor).encode_prompt("What?", make_picture(1)).types
    encoder = ChatEncoder(llava.processor, llava.model)
    assert not encoder.encode_prompt("What?", make_picture(1)).types
    inputs = encoder.encode_for_generation(["What?"], [make_picture(1)])
    assert llava.model.generate(**inputs, max_new_tokens=1, do_sample=False).shape[0] == 1
    gemma = tiny("gemma3")
    assert ChatEncoder(gemma.processor, gemma.model).encode_prompt("What?", make_picture(1)).types


def test_a_processor_without_chat_template_is_refused(tiny):
    processor = copy(tiny("llava").processor)
    processor.chat_template = None
    with pytest.raises(BackendError, match="chat template"):
        ChatEncoder(processor)


PROMPTS = [
    "What is it?",
    " So? ",
    "\n\nIs it so?",
    "",
    "a <image> b",
    "<|image_pad|>",
    "Ein \u00e4lterer Hund\n",
    "1 2  3\t",
]
SPLICED = {"llava", "llava_next", "fast_vlm", "qwen2_vl", "qwen3_vl", "idefics3"}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_picture_is_expanded_once_and_every_prompt_about_it_is_the_processors_own(family, tiny, monkeypatch):
    processor = tiny(family).processor
    encoder = ChatEncoder(processor)
    pictures = [make_picture(1), make_picture(2, (90, 40))]
    calls = []
    process = encoder._process
    monkeypatch.setattr(encoder, "_process", lambda *these, **more: calls.append(1) or process(*these, **more))
    with encoder.batch():
        for prompt in PROMPTS:
            for picture in pictures:
                found = encoder.encode_prompt(prompt, picture)
                alone = ChatEncoder(processor).encode_prompt(prompt, picture)
                assert (found.ids, found.types) == (alone.ids, alone.types)
                assert found.vision.keys() == alone.vision.keys()
                assert all((found.vision[key] == alone.vision[key]).all() for key in found.vision)
    # Gemma 3 writes line breaks around a picture, which could melt into the question: it is processed each time
    assert len(calls) == (len(pictures) if family in SPLICED else len(pictures) * len(PROMPTS))
    assert not encoder._expansions


@pytest.mark.parametrize("order", [("<b>", "one", "<c>"), ("one", "<b>", "two"), (" a", "one", "<b>")])
def test_a_space_that_a_processor_sets_before_letters_alone_is_there_in_any_order(order, tmp_path):
    """Idefics2's does: what was learned from a text without it must not be put before one with it."""
    write_folder(_idefics2(), tmp_path / "idefics2")
    processor = load_processor(str(tmp_path / "idefics2"), "main", trust_remote_code=False)
    encoder, picture = ChatEncoder(processor), make_picture(1)
    with encoder.batch():
        for prompt in order:
            assert (
                encoder.encode_prompt(prompt, picture).ids == ChatEncoder(processor).encode_prompt(prompt, picture).ids
            )
    assert "> one" in processor.tokenizer.decode(encoder.encode_prompt("one", picture).ids)


def test_what_could_melt_into_the_text_is_not_learned(encoder):
    added, image = encoder.tokenizer.added_tokens_decoder, encoder.tokenizer.convert_tokens_to_ids("<image>")
    letters = encoder.encode_completion("ab")
    plain = [*letters, image, *letters]
    learn = learn_expansion
    assert learn(added, image, plain, [*letters, image, image, *letters], {}).ids == (image, image)
    assert learn(added, image, plain, [*letters, letters[0], image, *letters], {}) is None
    assert learn(added, image, plain, [*letters, image, *letters[:1]], {}) is None
    assert learn(added, image, [*plain, image], [*plain, image], {}) is None
    assert learn(added, image, letters, letters, {}) is None
    types = {"token_type_ids": [0, 0, 1, 1, 0, 1]}  # a type outside the picture's tokens
    assert learn(added, image, plain, [*letters, image, image, *letters], types) is None


@pytest.mark.parametrize(
    ("header", "first"), [("assistant:\n", "Y"), ("assistant: <|im_end|>", "Y"), ("assistant:", "\u2581")]
)
def test_an_answer_begins_with_the_space_of_its_tokenizer_only_where_the_template_leaves_one_out(header, first, tiny):
    from tokenizers import Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast

    names = [*"\u2581\nabcdefghijklmnopqrstuvwxyzAEIOQUNSTYR:?.", "<pad>", "<s>", "<unk>", "<|im_end|>", "<image>"]
    inner = Tokenizer(BPE({name: place for place, name in enumerate(names)}, [], unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    inner.decoder = decoders.Metaspace(prepend_scheme="first")
    processor = deepcopy(tiny("llava").processor)
    named = {"pad_token": "<pad>", "bos_token": "<s>", "unk_token": "<unk>", "eos_token": "<|im_end|>"}
    processor.tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, **named, extra_special_tokens={"image_token": "<image>"}
    )
    processor.chat_template = processor.chat_template.replace("'assistant: '", repr(header))
    encoder = ChatEncoder(processor)
    ids = encoder.encode_completion("Yes. No.")
    assert encoder.tokenizer.convert_ids_to_tokens(ids[0]) == first
    if first == "Y":  # as the template and the answer are read in one
        prompt = encoder.encode_prompt("Is it?", None).ids
        whole = (
            encoder.render_to_answer([{"role": "user", "content": [{"type": "text", "text": "Is it?"}]}]) + "Yes. No."
        )
        assert (*prompt, *ids) == tuple(encoder.tokenizer(whole, add_special_tokens=False)["input_ids"])
    assert encoder.encode_completion("\nYes") and encoder.encode_completion("") == ()


def test_where_the_template_has_a_space_before_an_answer_the_answer_begins_with_it(tiny):
    """As SmolVLM's: "Assistant:" where an answer is to come, "Assistant: A red car." where it is said."""
    processor = deepcopy(tiny("idefics3").processor)
    template = (
        "{% for m in messages %}{{ m['role'] }}:{% for p in m['content'] %}"
        "{% if p['type'] == 'image' %}<image>{% else %}{{ ' ' + p['text'] }}{% endif %}{% endfor %}{{ eos_token }}\n"
        "{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"
    )
    processor.chat_template = processor.tokenizer.chat_template = template
    encoder = ChatEncoder(processor)
    prompt = encoder.encode_prompt("What?", None).ids
    chat = [
        {"role": role, "content": [{"type": "text", "text": text}]}
        for role, text in (("user", "What?"), ("assistant", "A red car."))
    ]
    whole = processor.tokenizer(encoder.render(chat, add_generation_prompt=False), add_special_tokens=False)[
        "input_ids"
    ]
    said = encoder.encode_completion("A red car.")
    start = len(prompt) - (len(prompt) > 0 and prompt[0] == processor.tokenizer.bos_token_id)
    assert tuple(whole[start : start + len(said)]) == said
