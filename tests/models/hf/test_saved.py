"""A tuned model's folder has the configs of the first one; what could not be written is told before the tuning."""

import json

import pytest

from c3l.errors import BackendError
from c3l.models.hf.processors import load_processor
from c3l.models.hf.saved import FolderWriter
from c3l.models.load import load_finetunable, load_trainable
from c3l.settings.schema import ModelConfig
from c3l.settings.tuning import ContrastiveConfig, FinetuningConfig
from tiny_models import load_tiny

pytestmark = pytest.mark.usefixtures("own_cache")
# transformers saves these only as long as nothing in the file has changed
SAMPLING = {"do_sample": False, "temperature": 0.9, "top_p": 0.6, "eos_token_id": 258, "pad_token_id": 256}


def read(folder, name):
    found = json.loads((folder / name).read_text())
    found.pop("transformers_version")
    return found


@pytest.mark.parametrize("load", ["finetunable", "trainable"])
def test_what_a_trainer_writes_into_the_configs_is_not_saved(load, folder, tmp_path):
    (folder / "generation_config.json").write_text(json.dumps(SAMPLING))
    config = ModelConfig(name=str(folder), dtype="float32", device="cpu")
    if load == "finetunable":
        lvlm = load_finetunable(config, FinetuningConfig(lora_r=2), 0)
        model = lvlm.module
    else:
        lvlm = load_trainable(config, ContrastiveConfig(lora_r=2), 0)
        model = lvlm.lvlm
    model.config.use_cache = False
    model.config.get_text_config().pad_token_id = model.generation_config.bos_token_id = 7
    lvlm.save_merged(tmp_path / "merged")
    assert read(tmp_path / "merged", "generation_config.json") == SAMPLING
    assert read(tmp_path / "merged", "config.json") == read(folder, "config.json")


def test_what_cannot_be_written_is_refused_before_it_is_tuned(folder):
    tiny = load_tiny("llava", folder)
    tiny.model.generation_config.temperature = -1.0
    with pytest.raises(
        BackendError, match=r"could not be written once it is tuned: .* generation config .*temperature"
    ):
        FolderWriter(tiny.model, load_processor(str(folder), "main", trust_remote_code=False))
