"""Whether a model's weights are whole: its files before they are read, what was read, and the numbers themselves.

transformers fills a tensor that it does not find with random numbers and goes on, so that scores are noise.
"""

import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from c3l.errors import BackendError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

INDEX = "model.safetensors.index.json"
WEIGHTS = "model.safetensors"
_SHARD = "model-*-of-*.safetensors"
_POINTER = b"version https://git-lfs"
_SHOWN = 3

# Tensors that may be missing, each with its reason. What the families themselves allow is left out by transformers,
# as are tensors that are tied to others.
MAY_BE_MISSING = {
    r"(^|\.)num_batches_tracked$": "counts the batches of a training, nothing reads it afterwards",
    r"(^|\.)position_ids$": "counts from 0, it is made with the model",
    r"(^|\.)inv_freq$": "follows from the config, it is made with the model",
}
# Tensors without a place in the model that others mean nothing without, each with what the checkpoint is then.
MUST_BE_USED = {
    r"(^|\.)lora_[ABE]\.|\.lora_magnitude|\.modules_to_save\.|\.base_layer\.": "adapters that were not merged",
    r"\.(weight_scale(_inv)?|input_scale|scales|g_idx|qzeros|qweight|weight_packed|absmax|SCB)$": (
        "weights in a compressed form that its config.json does not tell"
    ),
}


def check_files(folder: Path) -> None:
    """Look whether the files of weights in a model folder are there and whole, by their beginnings alone.

    Raises:
        BackendError: If one is missing, cut off, or not what its name says.
    """
    for path in _list_files(folder):
        if not path.is_file():
            raise BackendError(
                f"got the model folder {folder} without {path.name}, which its {INDEX} names, expected every file of "
                "it: copy or download the model again"
            )
        _check_file(path)


def _list_files(folder: Path) -> list[Path]:
    index = folder / INDEX
    if (folder / WEIGHTS).exists():
        return [folder / WEIGHTS]
    if not index.exists():
        shards = sorted(folder.glob(_SHARD))
        if shards:
            raise BackendError(
                f"got the model folder {folder} with {len(shards)} shards of weights but without {INDEX}, which says "
                "what is where: copy or download the model again"
            )
        return []
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BackendError(
            f"cannot read {index} ({type(error).__name__}: {error}): copy or download it again"
        ) from None
    return [folder / str(name) for name in sorted(names)]


def is_pointer(path: Path) -> bool:
    """Whether a file is what git LFS leaves in the place of one that was not downloaded."""
    with path.open("rb") as file:
        return file.read(len(_POINTER)) == _POINTER


def _check_file(path: Path) -> None:
    if is_pointer(path):
        raise BackendError(
            f"{path} is a pointer of git LFS, not the weights themselves: run `git lfs pull` in its folder, or "
            "download the model by `hf download`"
        )
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as opened:
            opened.keys()
    except (SafetensorError, OSError) as error:
        raise BackendError(
            f"{path} ({path.stat().st_size:,} bytes) is cut off or no safetensors file ({error}): copy or download it "
            "again"
        ) from None


# What transformers says while it loads of things that are as they should be here, or that c3l tells itself.
_KNOWN = (
    "LOAD REPORT",  # a table, which `check_loaded` tells in a line
    "requires torchvision (not installed); falling back to",  # to Pillow, which is taken anyway
    "backend is not available. Falling back to",
    "Chat templates should be in a 'chat_template.jinja' file",  # it was found where it is
    "The following generation flags are not valid",  # c3l says itself how it writes
    "The `use_fast` parameter is deprecated",  # said by processors that bring code of their own
)


@contextmanager
def untold() -> Iterator[None]:
    """Inside, transformers keeps to itself what nobody can or need do anything about."""
    # its own, and those that it hands on to where the environment has CI set
    handlers = [*logging.getLogger("transformers").handlers, *logging.getLogger().handlers]

    def is_news(record: logging.LogRecord) -> bool:
        return not any(words in record.getMessage() for words in _KNOWN)

    for handler in handlers:
        handler.addFilter(is_news)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(is_news)


