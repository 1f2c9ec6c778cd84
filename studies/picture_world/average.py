"""Average trained weights that began with one another: ``python -m studies.picture_world.average OUT IN IN ...``."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from c3l.models.builtin.trained import read_trained, write_trained
from studies.picture_world.needs import call, need_file


def average(out: Path, files: Sequence[Path]) -> None:
    """Write the mean of connectors and of low-rank updates, side by side: all are of one rank and scale."""
    read = [read_trained(path) for path in files]
    connector = {name: _mean([one.connector[name] for one in read]) for name in read[0].connector}
    low_rank = {
        module: (_mean([one.low_rank[module][0] for one in read]), _mean([one.low_rank[module][1] for one in read]))
        for module in read[0].low_rank
    }
    write_trained(replace(read[0], connector=connector, low_rank=low_rank), out)


def _mean(tensors: Sequence[Tensor]) -> Tensor:
    return torch.stack([tensor.float() for tensor in tensors]).mean(dim=0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("files", type=Path, nargs="+")
    arguments = parser.parse_args()
    for file in arguments.files:
        need_file(file, call("train", "WORLD", file.parent))
    average(arguments.out, arguments.files)
