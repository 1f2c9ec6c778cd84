"""Lets a torchvision that is of another build than torch be imported: ``python tests/mend_torchvision.py``.

vLLM imports it and calls none of its operators; those of a build for CUDA cannot be loaded beside a torch for the CPU,
and then the import itself fails where they are named. So they are named beforehand, whenever this Python starts.
"""

import sysconfig
from pathlib import Path

LINE = (
    "import torch; [torch.library.define(f'torchvision::{name}', "
    "'(Tensor dets, Tensor scores, float iou_threshold) -> Tensor') for name in ('nms', 'qnms')]\n"
)


def main() -> None:
    """Write the line where Python reads it at its start."""
    (Path(sysconfig.get_path("purelib")) / "torchvision_operators.pth").write_text(LINE)


if __name__ == "__main__":
    main()
