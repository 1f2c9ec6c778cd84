from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor

from c3l.models.builtin.parts import locate_parts
from c3l.models.builtin.tower import GRID, HIDDEN, IMAGE_SIZE, load_class_head, load_tower

reference_package = pytest.importorskip("efficientnet_lite_pytorch")


@pytest.fixture(scope="module")
def reference() -> Any:
    model = reference_package.EfficientNet.from_name("efficientnet-lite0")
    model.load_state_dict(torch.load(locate_parts().tower, weights_only=True))
    return model.eval()


@pytest.fixture(scope="module")
def pixels() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, 3, IMAGE_SIZE, IMAGE_SIZE, generator=generator) * 2 - 1


@torch.no_grad()
def test_features_equal_the_reference_implementation_exactly(reference: Any, pixels: Tensor) -> None:
    expected = deepcopy(reference).double().extract_features(pixels.double())
    got = load_tower(locate_parts().tower).double()(pixels.double()).last_hidden_state
    assert got.shape == (2, HIDDEN, GRID, GRID)
    assert expected.std() > 0.1  # features that tell something, not a map of zeros
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-11)


@torch.no_grad()
def test_the_class_head_gives_the_reference_logits(reference: Any, pixels: Tensor) -> None:
    path = locate_parts().tower
    features = load_tower(path)(pixels).last_hidden_state.mean((2, 3))
    torch.testing.assert_close(load_class_head(path)(features), reference(pixels), atol=1e-4, rtol=0)


@torch.no_grad()
def test_the_saved_folder_holds_the_same_tower(model: Any, pixels: Tensor) -> None:
    expected = load_tower(locate_parts().tower)(pixels).last_hidden_state
    assert torch.equal(model.model.vision_tower(pixels).last_hidden_state, expected)
