"""Average trained weights that began with one another: ``python -m studies.picture_world.average OUT IN IN ...``."""

import argparse
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file


def average(out: Path, files: list[Path]) -> None:
    """Write the mean of connectors and low-rank updates, in bfloat16, as ``train`` writes them."""
    sums: dict[str, torch.Tensor] = {}
    for path in files:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
            for name in file.keys():  # noqa: SIM118 - it has no iterator
                sums[name] = sums.get(name, 0) + file.get_tensor(name).float()
    mean = {name: (total / len(files)).to(torch.bfloat16).contiguous() for name, total in sums.items()}
    save_file(mean, out, metadata=metadata)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("files", type=Path, nargs="+")
    arguments = parser.parse_args()
    average(arguments.out, arguments.files)
