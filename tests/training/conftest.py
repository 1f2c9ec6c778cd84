"""Tunings of tiny models, which need not be tried out each time."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def _tried_once(tried_once: None) -> None:
    """As the fixture of that name."""
