"""How many positions a model knows, and rows that have more tokens than that.

Past the last position a table of positions ends with an index error, and a computed one gives numbers that the model
never saw, without a word.
"""

from typing import TYPE_CHECKING, Any

from c3l.models.interface import Unfit

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_STRETCHED = {"linear", "dynamic"}  # the config names the length before it was stretched


def count_positions(model: "PreTrainedModel") -> int | None:
    """The longest row that the model's own config allows, in tokens; None where it names no limit."""
    config = model.config.get_text_config()
    longest = getattr(config, "max_position_embeddings", None)
    if not isinstance(longest, int) or isinstance(longest, bool) or longest <= 0:
        return None
    return max(int(longest * _stretch(rope, longest)) for rope in _ropes(config))


def find_excess(prompt: int, completion: int, positions: int | None) -> Unfit | None:
    """Why a row does not fit, if it does not.

    Args:
        prompt: Tokens before the answer, those of the image among them.
        completion: Tokens of the answer.
        positions: As ``count_positions``.
    """
    if positions is None or prompt + completion <= positions:
        return None
    got = f"{prompt} tokens of image and question and {completion} of the answer"
    return Unfit("too_long", f"{got}, the model has {positions} positions")


def _ropes(config: Any) -> list[dict[str, Any]]:
    """What the config says of rotary positions: of the whole model, or of each kind of layers."""
    found = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    if not isinstance(found, dict):
        return [{}]
    kinds = [one for one in found.values() if isinstance(one, dict)]
    return kinds or [found]


def _stretch(rope: dict[str, Any], longest: int) -> float:
    """By how much positions were stretched beyond the number that the config names."""
    factor = rope.get("factor")
    kind = rope.get("rope_type", rope.get("type"))
    if not isinstance(factor, int | float) or factor <= 1:
        return 1.0
    if kind in _STRETCHED and not rope.get("original_max_position_embeddings"):
        return float(factor)
    original = rope.get("original_max_position_embeddings")
    if kind == "yarn" and isinstance(original, int):
        return max(1.0, original * float(factor) / longest)
    return 1.0
