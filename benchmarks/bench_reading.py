"""Rows a second and memory of reading a data set of LLaVA-1.5's size: ``python -m benchmarks.bench_reading``.

The rows are made up: as many as `llava_v1_5_mix665k.json` has, and about as long. Each file is read by a process of its
own, so that its memory is known.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.setting import WORDS, describe_machine
from c3l.data.formats import ConversationRow, read_conversations

ROWS = 665_298
TURNS, WORDS_A_TURN = 5, 9  # questions with answers a row, and words of each text: 0.8 kB a row
_BATCH = 5_000


def make_rows(count: int) -> Iterator[dict[str, Any]]:
    """Rows in LLaVA's layout, each of its own words."""
    rng = np.random.default_rng(0)
    for number in range(count):
        words = rng.choice(WORDS, (2 * TURNS, WORDS_A_TURN))
        texts = [" ".join(line) for line in words.tolist()]
        texts[0] = f"<image>\n{texts[0]}"
        turns = [{"from": ("human", "gpt")[place % 2], "value": text} for place, text in enumerate(texts)]
        yield {"id": str(number), "image": f"coco/train2017/{number:012}.jpg", "conversations": turns}


def write_json(path: Path, count: int) -> None:
    """One JSON list."""
    with path.open("w", encoding="utf-8") as file:
        for number, row in enumerate(make_rows(count)):
            file.write(("[" if number == 0 else ", ") + json.dumps(row))
        file.write("]")


def write_parquet(path: Path, count: int) -> None:
    """The same as a table."""
    import pyarrow
    from pyarrow import parquet

    rows = make_rows(count)
    writer = None
    while batch := list(islice(rows, _BATCH)):
        table = pyarrow.Table.from_pylist(batch)
        writer = writer or parquet.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()


def read(path: Path) -> None:
    """Read every row, and print how many were good, the seconds of a processor, and the process's memory in MB."""
    start = time.process_time()
    good = sum(isinstance(row, ConversationRow) for row in read_conversations(path))
    seconds = time.process_time() - start
    print(json.dumps({"good": good, "seconds": seconds, "peak": _find_peak()}))


def _find_peak() -> float:
    """The most memory that this process has had in MB; `getrusage` would begin with that of the process before it."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def main() -> None:
    """Print a table of both kinds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--read", type=Path, help="only read this file, and print the figures of it")
    arguments = parser.parse_args()
    if arguments.read:
        return read(arguments.read)
    print(f"## Reading\n\n`python -m benchmarks.bench_reading --rows {arguments.rows}`; {describe_machine()}\n")
    print("| file | rows | size, MB | CPU seconds | rows a CPU second | peak memory, MB |")
    print("|---|--:|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as folder:
        for name, write in {"data.json": write_json, "data.parquet": write_parquet}.items():
            path = Path(folder, name)
            write(path, arguments.rows)
            command = [sys.executable, "-m", "benchmarks.bench_reading", "--read", str(path)]
            done = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
            assert done["good"] == arguments.rows
            print(
                f"| `{path.suffix}` | {done['good']:,} | {path.stat().st_size / 1e6:,.0f} | {done['seconds']:.0f} "
                f"| {done['good'] / done['seconds']:,.0f} | {done['peak']:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
