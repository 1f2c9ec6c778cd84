"""What a family asks of packed rows: where their tokens stand, and what each kind of its layers lets them see."""

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from c3l.models.hf.encoded import EncodedPrompt
from c3l.models.hf.packing import RowPath
from c3l.models.hf.sight import Sight

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FLEX = "flex_attention"
_ATTENTION = ("sdpa", "eager")  # the implementations that take a mask of every token against every other
_BLOCK = 128
_BY_FLEX: "WeakSet[PreTrainedModel]" = WeakSet()
_FULL, _SLIDING = "full_attention", "sliding_attention"
# that, as transformers itself keeps padding from, and layers that go from word to word
_PADDABLE = {_FULL, _SLIDING, "chunked_attention", "linear_attention", "conv", "moe", "hybrid", "hybrid_sliding"}


def find_obstacle(model: "PreTrainedModel", prompt: EncodedPrompt) -> str:
    """Why rows of this model cannot be packed; empty if nothing speaks against it.

    Args:
        model: The model.
        prompt: One with an image, as the family's processor makes it.
    """
    strange = _layer_kinds(model) - {_FULL, _SLIDING}
    attention = _attention(model)
    if strange:
        return f"it has layers of {', '.join(sorted(strange))}"
    if looks_across(model):
        return "it looks at images by layers of their own"
    if attention not in _ATTENTION:
        return f"its attention is {attention}, which takes no mask of its own"
    if getattr(model.config.get_text_config(), "use_bidirectional_attention", None):
        return "some of its layers look ahead"
    if prompt.types and not (counts_by_grid(model) or _sees_images_whole(model)):
        return f"what it does with {', '.join(prompt.types)} is not known"
    return ""


def find_unpaddable(model: "PreTrainedModel") -> str:
    """Why prompts may not be padded on their left; empty if nothing is known that speaks against it.

    Layers that choose blocks of what stands before count them from the padding on (MiniMax-M3's, by their own remark),
    which no short trial shows.
    """
    strange = _layer_kinds(model) - _PADDABLE
    return f"it has layers of {', '.join(sorted(strange))}, which may count padding" if strange else ""


def image_token_id(model: "PreTrainedModel") -> int | None:
    """The token that stands for a piece of an image."""
    token: int | None = getattr(model.config, "image_token_id", getattr(model.config, "image_token_index", None))
    return token


def counts_by_grid(model: "PreTrainedModel") -> bool:
    """Whether an image's tokens stand in the rows and columns of its grid (M-RoPE)."""
    return hasattr(model.base_model, "get_rope_index")


def looks_across(model: "PreTrainedModel") -> bool:
    """Whether an image stands beside the text, for layers of their own to look at."""
    return "cross_attention_mask" in inspect.signature(model.forward).parameters


def can_hide_images(model: "PreTrainedModel") -> bool:
    """Whether an image can be there without being looked at.

    Not where positions follow from the attention mask, as in M-RoPE, nor where tokens look at it by layers of their
    own: in Llama-3.2-Vision what may look at nothing looks at everything.
    """
    return image_token_id(model) is not None and not counts_by_grid(model) and not looks_across(model)


def make_paths(
    model: "PreTrainedModel",
    prompts: Sequence[EncodedPrompt],
    rows: Sequence[tuple[int, ...]],
    images: Sequence[int],
) -> list[RowPath]:
    """Rows to be packed; where the tokens of a prompt stand is asked once, with the longest of its rows.

    Args:
        model: The model that will read them.
        prompts: What each row begins with.
        rows: Of each its tokens: the prompt's, all or but for the last, and what follows.
        images: Of each a number for the image that it shows.
    """
    longest: dict[int, tuple[EncodedPrompt, tuple[int, ...]]] = {}
    for prompt, ids in zip(prompts, rows, strict=True):
        if id(prompt) not in longest or len(ids) > len(longest[id(prompt)][1]):
            longest[id(prompt)] = prompt, ids
    found = {key: _grid_positions(model, *row) for key, row in longest.items()}
    whole, paths = _sees_images_whole(model), []
    for prompt, ids, image in zip(prompts, rows, images, strict=True):
        positions = found[id(prompt)]
        paths.append(RowPath(ids, image, None if positions is None else positions[:, : len(ids)], whole))
    return paths


def _grid_positions(model: "PreTrainedModel", prompt: EncodedPrompt, ids: tuple[int, ...]) -> NDArray[np.int64] | None:
    """(D, L), by the family's own routine; None where tokens stand one behind the other."""
    if not counts_by_grid(model) or not prompt.vision:
        return None
    text = (0,) * len(ids)  # what follows is text
    known = {
        "input_ids": torch.tensor([ids]),
        "attention_mask": torch.ones(1, len(ids), dtype=torch.int64),
        **{key: torch.tensor([(types + text)[: len(ids)]]) for key, types in prompt.types.items()},  # (1, L)
        **prompt.vision,
    }
    accepted = inspect.signature(model.base_model.get_rope_index).parameters
    positions, _ = model.base_model.get_rope_index(**{key: known[key] for key in known if key in accepted})
    found: NDArray[np.int64] = positions[:, 0].numpy()  # (D, 1, L) -> (D, L)
    return found


