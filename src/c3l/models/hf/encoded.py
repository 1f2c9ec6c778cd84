"""What a chat becomes: ids and tensors, before a model sees them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

TYPE_KEYS = ("token_type_ids", "mm_token_type_ids", "moe_mm_token_type_ids")
TEXT_KEYS = frozenset({"input_ids", "attention_mask", "labels", *TYPE_KEYS})


@dataclass(frozen=True, slots=True)
class EncodedPrompt:
    """A chat, up to where the model's turn begins.

    Attributes:
        ids: P token ids, image tokens already expanded.
        types: ``token_type_ids`` and the like, P numbers each, as the processor returned them.
        vision: The processor's other tensors, untouched: they belong to this one image, or to these together.
    """

    ids: tuple[int, ...]
    types: Mapping[str, tuple[int, ...]]
    vision: Mapping[str, Tensor]


def to_prompt(output: Mapping[str, Tensor]) -> EncodedPrompt:
    """What a processor made of one chat."""
    return EncodedPrompt(
        ids=tuple(output["input_ids"][0].tolist()),
        types={key: tuple(output[key][0].tolist()) for key in TYPE_KEYS if key in output},
        vision={key: value for key, value in output.items() if key not in TEXT_KEYS},
    )


@dataclass(frozen=True, slots=True)
class EncodedRow:
    """A prompt, and the ids that are teacher-forced after it."""

    prompt: EncodedPrompt
    completion: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RowBatch:
    """R right-padded rows.

    Attributes:
        text: ``input_ids`` and ``attention_mask``, (R, T) int64, and the token types that the processor uses; what goes
            along the text, (R, T, ...).
        completion_mask: (R, T) bool, true where the token predicts a completion token.
    """

    text: dict[str, Tensor]
    completion_mask: Tensor


def pad(rows: Sequence[Sequence[int]], width: int, value: int, *, left: bool = False) -> Tensor:
    """Rows of equal width, (R, width) int64."""
    fill = [[value] * (width - len(row)) for row in rows]
    both = zip(fill, rows, strict=True) if left else zip(rows, fill, strict=True)
    return torch.tensor([[*first, *second] for first, second in both], dtype=torch.int64)
