"""What the connector alone knows: names read off its image tokens by cosine, without the language model.

Run ``python -m studies.picture_world.probe WORLD OUT`` after ``align``: an upper mark for what the language model
can then read from the same tokens.
"""

import argparse
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from c3l.models.builtin.assemble import build_parts
from studies.picture_world.align import NOTHING, Words
from studies.picture_world.evaluate import Picture, cut_outs, held_out_photographs, share_a_name
from studies.picture_world.measure import auroc, interval
from studies.picture_world.needs import call, need_file, need_things
from studies.picture_world.prepare import encode


@torch.inference_mode()
def name_pictures(pictures: Sequence[Picture], connector: Any, words: Words, tower: Any, processor: Any) -> np.ndarray:
    """How much each picture speaks for each name: (pictures, names), nats, less what all pictures say of the name."""
    batches = [pictures[i : i + 16] for i in range(0, len(pictures), 16)]
    features = np.concatenate([encode(tower, processor, [p.image for p in batch]) for batch in batches])
    log_p = words(connector(torch.from_numpy(features).float()))[..., :-NOTHING]
    of_pictures = log_p.logsumexp(1)
    return np.asarray((of_pictures - of_pictures.logsumexp(0, keepdim=True)).numpy())


def naming(pictures: Sequence[Picture], scores: np.ndarray, index: dict[str, int]) -> dict[str, Any]:
    """AUROC of each picture's own name against another picture's."""
    rng, own, other = random.Random(0), [], []
    for row, picture in zip(scores, pictures, strict=True):
        wrong = rng.choice([p for p in pictures if not share_a_name(p.scene, picture.scene)])
        own.append(row[index[picture.scene.placed[0].names[0].lower()]])
        other.append(row[index[wrong.scene.placed[0].names[0].lower()]])
    true, false = np.array(own), np.array(other)
    low, high = interval(lambda rows: auroc(true[rows], false[rows]), len(true))
    return {"pictures": len(own), "auroc": round(auroc(true, false), 4), "interval": [round(low, 3), round(high, 3)]}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("world", type=Path)
    parser.add_argument("out", type=Path, help="where align wrote connector.safetensors")
    arguments = parser.parse_args()
    need_things(arguments.world)
    need_file(arguments.out / "connector.safetensors", call("align", arguments.world, arguments.out))
    model, processor = build_parts(torch.float32)
    connector = model.model.multi_modal_projector
    connector.load_state_dict(load_file(arguments.out / "connector.safetensors"))
    for kind, pictures in (
        ("cut-outs", cut_outs(arguments.world)),
        ("photographs", held_out_photographs(arguments.world)),
    ):
        names = sorted({name.lower() for p in pictures for placed in p.scene.placed for name in placed.names})
        torch.manual_seed(0)  # of the directions that stand for nothing
        words = Words(names, model.get_input_embeddings().weight.detach(), processor.tokenizer)
        scores = name_pictures(pictures, connector, words, model.model.vision_tower, processor)
        print(kind, json.dumps(naming(pictures, scores, words.index)))


if __name__ == "__main__":
    main()
