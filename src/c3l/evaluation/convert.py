"""Predictions in the layouts of others, so that their scorers can read them; ids are theirs, nothing is scored."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from c3l.data.atomic import write_atomic
from c3l.evaluation.task import Benchmark, Item, Prediction

LLAVA, POPE = "llava_answers.jsonl", "pope_{split}_answers.jsonl"

Predictions = Mapping[str, Prediction]


def write_conversions(folder: Path, benchmark: Benchmark, predictions: Predictions, model: str) -> list[Path]:
    """Write ``llava_answers.jsonl``, and of POPE one ``question, answer`` file a split; choices have no text.

    Returns:
        What was written; nothing where the model only compared choices.
    """
    items = [item for item in benchmark.items if not item.choices]
    if not items:
        return []
    path = folder / LLAVA
    write_atomic(path, (json.dumps(row, ensure_ascii=False) for row in llava_answers(items, predictions, model)))
    return [path, *(_write_pope(folder, items, predictions) if benchmark.name == "pope" else ())]


def llava_answers(items: list[Item], predictions: Predictions, model: str) -> Iterator[dict[str, object]]:
    """The rows of LLaVA's ``model_vqa`` scripts; a question that failed has an empty answer."""
    for item in items:
        split, _, number = item.item_id.rpartition("/")
        yield {
            "question_id": int(number) if number.isdigit() else number,
            "prompt": item.prompt,
            "text": predictions[item.item_id].text,
            "answer_id": item.item_id,
            "model_id": model,
            "metadata": {"category": split} if split else {},
        }


def _write_pope(folder: Path, items: list[Item], predictions: Predictions) -> Iterator[Path]:
    splits = dict.fromkeys(item.item_id.rpartition("/")[0] for item in items)
    for split in splits:
        path = folder / POPE.format(split=split)
        mine = [item for item in items if item.item_id.rpartition("/")[0] == split]
        rows = ({"question": item.prompt, "answer": predictions[item.item_id].text} for item in mine)
        write_atomic(path, (json.dumps(row, ensure_ascii=False) for row in rows))
        yield path
