"""Pictures of one shape are encoded together, and each has the features that it has by itself."""

from copy import deepcopy
from typing import Any

import pytest
import torch

from c3l.models.hf import vision
from c3l.models.hf.encoding import ChatEncoder
from c3l.models.hf.features import ImageFeatures, tensors_of
from c3l.models.hf.vision import VisionEncoder
from tiny_models import FAMILIES, make_picture

SIZES = [(40, 30), (64, 30), (40, 30), (30, 64), (40, 30), (64, 30)]
DTYPES = [torch.float32, torch.bfloat16, torch.float16]


def make(family: Any, dtype: torch.dtype = torch.float32) -> tuple[VisionEncoder, ChatEncoder]:
    model = deepcopy(family.model).to(dtype)
    encoder = ChatEncoder(family.processor)
    return VisionEncoder(model, encoder), encoder


def read(encoder: ChatEncoder) -> list[Any]:
    pictures = [make_picture(number, size) for number, size in enumerate(SIZES)]
    return [encoder.encode_prompt("What is it?", picture).vision for picture in pictures]


def count_calls(seeing: VisionEncoder, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    calls, encode = [], seeing.encode
    monkeypatch.setattr(seeing, "encode", lambda tensors: calls.append(1) or encode(tensors))
    return calls


def turn_round(features: ImageFeatures, count: int) -> list[ImageFeatures]:
    return split_honestly(features, count)[::-1]


def give_all_the_first(features: ImageFeatures, count: int) -> list[ImageFeatures]:
    return split_honestly(features, count)[:1] * count


def fail(features: ImageFeatures, count: int) -> list[ImageFeatures]:
    raise TypeError("a form of its own")


split_honestly = vision.split_features


@torch.no_grad()
@pytest.mark.parametrize("name", FAMILIES)
def test_features_and_their_order_are_those_of_each_picture_by_itself(name, tiny, monkeypatch):
    seeing, encoder = make(tiny(name), torch.float64)
    visions = read(encoder)
    seeing.try_batches(encoder)
    assert seeing.batches
    alone = [seeing.encode(one) for one in visions]
    calls = count_calls(seeing, monkeypatch)
    together = seeing.encode_all(visions)
    assert len(calls) < len(visions)
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(list(tensors_of([one])), list(tensors_of([other])), rtol=0, atol=1e-11)
        torch.testing.assert_close(dict(one.shapes), dict(other.shapes))
    first, third = (next(iter(tensors_of([together[place]]))) for place in (0, 2))
    assert first.shape == third.shape
    assert not torch.allclose(first, third, atol=1e-2)  # the picture matters
    torch.testing.assert_close(seeing.join(together), seeing.join(alone), rtol=0, atol=1e-11)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FAMILIES)
def test_rounding_is_no_obstacle_and_a_wrong_split_is(name, dtype, tiny, monkeypatch):
    seeing, encoder = make(tiny(name), dtype)
    seeing.try_batches(encoder)
    assert seeing.batches
    for wrong in (turn_round, give_all_the_first, fail):
        monkeypatch.setattr(vision, "split_features", wrong)
        seeing.try_batches(encoder)
        assert not seeing.batches


@torch.no_grad()
def test_no_more_pixels_go_through_at_once_than_there_is_room_for(tiny, monkeypatch):
    seeing, encoder = make(tiny("llava"))
    visions = read(encoder)  # of one size all, after the processor
    size = visions[0]["pixel_values"].nbytes
    calls = count_calls(seeing, monkeypatch)
    seeing.batches = True
    for room, expected in ((6 * size, 1), (4 * size, 2), (size - 1, 6)):
        calls.clear()
        monkeypatch.setattr(vision, "TOGETHER", room)
        seeing.encode_all(visions)
        assert len(calls) == expected


@torch.no_grad()
def test_where_features_cannot_be_shared_out_each_picture_is_encoded_by_itself(tiny, monkeypatch):
    seeing, encoder = make(tiny("llava"))
    visions = read(encoder)
    alone = [seeing.encode(one) for one in visions]
    seeing.batches = True
    monkeypatch.setattr(vision, "split_features", lambda features, count: split_honestly(features, 4))  # of six
    found = seeing.encode_all(visions)
    assert all(torch.equal(one, other) for one, other in zip(tensors_of(found), tensors_of(alone), strict=True))


@torch.no_grad()
def test_who_keeps_one_picture_does_not_keep_the_others(tiny):
    seeing, encoder = make(tiny("qwen3_vl"))
    seeing.batches = True
    for one in tensors_of(seeing.encode_all(read(encoder))[:1]):
        assert one.untyped_storage().nbytes() == one.nbytes
