"""Work ahead of the model, in batches that survive running out of memory."""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import groupby, islice
from typing import TypeVar

from c3l.errors import OutOfMemoryError

logger = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

THREADS = 4  # choice: decoding an image lets other threads run
AHEAD = 8  # choice: so many opened images are held beyond those of a batch


def map_ahead(work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """``map`` by threads that are a few items ahead of what is asked for, so that a model need not wait for images.

    Results come in the order of the items; what ``work`` raises is raised where its result would come, what ``items``
    raises at once.
    """
    waiting: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="ahead")
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def run_batches(
    items: Iterable[T],
    batch_size: int,
    run: Callable[[Sequence[T]], Sequence[R]],
    reject: Callable[[T, str], R],
    alike: Callable[[T], object] | None = None,
) -> Iterator[R]:
    """One result an item, in the order of the items, whatever the batches were.

    A batch for which ``run`` raises OutOfMemoryError is split in halves and both are tried again; an item
    that does not fit alone goes to ``reject``. The next batch starts from the full size again, because
    what did not fit was perhaps one large image. Items are read lazily, a batch at a time, so that they
    may hold opened images.

    Args:
        items: What to work on.
        batch_size: Upper bound on the items given to ``run``, >= 1.
        run: Works on one batch and returns one result an item, in order.
        reject: Makes the result of an item that does not fit alone, given the item and the error's message.
        alike: What is equal for items that share work; those of them that follow each other come into one batch, if
            one can hold them.

    Raises:
        ValueError: If ``run`` returns another number of results than it was given items.
    """
    for batch in _cut(items, batch_size, alike):
        yield from _run_or_halve(batch, run, reject)


def _cut(items: Iterable[T], size: int, alike: Callable[[T], object] | None) -> Iterator[list[T]]:
    batch: list[T] = []
    for _, group in groupby(items, key=alike or (lambda item: None)):
        while part := list(islice(group, size)):
            if len(batch) + len(part) > size:
                yield batch
                batch = []
            batch += part
            if len(batch) == size:
                yield batch
                batch = []
    if batch:
        yield batch


def _run_or_halve(
    batch: list[T],
    run: Callable[[Sequence[T]], Sequence[R]],
    reject: Callable[[T, str], R],
) -> Iterator[R]:
    try:
        results = run(batch)
    except OutOfMemoryError as error:
        message = str(error)  # the error itself would keep the failed batch's frames, and so its tensors
    else:
        if len(results) != len(batch):
            raise ValueError(f"got {len(results)} results for a batch of {len(batch)}, expected one an item")
        yield from results
        return
    if len(batch) == 1:
        logger.warning("out of memory with one item alone: %s", message)
        yield reject(batch[0], message)
        return
    half = len(batch) // 2
    logger.warning(
        "out of memory with %d items, trying again in halves (a smaller batch_size saves the time): %s",
        len(batch),
        message,
    )
    yield from _run_or_halve(batch[:half], run, reject)
    yield from _run_or_halve(batch[half:], run, reject)
