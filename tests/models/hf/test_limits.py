"""Nothing is read or written past the model's last position, and what does not fit is named with its lengths."""

from types import SimpleNamespace

import pytest
from transformers import LlamaConfig

from c3l.models.hf.limits import count_positions
from c3l.models.interface import GenerateRequest, Pair, Sampling, ScoreRequest, Unfit
from c3l.models.load import load_finetunable, load_model, load_trainable
from c3l.models.tunable import Conversation, ForcedRow
from c3l.settings.schema import ModelConfig
from c3l.settings.tuning import ContrastiveConfig, FinetuningConfig
from scores import score_rows
from tiny_models import TEXT, load_tiny, make_picture

POSITIONS = 96
PICTURE = make_picture(1)


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """A tiny model with few positions."""
    import json

    folder = tmp_path_factory.mktemp("short") / "model"
    load_tiny("llava", folder)
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["text_config"]["max_position_embeddings"] = POSITIONS
    path.write_text(json.dumps(config))
    return ModelConfig(name=str(folder), dtype="float32")


def test_an_answer_is_scored_up_to_the_last_position_and_a_longer_one_is_named(short):
    model = load_model(short, 0)
    prompt = len(model.show_prompt("Is it?", PICTURE))
    room = POSITIONS - prompt
    assert room > 0 and prompt > len(model.show_prompt("Is it?", None))  # the picture's tokens count
    texts = ("y" * room, "y" * (room + 1), "Yes.")
    pairs = tuple(Pair(str(place), "Is it?", text) for place, text in enumerate(texts))
    [[fits, over, short_one]] = score_rows(model, [ScoreRequest(PICTURE, pairs)], "drop")
    assert len(fits.token_ids) == room and fits.is_finite()
    assert isinstance(over, Unfit) and over.reason == "too_long"
    assert all(str(number) in over.detail for number in (prompt, room + 1, POSITIONS))
    [[alone]] = score_rows(model, [ScoreRequest(PICTURE, pairs[2:])], "drop")
    assert short_one.logprobs_with_image == pytest.approx(alone.logprobs_with_image, abs=1e-4)


def test_a_text_ends_with_the_positions_and_its_neighbours_do_not(short):
    model = load_model(short, 0)
    asked = ["Is it?", "Is it " + "z" * 30 + "?", "z" * POSITIONS]
    requests = [GenerateRequest(str(place), PICTURE, prompt, place) for place, prompt in enumerate(asked)]
    sampling = Sampling(max_new_tokens=30)
    made = model.generate(requests, sampling)
    assert [one.request_id for one in made] == ["0", "1", "2"]
    assert made[0] == model.generate(requests[:1], sampling)[0]
    left = POSITIONS - len(model.show_prompt(asked[1], PICTURE))
    assert 0 < left < 30
    assert model.generate(requests[1:2], Sampling(max_new_tokens=left))[0] == made[1]
    assert made[2].finish_reason == "too_long" and made[2].text == "" and str(POSITIONS) in made[2].problem


def test_conversations_are_cut_at_the_positions_and_groups_are_sorted_out(short):
    taught = load_finetunable(short, FinetuningConfig(lora_r=2), 0)
    assert str(POSITIONS) in taught.provenance.notes[0]
    cut = Conversation(PICTURE, (("Is it?", "y" * POSITIONS),))
    assert taught.find_fault(cut) is None and taught.count_taught(cut)[1] > 0
    assert taught.collate([cut])["input_ids"].shape[1] == POSITIONS
    assert taught.count_taught(Conversation(PICTURE, (("Is it?", "Yes."),)))[1] == 0
    fault = taught.find_fault(Conversation(PICTURE, (("z" * POSITIONS, "Yes."),)))
    assert fault.reason == "too_long" and str(POSITIONS) in fault.detail
    tuned = load_trainable(short, ContrastiveConfig(lora_r=2), 0)
    rows = [ForcedRow(PICTURE, "Is it?", text) for text in ("Yes.", "y" * POSITIONS)]
    assert tuned.find_fault(rows).reason == "too_long"
    assert tuned.find_fault(rows[:1]) is None


@pytest.mark.parametrize(
    ("rope", "positions"),
    [
        ({}, 2048),
        ({"rope_type": "linear", "factor": 4.0}, 8192),
        ({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512}, 2048),
        ({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 2048}, 8192),
        (
            {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
             "original_max_position_embeddings": 1024}, 2048,
        ),
    ],
)  # fmt: skip
def test_stretched_positions_count_as_the_config_says(rope, positions):
    config = LlamaConfig(**TEXT, **({"rope_parameters": {"rope_theta": 10000.0, **rope}} if rope else {}))
    assert count_positions(SimpleNamespace(config=config)) == positions


def test_a_config_without_a_number_sets_no_limit():
    config = SimpleNamespace(get_text_config=lambda: SimpleNamespace(max_position_embeddings=None))
    assert count_positions(SimpleNamespace(config=config)) is None
