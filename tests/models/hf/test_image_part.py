"""A chat without its image is the chat with it and nothing else, whatever the template writes where none is shown."""

from copy import copy

import pytest

from c3l.models.hf.chats import ask
from c3l.models.hf.encoding import ChatEncoder
from c3l.models.hf.image_part import ImagePart, find_image_part
from c3l.models.interface import Pair, ScoreRequest
from c3l.models.load import load_model
from c3l.settings.schema import ModelConfig
from scores import force_plainly, score_rows
from tiny_models import CHAT_TEMPLATE, make_picture

# as Llama 3.2 Vision's: a system turn exactly where no image is shown
WITHOUT = "{{ 'system: Cutting Knowledge Date: December 2023' + eos_token }}"
LOOK = (
    "{% set seen = namespace(image=false) %}{% for m in messages %}{% for p in m['content'] %}"
    "{% if p['type'] == 'image' %}{% set seen.image = true %}{% endif %}{% endfor %}{% endfor %}"
)
PLAIN = CHAT_TEMPLATE.format(image="<image>")
WITH_SYSTEM = PLAIN.replace(
    "{{ bos_token }}", f"{LOOK}{{{{ bos_token }}}}{{% if not seen.image %}}{WITHOUT}{{% endif %}}"
)
ONE_ALONE = WITH_SYSTEM.replace(
    "{{ bos_token }}",
    "{{ bos_token }}"
    "{% for m in messages if m['content'] | selectattr('type', 'equalto', 'image') | list | length > 1 %}"
    "{{ raise_exception('one image') }}{% endfor %}",
)


def encoder_of(tiny, template):
    processor = copy(tiny("llava").processor)
    processor.chat_template = template
    return ChatEncoder(processor)


def without_image(encoder, ids):
    token = encoder.tokenizer.convert_tokens_to_ids("<image>")
    return tuple(one for one in ids if one != token)


def test_the_template_is_one_that_writes_another_chat(tiny):
    text = encoder_of(tiny, WITH_SYSTEM).render([{"role": "user", "content": ask("Is it?")[0]["content"][1:]}])
    assert text.startswith("<s>system: Cutting Knowledge Date")


@pytest.mark.parametrize("to_write", [True, False])
@pytest.mark.parametrize("template", [PLAIN, WITH_SYSTEM])
def test_the_two_prompts_differ_by_the_image_alone(tiny, template, to_write):
    encoder = encoder_of(tiny, template)
    seen = encoder.encode_prompt("Is it?", make_picture(1), to_write=to_write).ids
    blind = encoder.encode_prompt("Is it?", None, to_write=to_write).ids
    assert len(seen) == len(blind) + 16
    assert blind == without_image(encoder, seen)


def test_several_images_are_left_out_alike(tiny):
    from c3l.models.hf.image_sets import ImageSetEncoder

    encoder = encoder_of(tiny, WITH_SYSTEM)
    sets = ImageSetEncoder(encoder, None)
    for prompt in ("<image> or <image>?", "Is it?"):
        shown, blind = (sets.write([prompt], count, "")[0] for count in (2, 0))
        assert shown.count("<image>") == 2
        assert blind == shown.replace("<image>", "")


def test_both_passes_are_scored_as_by_hand(folder, tiny):
    (folder / "chat_template.jinja").write_text(WITH_SYSTEM)
    model, picture = load_model(ModelConfig(name=str(folder), dtype="float32", device="cpu"), 0), make_picture(1)
    [[scores]] = score_rows(model, [ScoreRequest(picture, (Pair("1", "Is it?", "Yes."),))], "drop")
    family = tiny("llava")
    tail = "Is it?<|im_end|>assistant: "
    seen = force_plainly(family, f"<s>user: <image>{tail}", "Yes.", images=[[picture]]).tolist()
    blind = force_plainly(family, f"<s>user: {tail}", "Yes.").tolist()
    other = force_plainly(family, f"<s>system: Cutting Knowledge Date: December 2023<|im_end|>user: {tail}", "Yes.")
    assert blind != pytest.approx(other.tolist(), abs=1e-2)  # the system turn matters
    assert scores.logprobs_with_image == pytest.approx(seen, abs=1e-4)
    assert scores.logprobs_without_image == pytest.approx(blind, abs=1e-4)
    assert any("another chat where no image is shown" in note for note in model.provenance.notes)


def test_where_the_image_cannot_be_told_from_the_rest_it_is_not_dropped(folder):
    (folder / "chat_template.jinja").write_text(ONE_ALONE)
    model = load_model(ModelConfig(name=str(folder), dtype="float32", device="cpu"), 0)
    assert "drop" not in model.no_image_modes()
    assert any("no_image=drop is not offered" in note for note in model.provenance.notes)


def write(shown: str, around: str = "{}", bare: str = "", most: int = 9):
    """A template: what it writes for an image, around them, and before a question without one."""

    def render(chat):
        parts = chat[0]["content"]
        images = sum(part["type"] == "image" for part in parts)
        if images > most:
            raise ValueError("too many")
        before = around.format("".join(shown.format(n + 1) for n in range(images))) if images else bare
        return f"User: {before}{parts[-1]['text']}<end>"

    return render


@pytest.mark.parametrize(
    ("render", "found"),
    [
        (write("<image>\n"), ImagePart()),
        (write("<start><image><stop>"), ImagePart()),
        (write("Picture {}: <image>\n"), ImagePart()),  # the second is not written as the first
        (write("<image>", bare=" "), ImagePart()),
        (write("<image>", most=1), ImagePart()),
        (write("<image>", bare="Hello. "), ImagePart("<image>")),
        (write("<start><image><stop>", bare="Hello. "), ImagePart("<start><image><stop>")),
        (write("<image>", around="You see: {}"), ImagePart("<image>")),  # what is said of it stays
    ],
)
def test_what_stands_for_an_image_is_found(render, found):
    assert find_image_part(render) == found


@pytest.mark.parametrize("shown", ["Picture {}: <image>", "<image>"])
def test_where_it_is_not_found_there_is_no_chat_without(shown):
    most = 9 if "{}" in shown else 1
    assert "another chat" in find_image_part(write(shown, bare="Hello. ", most=most)).obstacle
