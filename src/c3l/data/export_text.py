"""The layouts that are plain text: a JSON list, or a row a line."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from c3l.data.export_rows import ExportRow, JsonRow, write_messages
from c3l.data.jsonrows import iterate_list
from c3l.data.rejection import BadRow
from c3l.errors import DataError
from c3l.markup.placeholders import PLACEHOLDER

# what data-juicer (SpecialTokens, Fields of 1.6) calls an image, the end of a chunk, and the numbers of a row
_DJ_IMAGE, _DJ_END, _DJ_STATS = "<__dj__image>", "<|__dj__eoc|>", "__dj__stats__"
_DJ_HUMAN, _DJ_GPT = "[[human]]: ", "\n[[gpt]]: "
_DJ_MARKS = (_DJ_IMAGE, _DJ_END, _DJ_HUMAN.strip(), _DJ_GPT.strip())


def llava_row(pair: ExportRow) -> JsonRow:
    """As LLaVA and its readers have it."""
    turns = [
        {"from": "human", "value": f"{PLACEHOLDER}\n{pair.question}"},
        {"from": "gpt", "value": pair.answer},
    ]
    return {"id": pair.id, "image": pair.image.path, "conversations": turns, **pair.scores}


def messages_row(pair: ExportRow) -> JsonRow:
    """As LLaMA-Factory and ms-swift read it."""
    messages = write_messages(PLACEHOLDER + pair.question, pair.answer)
    return {"id": pair.id, "messages": messages, "images": [pair.image.path], **pair.scores}


def data_juicer_row(pair: ExportRow) -> JsonRow:
    """As data-juicer's own converter writes a LLaVA row: one chunk of text, and the scores as its stats."""
    text = f"{_DJ_HUMAN}{_DJ_IMAGE}\n{pair.question}{_DJ_GPT}{pair.answer} {_DJ_END}"
    return {"id": pair.id, "images": [pair.image.path], "text": text, _DJ_STATS: {"i2c": pair.i2c, **pair.scores}}


def fits_data_juicer(pair: ExportRow) -> bool:
    """Whether nothing in the texts would be taken for a turn, an image or an end of data-juicer's."""
    return not any(mark in text for mark in _DJ_MARKS for text in (pair.question, pair.answer))


def to_list(rows: Iterable[JsonRow]) -> Iterator[str]:
    """Lines of a JSON list with one row a line, so that versions can be compared."""
    mark = "["
    for row in rows:
        yield mark + to_json(row)
        mark = ","
    yield "]" if mark == "," else "[]"


def to_json(row: JsonRow) -> str:
    """A row as one line."""
    return json.dumps(row, ensure_ascii=False, allow_nan=False)


def read_list(path: Path) -> Iterator[JsonRow]:
    """The rows of a JSON list, each as `id`, `messages`, `images`."""
    return map(unify, split_list(path))


def read_lines(path: Path) -> Iterator[JsonRow]:
    """The same of a file with a row a line."""
    return map(unify, map(json.loads, split_lines(path)))


def split_list(path: Path) -> Iterator[Any]:
    """The items of a JSON list, of a file of any size.

    Raises:
        ValueError: If it is not a whole list, or holds a row too long to be read.
    """
    try:
        for item in iterate_list(path):
            if isinstance(item, BadRow):
                raise ValueError(item.detail)
            yield item
    except DataError as error:
        raise ValueError(str(error)) from None


def split_lines(path: Path) -> Iterator[bytes]:
    """The lines without their ends, of a file of any size."""
    with path.open("rb") as file:
        for line in file:
            yield from line.splitlines()  # ends of other systems too


def read_data_juicer(path: Path) -> Iterator[JsonRow]:
    """The same of data-juicer's layout, its tokens in the place of the placeholder."""
    for row in map(json.loads, split_lines(path)):
        text = row["text"].removesuffix(f" {_DJ_END}")
        if not text.startswith(_DJ_HUMAN) or len(text) == len(row["text"]) or _DJ_END in text or not row[_DJ_STATS]:
            raise DataError(f"{path}: row {row['id']} is not one chunk of a question and an answer with its stats")
        question, _, answer = text.removeprefix(_DJ_HUMAN).partition(_DJ_GPT)
        both = (one.replace(_DJ_IMAGE, PLACEHOLDER) for one in (question, answer))
        yield {"id": row["id"], "messages": write_messages(*both), "images": row["images"]}


def read_ids(path: Path) -> Iterator[JsonRow]:
    """The ids, of which each is a row."""
    return ({"id": line.decode("utf-8")} for line in split_lines(path))


def unify(row: JsonRow) -> JsonRow:
    """A row of LLaVA's layout as `id`, `messages`, `images`; any other as it is."""
    if "conversations" not in row:
        return row
    roles = {"human": "user", "gpt": "assistant"}
    messages = [{"role": roles.get(turn["from"]), "content": turn["value"]} for turn in row["conversations"]]
    return {"id": row["id"], "messages": messages, "images": [row["image"]] if "image" in row else []}
