"""What a template lets a model think, and where answers are scored and taught then."""

import pytest

from c3l.markup.thoughts import cut_thoughts
from c3l.models.hf.conversations import ConversationEncoder
from c3l.models.hf.earlier import find_obstacle
from c3l.models.hf.encoding import ChatEncoder
from c3l.models.hf.image_sets import ImageSetEncoder
from c3l.models.hf.thinking import find_thinking
from c3l.models.interface import GenerateRequest, Pair, Sampling, ScoreRequest
from c3l.models.load import load_finetunable, load_model, load_trainable
from c3l.models.tunable import IGNORE_INDEX, Conversation, ForcedRow
from c3l.settings.schema import ModelConfig
from c3l.settings.tuning import ContrastiveConfig, FinetuningConfig
from scores import score_rows
from tiny_models import CHAT_TEMPLATE, load_tiny, make_picture, write_scripted

PLAIN = CHAT_TEMPLATE.format(image="<image>")
QUIET = "{% if enable_thinking is defined and enable_thinking is false %}{{ '<think>\\n\\n</think>\\n\\n' }}"
EMPTY = "<think>\n\n</think>\n\n"


def write(tail: str, template: str = PLAIN) -> str:
    """The template with something else where the model's turn begins."""
    return template.replace("{{ 'assistant: ' }}", f"{{{{ 'assistant: ' }}}}{tail}")


OPENS = write("{{ '<think>\\n' }}")
# what stands before what is written, and before an answer
TEMPLATES = {
    "plain": (PLAIN, "", ""),
    "opens": (OPENS, "<think>\n", EMPTY),
    "opens_in_line": (write("{{ '<think>' }}"), "<think>", "<think></think>\n\n"),
    "by_choice": (write(QUIET + "{% endif %}"), "", EMPTY),
    "unless_told": (write(QUIET + "{% else %}{{ '<think>\\n' }}{% endif %}"), "<think>\n", EMPTY),
    "closes_its_own": (
        write("{{ '<think>' }}").replace(
            "{{ message['role'] + ': ' }}",
            "{{ message['role'] + ': ' }}{% if message['role'] == 'assistant' %}{{ '<think>-</think>' }}{% endif %}",
        ),
        "<think>",
        "<think>-</think>",
    ),
    "in_capitals": (write("{{ '[THINK]' }}"), "[THINK]", "[THINK][/THINK]\n\n"),
    "speaks_of_it": (write("{{ 'enable_thinking thinking ' }}"), *["enable_thinking thinking "] * 2),
    "writes_a_mark": (
        PLAIN.replace(
            "{{ message['role'] + ': ' }}",
            "{{ message['role'] + ': ' }}{% if message['role'] == 'assistant' %}{{ '<|START_RESPONSE|>' }}{% endif %}",
        ),
        "",
        "<|START_RESPONSE|>",
    ),
    "leaves_a_thought_open": (
        PLAIN.replace(
            "{{ message['role'] + ': ' }}",
            "{{ message['role'] + ': ' }}{% if message['role'] == 'assistant' %}{{ '<think>' }}{% endif %}",
        ),
        "",
        "",
    ),
    "of_channels": (
        write("{{ '<|start|>assistant' }}").replace(
            "{{ message['role'] + ': ' }}",
            "{{ message['role'] + ': ' }}{% if message['role'] == 'assistant' %}"
            "{{ '<|start|>assistant<|channel|>final<|message|>' }}{% endif %}",
        ),
        "<|start|>assistant",
        "<|start|>assistant<|channel|>final<|message|>",
    ),
}


@pytest.fixture(params=TEMPLATES)
def case(request, tiny):
    from copy import copy

    template, written, answered = TEMPLATES[request.param]
    processor = copy(tiny("llava").processor)
    processor.chat_template = template
    return ChatEncoder(processor), written, answered


@pytest.mark.parametrize("with_image", [True, False])
def test_what_is_written_begins_as_the_template_says_and_an_answer_behind_an_empty_thought(case, with_image):
    encoder, written, answered = case
    image = make_picture(1) if with_image else None
    ends = {to_write: encoder.encode_prompt("Is it?", image, to_write=to_write).ids for to_write in (True, False)}
    for to_write, expected in ((True, written), (False, answered)):
        shown = encoder.tokenizer.decode(ends[to_write]).rpartition("assistant: ")[2]
        assert shown == expected
    assert bool(encoder.thinking.note) is (written != answered)


@pytest.fixture(scope="module")
def thinker(tmp_path_factory):
    """The folder of a tiny model whose template opens a thought."""
    folder = tmp_path_factory.mktemp("thinker") / "model"
    load_tiny("llava", folder)
    (folder / "chat_template.jinja").write_text(OPENS)
    return ModelConfig(name=str(folder), dtype="float32")


