"""A mark that a model writes before each answer: answers are scored behind it, or it is told where hidden."""

import logging

import pytest
import torch

from c3l.markup.thoughts import cut_thoughts
from c3l.models.hf.opening import tell_opening
from c3l.models.interface import GenerateRequest, Pair, Sampling, ScoreRequest
from c3l.models.load import load_finetunable, load_model, load_trainable
from c3l.models.tunable import IGNORE_INDEX, Conversation, ForcedRow
from c3l.settings.schema import ModelConfig
from c3l.settings.tuning import ContrastiveConfig, FinetuningConfig
from scores import score_rows
from tiny_models import CHAT_TEMPLATE, make_picture, write_scripted

# as Cohere's: its template writes the marks around an answer that was given, and none where one is to come
START, STOP, SAYS = "<|START_RESPONSE|>", "<|END_RESPONSE|>", "Yes."
HIDDEN = CHAT_TEMPLATE.format(image="<image>")
MARKED = HIDDEN.replace(
    "{{ message['role'] + ': ' }}",
    f"{{{{ message['role'] + ': ' }}}}{{% if message['role'] == 'assistant' %}}{{{{ '{START}' }}}}{{% endif %}}",
)
QUESTION = "Is it?"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Tiny models that write a mark, an answer and its end, by whether their template shows the mark."""
    root = tmp_path_factory.mktemp("marks")
    templates = {True: MARKED, False: HIDDEN}
    folders = {
        shows: write_scripted(root / str(shows), START, SAYS, STOP, special=(START, STOP), template=template)
        for shows, template in templates.items()
    }
    return {shows: ModelConfig(name=str(folder), dtype="float32") for shows, folder in folders.items()}


def test_an_answer_is_scored_where_the_model_writes_it(models):
    request = ScoreRequest(make_picture(1), (Pair("1", QUESTION, SAYS),))
    likely, unlikely = (score_rows(load_model(models[shows], 0), [request], "drop")[0][0] for shows in (True, False))
    assert likely.logprobs_with_image == pytest.approx((0.0,), abs=0.1)
    assert unlikely.logprobs_with_image[0] < -4  # the model would never begin there


def test_writing_goes_on_from_the_template_s_own_prompt_and_the_marks_are_cut(models):
    model = load_model(models[True], 0)
    [written] = model.generate([GenerateRequest("1", make_picture(1), QUESTION, 0)], Sampling(0.0, 1.0, 8))
    assert cut_thoughts(written.text) == SAYS
    assert "".join(model.show_prompt(QUESTION, None)).endswith("assistant: ")


def test_answers_are_tuned_and_taught_behind_it(models):
    taught = load_finetunable(models[True], FinetuningConfig(lora_r=2), 0)
    batch = taught.collate([Conversation(make_picture(1), ((QUESTION, SAYS), ("So?", "No.")))])
    decode = taught.processor.tokenizer.decode
    ids, labels = batch["input_ids"][0], batch["labels"][0]
    expected = f"{QUESTION}<|im_end|>assistant: {START}Yes.<|im_end|>user: So?<|im_end|>assistant: {START}No.<|im_end|>"
    assert decode(ids.tolist()).endswith(expected)
    assert decode(labels[labels != IGNORE_INDEX].tolist()) == "Yes.<|im_end|>No.<|im_end|>"
    tuned = load_trainable(models[True], ContrastiveConfig(lora_r=2), 0)
    batch = tuned.collate([ForcedRow(make_picture(1), QUESTION, SAYS)])
    assert decode(batch["text"]["input_ids"][0].tolist()).endswith(f"assistant: {START}Yes.")
    assert START in tuned.provenance.notes[0]


@pytest.mark.parametrize("shows", [True, False])
def test_a_hidden_mark_is_told_at_every_loading(models, shows, caplog, empty_cache):
    for _ in range(2):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            model = load_model(models[shows], 0)
        told = [one for one in caplog.messages if "would begin an answer with '<|START_RESPONSE|>'" in one]
        assert len(told) == (not shows)
        assert set(told) <= set(model.provenance.notes)


def test_the_end_of_a_turn_and_a_word_are_no_marks(tiny):
    tokenizer = tiny("llava").processor.tokenizer
    end, image = tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("<image>")
    for token, told in ((end, False), (image, True), (tokenizer("A", add_special_tokens=False)["input_ids"][0], False)):
        table = torch.zeros(len(tokenizer)).index_fill(0, torch.tensor([token]), 1.0)
        assert bool(tell_opening(table, tokenizer, frozenset({end}))) is told
