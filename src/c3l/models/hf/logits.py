"""From logits at the answer positions to per-token numbers, in natural logarithm and float32.

A is the number of answer tokens of a batch, all rows together; V the vocabulary. Only (A, V) tensors exist,
never (positions of the sequence, V); sums over V go through them in chunks.
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor

_CHUNK_ELEMENTS = 1 << 24


def log_probs(logits: Tensor) -> Tensor:
    """Log-softmax over the last dimension.

    Args:
        logits: (A, V), any floating dtype.

    Returns:
        (A, V) nats; float32, or float64 where the logits are.
    """
    return logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(dim=-1)


def log_mixture(parts: Iterable[Tensor]) -> Tensor:
    """Log of the mean of m >= 1 distributions: of their probabilities, not of their logarithms.

    Args:
        parts: m tensors of log-probabilities (A, V), taken one at a time; the first is overwritten.

    Returns:
        (A, V) nats.
    """
    iterator = iter(parts)
    total, count = next(iterator), 1
    for count, part in enumerate(iterator, start=2):  # noqa: B007
        torch.logaddexp(total, part, out=total)
    return total.sub_(math.log(count)) if count > 1 else total


def pick(log_probabilities: Tensor, token_ids: Tensor) -> Tensor:
    """The log-probability of one token a position: (A, V) and (A,) int64 to (A,), nats."""
    return log_probabilities.gather(-1, token_ids.unsqueeze(-1)).squeeze(-1)


def vocabulary_kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p || q) at every position.

    Args:
        log_p: (A, V) log-probabilities with the image.
        log_q: (A, V) log-probabilities without it.

    Returns:
        (A,) nats, >= 0; rounding below 0 is cut off, NaN stays.
    """
    rows = max(1, _CHUNK_ELEMENTS // log_p.shape[-1])
    starts = range(0, len(log_p), rows)
    chunks = [_kl(log_p[start : start + rows], log_q[start : start + rows]) for start in starts]
    return torch.cat(chunks).clamp_min(0)


def _kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    # a token that p rules out adds 0, also where q rules it out too and the difference is not a number
    terms = (log_p.exp() * (log_p - log_q)).masked_fill_(log_p == -torch.inf, 0.0)
    return terms.sum(dim=-1)
