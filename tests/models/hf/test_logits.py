import math

import pytest
import torch
from torch import tensor
from torch.testing import assert_close

from c3l.models.hf import logits


def test_log_probs_are_normalised_once_and_in_float32():
    # ln 1, ln 2, ln 5 sum to 8: softmax is 1/8, 2/8, 5/8
    result = logits.log_probs(tensor([[0.0, math.log(2), math.log(5)]], dtype=torch.bfloat16).float())
    assert_close(result.exp(), tensor([[0.125, 0.25, 0.625]]), atol=2e-3, rtol=0)
    assert logits.log_probs(torch.zeros(1, 4, dtype=torch.bfloat16)).dtype == torch.float32
    assert logits.log_probs(torch.zeros(1, 4, dtype=torch.float64)).dtype == torch.float64


def test_log_probs_of_log_probs_are_the_same_so_a_second_softmax_of_probabilities_would_show():
    once = logits.log_probs(tensor([[0.0, 3.0, -1.0]]))
    assert_close(logits.log_probs(once), once)
    assert (logits.log_probs(once.exp()) - once).abs().max() > 0.5


def test_pick_takes_the_token_of_each_position():
    table = tensor([[-1.0, -2.0], [-3.0, -4.0]])
    assert logits.pick(table, tensor([1, 0])).tolist() == [-2.0, -3.0]


def test_mixture_is_the_mean_of_probabilities_not_of_logarithms():
    # (0.8 + 0.2) / 2 = 0.5; the mean of the logarithms would give sqrt(0.8 * 0.2) = 0.4
    parts = (tensor([[0.8, 0.2]]).log(), tensor([[0.2, 0.8]]).log())
    assert_close(logits.log_mixture(iter(parts)).exp(), tensor([[0.5, 0.5]]))


def test_mixture_of_three_equals_logsumexp_and_of_one_is_itself():
    parts = torch.randn(3, 5, 7, dtype=torch.float64).log_softmax(-1)
    expected = torch.logsumexp(parts, dim=0) - math.log(3)
    assert_close(logits.log_mixture(part.clone() for part in parts), expected)
    assert_close(logits.log_mixture([parts[0].clone()]), parts[0])


def test_vocabulary_kl_by_hand():
    # 0.5 ln(0.5/0.25) + 0.5 ln(0.5/0.75) = 0.5 ln(4/3) = 0.143841
    result = logits.vocabulary_kl(tensor([[0.5, 0.5]]).log(), tensor([[0.25, 0.75]]).log())
    assert_close(result, tensor([0.5 * math.log(4 / 3)]))


def test_vocabulary_kl_ignores_tokens_that_p_rules_out_and_is_infinite_where_only_q_does():
    p, q = tensor([[1.0, 0.0]]).log(), tensor([[0.5, 0.5]]).log()
    assert_close(logits.vocabulary_kl(p, q), tensor([math.log(2)]))
    assert_close(logits.vocabulary_kl(p, p), tensor([0.0]))
    assert logits.vocabulary_kl(q, p).tolist() == [math.inf]


def test_vocabulary_kl_keeps_nan_and_cuts_rounding_below_zero():
    p = tensor([[math.nan, 0.0], [0.0, -20.0]])
    result = logits.vocabulary_kl(p, tensor([[0.0, 0.0], [1e-7, -20.0]]))
    assert math.isnan(result[0])
    assert result[1] == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("others", [1, 4])
@pytest.mark.parametrize("elements", [1, 25, 1 << 22])
def test_a_few_rows_at_a_time_give_the_numbers_of_all_at_once(elements, others, dtype, monkeypatch):
    shown, *hidden = torch.randn(1 + others, 9, 10, generator=torch.Generator().manual_seed(1)).to(dtype)
    ids = torch.arange(9)
    log_p, parts = shown.float().log_softmax(-1), torch.stack(hidden).float().log_softmax(-1)
    log_q = parts.logsumexp(0) - math.log(others)
    seen, whole = [], logits.log_probs
    monkeypatch.setattr(logits, "log_probs", lambda part: seen.append(part.numel()) or whole(part))
    monkeypatch.setattr(logits, "_CHUNK_ELEMENTS", elements)
    told, left_out, kl = logits.compare(shown.clone(), (one.clone() for one in hidden), ids)
    assert_close(told, log_p.diagonal()[:9])
    assert_close(left_out, log_q.diagonal()[:9])
    assert_close(kl, (log_p.exp() * (log_p - log_q)).sum(-1))
    assert kl.min() > 0.1
    assert max(seen) <= max(elements, 10), "what is made of logits would fill the memory"
