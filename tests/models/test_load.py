import json
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from huggingface_hub.errors import GatedRepoError, OfflineModeIsEnabled, RepositoryNotFoundError, RevisionNotFoundError

from c3l.errors import BackendError
from c3l.models import hashing, load
from c3l.models.hf.inference import HfModel
from c3l.models.interface import Pair, ScoreRequest
from c3l.models.load import load_model, load_trainable, settle_name, weights_hash
from c3l.models.tunable import ForcedRow
from c3l.settings import cache
from c3l.settings.schema import ModelConfig
from c3l.settings.tuning import ContrastiveConfig
from scores import score_rows
from tiny_models import make_picture


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("C3L_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path, copy_tiny):
    return copy_tiny("llava", tmp_path / "llava")


def config_of(folder, **more):
    return ModelConfig(name=str(folder), dtype="float32", device="cpu", **more)


def test_a_folder_becomes_a_model_that_scores_and_says_what_it_is(folder):
    model = load_model(config_of(folder), seed=3)
    scores = score_rows(model, [ScoreRequest(make_picture(1), (Pair("p", "What?", "A dog."),))], "drop")[0][0]
    assert scores.is_finite()
    assert model.provenance.weights == weights_hash(config_of(folder))
    assert (model.provenance.dtype, model.provenance.device, model.provenance.seed) == ("float32", "cpu", 3)
    assert model.provenance.versions["torch"] == version("torch")


@pytest.mark.parametrize(
    "file",
    ["model.safetensors", "config.json", "processor_config.json", "chat_template.jinja", "tokenizer.json"],
)
def test_hash_changes_with_every_file_that_changes_results(folder, file):
    before = weights_hash(config_of(folder))
    content = (folder / file).read_bytes()
    (folder / file).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert weights_hash(config_of(folder)) != before
    (folder / file).write_bytes(content)
    assert weights_hash(config_of(folder)) == before


def test_hash_is_of_contents_and_not_of_the_place(folder, tmp_path):
    before = weights_hash(config_of(folder))
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "README.md").write_text("about")
    assert weights_hash(config_of(tmp_path / "copy")) == before


def test_hash_is_kept_so_that_large_weights_are_read_once(folder, monkeypatch):
    before = weights_hash(config_of(folder))
    monkeypatch.setattr(cache.hashlib, "file_digest", lambda *args: pytest.fail("read again"))
    assert weights_hash(config_of(folder)) == before


@pytest.mark.parametrize("content", ["", "[1, 2]", "{not json"])
def test_a_broken_hash_cache_costs_only_time(folder, content):
    before = weights_hash(config_of(folder))
    (cache.cache_folder() / "hashes.json").write_text(content)
    assert weights_hash(config_of(folder)) == before


@pytest.mark.parametrize("name", ["folder", "builtin"])
def test_hashing_loads_neither_torch_nor_transformers(name, folder):
    code = (
        "import sys; from c3l.settings.schema import ModelConfig; from c3l.models.load import weights_hash;"
        f"weights_hash(ModelConfig(name={name if name == 'builtin' else str(folder)!r}));"
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers')))"
    )
    source = Path(hashing.__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=source).returncode == 0


@pytest.mark.parametrize("name", ["no/such/folder", "../nowhere", "/nowhere", "one-word", "a/b c"])
def test_a_name_that_is_nothing_is_explained(name):
    with pytest.raises(BackendError, match="expected `builtin`"):
        weights_hash(ModelConfig(name=name))


def test_an_adapter_is_not_a_model(folder):
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(BackendError, match="merge it"):
        load_model(config_of(folder), 0)


def test_pickled_weights_are_refused(folder):
    torch.save({}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(BackendError, match=r"without \*.safetensors, expected .* reading .bin files can run code"):
        load_model(config_of(folder), 0)


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        (["config.json"], r"llava without config\.json, expected config\.json, \*\.safetensors, and the files of tok"),
        (["model.safetensors"], r"llava without \*\.safetensors, expected"),
        (["config.json", "model.safetensors"], r"llava without config\.json or \*\.safetensors, expected"),
    ],
)
def test_a_folder_that_is_no_whole_model_is_told_before_it_is_hashed(folder, gone, message):
    for name in gone:
        (folder / name).unlink()
    with pytest.raises(BackendError, match=message):
        weights_hash(config_of(folder))


def test_the_folder_around_a_model_is_told_from_the_model(folder, tmp_path):
    with pytest.raises(BackendError, match=r"did you mean .*llava\?"):
        weights_hash(config_of(tmp_path))


def test_a_language_model_without_eyes_is_told_in_short(folder):
    settings = json.loads((folder / "config.json").read_text())["text_config"]
    (folder / "config.json").write_text(json.dumps(settings))
    with pytest.raises(BackendError, match=r"LlamaConfig.* expected an LVLM that transformers knows") as caught:
        load_model(config_of(folder), 0)
    assert "Model type should be one of" not in str(caught.value)


