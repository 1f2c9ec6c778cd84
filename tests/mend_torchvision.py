"""Lets a torchvision that is of another build than torch be imported: ``python tests/mend_torchvision.py``.

vLLM imports it and calls none of its operators; those of a build for CUDA cannot be loaded beside a torch for the CPU,
and then the import itself fails where they are named. So they are named beforehand, whenever this Python starts.
"""

import sysconfig
from pathlib import Path

NAME = "torchvision_operators"
MODULE = """\
import torch

for name in ("nms", "qnms"):
    torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""


def main() -> None:
    """Write a module, and the file that has Python import it at its start."""
    folder = Path(sysconfig.get_path("purelib"))
    (folder / f"{NAME}.py").write_text(MODULE)
    (folder / f"{NAME}.pth").write_text(f"import {NAME}\n")


if __name__ == "__main__":
    main()
