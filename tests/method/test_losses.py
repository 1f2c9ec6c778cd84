"""The contrastive loss: cases worked by hand, a plain loop, and sentence-transformers as an oracle."""

import math

import pytest
import torch

from c3l.method.losses import (
    add_batch_negatives,
    contrastive_accuracy,
    cosine_similarities,
    info_nce,
    last_pool,
    mean_pool,
)

ALL = torch.ones(1, 1, dtype=torch.bool)


def random(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def everywhere(similarities):
    return torch.ones_like(similarities, dtype=torch.bool)


@pytest.mark.parametrize("negatives", [1, 2, 7])
@pytest.mark.parametrize("temperature", [0.05, 1.0])
def test_equally_similar_candidates_give_the_logarithm_of_their_number(negatives, temperature):
    similarities = torch.full((3, 1 + negatives), 0.4)
    loss = info_nce(similarities, everywhere(similarities), temperature)
    assert loss.item() == pytest.approx(math.log(1 + negatives), abs=1e-6)


def test_two_groups_by_hand():
    # s = (0.5, 0.3), t = 0.1: -log e^5 / (e^5 + e^3) = log(1 + e^-2); s = (-0.1, 0.2): log(1 + e^3); their mean
    similarities = torch.tensor([[0.5, 0.3], [-0.1, 0.2]])
    expected = (math.log1p(math.exp(-2)) + math.log1p(math.exp(3))) / 2
    assert info_nce(similarities, everywhere(similarities), 0.1).item() == pytest.approx(expected, abs=1e-6)
    assert contrastive_accuracy(similarities, everywhere(similarities)).item() == 0.5


def test_a_tie_is_not_accurate():
    similarities = torch.tensor([[0.5, 0.5, 0.1], [0.0, 0.0, 0.0], [0.5, 0.4, 0.5], [0.5, 0.4, 0.9]])
    assert contrastive_accuracy(similarities, everywhere(similarities)).item() == 0
    valid = torch.tensor([[True, False, True]] * 3 + [[True, True, False]])
    assert contrastive_accuracy(similarities, valid).item() == 0.5


def test_a_masked_candidate_changes_nothing_whatever_stands_there():
    similarities = random(3, 4)
    valid = torch.tensor([[True] * 4, [True, True, False, False], [True, False, True, False]])
    loss, accuracy = info_nce(similarities, valid, 0.3), contrastive_accuracy(similarities, valid)
    for junk in (1e4, -1e4, math.nan):
        spoilt = similarities.masked_fill(~valid, junk).requires_grad_()
        again = info_nce(spoilt, valid, 0.3)
        again.backward()
        assert again.item() == loss.item()
        assert contrastive_accuracy(spoilt, valid).item() == accuracy.item()
        assert bool(spoilt.grad[~valid].eq(0).all())
        assert bool(spoilt.grad[valid].ne(0).all())


def test_groups_of_different_size_are_each_their_own_and_then_averaged():
    similarities, sizes = random(3, 5), [5, 2, 3]
    valid = torch.arange(5) < torch.tensor(sizes)[:, None]
    alone = [
        info_nce(row[None, :size], ALL.expand(1, size), 0.2) for row, size in zip(similarities, sizes, strict=True)
    ]
    assert info_nce(similarities, valid, 0.2).item() == pytest.approx(sum(alone).item() / 3)
    assert max(alone) - min(alone) > 0.1


def test_a_group_whose_positive_is_masked_is_refused():
    valid = torch.tensor([[True, True], [False, True]])
    with pytest.raises(ValueError, match="positive is masked"):
        info_nce(torch.zeros(2, 2), valid, 1.0)


def test_temperature_divides():
    similarities = random(4, 3)
    valid = everywhere(similarities)
    assert info_nce(similarities, valid, 0.1).item() == pytest.approx(info_nce(similarities * 10, valid, 1.0).item())
    assert abs(info_nce(similarities, valid, 0.1) - info_nce(similarities, valid, 1.0)) > 0.1


def test_a_step_against_the_gradient_raises_the_positive_and_lowers_the_negatives():
    similarities = random(4, 3).requires_grad_()
    info_nce(similarities, everywhere(similarities), 0.1).backward()
    assert bool((similarities.grad[:, 0] < 0).all())
    assert bool((similarities.grad[:, 1:] > 0).all())
    # cross-entropy: p - 1 for the positive, p for the others, over G t
    expected = ((similarities.detach() / 0.1).softmax(dim=1) - torch.tensor([1.0, 0, 0])) / (4 * 0.1)
    assert torch.allclose(similarities.grad, expected)


@pytest.mark.parametrize("pool", [mean_pool, last_pool])
def test_pooling_is_that_of_a_loop_over_the_marked_tokens(pool):
    states = random(4, 6, 3)
    mask = torch.tensor([[0, 1, 1, 0, 0, 0], [1, 0, 0, 0, 0, 1], [0, 0, 0, 0, 1, 0], [1, 1, 1, 1, 1, 1]]).bool()
    pooled = pool(states, mask)
    for row in range(4):
        marked = [states[row, place] for place in range(6) if mask[row, place]]
        expected = sum(marked) / len(marked) if pool is mean_pool else marked[-1]
        assert torch.allclose(pooled[row], expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_numbers_give_float32(dtype):
    states, mask = random(2, 300, 4).abs().to(dtype), torch.ones(2, 300, dtype=torch.bool)
    assert mean_pool(states, mask).dtype == last_pool(states, mask).dtype == torch.float32
    # 300 terms summed in bfloat16 would be off in the second digit
    assert torch.allclose(mean_pool(states, mask), states.double().mean(dim=1).float(), rtol=1e-5)
    similarities = random(2, 3).to(dtype)
    loss = info_nce(similarities, everywhere(similarities), 1.0)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(info_nce(similarities.float(), everywhere(similarities), 1.0).item(), rel=1e-2)


def test_a_narrow_similarity_is_widened_before_it_is_divided():
    similarities = torch.tensor([[0.5, 0.498046875]], dtype=torch.bfloat16)
    exact = info_nce(similarities.double(), everywhere(similarities), 0.07).item()
    assert info_nce(similarities, everywhere(similarities), 0.07).item() == pytest.approx(exact, abs=1e-6)


def test_cosine_is_of_each_anchor_with_its_own_candidates():
    anchors, candidates = random(2, 5), random(2, 3, 5, seed=1)
    found = cosine_similarities(anchors, candidates)
    for group in range(2):
        for place in range(3):
            a, c = anchors[group], candidates[group, place]
            assert found[group, place].item() == pytest.approx((a @ c / a.norm() / c.norm()).item())


def test_batch_negatives_are_the_valid_candidates_of_the_other_groups_only():
    anchors, candidates = random(3, 5), random(3, 2, 5, seed=1)
    valid = torch.tensor([[True, True], [True, False], [True, True]])
    similarities = cosine_similarities(anchors, candidates)
    wide, allowed = add_batch_negatives(similarities, valid, anchors, candidates)
    assert wide.shape == allowed.shape == (3, 2 + 6)
    for group in range(3):
        own = similarities[group][valid[group]]
        others = [
            cosine_similarities(anchors[group : group + 1], candidates[None, other, place, None])[0, 0]
            for other in range(3)
            for place in range(2)
            if other != group and valid[other, place]
        ]
        assert torch.allclose(wide[group][allowed[group]], torch.stack([*own, *others]))
    assert wide[:, 0].equal(similarities[:, 0])


@pytest.fixture(scope="module")
def oracle():
    """MultipleNegativesRankingLoss on embeddings: anchors (G, D), positives (G, D), one (G, D) a hard negative."""
    losses = pytest.importorskip("sentence_transformers.sentence_transformer.losses")
    loss = losses.MultipleNegativesRankingLoss(None, scale=10.0)
    return lambda *embeddings: loss.compute_loss_from_embeddings(list(embeddings), None)


@pytest.mark.parametrize("negatives", [0, 1, 3])
def test_negatives_of_the_batch_are_the_ranking_loss_of_sentence_transformers(oracle, negatives):
    anchors, candidates = random(5, 8).requires_grad_(), random(5, 1 + negatives, 8, seed=1).requires_grad_()
    similarities = cosine_similarities(anchors, candidates)
    valid = everywhere(similarities)
    ours = info_nce(*add_batch_negatives(similarities, valid, anchors, candidates), temperature=0.1)
    theirs = oracle(anchors, *candidates.unbind(dim=1))
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-9)
    for mine, other in zip(
        torch.autograd.grad(ours, (anchors, candidates)),
        torch.autograd.grad(theirs, (anchors, candidates)),
        strict=True,
    ):
        assert torch.allclose(mine, other)
    if negatives:  # there is something to compare: the image's own negatives alone are another loss
        assert abs(info_nce(similarities, valid, 0.1) - theirs) > 0.1


def test_an_images_own_negatives_are_the_ranking_loss_of_each_group_by_itself(oracle):
    anchors, candidates = random(5, 8), random(5, 4, 8, seed=1)
    similarities = cosine_similarities(anchors, candidates)
    theirs = [oracle(anchors[n : n + 1], *candidates[n : n + 1].unbind(dim=1)) for n in range(5)]
    ours = info_nce(similarities, everywhere(similarities), 0.1)
    assert ours.item() == pytest.approx(torch.stack(theirs).mean().item(), abs=1e-9)
