"""How many images should go through the vision encoder at once: ``python -m benchmarks.bench_encoding``.

The tower of the built-in LVLM, images of 224 and 768 pixels; what `TOGETHER` of `c3l.models.hf.vision` rests on.
"""

import sys

import numpy as np
import torch

from benchmarks.setting import PIXELS, describe_machine, draw_pictures, load, now, parse_arguments
from c3l.models.hf import vision
from c3l.models.hf.encoding import ChatEncoder

IMAGES = {49: 32, 576: 8}  # by their number of tokens


@torch.inference_mode()
def measure(image_tokens: int, together: int, repetitions: int, dtype: torch.dtype) -> float:
    """Milliseconds an image, median."""
    model, processor = load(image_tokens, dtype)
    encoder = ChatEncoder(processor, model)
    seeing = vision.VisionEncoder(model, encoder)
    seeing.batches = True
    images = [encoder.encode_prompt("Is it?", image).vision for image in draw_pictures(IMAGES[image_tokens])]
    vision.TOGETHER = together * images[0]["pixel_values"].nbytes
    seeing.encode_all(images)  # warm-up
    times = []
    for _ in range(repetitions):
        start = now()
        seeing.encode_all(images)
        times.append((now() - start) / len(images))
    return 1000 * float(np.median(times))


def main() -> None:
    """Print the table."""
    arguments = parse_arguments(__doc__)
    command = " ".join(["python -m benchmarks.bench_encoding", *sys.argv[1:]])
    print(f"## Encoding images together\n\n`{command}`; {describe_machine()}\n")
    print("| pixels a side | together | ms an image |\n|--:|--:|--:|")
    for image_tokens, most in IMAGES.items():
        for together in (1, 2, 4, 8, 16):
            if together <= most:
                took = measure(image_tokens, together, arguments.repetitions, getattr(torch, arguments.dtype))
                print(f"| {PIXELS[image_tokens]} | {together} | {took:.1f} |", flush=True)


if __name__ == "__main__":
    main()
