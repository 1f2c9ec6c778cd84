import pytest
import torch
from transformers import TopPLogitsWarper

from c3l.models.hf.sampling import FiniteGuard, SeededSampler
from c3l.models.interface import Sampling

PROBABILITIES = torch.tensor([0.5, 0.3, 0.15, 0.05])
DRAWS = 4000


def draw(sampling, seeds, steps=1):
    sampler = SeededSampler(sampling, seeds)
    scores = PROBABILITIES.log().repeat(len(seeds), 1)
    ids = torch.zeros(len(seeds), 1, dtype=torch.long)
    return torch.stack([sampler(ids, scores).argmax(-1) for _ in range(steps)], dim=1)


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        (Sampling(1.0, 1.0), PROBABILITIES),
        (Sampling(0.5, 1.0), PROBABILITIES**2 / (PROBABILITIES**2).sum()),
        (Sampling(1.0, 0.7), torch.tensor([0.625, 0.375, 0.0, 0.0])),
    ],
)
def test_draws_follow_the_distribution(sampling, expected):
    drawn = draw(sampling, range(DRAWS)).flatten()
    shares = torch.bincount(drawn, minlength=4) / DRAWS
    # four standard errors of a share of 1/2
    assert (shares - expected).abs().max() < 4 * 0.5 / DRAWS**0.5
    assert bool((shares[expected == 0] == 0).all())


def test_top_p_is_transformers_own():
    kept = TopPLogitsWarper(0.7)(torch.zeros(1, 1), PROBABILITIES.log()[None]).isfinite()
    drawn = draw(Sampling(1.0, 0.7), range(DRAWS)).unique()
    assert drawn.tolist() == kept[0].nonzero().flatten().tolist()


def test_a_rows_draws_belong_to_its_seed_and_not_to_its_batch():
    alone = draw(Sampling(), [7], steps=50)[0]
    assert alone.equal(draw(Sampling(), [1, 7, 3], steps=50)[1])
    assert not alone.equal(draw(Sampling(), [8], steps=50)[0])


def test_only_the_drawn_token_stays_possible():
    scores = SeededSampler(Sampling(), [0])(torch.zeros(1, 1), torch.randn(1, 9))
    assert int(scores.isfinite().sum()) == 1


def test_a_token_that_is_ruled_out_is_not_drawn_at_the_edge():
    class Lowest:
        def random(self):
            return 0.0

    sampler = SeededSampler(Sampling(), [0])
    sampler._generators = [Lowest()]
    assert sampler(torch.zeros(1, 1), torch.tensor([[-torch.inf, 0.0, 0.0]])).argmax() == 1


@pytest.mark.parametrize("broken", [[0.0, torch.nan, -torch.inf], [0.0, torch.inf, 1.0], [-torch.inf] * 3])
def test_logits_that_are_no_distribution_end_their_row_alone(broken):
    guard = FiniteGuard(stop_id=1)
    scores = torch.tensor([[0.0, -torch.inf, 2.0], broken])
    kept = guard(torch.zeros(2, 7), scores)
    assert kept[0].equal(scores[0])
    assert kept[1].tolist() == [-torch.inf, 0.0, -torch.inf]
    assert guard.ended == {1: 7}
    guard(torch.zeros(2, 8), scores)
    assert guard.ended == {1: 7}
