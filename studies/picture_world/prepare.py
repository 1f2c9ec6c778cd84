"""Paint the training pictures and keep what the frozen tower sees in them: ``features/NNN.npy`` and ``NNN.jsonl``.

Run ``python -m studies.picture_world.prepare WORLD``; a chunk that exists is skipped. ``--truth`` writes the truth of
those that exist anew: what is painted does not hang on what it is called.
"""

import argparse
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from c3l.models.builtin.assemble import build_parts
from studies.picture_world import things
from studies.picture_world.needs import need_things
from studies.picture_world.photographs import Split, backgrounds, check_apart, photographs
from studies.picture_world.scenes import Painter, Scene, photograph

CHUNK = 256


def painter(world: Path, split: Split) -> Painter:
    """A painter with the cut-outs and the background photographs of one split."""
    chosen = [(file, (*names, *also)) for file, names, also in backgrounds(world, split)]
    return Painter(world, [t for t in things.load(world) if t.split == split], chosen)


def training_pictures(world: Path, chunk: int) -> Iterator[tuple[Image.Image, Scene]]:
    """The pictures of one chunk: two thirds scenes, one third photographs and named scenery, cropped anew."""
    paint = painter(world, "train")
    named = photographs(world, "train")
    scenery = [row for row in backgrounds(world, "train") if row[1]]
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


def encode_all(pictures: Sequence[Image.Image]) -> np.ndarray:
    """What the built-in LVLM's tower sees in pictures: (P, 49, 1280) float16."""
    model, processor = build_parts(torch.float32)
    tower = model.model.vision_tower.eval()
    batches = (list(pictures[i : i + 16]) for i in range(0, len(pictures), 16))
    return np.concatenate([encode(tower, processor, batch) for batch in batches])


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
        write_truth(world, chunk, pairs)
        temporary = folder / f"{chunk:03d}.tmp.npy"
        np.save(temporary, features)
        os.replace(temporary, folder / f"{chunk:03d}.npy")
        print(f"chunk {chunk + 1}/{last}", flush=True)


def write_truth(world: Path, chunk: int, pictures: Iterable[tuple[Image.Image, Scene]]) -> None:
    """The truth of one chunk's pictures, a line each."""
    lines = "".join(scene.to_json() + "\n" for _, scene in pictures)
    (world / "features" / f"{chunk:03d}.jsonl").write_text(lines, encoding="utf-8")


def main() -> None:
    """Prepare what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("world", type=Path)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--last", type=int, default=60)
    parser.add_argument("--truth", action="store_true", help="only the truth, of the chunks that exist")
    arguments = parser.parse_args()
    need_things(arguments.world)
    if arguments.truth:
        for chunk in range(arguments.first, arguments.last):
            if (arguments.world / "features" / f"{chunk:03d}.npy").exists():
                write_truth(arguments.world, chunk, training_pictures(arguments.world, chunk))
        return
    check_apart(arguments.world)
    prepare(arguments.world, arguments.first, arguments.last)


if __name__ == "__main__":
    main()
