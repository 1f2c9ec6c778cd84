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


def measure(image_tokens: int, k: int, model: Any, processor: Any, repetitions: int) -> Measured:
    """Forward and backward of one group of K pairs; adds adapters to the model."""
    torch.manual_seed(0)
    recipe = ContrastiveConfig(similarity="hidden")  # what results.md was measured with
    lvlm = TrainableHfModel(model, processor, PROVENANCE, recipe)
    tuned = ContrastiveModel(lvlm, recipe).to(model.device)
    template = load_templates()["conversation"]
    [image] = draw_pictures(1)
    prompt = template.render(k)
    texts = [template.write_reply([(pair.prompt, pair.completion)], more=True) for pair in make_pairs(k, 8)]
    rows = [ForcedRow(image, prompt, text) for text in texts]
    places = {
        "candidates": torch.arange(k, device=model.device)[None],
        "valid": torch.ones(1, k, dtype=torch.bool, device=model.device),
    }

    def step(packs: bool) -> dict[str, Any]:
        lvlm._packs = packs
        tuned.zero_grad()
        loss = tuned(rows=lvlm.collate(rows), **places)["loss"]
        loss.backward()
        return {name: p.grad.clone() for name, p in tuned.named_parameters() if p.grad is not None}

    seconds, speedup, ours, plain = race(lambda: step(True), lambda: step(False), repetitions)
    largest = max(float(gradient.abs().max()) for gradient in plain.values())
    worst = max(float((ours[name] - plain[name]).abs().max()) for name in plain) / largest
    name = str(model.dtype).removeprefix("torch.")
    label = "contrastive step (difference: of gradients, relative to the largest)"
    return Measured(label, image_tokens, k, name, "whole rows", seconds, speedup, _fed(lvlm, rows), worst)


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


if __name__ == "__main__":
    main()
