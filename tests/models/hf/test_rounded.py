"""In 16 bits the fast ways are kept, and wrong ones are found out all the same: scoring and writing."""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch

from c3l.models.hf import forcing, writing
from c3l.models.hf.inference import HfModel
from c3l.models.hf.packing import Packed
from c3l.records import Provenance
from tiny_models import FAMILIES

KEPT = [(name, torch.bfloat16) for name in FAMILIES] + [(name, torch.float16) for name in ("llava", "qwen2_vl")]


def make(family: Any, dtype: torch.dtype) -> HfModel:
    model = deepcopy(family.model).to(dtype)
    return HfModel(model, family.processor, Provenance("tiny", "", "hf", str(dtype), "cpu", 0, {}))


def misplace(packed: Packed) -> Packed:
    """Every token at the same place."""
    return replace(packed, positions=packed.positions * 0)


def let_see_all(packed: Packed) -> Packed:
    """Every token sees those of other rows too that stand before it."""
    places = torch.arange(packed.ids.shape[1]).expand_as(packed.ids)
    return replace(packed, sight=replace(packed.sight, begins=places, ends=torch.full_like(places, len(places[0]))))


@pytest.mark.parametrize(("name", "dtype"), KEPT)
def test_rounding_is_no_obstacle(name, dtype, tiny):
    model = make(tiny(name), dtype)
    assert model._forcing.ways().packed and model._forcing.ways().side_by_side
    assert model._writing.ways().shared and model._writing.ways().side_by_side


# each spoiling with each family, and each of both in every dtype
@pytest.mark.parametrize(
    ("name", "spoil", "dtype"),
    [
        ("llava", misplace, torch.float32),
        ("qwen2_vl", let_see_all, torch.float32),
        ("llava", let_see_all, torch.bfloat16),
        ("qwen2_vl", misplace, torch.bfloat16),
        ("llava", misplace, torch.float16),
        ("qwen2_vl", let_see_all, torch.float16),
    ],
)
def test_a_wrong_place_or_mask_is_found_in_every_dtype(name, spoil, dtype, tiny, monkeypatch):
    honest = forcing.pack

    def wrong(*given: Any, **more: Any) -> Iterator[tuple[Packed, list[int]]]:
        return ((spoil(packed), numbers) for packed, numbers in honest(*given, **more))

    model = make(tiny(name), dtype)
    assert model._forcing.packs()
    monkeypatch.setattr(writing, "pack", wrong)
    assert not model._writing.ways().shared
    assert model._writing.ways().side_by_side
    monkeypatch.setattr(forcing, "pack", wrong)
    assert not make(tiny(name), dtype)._forcing.packs()