def test_an_answer_is_scored_as_by_hand_behind_an_empty_thought(thinker, tiny):
    import torch

    model, picture = load_model(thinker, 0), make_picture(1)
    [[scores]] = score_rows(model, [ScoreRequest(picture, (Pair("1", "Is it?", "Yes."),))], "drop")
    processor = tiny("llava").processor
    numbers = []
    for image in (picture, None):
        text = f"<s>user: {'<image>' if image else ''}Is it?<|im_end|>assistant: {EMPTY}"
        inputs = processor(images=image, text=text, add_special_tokens=False, return_tensors="pt")
        answer = torch.tensor([processor.tokenizer("Yes.", add_special_tokens=False)["input_ids"]])
        inputs = {**inputs, "input_ids": torch.cat([inputs["input_ids"], answer], dim=1)}
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        with torch.no_grad():
            logits = tiny("llava").model(**inputs).logits[0, -answer.shape[1] - 1 : -1].log_softmax(-1)
        numbers.append(logits.gather(1, answer[0][:, None])[:, 0].tolist())
    assert numbers[0] != pytest.approx(numbers[1], abs=1e-2)  # the picture matters
    assert scores.logprobs_with_image == pytest.approx(numbers[0], abs=1e-4)
    assert scores.logprobs_without_image == pytest.approx(numbers[1], abs=1e-4)
    assert "opens a thought" in model.provenance.notes[0]


def test_a_model_that_thinks_writes_what_a_row_by_itself_expects(thinker, caplog):
    model = load_model(thinker, 0)
    caplog.clear()
    assert model.generate([GenerateRequest("a", make_picture(1), "What is it?", 0)], Sampling(0.0, 1.0, 4))
    assert model.describe_writing() == "from shared beginnings"
    assert "writes" not in caplog.text


def test_answers_are_taught_and_tuned_behind_an_empty_thought_that_is_not_taught(thinker):
    taught = load_finetunable(thinker, FinetuningConfig(lora_r=2), 0)
    batch = taught.collate([Conversation(make_picture(1), (("Is it?", "Yes."), ("So?", "No.")))])
    decode = taught.processor.tokenizer.decode
    ids, labels = batch["input_ids"][0], batch["labels"][0]
    ends = f"assistant: {EMPTY}Yes.<|im_end|>user: So?<|im_end|>assistant: {EMPTY}No.<|im_end|>"
    assert decode(ids.tolist()).endswith(ends)
    assert decode(labels[labels != IGNORE_INDEX].tolist()) == "Yes.<|im_end|>No.<|im_end|>"
    tuned = load_trainable(thinker, ContrastiveConfig(lora_r=2), 0)
    assert tuned.provenance.notes == taught.provenance.notes
    batch = tuned.collate([ForcedRow(make_picture(1), "Is it?", "Yes.")])
    assert decode(batch["text"]["input_ids"][0].tolist()).endswith(f"assistant: {EMPTY}Yes.")


@pytest.mark.parametrize("opens", [True, False])
@pytest.mark.parametrize("special", [(), ("<think>", "</think>")])
def test_a_written_thought_can_be_told_from_its_answer_and_from_one_without_an_end(tmp_path, opens, special):
    pieces = ("<think>", "no, no\n", "</think>", "\n\n", "Yes.")[opens:]
    template = OPENS.replace("\\n", "") if opens else PLAIN
    folder = write_scripted(tmp_path / "m", *pieces, special=special[opens:], template=template)
    model = load_model(ModelConfig(name=str(folder), dtype="float32"), 0)
    request = GenerateRequest("1", make_picture(1), "Is it?", 0)
    [whole] = model.generate([request], Sampling(temperature=0, max_new_tokens=8))
    assert (whole.text, whole.finish_reason) == ("<think>no, no\n</think>\n\nYes.", "stop")
    assert cut_thoughts(whole.text) == "Yes."
    [cut] = model.generate([request], Sampling(temperature=0, max_new_tokens=2 - opens))
    assert cut_thoughts(cut.text) is None


STRIPS = write(QUIET + "{% endif %}")  # it writes earlier answers without a thought, as Qwen3's does
TURNS = (("Is it?", "Yes."), ("So?", "No."), ("Why?", "For fun."))


def test_earlier_answers_stand_as_the_template_writes_them_and_the_last_one_behind_an_empty_thought(tiny):
    from copy import copy

    processor = copy(tiny("llava").processor)
    processor.chat_template = STRIPS
    encoder, picture = ChatEncoder(processor), make_picture(1)
    turns = ConversationEncoder(encoder, frozenset({processor.tokenizer.eos_token_id}))
    prompt = turns.encode_prompt(TURNS[2][0], picture, "", TURNS[:2])
    said = "".join(f"user: {asked}<|im_end|>assistant: {answer}<|im_end|>" for asked, answer in TURNS[:2])
    expected = f"<s>{said}user: Why?<|im_end|>assistant: {EMPTY}"
    assert processor.tokenizer.decode(prompt.ids).replace("<image>", "") == expected
    assert prompt.ids == ImageSetEncoder(encoder, turns).encode_prompt(TURNS[2][0], (picture,), "", TURNS[:2]).ids
    assert not find_obstacle(encoder, turns)
    told = turns.encode(TURNS, picture, untaught=frozenset({0, 1}))
    assert (*told.prompt.ids, *told.ids)[: len(prompt.ids)] == prompt.ids
    taught = turns.encode(TURNS, picture)  # each where the model itself would answer
    assert processor.tokenizer.decode((*taught.prompt.ids, *taught.ids)).count(EMPTY) == 3


def test_a_thought_that_the_template_opens_is_closed_though_it_refuses_to_end_with_an_answer():
    def render(chat, add_generation_prompt=True, **settings):
        if chat[-1]["role"] == "assistant":
            raise ValueError("conversations end with a question")
        return f"user: {chat[0]['content'][0]['text']}\nassistant: <think>\n"

    found = find_thinking(render, "")
    assert (found.opened, found.closing) == ("<think>\n", "\n</think>\n\n")
