"""A contrastive step with packed rows against the same step with whole rows: ``python -m benchmarks.bench_tuning``."""

from typing import Any

import torch

from benchmarks.setting import Measured, draw_pictures, load, make_pairs, parse_arguments, publish, race
from c3l.method.prompts import load_templates
from c3l.models.hf.trainable import TrainableHfModel
from c3l.models.tunable import ForcedRow
from c3l.records import Provenance
from c3l.settings.tuning import ContrastiveConfig
from c3l.training.comparison import ContrastiveModel

PROVENANCE = Provenance("builtin", "", "hf", "", "cpu", 0, {})


class Group:
    """One group of K pairs about a picture, and a model with fresh adapters to tune on it."""

    def __init__(self, k: int, model: Any, processor: Any) -> None:
        """Add the adapters, the same for every model of these shapes."""
        torch.manual_seed(0)
        recipe = ContrastiveConfig(similarity="hidden")  # what all results were measured with
        self.lvlm = TrainableHfModel(model, processor, PROVENANCE, recipe)
        self.tuned = ContrastiveModel(self.lvlm, recipe).to(model.device)
        template = load_templates()["conversation"]
        [image] = draw_pictures(1)
        prompt = template.render(k)
        texts = [template.write_reply([(pair.prompt, pair.completion)], more=True) for pair in make_pairs(k, 8)]
        self.rows = [ForcedRow(image, prompt, text) for text in texts]
        self.places = {
            "candidates": torch.arange(k, device=model.device)[None],
            "valid": torch.ones(1, k, dtype=torch.bool, device=model.device),
        }

    def step(self, packs: bool) -> dict[str, torch.Tensor]:
        """Forward and backward; the gradients by the names of what is tuned."""
        self.lvlm._packs = packs
        self.tuned.zero_grad()
        self.tuned(rows=self.lvlm.collate(self.rows), **self.places)["loss"].backward()
        return {name: p.grad.clone() for name, p in self.tuned.named_parameters() if p.grad is not None}


def measure(image_tokens: int, k: int, model: Any, processor: Any, repetitions: int) -> Measured:
    """A step with packed rows against one with whole rows; adds adapters to the model."""
    group = Group(k, model, processor)
    seconds, speedup, ours, plain = race(lambda: group.step(True), lambda: group.step(False), repetitions)
    largest = max(float(gradient.abs().max()) for gradient in plain.values())
    worst = max(float((ours[name] - plain[name]).abs().max()) for name in plain) / largest
    name = str(model.dtype).removeprefix("torch.")
    label = "contrastive step (difference: of gradients, relative to the largest)"
    return Measured(label, image_tokens, k, name, "whole rows", seconds, speedup, _fed(group.lvlm, group.rows), worst)


def compare_rounding(dtype: torch.dtype) -> str:
    """A line on how far gradients are from those of whole rows in float32, as a share of their length."""
    exact = Group(5, *load(49, torch.float32)).step(False)
    rounded = Group(5, *load(49, dtype))
    far = [_apart(rounded.step(packs), exact) for packs in (True, False)]
    name = str(dtype).removeprefix("torch.")
    apart = f"by {far[0]:.3f} of their length packed, by {far[1]:.3f} whole"
    return f"Gradients in {name} off those in float32, K = 5: {apart}."


def _apart(found: dict[str, torch.Tensor], exact: dict[str, torch.Tensor]) -> float:
    ours, right = (torch.cat([one[name].double().flatten() for name in exact]) for one in (found, exact))
    return float((ours - right).norm() / right.norm())


def _fed(lvlm: TrainableHfModel, rows: list[ForcedRow]) -> float:
    """Tokens of whole rows over those of the tree; stands for the FLOP ratio, the head left out."""
    lvlm._packs = False
    whole = int(lvlm.collate(rows)["text"]["attention_mask"].sum())
    lvlm._packs = True
    return whole / int(lvlm.collate(rows)["text"]["input_ids"].numel())


def main() -> None:
    """Print the table."""
    arguments = parse_arguments(__doc__)
    dtype = getattr(torch, arguments.dtype)
    settings = [(49, 5), (576, 5)] if arguments.quick else [(49, 5), (49, 20), (576, 5)]
    lines = [measure(tokens, k, *load(tokens, dtype), arguments.repetitions) for tokens, k in settings]
    publish(lines, arguments, "Contrastive tuning")
    if dtype is not torch.float32:
        print(compare_rounding(dtype) + "\n", flush=True)


if __name__ == "__main__":
    main()
