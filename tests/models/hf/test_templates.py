import pytest

from c3l.errors import BackendError
from c3l.models.interface import Pair, ScoreRequest
from c3l.models.load import load_finetunable, load_model
from c3l.models.tunable import Conversation
from c3l.settings.schema import ModelConfig
from c3l.settings.tuning import FinetuningConfig
from hub_layouts import copy_hub_folder, edit_json
from scores import score_rows
from tiny_models import make_picture

END = "<|im_end|>{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
EACH = "{{ bos_token }}{% for m in messages %}{{ m['role'] }}: "
PARTS = EACH + "{% for p in m['content'] %}{{ '<image>' if p['type'] == 'image' else p['text'] }}{% endfor %}" + END
TEXT_ALONE = EACH + "{% for p in m['content'] if p['type'] == 'text' %}{{ p['text'] }}{% endfor %}" + END
ADDED = "{{ bos_token }}{% for m in messages %}{{ m['role'] + ': ' + m['content'] }}" + END
STRIPPED = EACH + "{{ m['content'].strip() }}" + END
PRINTED = EACH + "{{ m['content'] }}" + END
EITHER = (
    EACH + "{% if m['content'] is string %}{{ m['content'] }}{% else %}"
    "{% for p in m['content'] if p['type'] == 'text' %}{{ p['text'] }}{% endfor %}{% endif %}" + END
)
OTHER_WORD = EACH + (
    "{% for p in m['content'] %}{% if p['type'] == 'image_url' %}<image>{% endif %}{{ p['text'] }}{% endfor %}" + END
)
ANSWERS_ADDED = (
    EACH + "{% if m['role'] == 'user' %}{% for p in m['content'] %}"
    "{{ '<image>' if p['type'] == 'image' else p['text'] }}{% endfor %}{% else %}{{ m['content'] }}{% endif %}" + END
)
IN_TURN = (
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}{% endfor %}" + ADDED
)
SYSTEM_APART = (
    "{% if messages[0]['role'] == 'system' %}{{ messages[0]['content'] }} {% set messages = messages[1:] %}{% endif %}"
    + ADDED
)


pytestmark = pytest.mark.usefixtures("own_cache")


def config_of(folder):
    return ModelConfig(name=str(folder), dtype="float32", device="cpu")


def prompt_of(folder, *, image=True):
    return "".join(load_model(config_of(folder), 0).show_prompt("What?", make_picture(1) if image else None))


def logprobs(model, seed):
    request = ScoreRequest(make_picture(seed), (Pair("p", "What?", "A dog."),))
    return score_rows(model, [request], "drop")[0][0].logprobs_with_image


def test_a_template_that_takes_parts_is_left_as_it_is(folder):
    (folder / "chat_template.jinja").write_text(PARTS)
    taught = load_finetunable(config_of(folder), FinetuningConfig(), 0)
    assert taught.processor.chat_template == PARTS
    assert prompt_of(folder) == f"<s>user: {'<image>' * 16}What?<|im_end|>assistant: "


@pytest.mark.parametrize(
    "template",
    [TEXT_ALONE, ADDED, STRIPPED, PRINTED, EITHER, OTHER_WORD, IN_TURN, SYSTEM_APART],
    ids=["text alone", "added", "stripped", "printed", "either", "other word", "in turn", "system apart"],
)
def test_picture_and_question_come_through_every_form_of_template(folder, template):
    (folder / "chat_template.jinja").write_text(template)
    model = load_model(config_of(folder), 0)
    moved = max(abs(one - two) for one, two in zip(logprobs(model, 1), logprobs(model, 2), strict=True))
    assert moved > 0.05
    seen = "".join(model.show_prompt("What?", make_picture(1)))
    assert seen == f"<s>user: {'<image>' * 16}\nWhat?<|im_end|>assistant: "
    assert "".join(model.show_prompt("What?", None)) == "<s>user: What?<|im_end|>assistant: "


@pytest.mark.parametrize("template", [PARTS, TEXT_ALONE, ADDED, PRINTED, ANSWERS_ADDED, IN_TURN])
def test_answers_come_through_every_form_of_template(folder, template, tmp_path):
    (folder / "chat_template.jinja").write_text(template)
    model = load_finetunable(config_of(folder), FinetuningConfig(lora_r=2), 0)
    batch = model.collate([Conversation(make_picture(1), (("What?", "A dog."), ("Sure?", "Yes.")))])
    text = model.processor.tokenizer.decode(batch["input_ids"][0])
    assert text.endswith("What?<|im_end|>assistant: A dog.<|im_end|>user: Sure?<|im_end|>assistant: Yes.<|im_end|>")
    model.save_merged(tmp_path / "merged")
    again = load_finetunable(config_of(tmp_path / "merged"), FinetuningConfig(lora_r=2), 0)
    assert again.processor.chat_template == model.processor.chat_template


