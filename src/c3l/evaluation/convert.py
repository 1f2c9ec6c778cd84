"""Predictions in the layouts of others, so that their scorers can read them; ids are theirs, nothing is scored."""

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from c3l.evaluation.mmbench import MMBench
from c3l.evaluation.pope import Pope
from c3l.evaluation.seed_bench import SeedBench
from c3l.evaluation.task import Benchmark, Item, Prediction
from c3l.storage.atomic import write_atomic

LLAVA, POPE, VLMEVALKIT = "llava_answers.jsonl", "pope_{split}_answers.jsonl", "vlmevalkit.tsv"

Predictions = Mapping[str, Prediction]


def write_conversions(folder: Path, benchmark: Benchmark, predictions: Predictions, model: str) -> list[Path]:
    """Write ``llava_answers.jsonl``, ``vlmevalkit.tsv`` where it knows the benchmark, and of POPE a file a split.

    Returns:
        What was written; nothing where the model only compared choices.
    """
    items = [item for item in benchmark.items if not item.choices]
    if not items:
        return []
    path = folder / LLAVA
    write_atomic(path, (json.dumps(row, ensure_ascii=False) for row in llava_answers(items, predictions, model)))
    written = [path]
    if isinstance(benchmark, Pope):
        written.extend(_write_pope(folder, items, predictions))
    if isinstance(benchmark, Pope | MMBench | SeedBench):
        written.append(_write_table(folder / VLMEVALKIT, list(vlmevalkit_rows(benchmark, predictions))))
    return written


def llava_answers(items: list[Item], predictions: Predictions, model: str) -> Iterator[dict[str, object]]:
    """The rows of LLaVA's ``model_vqa`` scripts; a question that failed has an empty answer."""
    for item in items:
        split, _, number = item.item_id.rpartition("/")
        yield {
            "question_id": int(number) if number.isdigit() else number,
            "prompt": item.prompt,
            "text": predictions[item.item_id].text.strip(),
            "answer_id": item.item_id,
            "model_id": model,
            "metadata": {"category": split} if split else {},
        }


def vlmevalkit_rows(benchmark: Pope | MMBench | SeedBench, predictions: Predictions) -> Iterator[dict[str, str]]:
    """The rows of VLMEvalKit's prediction tables; ``question`` is the whole prompt.

    POPE's rows are numbered, as its ids begin again in every split; it is scored from the table alone. Multiple choice
    is looked up by ``index`` in VLMEvalKit's own file: MMBench's is the same, SEED-Bench's has only the image part.
    """
    for number, (item, known) in enumerate(zip(benchmark.items, benchmark.describe(), strict=True)):
        yield {"index": str(number), **known, "prediction": predictions[item.item_id].text}


def _write_table(path: Path, rows: list[dict[str, str]]) -> Path:
    text = io.StringIO()
    columns = list(dict.fromkeys(name for row in rows for name in row))
    # a line break is quoted only if the terminator has it, and answers have both kinds
    table = csv.DictWriter(text, columns, restval="", delimiter="\t", lineterminator="\r\n")
    table.writeheader()
    table.writerows(rows)
    write_atomic(path, text.getvalue())
    return path


def _write_pope(folder: Path, items: list[Item], predictions: Predictions) -> Iterator[Path]:
    splits = dict.fromkeys(item.item_id.rpartition("/")[0] for item in items)
    for number, split in enumerate(splits):
        name = re.sub(r"[^\w.-]+", "_", split)[:60]
        path = folder / POPE.format(split=name if name == split else f"{number}_{name}")
        mine = [item for item in items if item.item_id.rpartition("/")[0] == split]
        rows = ({"question": item.prompt, "answer": predictions[item.item_id].text.strip()} for item in mine)
        write_atomic(path, (json.dumps(row, ensure_ascii=False) for row in rows))
        yield path
