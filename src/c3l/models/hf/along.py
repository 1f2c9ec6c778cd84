"""Inputs that go along the text, a row of numbers a token, beside its ids: what each token may see of the image.

The processor writes them for the prompt; whatever follows the prompt sees what the prompt's last token sees.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

ALONG_KEYS = ("cross_attention_mask",)


def lay_along(vision: Sequence[Mapping[str, Tensor]], lengths: Sequence[int], width: int) -> dict[str, Tensor]:
    """These inputs for rows that are padded on the right.

    Args:
        vision: Of each row what its processor made of its image; along the text (1, P, ...).
        lengths: Of each row its tokens, P or more.
        width: Tokens of a row with its padding, which sees nothing.

    Returns:
        (R, width, ...) each; empty where the family has none, or no row an image.
    """
    laid = {}
    for key in ALONG_KEYS:
        given = [one.get(key) for one in vision]
        like = next((one for one in given if one is not None), None)
        if like is not None:
            rows = [like[0, :0] if one is None else one[0] for one in given]
            laid[key] = torch.stack([_lay(row, length, width) for row, length in zip(rows, lengths, strict=True)])
    return laid


def _lay(row: Tensor, length: int, width: int) -> Tensor:
    after = row[-1:].expand(max(0, length - len(row)) if len(row) else 0, *row.shape[1:])
    laid = torch.cat([row, after])[:length]
    return torch.cat([laid, laid.new_zeros(width - len(laid), *laid.shape[1:])])
