"""A model that was tried out is not tried out again, unless anything that could matter has changed."""

import json

import pytest
import torch

from c3l.models.hf import dictating, forcing, layout, remembered, writing
from c3l.models.hf.inference import HfModel
from c3l.models.interface import GenerateRequest, Pair, Sampling, ScoreRequest
from c3l.models.load import load_model, load_trainable
from c3l.models.tunable import ForcedRow
from c3l.settings.cache import cache_folder
from c3l.settings.schema import ModelConfig
from c3l.settings.tuning import ContrastiveConfig
from scores import score_rows
from tiny_models import make_picture

pytestmark = pytest.mark.usefixtures("empty_cache")


@pytest.fixture
def trials(monkeypatch):
    """Counts how often a model is tried out."""
    counted = []

    class Counted(forcing.Trial):
        def __init__(self, *given):
            counted.append(given)
            super().__init__(*given)

    monkeypatch.setattr(forcing, "Trial", Counted)
    return counted


def load(folder, dtype="float32", **more):
    return load_model(ModelConfig(name=str(folder), dtype=dtype, device="cpu", **more), seed=0)


def score(model):
    pairs = (Pair("a", "What?", "A dog."), Pair("b", "Where is it?", "On a mat."))
    return score_rows(model, [ScoreRequest(make_picture(1), pairs)], "drop")


def test_a_model_is_tried_out_once_and_scores_as_before(folder, trials):
    first, again = load(folder), load(folder)
    assert len(trials) == 1
    assert again.describe_rows() == first.describe_rows() == "packed"
    assert score(again) == score(first)


def test_what_rounding_may_do_is_known_to_writing_too(folder):
    first = load(folder)._forcing.ways()
    assert load(folder)._forcing.ways() == first
    assert first.allowed > 0


def write(model):
    requests = [GenerateRequest(str(n), make_picture(n // 2), "What is it?", n) for n in range(3)]
    return model.generate(requests, Sampling(temperature=1, max_new_tokens=6))


@pytest.fixture
def dictations(monkeypatch):
    """Counts how often ways of writing are tried out."""
    counted = []

    def find(*given):
        counted.append(given)
        return dictating.find_ways(*given)

    monkeypatch.setattr(writing, "find_ways", find)
    return counted


def test_what_it_writes_by_is_tried_out_once_and_writes_as_before(folder, dictations):
    first, again = load(folder), load(folder)
    assert write(again) == write(first)
    assert len(dictations) == 1
    assert again.describe_writing() == first.describe_writing() == "from shared beginnings"


@pytest.mark.parametrize("fault", ["no shared cache", "own generate"])
def test_ways_of_writing_that_are_not_all_right_are_tried_out_at_every_start(fault, folder, dictations, monkeypatch):
    if fault == "no shared cache":
        monkeypatch.setattr(dictating, "make_growing", lambda model: None)
    else:
        whole = dictating._Trial.write_alone
        monkeypatch.setattr(dictating._Trial, "write_alone", lambda trial: (whole(trial)[0], True))
    for _ in range(2):
        write(load(folder))
    assert len(dictations) == 2


def test_another_dtype_is_tried_out(folder, trials):
    load(folder)
    before = len(trials)
    load(folder, "bfloat16")
    assert len(trials) > before


def test_changed_weights_are_tried_out(folder, trials):
    load(folder)
    file = folder / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-2] ^= 1
    file.write_bytes(content)
    load(folder)
    assert len(trials) == 2


@pytest.mark.parametrize("what", ["attention", "packed rows", "threads", "code", "versions"])
def test_another_way_of_computing_is_tried_out(what, folder, trials, monkeypatch):
    load(folder)
    more = {}
    if what == "attention":
        more["attn_implementation"] = "eager"
    elif what == "packed rows":
        more["attn_implementation"] = layout.FLEX
    elif what == "threads":
        monkeypatch.setattr(torch, "get_num_threads", lambda: 63)
    elif what == "code":
        monkeypatch.setattr(remembered, "_hash_code", lambda: "of other files")
    else:
        monkeypatch.setattr("c3l.models.load._versions", lambda: {"torch": "99"})
    with torch.compiler.set_stance("force_eager"):  # a compiler takes seconds, and the trials are as many
        load(folder, **more)
    assert len(trials) == 2


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"allowed": "much"}', '{"allowed": NaN}', '{"allowed": -1.0}'])
def test_a_broken_note_is_no_note(folder, trials, content):
    load(folder)
    [file] = (cache_folder() / "trials").iterdir()
    whole = json.loads(file.read_text())
    file.write_text(content)
    load(folder)
    assert len(trials) == 2
    assert json.loads(file.read_text()) == whole


def test_what_has_to_be_told_is_told_at_every_start(folder, monkeypatch, caplog):
    monkeypatch.setattr(layout, "_ATTENTION", ("eager",))
    for _ in range(2):
        caplog.clear()
        assert load(folder).describe_rows() == "whole, in batches"
        assert "cannot share the beginning of rows" in caplog.text


def test_a_model_that_looks_ahead_is_refused_at_every_start(folder, monkeypatch):
    seen = iter(range(100))
    monkeypatch.setattr(HfModel, "_predict_first", lambda self, prompt, answer: torch.tensor([float(next(seen))]))
    for _ in range(2):
        with pytest.raises(Exception, match="look ahead"):
            load(folder)


def test_a_tuning_tries_a_model_out_no_more_that_was_found_in_order(folder, trials):
    config = ModelConfig(name=str(folder), dtype="float32", device="cpu")
    first = load_trainable(config, ContrastiveConfig(lora_r=2), seed=0)
    load(folder)
    assert len(trials) == 2
    again = load_trainable(config, ContrastiveConfig(lora_r=2), seed=0)
    assert len(trials) == 2
    row = ForcedRow(make_picture(1), "What?", "A dog.")
    batches = [model.collate([row, row]) for model in (first, again)]
    assert all("places" in batch for batch in batches), "packed"
    found = [model.eval().read(batch).log_likelihood for model, batch in zip((first, again), batches, strict=True)]
    assert found[0].equal(found[1])
