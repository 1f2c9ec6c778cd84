"""The contrastive loss, as pure functions of tensors.

Shape letters: G groups (images), C candidates a group (the positive first, then its negatives, padded), D size
of a representation, T tokens. All losses are means over the groups, in nats.
"""

import torch
from torch import Tensor
from torch.nn import functional


def info_nce(similarities: Tensor, valid: Tensor, temperature: float) -> Tensor:
    """InfoNCE: how surprising it is that the positive, of all candidates, is the one (van den Oord et al., 2018).

    ``-log( exp(s_0 / t) / sum_c exp(s_c / t) )``, averaged over the groups. N equally similar negatives give
    ``log(1 + N)``; 0 means that the positive is far ahead.

    Args:
        similarities: (G, C); column 0 is the positive.
        valid: (G, C) bool; False where a row has fewer candidates. Column 0 is always valid.
        temperature: Divides the similarities: 0.1 makes a cosine ahead by 0.1 weigh e times as much. Usual 0.05
            to 1.

    Returns:
        Scalar, float32 or wider.
    """
    logits, target = _as_classes(similarities, valid)
    return functional.cross_entropy(logits / temperature, target)


def contrastive_accuracy(similarities: Tensor, valid: Tensor) -> Tensor:
    """Share of the groups whose positive is more similar than every negative, a tie not: a scalar in 0..1."""
    logits, _ = _as_classes(similarities, valid)
    return ((logits >= logits[:, :1]).sum(dim=1) == 1).float().mean()


def _as_classes(similarities: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    if not bool(valid[:, 0].all()):
        raise ValueError("got a group whose positive is masked, expected column 0 to be valid")
    wide = similarities.to(torch.promote_types(similarities.dtype, torch.float32))
    masked = wide.masked_fill(~valid, -torch.inf)
    return masked, torch.zeros(len(masked), dtype=torch.int64, device=masked.device)


def mean_pool(states: Tensor, mask: Tensor) -> Tensor:
    """The mean state of the marked tokens.

    Args:
        states: (R, T, D).
        mask: (R, T) bool, at least one True a row.

    Returns:
        (R, D), float32 or wider.
    """
    weights = mask.unsqueeze(-1).to(torch.promote_types(states.dtype, torch.float32))
    return (states * weights).sum(dim=1) / weights.sum(dim=1)


def last_pool(states: Tensor, mask: Tensor) -> Tensor:
    """The state of the last marked token: (R, T, D) and (R, T) to (R, D), float32 or wider."""
    places = torch.arange(mask.shape[1], device=mask.device).expand_as(mask)
    last = places.masked_fill(~mask, -1).amax(dim=1)
    chosen = states[torch.arange(len(states), device=states.device), last]
    return chosen.to(torch.promote_types(states.dtype, torch.float32))


def cosine_similarities(anchors: Tensor, candidates: Tensor) -> Tensor:
    """Cosine of each anchor with each candidate of its group: (G, D) and (G, C, D) to (G, C), in -1..1."""
    return functional.cosine_similarity(anchors.unsqueeze(1), candidates, dim=-1)


def add_batch_negatives(
    similarities: Tensor, valid: Tensor, anchors: Tensor, candidates: Tensor
) -> tuple[Tensor, Tensor]:
    """The candidates of the other groups as further negatives; those of an image's own group stand once.

    Args:
        similarities: (G, C), of each anchor with its own group.
        valid: (G, C) bool.
        anchors: (G, D).
        candidates: (G, C, D).

    Returns:
        Similarities and validity, both (G, C + G * C).
    """
    groups, count, size = candidates.shape
    flat = candidates.reshape(1, groups * count, size).expand(groups, -1, -1)
    other = ~torch.eye(groups, dtype=torch.bool, device=valid.device).repeat_interleave(count, dim=1)
    more = other & valid.reshape(1, -1)
    wide = torch.cat([similarities, cosine_similarities(anchors, flat)], dim=1)
    return wide, torch.cat([valid, more], dim=1)
