"""Where a model lies: a folder that holds all of one, or the hub, at the commit that its revision names."""

import re
from pathlib import Path

from c3l.errors import BackendError, one_line
from c3l.models.hf.weights import check_files
from c3l.settings.schema import ModelConfig

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_ADAPTER = "adapter_config.json"
WHOLE = "config.json, *.safetensors, and the files of tokenizer, processor and chat template"
_NO_HUB = (
    "give --model the folder of a model, or look at the network; one that was downloaded is looked for where HF_HOME "
    "says, and with HF_HUB_OFFLINE=1 nowhere else"
)


def find_folder(config: ModelConfig) -> Path | None:
    """The model's folder; None for a hub id."""
    folder = Path(config.weights_name).expanduser()
    if folder.is_dir():
        _check_folder(folder)
        return folder
    if not _HUB_ID.fullmatch(config.weights_name):
        raise BackendError(
            f"got model {config.name!r}, expected `builtin`, an existing folder, or a hub id such as who/what"
        )
    return None


def _check_folder(folder: Path) -> None:
    """Refuse what is no model's folder by the names in it, before anything is read."""
    if (folder / _ADAPTER).exists():
        raise _adapter(str(folder))
    missing = [pattern for pattern in ("config.json", "*.safetensors") if not any(folder.glob(pattern))]
    if not missing:
        return check_files(folder)
    remedy = ""
    if any(folder.glob("*.bin")):
        remedy = "; reading .bin files can run code, so save them anew as safetensors (save_pretrained of transformers)"
    elif inner := sorted(folder.glob("*/config.json")):
        remedy = f"; did you mean {inner[0].parent}?"
    raise BackendError(f"got the model folder {folder} without {' or '.join(missing)}, expected {WHOLE}{remedy}")


def find_commit(name: str, revision: str | None) -> str:
    """The commit of a hub id: the one downloaded already, else the hub's own answer."""
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    cached = try_to_load_from_cache(name, "config.json", revision=revision)
    if isinstance(cached, str):
        if (Path(cached).parent / _ADAPTER).exists():
            raise _adapter(name)
        return Path(cached).parent.name
    try:
        info = HfApi().model_info(name, revision=revision)
    except RepositoryNotFoundError:
        raise BackendError(
            f"there is no folder {name}, and the hub has no such model, or hides it: look at the name; to a private or "
            "gated one, log in with `hf auth login`"
        ) from None
    except RevisionNotFoundError:
        raise BackendError(
            f"the hub's {name} has no revision {revision}; set model.revision to one of its own"
        ) from None
    except Exception as error:  # the hub's client has families of errors of its own
        raise BackendError(
            f"there is no folder {name}, and the hub cannot be asked for it ({one_line(error)}); {_NO_HUB}"
        ) from None
    if info.sha is None:
        raise BackendError(f"the hub names no commit of {name}; set model.revision")
    if any(file.rfilename == _ADAPTER for file in info.siblings or ()):
        raise _adapter(name)
    return info.sha


def _adapter(name: str) -> BackendError:
    return BackendError(f"{name} holds an adapter, expected whole weights: merge it into its base")