def test_a_folder_without_tokenizer_and_processor_is_told_in_short(folder):
    for name in ("processor_config.json", "tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    with pytest.raises(BackendError, match=r"its tokenizer \(tokenizer.json .* its image processor") as caught:
        load_model(config_of(folder), 0)
    assert "huggingface.co" not in str(caught.value)


def test_code_in_a_folder_does_not_run(folder, tmp_path):
    settings = json.loads((folder / "config.json").read_text())
    settings["auto_map"] = dict.fromkeys(["AutoConfig", "AutoModelForImageTextToText"], "evil.Evil")
    settings["model_type"] = "evil"
    (folder / "config.json").write_text(json.dumps(settings))
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil: pass\n")
    with pytest.raises(BackendError, match="cannot load"):
        load_model(config_of(folder), 0)
    assert not (tmp_path / "ran").exists()


def test_a_broken_folder_is_one_line(folder):
    (folder / "config.json").write_text("{")
    with pytest.raises(BackendError, match="cannot load") as caught:
        load_model(config_of(folder), 0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("device", ["gpu", "cuda:99"])
@pytest.mark.parametrize("dtype", ["auto", "float32"])
def test_a_device_that_is_not_here_is_one_line(folder, device, dtype):
    told = {"gpu": "expected auto, cpu or cuda", "cuda:99": "but torch .* finds no such device here"}[device]
    with pytest.raises(BackendError, match=f"got model.device={device}, {told}") as caught:
        load_model(ModelConfig(name=str(folder), dtype=dtype, device=device), 0)
    assert "\n" not in str(caught.value)


def test_a_model_that_fails_its_first_pass_is_one_line(folder, monkeypatch):
    def fail(self):
        raise RuntimeError("no kernel\nfor this card")

    monkeypatch.setattr(HfModel, "check_causal", fail)
    with pytest.raises(BackendError, match=r"cannot use the model .* on cpu: no kernel for this card"):
        load_model(config_of(folder), 0)


def hub_snapshot(cache, *files):
    """A model of the hub as its client keeps it once it was downloaded."""
    repository = cache / "models--who--what"
    snapshot = repository / "snapshots" / "0123abc"
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0123abc")
    for file in files:
        (snapshot / file).write_text("{}")


def test_a_downloaded_model_is_known_by_its_commit_and_an_adapter_is_none(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    hub_snapshot(tmp_path / "hub", "config.json")
    assert weights_hash(ModelConfig(name="who/what")) == "0123abc"
    shutil.rmtree(tmp_path / "hub")
    hub_snapshot(tmp_path / "hub", "config.json", "adapter_config.json")
    with pytest.raises(BackendError, match=r"who/what holds an adapter.*merge it"):
        weights_hash(ModelConfig(name="who/what"))


def test_an_adapter_on_the_hub_is_not_a_model_before_it_is_downloaded(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    files = [SimpleNamespace(rfilename="adapter_config.json")]
    monkeypatch.setattr(
        "huggingface_hub.HfApi.model_info", lambda *args, **kwargs: SimpleNamespace(sha="0123abc", siblings=files)
    )
    with pytest.raises(BackendError, match="merge it"):
        weights_hash(ModelConfig(name="who/what"))


def hub_error(kind):
    return kind("first\nsecond", response=SimpleNamespace(headers={}, request=None))


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            lambda: OSError("no route\nto host"),
            r"no folder who/what, .*\(no route to host\); .* --model .*HF_HOME",
        ),
        (
            lambda: hub_error(RepositoryNotFoundError),
            "no such model on the hub, or it is .*gated: .*`hf auth login`",
        ),
        (lambda: hub_error(GatedRepoError), "no such model on the hub, or it is .*gated: .*`hf auth login`"),
        (lambda: OfflineModeIsEnabled("offline"), "HF_HUB_OFFLINE=1 forbids to ask the hub: unset it"),
        (lambda: hub_error(RevisionNotFoundError), "who/what has no revision v9; set model.revision"),
    ],
)
def test_a_hub_that_does_not_answer_is_told_with_what_to_do(tmp_path, monkeypatch, error, message):
    def fail(*args, **kwargs):
        raise error()

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", fail)
    with pytest.raises(BackendError, match=message) as caught:
        weights_hash(ModelConfig(name="who/what", revision="v9"))
    assert "\n" not in str(caught.value)


TUNING = ContrastiveConfig(lora_r=4)


def adapters(model):
    return {name: value.detach().clone() for name, value in model.named_parameters() if value.requires_grad}


def test_a_model_to_be_tuned_says_what_it_is_and_begins_as_the_loaded_one(folder):
    model = load_trainable(config_of(folder), TUNING, seed=3)
    assert model.provenance == load_model(config_of(folder), seed=3).provenance
    row = ForcedRow(make_picture(1), "What?", "A dog.")
    found = model.read(model.collate([row])).log_likelihood.item()
    request = ScoreRequest(row.image, (Pair("p", row.prompt, row.completion),))
    scores = score_rows(load_model(config_of(folder), 0), [request], "drop")
    logprobs = scores[0][0].logprobs_with_image
    assert found == pytest.approx(sum(logprobs) / len(logprobs), abs=1e-4)


def test_fresh_adapters_are_of_the_seed_alone(folder):
    state = torch.random.get_rng_state()
    one = adapters(load_trainable(config_of(folder), TUNING, seed=3))
    assert torch.random.get_rng_state().equal(state)
    torch.manual_seed(5)
    two, other = (adapters(load_trainable(config_of(folder), TUNING, seed=seed)) for seed in (3, 4))
    assert all(one[name].equal(two[name]) for name in one)
    assert not all(one[name].equal(other[name]) for name in one)


def test_what_cannot_be_loaded_to_be_tuned_is_one_line(folder, tmp_path):
    with pytest.raises(BackendError, match=r"got model\.device=gpu, expected auto, cpu"):
        load_trainable(ModelConfig(name=str(folder), device="gpu"), TUNING, 0)
    with pytest.raises(BackendError, match="expected `builtin`, an existing folder, or a hub id"):
        load_trainable(config_of(tmp_path / "missing"), TUNING, 0)
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(BackendError, match=r"without a chat template, expected .* in chat_template\.jinja"):
        load_trainable(config_of(folder), TUNING, 0)


def test_a_merged_folder_is_loaded_as_any_other_and_an_adapter_folder_refused(folder, tmp_path):
    model = load_trainable(config_of(folder), TUNING, seed=3)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "lora_B" in name:
                value.normal_(std=0.2)
    row = ForcedRow(make_picture(1), "What?", "A dog.")
    expected = model.read(model.collate([row])).log_likelihood.item()
    model.save_adapter(tmp_path / "adapter")
    model.save_merged(tmp_path / "merged")
    loaded = load_model(config_of(tmp_path / "merged"), 0)
    scores = score_rows(loaded, [ScoreRequest(row.image, (Pair("p", row.prompt, row.completion),))], "drop")[0][0]
    assert sum(scores.logprobs_with_image) / len(scores.token_ids) == pytest.approx(expected, abs=1e-4)
    assert weights_hash(config_of(tmp_path / "merged")) != weights_hash(config_of(folder))
    with pytest.raises(BackendError, match="merge it into its base model"):
        load_trainable(config_of(tmp_path / "adapter"), TUNING, 0)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("builtn", "did you mean builtin?"),
        ("Builtin", "did you mean builtin?"),
        ("m.gguf", "c3l reads no GGUF files"),
        ("some/config.json", "this is a file, name the folder that it lies in, some"),
        ("https://huggingface.co/who/what", r"did you mean who/what\?"),
        ("http://localhost:8000/v1", "--model openai:NAME --set model.endpoint=http://localhost:8000/v1"),
        ("what", "or a hub id such as who/what$"),
    ],
)
def test_a_name_that_is_no_model_says_what_was_perhaps_meant(name, meant, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "some").mkdir()
    (tmp_path / "some/config.json").write_text("{}")
    with pytest.raises(BackendError, match=f"got model '{name}', expected `builtin`, .*{meant}"):
        weights_hash(ModelConfig(name=name))


