"""Writes docs/models.md: python -m studies.families.table > docs/models.md."""

import argparse
import math
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from studies.families import apart, grids, patches, tiles
from studies.families.parts import Family
from studies.families.trial import Outcome, try_family

FAMILIES: tuple[Family, ...] = (*patches.FAMILIES, *tiles.FAMILIES, *grids.FAMILIES, *apart.FAMILIES)
_EFFECT = 1000  # times the difference to the plain loop that another image must make at least

_HEAD = """\
# Models

For everybody who chooses a model: which families c3l can use, and what works with each.

c3l takes what transformers loads as `AutoModelForImageTextToText`, with its own processor and chat template. When it
loads a model, it computes a few rows alone, beside others and packed. A way whose numbers differ by more than rounding
explains is not used, and the run says so in one line. How much rounding explains is measured on the model itself, in
its dtype: every linear layer rounds once more at random ([`models/hf/rounding.py`](../src/c3l/models/hf/rounding.py)).
Because rounding may hide a mistake, a model of 16 bits is tried with the same weights in float32 too, if there is room
for them.

Prompts are the chat template's own, with three cares: a template that writes the day is told the same one always, a
chat without its image is the chat with it less the image, and a mark that the template writes before an answer that was
given stands before one that is scored or taught ([method](method.md#what-without-the-image-means)). Each is told in one
line and in `notes` of the provenance.

This page is made by `python -m studies.families.table > docs/models.md`, with {versions}.

Each family was tried on a tiny model of its own classes, with random weights (standard deviation 0.2, so that the
image matters), in a folder as the hub has them: one file for each part of the processor, the video part among
them, and no torchvision. Scores, texts, likelihoods and losses are compared with a plain loop: transformers alone,
one row, one forward, all logits, float32.

- **off**: the largest difference of log p, log q or KL of any token, in any mode that leaves the image out, rounded
  up to a power of ten; **image**: how much another image changes at least, in nats
- **without**: the [modes](method.md#what-without-the-image-means) that the family lacks. `mask` needs positions that do
  not follow from the attention mask, and images that the text's own layers read; `drop` needs chats without an image
- **rows**: packed, so that what rows begin with is computed once; or whole, in batches; or one by one
- **several**: as `off`, of log p in rows about two images. Where it says **no**, rows about
  [several images](method.md#several-images) are rejected
- **writes**: from shared beginnings, in batches, or one by one; each text is that of the plain loop, greedily
- **tuned**, **finetuned**: the difference of the likelihoods, and of the loss, that tuning begins with, rounded up in
  the same way; a contrastive step then changed the likelihoods, and all that is finetuned had a gradient of numbers

"""
_REFUSED = """
## Refused

| family | `model_type` | says |
|---|---|---|
"""
_SEVERAL = """
## No several images

| family | says of a row about several images |
|---|---|
"""
_TAIL = """
A family of experts that peft adapts as one tensor (GLM-4.5V) is finetuned with `finetuning.lora_dropout=0`, and says
so. Where transformers has an image processor for torchvision alone, as its mapping says of Llama 4, Cohere Vision,
LFM2-VL, PerceptionLM and Molmo 2, torchvision is needed. A family that is not listed was not tried: add it to
[`studies/families`](../studies/families) to see.

[`configs/models`](../configs/models) has settings for LLaVA-1.5, LLaVA-OneVision, Qwen2.5-VL, Qwen3-VL, InternVL3,
SmolVLM2 and Gemma 3, each value with its source:
`c3l run --config configs/models/qwen3-vl.yaml --image-root my/images`. No model was run with them here; batch sizes
are choices.
"""


def main() -> int:
    """Try out all families, or those that are named, and print the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="names as the table has them; without any, all families")
    names = parser.parse_args().names
    chosen = [family for family in FAMILIES if not names or family.known_as in names]
    with tempfile.TemporaryDirectory() as folder:
        outcomes = []
        for number, family in enumerate(chosen):
            print(family.known_as, file=sys.stderr)
            outcomes.append(try_family(family, Path(folder) / str(number)))
    print(make_page(outcomes), end="")
    return 0


def make_page(outcomes: Sequence[Outcome]) -> str:
    """The page that says what was found.

    Raises:
        AssertionError: If an image matters too little to say that anything is exact.
    """
    import torch
    import transformers

    working = [one for one in outcomes if not one.refused]
    for one in working:
        assert one.effect > _EFFECT * one.off, f"{one.family.known_as}: another image changes only {one.effect}"
    versions = f"transformers {transformers.__version__} and torch {torch.__version__.partition('+')[0]}"
    refused = [
        f"| {one.family.known_as} | `{one.family.model_type}` | {one.refused} |\n" for one in outcomes if one.refused
    ]
    unshown = [f"| {one.family.known_as} | {one.several} |\n" for one in working if isinstance(one.several, str)]
    return (
        _HEAD.format(versions=versions)
        + "| family | `model_type` | off | image | without | rows | several | writes | tuned | finetuned |\n"
        + "|---|---|--:|--:|---|---|--:|---|--:|--:|\n"
        + "".join(make_line(one) for one in working)
        + (_REFUSED + "".join(refused) if refused else "")
        + (_SEVERAL + "".join(unshown) if unshown else "")
        + _TAIL
    )


def make_line(one: Outcome) -> str:
    """A family's line of the table."""
    from studies.families.trial import MODES

    missing = ", ".join(f"`{mode}`" for mode in MODES if mode not in one.modes)
    cells = (
        one.family.known_as,
        f"`{one.family.model_type}`",
        _bound(one.off),
        f"{one.effect:.2f}",
        missing,
        one.rows,
        _bound(one.several) if isinstance(one.several, float) else "**no**",
        one.written,
        _bound(one.tuned),
        _bound(one.finetuned),
    )
    return f"| {' | '.join(cells)} |\n"


def _bound(value: float | str) -> str:
    """The power of ten above a difference; a reason as it is."""
    if isinstance(value, str):
        return value
    return f"1e{math.ceil(math.log10(max(value, 1e-6)))}"


if __name__ == "__main__":
    sys.exit(main())
