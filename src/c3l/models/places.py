"""Where a model lies: a folder that holds all of one, or the hub, at the commit that its revision names."""

import json
import os
import re
from difflib import get_close_matches
from pathlib import Path

from c3l.errors import BackendError, one_line
from c3l.models.hf.weights import check_files
from c3l.settings.schema import ModelConfig

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_ADAPTER = "adapter_config.json"
WHOLE = "config.json, *.safetensors, and the files of tokenizer, processor and chat template"
_NO_HUB = (
    "look at the network and the proxy, or give --model the folder of a model; one that was downloaded before is "
    "looked for under HF_HOME"
)
_HUB_PAGE = re.compile(r"https?://(?:huggingface\.co|hf\.co)/([\w.-]+/[\w.-]+)")
_SEES = re.compile(r"vision|visual|image|pixel|auto_map", re.IGNORECASE)  # or what code of its own may see


def find_folder(config: ModelConfig) -> Path | None:
    """The model's folder; None for a hub id."""
    folder = Path(os.path.expanduser(config.weights_name))  # which, as the next, refuses no name
    if os.path.isdir(folder):
        _check_folder(folder)
        return folder
    if os.path.isfile(folder) or not _HUB_ID.fullmatch(config.weights_name):
        raise _neither(config.name, folder)
    return None


def _neither(name: str, folder: Path) -> BackendError:
    return BackendError(
        f"got model {name!r}, expected `builtin`, an existing folder, or a hub id such as who/what"
        f"{_tell_meant(name, folder)}"
    )


def _tell_meant(name: str, path: Path) -> str:
    """What was perhaps meant by a name that is none; may be empty."""
    if path.suffix.lower() == ".gguf":
        return "; c3l reads no GGUF files: name the model in safetensors that it was made from"
    if os.path.isfile(path):
        return f"; this is a file, name the folder that it lies in, {path.parent}"
    if page := _HUB_PAGE.match(name):
        return f"; did you mean {page[1]}?"
    if name.startswith(("http://", "https://")):
        return f"; a server is named by --model openai:NAME --set model.endpoint={name}"
    return "; did you mean builtin?" if get_close_matches(name.lower(), ["builtin"]) else ""


def _check_folder(folder: Path) -> None:
    """Refuse what is no model's folder by the names in it, before anything is read."""
    if (folder / _ADAPTER).exists():
        raise _adapter(str(folder))
    missing = [pattern for pattern in ("config.json", "*.safetensors") if not any(folder.glob(pattern))]
    if not missing:
        _check_sees(folder)
        return check_files(folder)
    remedy = ""
    if any(folder.glob("*.bin")):
        remedy = "; reading .bin files can run code, so save them anew as safetensors (save_pretrained of transformers)"
    elif inner := sorted(folder.glob("*/config.json")):
        remedy = f"; did you mean {inner[0].parent}?"
    raise BackendError(f"got the model folder {folder} without {' or '.join(missing)}, expected {WHOLE}{remedy}")


def _check_sees(folder: Path) -> None:
    """Refuse a language model by its config alone: nothing in it is about images."""
    try:
        text = (folder / "config.json").read_text(encoding="utf-8")
        names = " ".join(json.loads(text).get("architectures") or ())
    except (ValueError, AttributeError, TypeError):  # broken: who loads it says how
        return
    if "ForCausalLM" in names and not _SEES.search(text):
        raise BackendError(
            f"got the model folder {folder} of a language model ({names}), whose config.json has nothing about images; "
            "expected a vision-language model"
        )


def find_commit(name: str, revision: str | None) -> str:
    """The commit of a hub id: the one downloaded already, else the hub's own answer."""
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import (
        HFValidationError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        cached = try_to_load_from_cache(name, "config.json", revision=revision)
    except HFValidationError:  # such as who/one--two
        raise _neither(name, Path(name)) from None
    if isinstance(cached, str):
        if (Path(cached).parent / _ADAPTER).exists():
            raise _adapter(name)
        return Path(cached).parent.name
    try:
        info = HfApi().model_info(name, revision=revision)
    except RepositoryNotFoundError:
        raise BackendError(
            f"there is no folder {name}, and no such model on the hub, or it is private or gated: check the name, or "
            "ask for access on its page and log in with `hf auth login`"
        ) from None
    except RevisionNotFoundError:
        raise BackendError(
            f"the hub's {name} has no revision {revision}; set model.revision to one of its own"
        ) from None
    except OfflineModeIsEnabled:
        raise BackendError(
            f"there is no folder {name}, and it was not downloaded before; HF_HUB_OFFLINE=1 forbids to ask the hub: "
            "unset it, or give --model the folder of a model"
        ) from None
    except Exception as error:  # the hub's client has families of errors of its own
        raise BackendError(
            f"there is no folder {name}, and the hub cannot be reached to look for it ({one_line(error)}); {_NO_HUB}"
        ) from None
    if info.sha is None:
        raise BackendError(f"the hub names no commit of {name}; set model.revision")
    if any(file.rfilename == _ADAPTER for file in info.siblings or ()):
        raise _adapter(name)
    return info.sha


def _adapter(name: str) -> BackendError:
    return BackendError(
        f"{name} holds an adapter, expected a whole model: merge it into its base model (merge_and_unload of peft)"
    )