def test_a_text_gets_the_tokens_around_a_picture_that_the_family_has(tmp_path):
    folder = copy_hub_folder("qwen2_vl", tmp_path, tmp_path / "model")
    expected = prompt_of(folder)
    (folder / "chat_template.json").unlink()
    (folder / "chat_template.jinja").write_text(ADDED)
    assert "<|vision_start|><|image_pad|>" in expected
    assert prompt_of(folder) == expected


def test_a_text_gets_the_begin_of_a_picture_where_that_stands_for_it(tmp_path, copy_tiny):
    folder = copy_tiny("gemma3", tmp_path / "gemma3")
    (folder / "chat_template.jinja").write_text(ADDED)
    assert "<start_of_image><image_soft_token>" in prompt_of(folder)


@pytest.mark.parametrize(
    ("template", "why"),
    [
        (EACH + "{{ m['content'] }}{{ m['content'] }}" + END, "the question is there 2 times"),
        ("Hello.", "the question is there 0 times"),
        (EACH, "TemplateSyntaxError"),
        (EACH + "{{ m['content'] | tojson }}" + END, "the question is written as a list"),
        ("{{ raise_exception('not for chats') }}", "not for chats"),
    ],
)
def test_a_template_that_hides_something_is_one_line(folder, template, why):
    (folder / "chat_template.jinja").write_text(template)
    with pytest.raises(
        BackendError, match=rf"does not bring .* through once each .*{why}.* with <image> in it"
    ) as caught:
        load_model(config_of(folder), 0)
    assert "\n" not in str(caught.value)
    with pytest.raises(BackendError, match="does not bring"):
        load_finetunable(config_of(folder), FinetuningConfig(), 0)


def test_a_model_without_a_template_says_what_to_do(folder):
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(BackendError, match=r"without a chat template, expected .* copy that file"):
        load_model(config_of(folder), 0)


def test_of_named_templates_the_default_chats_and_the_others_stay(folder, tmp_path):
    (folder / "chat_template.jinja").unlink()
    named = [{"name": "default", "template": ADDED}, {"name": "tool_use", "template": "tools"}]
    edit_json(folder / "tokenizer_config.json", lambda it: it.update(chat_template=named))
    model = load_finetunable(config_of(folder), FinetuningConfig(lora_r=2), 0)
    assert model.processor.chat_template["tool_use"] == "tools"
    assert model.processor.chat_template["default"].endswith(ADDED)
    named[0]["name"] = "chat"
    edit_json(folder / "tokenizer_config.json", lambda it: it.update(chat_template=named))
    with pytest.raises(BackendError, match="templates chat, tool_use, expected one that is named default"):
        load_model(config_of(folder), 0)


FORGETFUL = PARTS.replace("{% if add_generation_prompt %}assistant: {% endif %}", "")
AT_ONCE = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}[INST] {% endif %}{% for p in m['content'] %}"
    "{{ '<image>' if p['type'] == 'image' else p['text'] }}{% endfor %}"
    "{% if m['role'] == 'user' %} [/INST]{% else %}<|im_end|>{% endif %}{% endfor %}"
)


def test_a_template_that_forgot_where_an_answer_begins_has_the_header_of_its_own_answers(tmp_path, copy_tiny):
    request = ScoreRequest(make_picture(1), (Pair("p", "What?", "A dog."),))
    found = {}
    for name, template in {"whole": PARTS, "forgetful": FORGETFUL, "at once": AT_ONCE}.items():
        folder = copy_tiny("llava", tmp_path / name)
        (folder / "chat_template.jinja").write_text(template)
        config = ModelConfig(name=str(folder), dtype="float32", device="cpu")
        model = load_model(config, 0)
        taught = load_finetunable(config, FinetuningConfig(), 0)
        labels = taught.collate([Conversation(make_picture(1), (("What?", "A dog."), ("And?", "A cat.")))])["input_ids"]
        told = [note for note in model.provenance.notes if "'assistant: ' is put there" in note]
        found[name] = score_rows(model, [request], "drop")[0][0].logprobs_with_image, labels.tolist(), len(told)
    assert found["forgetful"][:2] == found["whole"][:2] != found["at once"][:2]
    assert [found[name][2] for name in found] == [0, 1, 0]
