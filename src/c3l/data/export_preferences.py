"""Preferences as TRL, LLaMA-Factory and ms-swift read them, and back."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from c3l.data import parquet
from c3l.data.export_rows import JsonRow, PreferenceRow, write_messages
from c3l.data.export_text import split_lines, split_list
from c3l.errors import DataError
from c3l.markup.placeholders import PLACEHOLDER


def llamafactory_row(one: PreferenceRow) -> JsonRow:
    """In its sharegpt layout; ``ranking`` in `dataset_info.json` says that it is compared."""
    return {
        **_ids(one),
        "conversations": [{"from": "human", "value": PLACEHOLDER + one.prompt}],
        "chosen": {"from": "gpt", "value": one.chosen},
        "rejected": {"from": "gpt", "value": one.rejected},
        "images": [one.image.path],
        **one.scores,
    }


def swift_row(one: PreferenceRow) -> JsonRow:
    """A chat whose answer is the chosen one, and the other beside it."""
    return {
        **_ids(one),
        "messages": write_messages(PLACEHOLDER + one.prompt, one.chosen),
        "rejected_response": one.rejected,
        "images": [one.image.path],
        **one.scores,
    }


def trl_row(one: PreferenceRow) -> JsonRow:
    """Three chats of plain strings, into whose first TRL puts the image."""
    return {
        **_ids(one),
        "prompt": [{"role": "user", "content": one.prompt}],
        "chosen": [{"role": "assistant", "content": one.chosen}],
        "rejected": [{"role": "assistant", "content": one.rejected}],
        **one.scores,
    }


def _ids(one: PreferenceRow) -> JsonRow:
    return {"id": one.id, "rejected_id": one.rejected_id}


def read_llamafactory(path: Path) -> Iterator[JsonRow]:
    """The rows, each as `id`, `prompt`, `chosen`, `rejected` (chats) and `images`."""
    roles = {"human": "user", "gpt": "assistant"}
    for row in split_list(path):
        talks = {"prompt": row["conversations"], "chosen": [row["chosen"]], "rejected": [row["rejected"]]}
        chats = {
            name: [{"role": roles.get(turn["from"]), "content": turn["value"]} for turn in turns]
            for name, turns in talks.items()
        }
        yield {"id": row["id"], **chats, "images": row["images"]}


def read_swift(path: Path) -> Iterator[JsonRow]:
    """The same."""
    for row in map(json.loads, split_lines(path)):
        *prompt, chosen = row["messages"]
        rejected = {"role": "assistant", "content": row["rejected_response"]}
        yield {"id": row["id"], "prompt": prompt, "chosen": [chosen], "rejected": [rejected], "images": row["images"]}


def read_trl(path: Path) -> Iterator[JsonRow]:
    """The same, with the placeholder that TRL adds."""
    for row in parquet.read_parquet(path):
        first, *further = row["prompt"]
        shown = {**first, "content": PLACEHOLDER + first["content"]}
        yield {**row, "prompt": [shown, *further]}


def check_rows(path: Path, rows: Iterable[JsonRow]) -> None:
    """Look at each row.

    Raises:
        DataError: If there is not one image and one placeholder, before the question, if turns are not a question and
            two answers with text, or if the answers are the same.
    """
    for row in rows:
        turns = [*row["prompt"], *row["chosen"], *row["rejected"]]
        roles, texts = [turn["role"] for turn in turns], [turn["content"] for turn in turns]
        found, images = sum(text.count(PLACEHOLDER) for text in texts), len(row["images"])
        if images != 1 or found != 1 or not texts[0].startswith(PLACEHOLDER):
            raise DataError(f"{path}: row {row['id']} has {found} {PLACEHOLDER} for {images} images")
        texts[0] = texts[0].removeprefix(PLACEHOLDER)
        if roles != ["user", "assistant", "assistant"] or not all(
            one.replace(PLACEHOLDER, "").strip() for one in texts
        ):
            raise DataError(f"{path}: row {row['id']} has turns of {roles}, expected a question and two answers")
        if texts[1] == texts[2]:
            raise DataError(f"{path}: row {row['id']} prefers an answer to itself")
