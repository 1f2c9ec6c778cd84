"""From a name in the config to a loaded model, and to the hash of its weights without loading it.

``builtin``, a folder and a hub id end in the same call of transformers. Importing this file loads neither
torch nor transformers.
"""

import os
import re
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from c3l.errors import BackendError, C3LError, ConfigError, find_remedy, one_line
from c3l.models.hashing import hash_folder
from c3l.models.interface import InferenceModel
from c3l.models.places import find_commit, find_folder
from c3l.models.tunable import FinetunableModel, TrainableModel
from c3l.records import Provenance
from c3l.settings.schema import VLLM, ModelConfig, RunConfig
from c3l.settings.tuning import ContrastiveConfig, FinetuningConfig, TrainerSettings

if TYPE_CHECKING:
    import torch

M = TypeVar("M")
R = TypeVar("R")

_NO_DEVICE = re.compile(r"Expected one of|Invalid device string")
_PACKAGES = ("c3l", "torch", "transformers", "tokenizers", "pillow", "peft", "accelerate")


def settle_name(name: str) -> str:
    """A model's name as another working directory finds it: of a folder its whole path, of anything else the name."""
    prefix = VLLM if name.startswith(VLLM) else ""
    folder = os.path.expanduser(name.removeprefix(prefix))
    return f"{prefix}{Path(folder).absolute()}" if name != "builtin" and os.path.isdir(folder) else name


def weights_hash(config: ModelConfig) -> str:
    """What stands for the model in a fingerprint; loads no model and needs no torch.

    Returns:
        For a folder, the hash of its weights, configuration, tokenizer, processor and chat template; for
        ``builtin``, that of what it is assembled from; for a hub id, the commit that its revision names; for a served
        model, its name and the size of the images that it is sent.

    Raises:
        BackendError: If there is no such model.
    """
    if config.backend == "openai":
        return f"{config.name}, images of {config.image_side or 'their'} pixels"
    if config.name == "builtin":
        from c3l.models.builtin.parts import recipe, trained_weights

        # its folder is the same wherever these are, and need not be assembled, nor torch imported, to know it
        return recipe(trained_weights())
    folder = find_folder(config)
    return hash_folder(folder) if folder else find_commit(config.weights_name, config.revision)


def resolve_dtype(config: ModelConfig) -> Literal["float32", "bfloat16", "float16"]:
    """The arithmetic that the config means on this machine; only ``auto`` needs torch to tell."""
    if config.dtype != "auto":
        return config.dtype
    if config.backend == "openai":
        return "float32"
    name: Literal["float32", "bfloat16", "float16"] = str(_choose_dtype(config)).removeprefix("torch.")  # type: ignore[assignment]
    return name


def choose_dtype(config: RunConfig, begun: Mapping[str, Any] | None) -> RunConfig:
    """The settings with a dtype that is not ``auto``: that of what was begun with, where something was."""
    if config.model.dtype != "auto":
        return config
    return config.with_dtype(begun["model.dtype"] if begun is not None else resolve_dtype(config.model))


def load_model(config: ModelConfig, seed: int) -> InferenceModel:
    """The model that the config names, ready to write and score.

    Args:
        config: Name, revision, dtype, device.
        seed: The run's seed, for the provenance; it changes nothing in the model.

    Raises:
        BackendError: If it cannot be loaded: no such model or device, weights that are not safetensors, code
            of its own, attention that is not causal.
    """
    if config.backend == "openai":
        from c3l.models.openai import OpenAIModel

        return OpenAIModel(config, _describe(config, weights_hash(config), "server", "as it likes", seed))
    if config.backend == "vllm":
        from c3l.models.vllm.inference import VllmModel

        weights = weights_hash(config)
        provenance = _describe(config, weights, config.device, _choose_dtype(config), seed)
        return VllmModel(config, _find_source(config, weights), provenance)
    from c3l.models.hf.inference import HfModel

    weights = weights_hash(config)
    device, dtype = _choose_device(config), _choose_dtype(config)
    model, processor = _read(config, weights, dtype, device)
    try:
        loaded = HfModel(model, processor, _describe(config, weights, device, dtype, seed))
        loaded.try_out()
    except C3LError:
        raise
    except Exception as error:  # as in _read: drivers and strange models raise what they like
        remedy = f"; {found}" if (found := find_remedy(error)) else ""
        raise BackendError(f"cannot use the model {config.name} on {device}: {one_line(error)}{remedy}") from None
    return loaded


def load_trainable(config: ModelConfig, contrastive: ContrastiveConfig, seed: int) -> TrainableModel:
    """The model that the config names, with fresh adapters, ready to be tuned.

    Args:
        config: Name, revision, dtype, device.
        contrastive: Rank, scale and dropout of the adapters.
        seed: Of the adapters' random half.

    Raises:
        BackendError: If it cannot be loaded, or no language model is found inside it.
    """
    from c3l.models.hf.trainable import TrainableHfModel

    return _load_for_tuning(TrainableHfModel, config, contrastive, seed)


def load_finetunable(config: ModelConfig, finetuning: FinetuningConfig, seed: int) -> FinetunableModel:
    """The model that the config names, ready to be taught conversations.

    Args:
        config: Name, revision, dtype, device.
        finetuning: Method, adapters, length.
        seed: Of the adapters' random half.

    Raises:
        BackendError: If it cannot be loaded, or has no part that is to learn.
    """
    from c3l.models.hf.finetunable import FinetunableHfModel

    return _load_for_tuning(FinetunableHfModel, config, finetuning, seed)


