"""The questions of a benchmark in blocks, each asked as one shard."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from c3l.evaluation.pictures import open_item_image
from c3l.evaluation.predict import predict
from c3l.evaluation.task import Item, Prediction
from c3l.executors.interface import ShardTask
from c3l.models.interface import InferenceModel


def split_items(items: Sequence[Item], size: int) -> Iterator[tuple[Item, ...]]:
    """Items in blocks of about that size; those about one picture that follow each other stay together."""
    block: list[Item] = []
    for _, about_one in groupby(items, key=lambda item: item.image):
        if len(block) >= size:
            yield tuple(block)
            block = []
        block += about_one
    if block:
        yield tuple(block)


@dataclass(frozen=True, slots=True)
class Asked:
    """Questions of a benchmark, where their pictures lie, and how many tokens an answer may have."""

    items: tuple[Item, ...]
    root: Path
    max_new_tokens: int


def ask_items(task: ShardTask, load: Callable[[], InferenceModel]) -> Iterator[Prediction]:
    """The predictions for some questions, which are the input."""
    asked, rules = task.inputs, task.config
    yield from predict(
        asked.items,
        load(),
        lambda image: open_item_image(asked.root, image, rules.images),
        max_new_tokens=asked.max_new_tokens,
        batch_size=rules.evaluation.batch_size,
        blind=rules.evaluation.blind,
    )
