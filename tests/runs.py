"""Runs for the tests of the pipeline and the command line: drawn pictures, and a fake LVLM that can write."""

from collections.abc import Callable
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
from PIL import Image

from c3l.executors.local import LocalExecutor
from c3l.progress import Progress, SilentProgress
from c3l.run.context import Context, open_context
from c3l.run.pipeline import run_method
from c3l.settings.load import load_config
from c3l.settings.schema import RunConfig
from fakes import FakeModel, fake_weights

# what must not depend on kills, resumes and batch sizes
RESULTS = ("decisions.jsonl", "export/llava.json", "export/ids.txt", "images.jsonl")


def draw_pictures(root: Path, number: int = 6) -> Path:
    """Pictures of coarse blocks, and one file that is no picture."""
    root.mkdir(parents=True, exist_ok=True)
    for seed in range(number):
        blocks = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(blocks).resize((40, 30), Image.Resampling.NEAREST).save(root / f"picture_{seed}.png")
    (root / "broken.jpg").write_bytes(b"<html>not a picture</html>")
    return root


def meet(look: Callable[..., Any]) -> Callable[..., Any]:
    """The same look at an image by its path, in which two images wait until both are looked at."""
    both = Barrier(2, timeout=60)

    def wait(root: Path, path: str, rules: Any) -> Any:
        if path in ("picture_0.png", "picture_1.png"):
            both.wait()
        return look(root, path, rules)

    return wait


FORM = ("scoring.no_image=drop", "scoring.form=discounted_likelihood")
"""What may be measured of a single picture, and needs no other numbers than log-likelihoods."""


def make_config(run: Path, root: Path, model: Path | str, *overrides: str) -> RunConfig:
    named = [f"run={run}", f"images.root={root}", f"model.name={model}", "model.dtype=float32", "model.device=cpu"]
    return load_config(None, [*named, "rounds=0", "shard_size=2", "export.formats=[llava, ids]", *FORM, *overrides])


def make_fake_model(folder: Path) -> Path:
    """A model folder that is only ever hashed."""
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(fake_weights())
    return folder


class Loader:
    """Loads fakes and counts how often it was asked."""

    def __init__(self, make: Callable[[], Any] = FakeModel) -> None:
        self.make, self.times = make, 0

    def __call__(self, config: object, seed: int) -> Any:
        self.times += 1
        return self.make()


def walk(
    config: RunConfig,
    loader: Callable[..., Any],
    stages: Callable[[Context], None] = run_method,
    *,
    needs_model: bool = True,
    progress: Progress | None = None,
) -> None:
    told = progress or SilentProgress()
    with open_context(config, told, LocalExecutor(loader), needs_model=needs_model) as context:
        stages(context)


def read_results(run: Path) -> dict[str, bytes]:
    return {name: (run / name).read_bytes() for name in RESULTS}


def read_all(run: Path) -> dict[str, bytes]:
    """Every file but those that hold times or the name of the run."""
    different = ("stage.json", ".lock", "config.yaml")
    paths = (path for path in run.rglob("*") if path.is_file() and path.name not in different)
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in sorted(paths) if path.suffix != ".html"}
