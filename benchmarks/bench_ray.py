"""What Ray costs and gives: ``python -m benchmarks.bench_ray``; a table.

The built-in LVLM writes about pictures and scores its pairs: in one process, by one Ray worker, and by two, each with
one thread. Whole commands, and the same bytes each time. Scoring is the figure that counts, as the workers are there by
then; writing has the start of Ray and of the workers in it.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.setting import describe_machine, draw_pictures

STAGES = ("draft/generated", "draft/scored")
SETTINGS = ("rounds=0", "generation.max_new_tokens=100", "generation.batch_size=4", "scoring.no_image=drop")
WAYS = {
    "local, one thread": (),
    "Ray, one worker": ("executor.name=ray", "executor.workers=1"),
    "Ray, two workers": ("executor.name=ray", "executor.workers=2"),
}


@dataclass(frozen=True, slots=True)
class Timed:
    """Seconds of each stage without loading the model, and a hash of what was made."""

    seconds: tuple[float, ...]
    made: str


def run(folder: Path, images: Path, shard_size: int, more: tuple[str, ...]) -> Timed:
    """One whole command."""
    command = [sys.executable, "-m", "c3l", "run", "--run", str(folder), "--image-root", str(images)]
    for setting in (*SETTINGS, f"shard_size={shard_size}", *more):
        command += ["--set", setting]
    told = subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    if told.returncode not in (0, 3):
        sys.exit(told.stderr)
    seconds = tuple(json.loads((folder / name / "stage.json").read_text())["seconds"] for name in STAGES)
    shards = (path.read_bytes() for name in STAGES for path in sorted((folder / name).glob("0*.jsonl")))
    return Timed(seconds, hashlib.sha256(b"".join(shards)).hexdigest()[:12])


def format_table(found: dict[str, Timed]) -> str:
    """Markdown: seconds, and how many times as fast as one Ray worker."""
    one = found["Ray, one worker"].seconds
    lines = [
        "| executor | writing, s | scoring, s | scoring, against one Ray worker | bytes |",
        "|---|--:|--:|--:|---|",
    ]
    for way, timed in found.items():
        rate = one[1] / timed.seconds[1]
        lines.append(f"| {way} | {timed.seconds[0]:.1f} | {timed.seconds[1]:.1f} | {rate:.2f}x | `{timed.made}` |")
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=32)
    parser.add_argument("--shard-size", type=int, default=4)
    arguments = parser.parse_args()
    print(f"## Ray\n\n`python -m benchmarks.bench_ray`; {describe_machine()}\n")
    with tempfile.TemporaryDirectory() as temporary:
        images = Path(temporary) / "images"
        images.mkdir()
        for number, picture in enumerate(draw_pictures(arguments.pictures)):
            picture.save(images / f"{number:03d}.png")
        found = {
            way: run(Path(temporary) / str(number), images, arguments.shard_size, more)
            for number, (way, more) in enumerate(WAYS.items())
        }
    print(format_table(found))
    one, local = found["Ray, one worker"].seconds[1], found["local, one thread"].seconds[1]
    print(f"\nOverhead of Ray while scoring: {(one - local) / local:+.1%} of a shard.")


if __name__ == "__main__":
    main()
