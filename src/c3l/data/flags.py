"""Marks that other trainers read: whether a turn is to be learned, or only said before what is."""

import math
import re
from collections.abc import Mapping
from typing import Any

from c3l.data.layouts import PREFERENCE, TURN_KEYS
from c3l.data.names import fold_name
from c3l.data.rejection import BadRowError

# true, or 1: to be learned
_LEARN = re.compile(
    r"(?:is|do|should|to|can|has|use|enable|requires?|needs?|with|compute|calculate|calc|include|apply|add|in)?_?"
    r"(?:loss(?:_mask|_weight|_scale|_on)?|weights?|train(?:ing|able|ed)?(?:_(?:on|this))?(?:_turn)?|taught|"
    r"learn(?:able|ed)?|supervised?)"
)
_LEAVE = re.compile(  # true: not to be
    r"(?:is_)?masked|mask_loss|ignored?|skip(?:ped)?|"
    r"(?:no|not|without|exclude|ignore|skip|drop)_?(?:loss|train(?:ing|ed)?|learn(?:ing|ed)?|turn)"
)
_EITHER = frozenset("mask label_mask labels_mask train_mask target_mask".split())  # true: masked; but 0 and 1?
_WANTED = frozenset("label kto_tag desirable is_desirable is_correct".split())  # of TRL, ms-swift: false: not to be
_WEIGHTS = frozenset("weight weights".split())  # a list of floats: of anything
_PARTS = ("train_detail", "loss_detail", "loss_spans")
_WORDS = {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0}


def is_taught(marked: Mapping[str, Any]) -> bool | None:
    """Whether what is marked is to be learned; None if nothing is said.

    ``loss: false``, ``weight: 0``, ``masked: true`` and their like, as numbers, booleans or text.

    Raises:
        BadRowError: ``bad_loss_flag`` for a fraction, a list a token, or marks of which one says yes and another no.
    """
    if parts := next((key for key, value in marked.items() if value and fold_name(str(key)) in _PARTS), None):
        raise BadRowError("bad_loss_flag", f"got `{parts}`: parts of a turn cannot be marked, expected marks of turns")
    said = {key: learn for key, value in marked.items() if (learn := _read(str(key), value)) is not None}
    if len({*said.values()}) > 1:
        raise BadRowError("bad_loss_flag", f"one of {', '.join(f'`{key}`' for key in said)} says yes, another no")
    return next(iter(said.values()), None)


def read_row_mark(row: Mapping[str, Any]) -> str:
    """What is said so of a whole row: ``untaught``, ``row_weight`` for a weight that is neither 0 nor 1, or nothing.

    ``label`` is a mark beside turns, or a prompt and its completion; beside a question it is a class, or the answer.

    Raises:
        BadRowError: ``bad_loss_flag`` for a list of marks: of turns, or of tokens, nobody can tell.
    """
    found, names = "", {fold_name(str(key)) for key, value in row.items() if value is not None}
    is_label_read = bool(names & {*TURN_KEYS}) or names >= {*PREFERENCE}
    for key, value in row.items():
        name = fold_name(str(key))
        if _is_unwanted(name, value) and (name != "label" or is_label_read):
            return "untaught"
        either = name in _EITHER and name != "mask" and not _is_pixels(value)
        if value is None or not (either or _LEARN.fullmatch(name) or _LEAVE.fullmatch(name)):
            continue
        if name in _WEIGHTS and isinstance(value, list) and any(isinstance(one, float) for one in value):
            found = "row_weight"
            continue
        if isinstance(value, list):
            raise BadRowError("bad_loss_flag", f"got a list under `{key}`; mark each turn by `loss: true` or `false`")
        number = float(_read_either(str(key), value)) if either else _to_number(value)
        number = 1.0 if number is None else number
        if number == bool(_LEAVE.fullmatch(name)):
            return "untaught"
        found = "row_weight" if number not in (0, 1) else found
    return found


def _is_pixels(value: Any) -> bool:
    """Whether a mask is one of pixels: a file, bytes or what holds them, not a number or a word for yes or no."""
    parts = value if isinstance(value, list) else [value]
    return not all(isinstance(one, (bool, int, float)) or str(one).strip().lower() in _WORDS for one in parts)


def _is_unwanted(name: str, value: Any) -> bool:
    """Whether an answer is marked as one to be unlearned; a class that is 0 is not, nor is a label in words."""
    return name in _WANTED and (value is False or (name != "label" and str(value).strip().lower() in ("false", "0")))


def _read(key: str, value: Any) -> bool | None:
    name = fold_name(key)
    if _is_unwanted(name, value):
        return False
    if value is None or not (name in _EITHER or _LEARN.fullmatch(name) or _LEAVE.fullmatch(name)):
        return None
    if name in _EITHER:
        return _read_either(key, value)
    if (number := _to_number(value)) is None:
        raise BadRowError("bad_loss_flag", f"got `{key}` that is no number, expected true or false for the whole turn")
    if number not in (0.0, 1.0):
        raise BadRowError("bad_loss_flag", f"got `{key}` of {number:g}: a turn is learned or not, expected 0 or 1")
    return (number == 1.0) is not bool(_LEAVE.fullmatch(name))


def _read_either(key: str, value: Any) -> bool:
    if isinstance(value, str):
        value = {"true": True, "false": False}.get(value.strip().lower())
    if not isinstance(value, bool):
        raise BadRowError("bad_loss_flag", f"`{key}` could mean either; write `loss: true` or `loss: false`")
    return not value


def _to_number(value: Any) -> float | None:
    """A number, a boolean or the same as text; None for anything else."""
    if isinstance(value, str):
        word = value.strip().lower()
        try:
            value = _WORDS[word] if word in _WORDS else float(word)
        except ValueError:
            return None
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None
