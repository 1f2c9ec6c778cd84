"""Paint the training pictures and keep what the frozen tower sees in them: ``features/NNN.npy`` and ``NNN.jsonl``.

Run ``python -m studies.picture_world.prepare WORLD``; a chunk that exists is skipped.
"""

import argparse
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from c3l.models.builtin.assemble import build_parts
from studies.picture_world import things
from studies.picture_world.needs import need_things
from studies.picture_world.scenes import Painter, Scene, photograph

CHUNK = 256
PHOTOGRAPHS = Path(__file__).with_name("photographs.json")


def photographs(world: Path, subset: str) -> list[tuple[Path, tuple[str, ...], tuple[str, ...]]]:
    """The hand-labelled photographs of a subset: file, names without article, other names that hold."""
    rows = json.loads(PHOTOGRAPHS.read_text(encoding="utf-8"))
    return [
        (world / row["file"].replace(":", "/", 1), _bare(row["names"]), _bare(row["also"]))
        for row in rows
        if row["subset"] == subset
    ]


def _bare(names: list[str]) -> tuple[str, ...]:
    return tuple(name.split(" ", 1)[1] if name.split(" ")[0] in ("a", "an", "the", "some") else name for name in names)


def painter(world: Path, split: str) -> Painter:
    """A painter with the cut-outs and the background photographs of one split."""
    chosen = [file for file, _, _ in photographs(world, "background") if _background_split(world, file) == split]
    return Painter(world, [t for t in things.load(world) if t.split == split], chosen)


def _background_split(world: Path, file: Path) -> str:
    """One background in five is kept for testing, decided by its path alone, so that a shorter list moves none."""
    path = file.relative_to(world).as_posix()
    return "test" if int(hashlib.sha256(path.encode()).hexdigest(), 16) % 5 == 0 else "train"


def training_pictures(world: Path, chunk: int) -> Iterator[tuple[Image.Image, Scene]]:
    """The pictures of one chunk: two thirds scenes, one third photographs and named scenery, cropped anew."""
    paint = painter(world, "train")
    named = photographs(world, "train")
    scenery = [
        row for row in photographs(world, "background") if row[1] and _background_split(world, row[0]) == "train"
    ]
    for i in range(CHUNK):
        seed = f"train:{chunk}:{i}"
        if i % 3 == 0:
            rows = scenery if i % 15 == 0 else named
            yield photograph(*rows[(chunk * CHUNK + i * 7) % len(rows)], seed)
        else:
            yield paint.paint(f"{chunk:03d}-{i:03d}", seed)


@torch.inference_mode()
def encode(tower: torch.nn.Module, processor: object, pictures: list[Image.Image]) -> np.ndarray:
    """The tower's features of pictures: (B, 49, 1280) float16 in [0, 6]."""
    pixels = processor.image_processor(images=pictures, return_tensors="pt")["pixel_values"]  # type: ignore[attr-defined]
    features = tower(pixels.to(next(tower.parameters()).dtype)).last_hidden_state
    return np.asarray(features.flatten(2).permute(0, 2, 1).to(torch.float16).numpy())


def prepare(world: Path, first: int, last: int) -> None:
    """Write the chunks ``first`` to ``last - 1`` that are missing."""
    model, processor = build_parts(torch.float32)
    tower = model.model.vision_tower.eval()
    folder = world / "features"
    folder.mkdir(exist_ok=True)
    for chunk in range(first, last):
        if (folder / f"{chunk:03d}.npy").exists():
            continue
        pairs = list(training_pictures(world, chunk))
        images = [image for image, _ in pairs]
        features = np.concatenate([encode(tower, processor, images[i : i + 16]) for i in range(0, CHUNK, 16)])
        (folder / f"{chunk:03d}.jsonl").write_text("".join(s.to_json() + "\n" for _, s in pairs), encoding="utf-8")
        temporary = folder / f"{chunk:03d}.tmp.npy"
        np.save(temporary, features)
        os.replace(temporary, folder / f"{chunk:03d}.npy")
        print(f"chunk {chunk + 1}/{last}", flush=True)


def main() -> None:
    """Prepare what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("world", type=Path)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--last", type=int, default=60)
    arguments = parser.parse_args()
    need_things(arguments.world)
    prepare(arguments.world, arguments.first, arguments.last)


if __name__ == "__main__":
    main()
