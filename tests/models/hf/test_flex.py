"""FlexAttention's block masks let packed rows see what the dense mask lets them see."""

import shutil
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch

from c3l.models.hf import forcing, layout
from c3l.models.hf.inference import HfModel
from c3l.models.hf.layout import FLEX, read_by_flex
from c3l.models.hf.packing import Packed
from c3l.models.interface import GenerateRequest, Pair, Sampling, ScoreRequest
from c3l.models.load import load_model
from c3l.records import Provenance
from c3l.settings.schema import ModelConfig
from scores import score_rows
from tiny_models import FAMILIES, make_picture

PAIRS = tuple(Pair(f"{p}{text}", p, text) for p in ("What is it?", "What is there?") for text in ("A dog.", "x"))
REQUESTS = [ScoreRequest(make_picture(n, (40 + 24 * n, 30)), PAIRS) for n in range(2)]


def make(family: Any, dtype: torch.dtype = torch.float64, *, flex: bool) -> HfModel:
    model = deepcopy(family.model).to(dtype)
    if flex:
        read_by_flex(model)
    return HfModel(model, family.processor, Provenance("tiny", "", "hf", str(dtype), "cpu", 0, {}))


def numbers(model: HfModel, requests: list[ScoreRequest] = REQUESTS) -> torch.Tensor:
    found = [one for of_request in score_rows(model, requests, "drop") for one in of_request]
    return torch.tensor([[n for one in found for n in (*one.logprobs_with_image, *one.logprobs_without_image)]])


make_block_mask = layout._block_mask


@pytest.fixture
def uncompiled() -> Iterator[None]:
    """The same arithmetic without a compiler, which takes a minute a shape."""
    with torch.compiler.set_stance("force_eager"):
        yield


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize("name", FAMILIES)
def test_scores_are_those_of_the_dense_mask(name, tiny):
    flexible = make(tiny(name), flex=True)
    found = numbers(flexible)
    assert flexible.describe_rows() == "packed"
    torch.testing.assert_close(found, numbers(make(tiny(name), flex=False)), rtol=0, atol=1e-12)
    others = [replace(one, image=make_picture(9)) for one in REQUESTS]
    assert not torch.allclose(found, numbers(flexible, others), atol=1e-2)  # the picture matters


@pytest.mark.usefixtures("uncompiled")
def test_a_wrong_mask_is_found_out(tiny, monkeypatch):
    honest = forcing.pack

    def let_see_all(packed: Packed) -> Packed:
        places = torch.arange(packed.ids.shape[1]).expand_as(packed.ids)
        return replace(packed, sight=replace(packed.sight, begins=places, ends=torch.full_like(places, 10**6)))

    monkeypatch.setattr(forcing, "pack", lambda *given: ((let_see_all(one), which) for one, which in honest(*given)))
    assert make(tiny("llava"), flex=True).describe_rows() != "packed"


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize("name", ["llava", "qwen3_vl", "gemma3"])
def test_texts_are_those_of_the_dense_mask(name, tiny, monkeypatch):
    monkeypatch.setattr("c3l.models.hf.writing.LEG", 6)
    asked = [
        GenerateRequest(f"{n}{prompt}", make_picture(n), prompt, n)
        for n in range(2)
        for prompt in ("What is it?", "Is there a dog, or none?")
    ]
    flexible, plain = (make(tiny(name), torch.float32, flex=flex) for flex in (True, False))
    assert flexible.describe_writing() == "from shared beginnings"
    sampling = Sampling(0.0, 1.0, 8)
    assert flexible.generate(asked, sampling) == plain.generate(asked, sampling)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="no compiler")
def test_compiled_it_gives_the_same_numbers(tiny):
    """Of one shape: for a second one torch 2.13 compiles a kernel for any, which fails on a processor."""
    torch.compiler.reset()
    taught = make(tiny("llava"), torch.float32, flex=True)._forcing
    plain = make(tiny("llava"), torch.float32, flex=False)._forcing
    rows = [
        forcing.ForcingRow(REQUESTS[0].image, pair.prompt, plain._encoder.encode_completion(pair.completion))
        for pair in PAIRS
    ]
    with torch.inference_mode():
        ours, theirs = (torch.cat(list(one.predict_packed([rows], {}))) for one in (taught, plain))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


@pytest.mark.usefixtures("own_cache", "uncompiled")
def test_the_setting_is_for_packed_rows_alone(folder, monkeypatch):
    model: Any = load_model(ModelConfig(name=str(folder), attn_implementation=FLEX), seed=0)
    taken = []
    monkeypatch.setattr(layout, "_block_mask", lambda *given: taken.append(1) or make_block_mask(*given))
    assert numbers(model).isfinite().all() and taken
    assert model._model.config.get_text_config()._attn_implementation == "sdpa"
