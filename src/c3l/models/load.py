"""From a name in the config to a loaded model, and to the hash of its weights without loading it.

``builtin``, a folder and a hub id end in the same call of transformers. Importing this file loads neither
torch nor transformers.
"""

import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from c3l.config import ModelConfig
from c3l.errors import BackendError
from c3l.models.hashing import hash_folder
from c3l.models.interface import InferenceModel
from c3l.records import Provenance

if TYPE_CHECKING:
    import torch

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_PACKAGES = ("c3l", "torch", "transformers", "tokenizers", "pillow")


@dataclass(frozen=True, slots=True)
class _Source:
    """Where the weights are: a folder, or a hub id at one commit."""

    location: str
    revision: str | None
    weights: str


def weights_hash(config: ModelConfig) -> str:
    """What stands for the model in a fingerprint; loads no model and, for a folder, needs no torch.

    Returns:
        For ``builtin`` and a folder, the hash of the weights, configuration, tokenizer, processor and chat
        template; for a hub id, the commit that its revision names.

    Raises:
        BackendError: If there is no such model.
    """
    return _locate(config).weights


def load_model(config: ModelConfig, seed: int) -> InferenceModel:
    """The model that the config names, ready to write and score.

    Args:
        config: Name, revision, dtype, device.
        seed: The run's seed, for the provenance; it changes nothing in the model.

    Raises:
        BackendError: If it cannot be loaded: no such model, weights that are not safetensors, code of its
            own, attention that is not causal.
    """
    from c3l.models.hf import HfModel

    source = _locate(config)
    device, dtype = _choose_device(config), _choose_dtype(config)
    model, processor = _read(source, config, dtype)
    provenance = Provenance(
        model=config.name,
        weights=source.weights,
        backend=config.backend,
        dtype=str(dtype).removeprefix("torch."),
        device=device,
        seed=seed,
        versions=_versions(),
    )
    loaded = HfModel(model.to(device), processor, provenance)
    loaded.check_causal()
    return loaded


def _locate(config: ModelConfig) -> _Source:
    if config.name == "builtin":
        from c3l.models.builtin.assemble import assemble

        folder = assemble()
        return _Source(str(folder), None, hash_folder(folder))
    folder = Path(config.name).expanduser()
    if folder.is_dir():
        if (folder / "adapter_config.json").exists():
            raise BackendError(
                f"{folder} holds an adapter, expected whole weights: merge it into its base model"
            )
        return _Source(str(folder), None, hash_folder(folder))
    if not _HUB_ID.fullmatch(config.name):
        raise BackendError(
            f"got model {config.name!r}, expected `builtin`, an existing folder, or a hub id `who/what`"
        )
    commit = _find_commit(config.name, config.revision)
    return _Source(config.name, commit, commit)


def _find_commit(name: str, revision: str | None) -> str:
    """The commit of a hub id: the one downloaded already, else the hub's own answer."""
    from huggingface_hub import HfApi, try_to_load_from_cache

    cached = try_to_load_from_cache(name, "config.json", revision=revision)
    if isinstance(cached, str):
        return Path(cached).parent.name
    try:
        commit = HfApi().model_info(name, revision=revision).sha
    except Exception as error:  # the hub's client has families of errors of its own
        raise BackendError(f"cannot reach the model {name} on the hub: {_one_line(error)}") from None
    if commit is None:
        raise BackendError(f"the hub names no commit of {name}; set model.revision")
    return commit


def _read(source: _Source, config: ModelConfig, dtype: "torch.dtype") -> tuple[Any, Any]:
    from transformers import AutoModelForImageTextToText, AutoProcessor

    common = {"revision": source.revision or "main", "trust_remote_code": config.trust_remote_code}
    if config.attn_implementation is not None:
        attention = {"attn_implementation": config.attn_implementation}
    else:
        attention = {}
    try:
        processor = AutoProcessor.from_pretrained(source.location, **common)
        model = AutoModelForImageTextToText.from_pretrained(
            source.location, dtype=dtype, use_safetensors=True, **attention, **common
        )
    except Exception as error:  # there is no end to what a strange folder makes transformers raise
        raise BackendError(f"cannot load the model {config.name}: {_one_line(error)}") from None
    return model, processor


def _choose_device(config: ModelConfig) -> str:
    import torch

    if config.device != "auto":
        return config.device
    return "cuda" if torch.cuda.is_available() else "cpu"


def _choose_dtype(config: ModelConfig) -> "torch.dtype":
    import torch

    if config.dtype != "auto":
        chosen: torch.dtype = getattr(torch, config.dtype)
        return chosen
    if _choose_device(config).startswith("cuda"):
        fast = torch.cuda.is_bf16_supported()
    else:
        capabilities = torch.cpu.get_capabilities()
        fast = bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return torch.bfloat16 if fast else torch.float32


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue  # run from a source tree that was not installed
    return found


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text[:400] + ("..." if len(text) > 400 else "")
