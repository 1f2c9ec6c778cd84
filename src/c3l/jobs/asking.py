"""The questions of a benchmark in blocks, each asked as one shard."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

from PIL.Image import Image

from c3l.data.same_images import find_other
from c3l.errors import BadImageError, StaleStageError
from c3l.evaluation.pictures import IMAGE_ROOT, check_images, open_item_image, read_signature, sign_item_image
from c3l.evaluation.predict import predict
from c3l.evaluation.reading import find_image_root
from c3l.evaluation.task import Benchmark, Item, Prediction
from c3l.executors.choose import make_executor
from c3l.executors.interface import LoadModel, ShardTask, in_order
from c3l.models.interface import InferenceModel
from c3l.progress import Progress
from c3l.records import Provenance, to_json
from c3l.settings.evaluation import BenchmarkConfig
from c3l.settings.schema import RunConfig
from c3l.storage.journal import append_lines

PREDICTIONS = "predictions.jsonl"
_SYNC_EVERY = 32  # predictions that a kill loses at most


def split_items(items: Sequence[Item], size: int) -> Iterator[tuple[Item, ...]]:
    """Items in blocks of about that size; those about one image come together, wherever they stand."""
    by_image: dict[str, list[Item]] = {}
    for item in items:
        by_image.setdefault(item.image, []).append(item)
    block: list[Item] = []
    for about_one in by_image.values():
        if len(block) >= size:
            yield tuple(block)
            block = []
        block += about_one
    if block:
        yield tuple(block)


@dataclass(frozen=True, slots=True)
class Asked:
    """Questions of a benchmark.

    Attributes:
        items: They.
        root: Where their images lie.
        max_new_tokens: How long an answer may be.
        told: By prompt, what the model is known to write without an image.
    """

    items: tuple[Item, ...]
    root: Path
    max_new_tokens: int
    told: Mapping[str, str]


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
        told=asked.told,
    )


@dataclass(frozen=True, slots=True)
class Rest:
    """The questions that have no answer yet.

    Attributes:
        task: The benchmark's name.
        items: They.
        total: How many questions there are with those that have one.
        root: Where their images lie.
        max_new_tokens: How long an answer may be.
        path: The file that answers go to.
    """

    task: str
    items: tuple[Item, ...]
    total: int
    root: Path
    max_new_tokens: int
    path: Path

    @property
    def shows(self) -> dict[str, str]:
        """The image of each question."""
        return {item.item_id: item.image for item in self.items}


def find_rest(
    out: Path, task: BenchmarkConfig, benchmark: Benchmark, made: Mapping[str, Prediction], config: RunConfig
) -> Rest | None:
    """What has no answer yet, or failed, unless its image still does not open; None if nothing is left.

    Raises:
        StaleStageError: If there are answers about other images of the same names.
    """
    root = find_image_root(task)
    answered = {item.image: made[item.item_id].picture for item in benchmark.items if item.item_id in made}
    seen = [read_signature(image, picture) for image, picture in answered.items() if picture]
    if other := find_other(seen, root, config.images.follow_links, may_be_gone=True):
        raise StaleStageError(
            f"{out} has answers about another {other[0]} than that under {root}; set {IMAGE_ROOT} back, or choose "
            "another --out"
        )

    def opener(image: str) -> Image:
        return open_item_image(root, image, config.images)

    rest = tuple(item for item in benchmark.items if _is_to_ask(item, made, opener))
    if not rest:
        return None
    check_images(benchmark.items, root, config.max_error_rate, config.images.follow_links)
    return Rest(task.task, rest, len(benchmark.items), root, answer_length(benchmark, config), out / PREDICTIONS)


def ask_rest(
    rest: Rest,
    begin: Callable[[Provenance], None],
    config: RunConfig,
    progress: Progress,
    load: LoadModel | None,
) -> None:
    """Ask what is left, and write the answers as they come."""
    shows = rest.shows
    sign = cache(partial(sign_item_image, rest.root, links=config.images.follow_links))
    size = max(_SYNC_EVERY, config.evaluation.batch_size)
    heard = _Heard(rest.items)
    tasks = (
        ShardTask(rest.task, number, 0, config, Asked(items, rest.root, rest.max_new_tokens, heard.tell(items)))
        for number, items in enumerate(split_items(rest.items, size))
    )
    with (
        closing(make_executor(config.executor, load)) as executor,
        progress.track(rest.task, "questions", rest.total, rest.total - len(rest.items)) as advance,
    ):
        for result in in_order(executor.run(ask_items, tasks, lambda count: None)):
            if result.shard == 0:
                assert result.provenance is not None, "a model was asked"
                begin(result.provenance)
            heard.add(result.records)
            signed = [one if one.failed else replace(one, picture=sign(shows[one.item_id])) for one in result.records]
            append_lines(rest.path, map(to_json, signed))
            advance(len(signed))


class _Heard:
    """What was written without an image so far, for prompts that are asked about several images."""

    def __init__(self, items: Sequence[Item]) -> None:
        count = Counter(item.prompt for item in items if not item.choices)
        self._asked = {item.item_id: item.prompt for item in items if count[item.prompt] > 1}
        self._told: dict[str, str] = {}

    def tell(self, items: Sequence[Item]) -> dict[str, str]:
        """By prompt, what is known for these items."""
        return {item.prompt: self._told[item.prompt] for item in items if item.prompt in self._told}

    def add(self, predictions: Sequence[Prediction]) -> None:
        """Take in what was written."""
        for one in predictions:
            if one.item_id in self._asked and one.blind_text is not None and not one.blind_failed:
                self._told[self._asked[one.item_id]] = one.blind_raw or one.blind_text


def _is_to_ask(item: Item, made: Mapping[str, Prediction], opener: Callable[[str], Image]) -> bool:
    if item.item_id not in made:
        return True
    if not (made[item.item_id].failed or made[item.item_id].blind_failed):
        return False
    try:
        opener(item.image)
    except BadImageError:
        return False
    return True


def answer_length(benchmark: Benchmark, config: RunConfig) -> int:
    """How long an answer may be, in tokens."""
    return config.evaluation.max_new_tokens or benchmark.max_new_tokens