def set_offsets(model: "PreTrainedModel", paths: Sequence[RowPath]) -> None:
    """Tell a model that counts by the grid where these rows go on; ``generate`` asks when the cache holds them."""
    if counts_by_grid(model):
        ends = [0 if path.positions is None else int(path.positions.max()) + 1 - len(path.ids) for path in paths]
        model.base_model.rope_deltas = torch.tensor(ends, device=model.device)[:, None]  # (R, 1)


def keep_offsets(model: "PreTrainedModel", rows: Tensor) -> None:
    """Go on with these rows alone, (R,) int64."""
    if counts_by_grid(model):
        model.base_model.rope_deltas = model.base_model.rope_deltas.index_select(0, rows)


def read_by_flex(model: "PreTrainedModel") -> None:
    """Let a model read packed rows by FlexAttention from here on, and all else as before."""
    _BY_FLEX.add(model)


def reads_by_flex(model: "PreTrainedModel") -> bool:
    """Whether it was let."""
    return model in _BY_FLEX


def keep_flex(model: "PreTrainedModel") -> None:
    """Let a model that is fed packed rows alone stay with it, where layers are computed again on the way back."""
    if model in _BY_FLEX:
        model.config.get_text_config()._attn_implementation = FLEX


@contextmanager
def reading_packed(model: "PreTrainedModel", sight: Sight) -> Iterator[Any]:
    """Inside, a model reads packed rows.

    Args:
        model: The model.
        sight: What each of their tokens sees, (B, T).

    Yields:
        The attention mask for its forward.
    """
    if model not in _BY_FLEX:
        yield _mask(sight.to(model.device), model)
        return
    text = model.config.get_text_config()  # the language model alone: towers see no trees
    before = _attention(model)
    text._attn_implementation = FLEX
    try:
        yield _mask(sight.to(model.device), model)
    finally:
        text._attn_implementation = before


def _mask(sight: Sight, model: "PreTrainedModel") -> Any:
    """(B, 1, T, T) as the model takes it; where layers differ, one for each kind."""
    kinds = _layer_kinds(model)
    window = model.config.get_text_config().sliding_window if _SLIDING in kinds else None
    masks = {kind: _mask_of(sight, model, window if kind == _SLIDING else None) for kind in sorted(kinds)}
    return masks if len(masks) > 1 else next(iter(masks.values()))


def _mask_of(sight: Sight, model: "PreTrainedModel", window: int | None) -> Any:
    """Bool, or numbers to be added to scores, or for FlexAttention a mask of blocks."""
    attention = _attention(model)
    if attention == FLEX:
        return _block_mask(sight, window)
    table = sight.table(window)
    if attention == "sdpa":
        return table
    return torch.zeros_like(table, dtype=model.dtype).masked_fill_(~table, torch.finfo(model.dtype).min)


def _block_mask(sight: Sight, window: int | None) -> Any:
    """Blocks of 128 tokens, of which the kernel leaves out those where no token sees another.

    torch's own ``create_block_mask`` finds the same blocks with 8 bytes for each two tokens.
    """
    from torch.nn.attention.flex_attention import BlockMask

    def sees(tree: Tensor, head: Tensor, token: Tensor, other: Tensor) -> Tensor:
        return sight.sees(tree, token, other, window)

    width = sight.begins.shape[1]
    table = torch.nn.functional.pad(sight.table(window), (0, -width % _BLOCK) * 2)
    count = table.shape[-1] // _BLOCK
    blocks = table.reshape(-1, 1, count, _BLOCK, count, _BLOCK)
    some, whole = blocks.any(5).any(3), blocks.all(5).all(3)  # (B, 1, rows, columns)
    partly, wholly = _list_blocks(some & ~whole), _list_blocks(whole)
    return BlockMask.from_kv_blocks(*partly, *wholly, BLOCK_SIZE=_BLOCK, mask_mod=sees, seq_lengths=(width, width))


def _list_blocks(found: Tensor) -> tuple[Tensor, Tensor]:
    """Of each row of blocks how many there are, and which columns, those first."""
    order = found.to(torch.int32).argsort(dim=-1, descending=True, stable=True)
    return found.sum(-1, dtype=torch.int32), order.to(torch.int32)


def _attention(model: "PreTrainedModel") -> str | None:
    found: str | None = getattr(model.config.get_text_config(), "_attn_implementation", None)
    return found


def _sees_images_whole(model: "PreTrainedModel") -> bool:
    """Whether an image's tokens see all of it, in every layer."""
    return bool(model.config.model_type == "gemma3")


def _layer_kinds(model: "PreTrainedModel") -> set[str]:
    text = model.config.get_text_config()
    if kinds := getattr(text, "layer_types", None):
        return set(kinds)
    slides = getattr(text, "sliding_window", None) and getattr(text, "use_sliding_window", True)
    return {_SLIDING if slides else _FULL}
