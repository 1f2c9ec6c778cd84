"""Work ahead in order, and batches: out of memory at any of them changes no result."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from threading import Barrier

import pytest
from hypothesis import given
from hypothesis import strategies as st

from c3l.errors import OutOfMemoryError
from c3l.method.batching import AHEAD, THREADS, map_ahead, run_batches


def square_if_room(capacity: int) -> tuple[list[int], object]:
    tried: list[int] = []

    def run(batch: Sequence[int]) -> list[str]:
        tried.append(len(batch))
        if sum(batch) > capacity:
            raise OutOfMemoryError(f"need {sum(batch)}")
        return [str(item * item) for item in batch]

    return tried, run


@given(st.lists(st.integers(0, 9)), st.integers(1, 8), st.integers(0, 20))
def test_results_come_in_order_and_only_what_does_not_fit_alone_is_rejected(
    items: list[int], batch_size: int, capacity: int
) -> None:
    _, run = square_if_room(capacity)
    results = list(run_batches(iter(items), batch_size, run, lambda item, why: f"{item}: {why}"))
    assert results == [str(item * item) if item <= capacity else f"{item}: need {item}" for item in items]


def test_halves_are_tried_and_each_retry_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    tried, run = square_if_room(2)
    with caplog.at_level(logging.WARNING):
        results = list(run_batches([1, 1, 1, 1, 1], 4, run, lambda item, why: "oom"))
    assert results == ["1"] * 5
    assert tried == [4, 2, 2, 1]
    assert len(caplog.records) == 1


def test_items_are_read_a_batch_at_a_time() -> None:
    read: list[int] = []
    results = run_batches((read.append(n) or n for n in range(9)), 3, list, lambda item, why: item)
    assert next(results) == 0
    assert read == [0, 1, 2]


@given(st.lists(st.integers(0, 2)), st.integers(1, 5))
def test_what_is_alike_is_cut_only_where_it_does_not_fit(items: list[int], batch_size: int) -> None:
    batches: list[Sequence[int]] = []

    def run(batch: Sequence[int]) -> Sequence[int]:
        batches.append(batch)
        return batch

    assert list(run_batches(items, batch_size, run, lambda item, why: item, alike=lambda item: item)) == items
    assert all(0 < len(batch) <= batch_size for batch in batches)
    for before, after in pairwise(batches):
        if before[-1] == after[0]:  # one run of equals is in both: it filled the first from its very beginning
            assert len(before) == batch_size
            assert set(before) == {after[0]}


def test_other_errors_and_missing_results_are_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        list(run_batches([0], 1, lambda batch: [1 // item for item in batch], lambda item, why: 0))
    with pytest.raises(ValueError, match="got 1 results for a batch of 2"):
        list(run_batches([1, 2], 2, lambda batch: [0], lambda item, why: 0))


def test_work_runs_ahead_in_the_order_of_the_items_and_no_further_than_it_may() -> None:
    started: list[int] = []
    results = map_ahead(lambda n: started.append(n) or n * n, iter(range(100)))
    assert not started
    assert next(results) == 0
    wait_until(lambda: len(started) == AHEAD + 1)
    assert list(results) == [n * n for n in range(1, 100)]


def test_an_error_is_raised_where_its_result_would_come() -> None:
    results = map_ahead(lambda n: 1 // (n - 2), range(9))
    assert [next(results), next(results)] == [-1, -1]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_several_items_are_worked_on_at_once() -> None:
    together = Barrier(THREADS, timeout=200)
    assert len(list(map_ahead(lambda _: together.wait(), range(THREADS)))) == THREADS


def test_who_stops_asking_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    results = map_ahead(str, range(1000))
    next(results)
    results.close()
    assert threading.active_count() == before


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 200
    while not true() and time.monotonic() < deadline:
        time.sleep(0.001)
    assert true()