def test_a_language_model_is_refused_by_its_config_before_it_is_read(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"not looked at")
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"], "model_type": "llama"}))
    with pytest.raises(
        BackendError, match=r"a language model \(LlamaForCausalLM\), .* expected a vision-language model"
    ):
        weights_hash(config_of(tmp_path))


def test_a_card_that_is_full_says_what_to_do(folder, monkeypatch):
    def fill(self):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(HfModel, "check_causal", fill)
    with pytest.raises(BackendError, match=r"Tried to allocate 2 GiB; set a smaller batch_size or model\.dtype"):
        load_model(config_of(folder), 0)


@pytest.mark.parametrize("name", ["models/llava--ft", "models/llava.git", "~nobody/model", "a" * 300, "a/" + "b" * 300])
def test_a_name_that_is_neither_a_folder_nor_of_the_hub_is_told_as_such(name, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BackendError, match="expected `builtin`, an existing folder, or a hub id"):
        load_model(ModelConfig(name=name), 0)


@pytest.mark.parametrize(
    ("rank", "cards", "device"),
    [(None, 2, "cuda"), ("0", 2, "cuda:0"), ("1", 2, "cuda:1"), ("1", 1, "cuda:0"), ("3", 0, "cpu")],
)
def test_each_process_takes_a_card_that_it_sees(rank, cards, device, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cards > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cards)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("LOCAL_RANK", rank)
    assert load._choose_device(ModelConfig(device="auto")) == device


def test_only_a_folder_that_is_there_is_named_by_its_whole_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for folder in ("mine", "builtin", "who/what", "home/mine"):
        (tmp_path / folder).mkdir(parents=True)
    whole = {"mine": "mine", "who/what": "who/what", "~/mine": "home/mine"}
    for name, path in whole.items():
        assert settle_name(name) == str(tmp_path / path)
        assert settle_name(f"vllm:{name}") == f"vllm:{tmp_path / path}"
    for name in ("builtin", "who/else", "openai:mine", "gone", "", "x" * 5000):
        assert settle_name(name) == name
