"""Families whose processor writes more around a question than the tokenizer reads are asked no second one."""

from pathlib import Path

import pytest
from studies.families.apart import _chameleon
from studies.families.folder import write_folder
from studies.families.patches import _paligemma

from c3l.errors import BackendError
from c3l.models.interface import Pair, ScoreRequest
from c3l.models.load import load_finetunable, load_model
from c3l.models.tunable import Conversation
from c3l.settings.schema import ModelConfig
from c3l.settings.tuning import FinetuningConfig
from scores import score_rows
from tiny_models import FAMILIES, make_picture, try_out

ONE, TWO = (("Is it?", "Yes."),), (("Is it?", "Yes."), ("So?", "No."))


@pytest.fixture(scope="module", params=[_chameleon, _paligemma], ids=["chameleon", "paligemma"])
def config(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ModelConfig:
    folder: Path = tmp_path_factory.mktemp("apart") / "model"
    write_folder(request.param(), folder)
    return ModelConfig(name=str(folder), dtype="float32", device="cpu")


def test_an_earlier_turn_is_refused_by_name_and_a_single_question_is_scored(config, caplog):
    model, image = load_model(config, 0), make_picture(1)
    assert not model.takes_turns
    assert "Processor makes other tokens of a whole chat" in caplog.text
    with pytest.raises(BackendError, match=r"or processor of \w+ does not show every turn .* scoring\.context=none"):
        score_rows(model, [ScoreRequest(image, (Pair("1", *TWO[1], ONE),))], "blank")
    assert score_rows(model, [ScoreRequest(image, (Pair("1", *TWO[1]),))], "blank")[0][0].logprobs_with_image


def test_a_conversation_of_two_questions_is_not_taught_and_one_of_one_is(config):
    lvlm = load_finetunable(config, FinetuningConfig(lora_r=2), 0)
    fault = lvlm.find_fault(Conversation(make_picture(1), TWO))
    assert fault is not None
    assert fault.reason == "several_turns"
    assert "Processor makes other tokens" in fault.detail
    assert lvlm.find_fault(Conversation(make_picture(1), ONE)) is None


@pytest.mark.parametrize("name", FAMILIES)
def test_other_families_are_asked_on(name, tiny):
    assert try_out(tiny(name)).takes_turns
