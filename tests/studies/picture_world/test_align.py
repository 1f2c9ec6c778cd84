"""Cells become words: which names lie on which cells, and a connector that learns to say them."""

import pytest
import torch
from studies.picture_world.align import NOTHING, Cells, Words, loss_of, names_on_cells
from studies.picture_world.scenes import Placed, Scene
from tests.studies.picture_world.worlds import BEAGLE, LEMON


class Letters:
    """A tokenizer with a token a letter."""

    def __call__(self, text: str, add_special_tokens: bool) -> dict[str, list[int]]:
        return {"input_ids": [ord(letter) - 97 for letter in text.strip() if letter.isalpha()]}


def words(*names: str) -> Words:
    torch.manual_seed(0)
    return Words(names, torch.randn(26, 16), Letters())


def test_names_lie_on_the_cells_of_their_box_and_weigh_one_a_cell() -> None:
    index = {name: place for place, name in enumerate((*BEAGLE.names, *LEMON.names))}
    found = names_on_cells(Scene("x", (BEAGLE, LEMON)), index)
    assert {cell for cell, name, _ in found if name < 3} == {14, 15, 21, 22}
    assert {cell for cell, name, _ in found if name >= 3} == {32, 33, 39, 40}
    for cell in (14, 32):
        assert sum(weight for c, _, weight in found if c == cell) == pytest.approx(1)
    weights = [weight for c, _, weight in found if c == 14]
    assert weights == sorted(weights, reverse=True), "the most specific name weighs most"


def test_what_lies_on_top_has_the_cell() -> None:
    over = Placed(("hat",), "", (0.0, 0.0, 1.0, 1.0))
    found = names_on_cells(Scene("x", (BEAGLE, over)), {"beagle": 0, "dog": 1, "animal": 2, "hat": 3})
    assert {name for _, name, _ in found} == {3}
    assert len(found) == 49


def test_a_connector_learns_the_words_of_its_cells_and_nothing_elsewhere() -> None:
    table = words("dog", "hat")
    torch.manual_seed(1)
    features = torch.randn(1, 49, 8)
    features[0, :10] = torch.randn(8) * 3
    features[0, 10:20] = torch.randn(8) * 3
    cells = Cells(features, torch.arange(20), torch.tensor([0] * 10 + [1] * 10), torch.ones(20))
    connector = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.GELU(), torch.nn.Linear(32, 16))
    optimizer = torch.optim.AdamW([*connector.parameters(), *table.parameters()], lr=1e-2)
    first = loss_of(connector, table, cells).item()
    for _ in range(150):
        optimizer.zero_grad()
        loss_of(connector, table, cells).backward()
        optimizer.step()
    said = table(connector(features))[0]
    assert loss_of(connector, table, cells).item() < first / 3
    assert said[:10].argmax(-1).eq(0).all() and said[10:20].argmax(-1).eq(1).all()
    assert (said[20:, -NOTHING:].logsumexp(-1).exp() > 0.5).float().mean() > 0.9
