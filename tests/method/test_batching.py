"""Batching: out of memory at any batch changes no result."""

import logging
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from c3l.errors import OutOfMemoryError
from c3l.method.batching import run_batches


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


def test_other_errors_and_missing_results_are_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        list(run_batches([0], 1, lambda batch: [1 // item for item in batch], lambda item, why: 0))
    with pytest.raises(ValueError, match="got 1 results for a batch of 2"):
        list(run_batches([1, 2], 2, lambda batch: [0], lambda item, why: 0))
