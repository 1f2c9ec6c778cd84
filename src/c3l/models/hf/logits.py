"""From logits at the answer positions to per-token numbers, in natural logarithm and float32.

A is the number of answer tokens of a batch, all rows together; V the vocabulary. Only (A, V) tensors exist, never
(positions of the sequence, V), and of those no more than four: a model of 262,144 tokens writes a gigabyte of logits
for a thousand. What is made of logits is made of a chunk of their rows at a time.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

import torch
from torch import Tensor

_CHUNK_ELEMENTS = 1 << 22  # choice: 16 MiB in float32, which an allocator keeps for the next chunk


def log_probs(logits: Tensor) -> Tensor:
    """Log-softmax over the last dimension.

    Args:
        logits: (A, V), any floating dtype.

    Returns:
        (A, V) nats; float32, or float64 where the logits are.
    """
    return logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(dim=-1)


@torch.no_grad()  # tunings have trees of their own
def gather(parts: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Logits (A, V) of rows, one after the other: of each row those that it is among, and where its own (N,) are."""
    logits = parts[0][0].new_empty(sum(len(places) for _, places in parts), parts[0][0].shape[-1])
    done = 0
    for _, of_one in groupby(parts, key=lambda part: id(part[0])):
        tensors, found = zip(*of_one, strict=True)
        places = torch.cat(found).to(logits.device)
        torch.index_select(tensors[0], 0, places, out=logits[done : done + len(places)])
        done += len(places)
    return logits


def compare(shown: Tensor, hidden: Iterable[Tensor], token_ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What the image does to every token of the answers.

    Args:
        shown: Logits (A, V) with the image.
        hidden: m >= 1 tensors of logits (A, V) without it, taken one at a time and perhaps overwritten.
        token_ids: (A,) int64.

    Returns:
        Log p and log q of the tokens, and KL(p || q), each (A,) nats. q is the mean of the m distributions.
    """
    log_q = log_mixture(hidden)
    chunks = []
    for rows in _chunks(shown):
        log_p = log_probs(shown[rows])
        ids = token_ids[rows]
        chunks.append((pick(log_p, ids), pick(log_q[rows], ids), vocabulary_kl(log_p, log_q[rows])))
    told, left_out, kl = (torch.cat(column) for column in zip(*chunks, strict=True))
    return told, left_out, kl


def log_mixture(parts: Iterable[Tensor]) -> Tensor:
    """Log of the mean of m >= 1 distributions: of their probabilities, not of their logarithms.

    Args:
        parts: m tensors of logits (A, V), taken one at a time; the first is overwritten where its dtype is wide enough.

    Returns:
        (A, V) nats, of the dtype of ``log_probs``.
    """
    iterator = iter(parts)
    first, count = next(iterator), 1
    dtype = torch.promote_types(first.dtype, torch.float32)
    total = first if first.dtype == dtype else torch.empty_like(first, dtype=dtype)
    for rows in _chunks(first):
        total[rows] = log_probs(first[rows])
    for count, part in enumerate(iterator, start=2):  # noqa: B007
        for rows in _chunks(part):
            torch.logaddexp(total[rows], log_probs(part[rows]), out=total[rows])
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
    # a token that p rules out adds 0, also where q rules it out too and the difference is not a number
    terms = (log_p.exp() * (log_p - log_q)).masked_fill_(log_p == -torch.inf, 0.0)
    return terms.sum(dim=-1).clamp_min(0)


def _chunks(logits: Tensor) -> Iterator[slice]:
    """Rows of (A, V), so few at a time that what is made of them is small beside the logits."""
    rows = max(1, _CHUNK_ELEMENTS // logits.shape[-1])
    yield from (slice(start, start + rows) for start in range(0, len(logits), rows))
