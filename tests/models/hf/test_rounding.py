"""What rounding explains: measured by more of it, in the model's own dtype."""

import math
from copy import deepcopy

import pytest
import torch

from c3l.models.hf.rounding import distance, shaken


def test_shaking_is_of_the_size_of_the_last_place_and_ends(tiny):
    model = deepcopy(tiny("llava").model)
    ids = torch.tensor([[1, 2, 3]])
    found = {}
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        model.to(dtype)
        with torch.no_grad():
            plain = model(input_ids=ids).logits
            with shaken(model):
                moved = model(input_ids=ids).logits
            assert torch.equal(model(input_ids=ids).logits, plain)
        found[dtype] = distance([(moved, plain)]) / torch.finfo(dtype).eps
        assert found[dtype] > 0
    assert max(found.values()) < 10 * min(found.values())


def test_the_distance_is_a_root_of_a_mean_square():
    one, other = torch.zeros(1, 4), torch.tensor([[3.0, 0.0, 0.0, 4.0]])
    assert distance([(one, other)]) == pytest.approx(2.5)  # sqrt((9 + 16) / 4)
    ruled_out = torch.tensor([[-torch.inf, 0.0]])
    assert distance([(ruled_out, ruled_out)]) == 0
    assert distance([(one, one * math.nan)]) == math.inf


def test_a_seed_gives_the_same_shaking(tiny):
    model, ids = tiny("llava").model, torch.tensor([[1, 2, 3]])
    moved = []
    for seed in (1, 1, 2):
        with torch.no_grad(), shaken(model, seed):
            moved.append(model(input_ids=ids).logits)
    assert torch.equal(moved[0], moved[1])
    assert not torch.equal(moved[0], moved[2])