def check_loaded(name: str, model: "PreTrainedModel", info: Mapping[str, Any]) -> str | None:
    """Judge what transformers told of the loading.

    Args:
        name: The model's name, for the messages.
        model: The model that was made.
        info: ``missing_keys``, ``unexpected_keys`` and ``mismatched_keys``, as ``output_loading_info`` gives them.

    Returns:
        A note where the checkpoint holds tensors that the model has no place for, and nothing is missing.

    Raises:
        BackendError: If tensors of the model are missing or of another size, or such as mean something are left out.
    """
    family = type(model).__name__
    if mismatched := sorted(info["mismatched_keys"]):
        key, found, expected = mismatched[0]
        raise BackendError(
            f"{name} holds {len(mismatched)} tensors of another size than its config.json says, the first is {key}: "
            f"got {_size(found)}, expected {_size(expected)}; its config.json and its weights are not of one model"
        )
    missing = [key for key in sorted(info["missing_keys"]) if not _match(MAY_BE_MISSING, key)]
    unexpected = sorted(info["unexpected_keys"])
    if missing:
        raise BackendError(_tell_missing(name, family, missing, unexpected, len(model.state_dict())))
    own = {_pattern(key) for key in model.state_dict()}
    if uncounted := [key for key in unexpected if _pattern(key) in own]:
        raise BackendError(
            f"{name} holds {len(uncounted)} tensors of layers that its config.json does not count "
            f"({show_names(uncounted)}): its config.json and its weights are not of one model"
        )
    for key in unexpected:
        if what := _match(MUST_BE_USED, key):
            raise BackendError(
                f"{name} holds {what}, which {family} would leave out ({show_names(unexpected)}): save the model anew, "
                "merged and whole"
            )
    if unexpected:
        return (
            f"{name} holds {len(unexpected)} tensors that {family} has no place for, they are left out: "
            f"{show_names(unexpected)}"
        )
    return None


def _tell_missing(name: str, family: str, missing: list[str], unexpected: list[str], total: int) -> str:
    told = f"got {name} without {len(missing)} of the {total} tensors of a {family}"
    if unexpected:
        return (
            f"{told}, but with {len(unexpected)} that it has no place for, as if they were renamed: expected "
            f"{show_names(missing)}; got {show_names(unexpected)}; give them the names that transformers uses"
        )
    return (
        f"{told} ({show_names(missing)}), expected all: in their place would be random numbers; copy or download the "
        "model again"
    )


def check_finite(name: str, model: "PreTrainedModel") -> None:
    """Look whether every weight is a number.

    Raises:
        BackendError: If some are NaN or infinite.
    """
    bad = list(_not_finite(model))
    if bad:
        raise BackendError(
            f"{name} holds {len(bad)} tensors with numbers that are NaN or infinite in {model.dtype} "
            f"({show_names(bad)}), expected finite ones: download it again, or set model.dtype=float32"
        )


def _not_finite(model: "PreTrainedModel") -> Iterator[str]:
    import torch

    for key, weight in model.named_parameters():
        # quick, and without a second tensor: NaN goes into both ends; the formats of one byte hold no infinity
        if weight.is_floating_point() and weight.dtype.itemsize > 1 and weight.numel():
            ends = torch.stack(torch.aminmax(weight.detach()))
            if not bool(torch.isfinite(ends).all()):
                yield key


def show_names(names: Iterable[str]) -> str:
    """The first few, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return ", ".join(listed[:_SHOWN]) + more


def _pattern(key: str) -> str:
    """The name of a tensor without the number of its layer."""
    return re.sub(r"\.\d+(?=\.)", ".N", key)


def _match(reasons: Mapping[str, str], key: str) -> str | None:
    return next((reason for pattern, reason in reasons.items() if re.search(pattern, key)), None)


def _size(shape: Iterable[int]) -> str:
    return "x".join(str(number) for number in shape) or "one number"