def _load_for_tuning(make: Callable[[Any, Any, Provenance, R], M], config: ModelConfig, recipe: R, seed: int) -> M:
    """What is made of the model on its device, its processor, what they are, and the recipe; seeded."""
    if config.backend == "openai":
        raise BackendError(
            f"the served model {config.name} can write, but not be tuned: name a folder, or a hub id, without openai:"
        )
    if config.backend == "vllm":
        raise BackendError(
            f"vLLM does not tune {config.name}: take --model {config.weights_name}, which transformers runs"
        )
    import torch

    from c3l.models.hf.sharding import is_sharded

    weights = weights_hash(config)
    device, dtype = _choose_device(config), _choose_dtype(config)
    if is_sharded():
        device = "cpu"  # it comes onto the cards piece by piece: one alone might not hold all of it
        os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"] = "false"  # all read the weights, and try out what the model can
    model, processor = _read(config, weights, dtype, device)
    provenance = _describe(config, weights, device, dtype, seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make(model, processor, provenance, recipe)


def merge_adapter(config: ModelConfig, adapter: Path, folder: Path) -> None:
    """Write the model that the config names, with an adapter folder of peft's merged in, as a model folder.

    Raises:
        BackendError: If the model or the adapter cannot be loaded, or the adapter is of another model.
    """
    from c3l.models.hf.adapters import merge_folder
    from c3l.models.hf.saved import FolderWriter

    model, processor = _read(config, weights_hash(config), _choose_dtype(config), "cpu")
    writer = FolderWriter(model, processor)
    writer.write(merge_folder(model, adapter), folder)


def _describe(config: ModelConfig, weights: str, device: str, dtype: "torch.dtype | str", seed: int) -> Provenance:
    return Provenance(
        model=config.name,
        weights=weights,
        backend=config.backend,
        dtype=str(dtype).removeprefix("torch."),
        device=device,
        seed=seed,
        versions=_versions(),
    )


def _read(config: ModelConfig, weights: str, dtype: "torch.dtype", device: str) -> tuple[Any, Any]:
    from c3l.models.hf.reading import read_model

    return read_model(config, _find_source(config, weights), dtype, device)


def _find_source(config: ModelConfig, weights: str) -> tuple[str, str]:
    """Folder or hub id, and the revision to read: for a hub id the very commit that was hashed."""
    if config.name == "builtin":
        from c3l.models.builtin.assemble import assemble

        return str(assemble()), "main"
    folder = find_folder(config)
    return (str(folder), "main") if folder else (config.weights_name, weights)


def check_device(config: ModelConfig) -> None:
    """Look whether the device that transformers is to run on is here, before what takes long.

    Raises:
        BackendError: If torch does not find it.
    """
    if config.backend == "hf":
        _choose_device(config)


def check_precision(config: ModelConfig, section: str, recipe: TrainerSettings) -> None:
    """Look before a tuning whether it is to be one in float16 on a CPU.

    Gradients are too small for that dtype unless the loss is scaled, which ``Trainer`` does on cards alone.

    Raises:
        ConfigError: If it is.
    """
    if config.dtype == "float16":
        got, remedy = "model.dtype=float16", "set --dtype bfloat16 or float32"
    elif recipe.mixed_precision == "fp16":
        got, remedy = f"{section}.mixed_precision=fp16", "set it to no or bf16"
    else:
        return
    import torch

    from c3l.models.hf.sharding import is_sharded

    if _choose_device(config) == "cpu" and not (is_sharded() and torch.cuda.is_available()):
        raise ConfigError(f"got {got} for a tuning on a CPU, where no loss of float16 is scaled: {remedy}")


def _choose_device(config: ModelConfig) -> str:
    import torch

    if config.device == "auto":
        if not torch.cuda.is_available():
            return "cpu"
        # of several processes each has a card of its own, which may be the only one that it sees
        rank = os.environ.get("LOCAL_RANK")
        return "cuda" if rank is None else f"cuda:{int(rank) % torch.cuda.device_count()}"
    try:
        torch.empty(0, device=config.device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # no such word, or no such card here
        if _NO_DEVICE.search(str(error)):
            raise BackendError(
                f"got model.device={config.device}, expected auto, cpu or cuda, or cuda:1 for the second card"
            ) from None
        why = one_line(error).partition(". ")[0].rstrip(".")
        raise BackendError(
            f"got model.device={config.device}, but torch {version('torch')} finds no such device here ({why}); leave "
            "it at auto, or install the driver and a torch that is built for it"
        ) from None
    return config.device


def _choose_dtype(config: ModelConfig) -> "torch.dtype":
    import torch

    if config.dtype != "auto":
        chosen: torch.dtype = getattr(torch, config.dtype)
        return chosen
    if config.name == "builtin":
        return torch.float32  # its tower's normalisation layers lose too much in bfloat16
    return fast_dtype(_choose_device(config))


def fast_dtype(device: str) -> "torch.dtype":
    """bfloat16 where the device computes it fast; elsewhere it is several times slower than float32."""
    import torch

    if device.startswith("cuda"):
        fast = torch.cuda.is_bf16_supported()
    else:
        capabilities = torch.cpu.get_capabilities()
        fast = bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return torch.bfloat16 if fast else torch.float32


def _versions() -> dict[str, str]:
    return {package: found for package in _PACKAGES if (found := _find_version(package)) is not None}


@cache  # what is imported stays as it is, and a whole file is parsed for each
def _find_version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None  # run from a source tree that was not installed
