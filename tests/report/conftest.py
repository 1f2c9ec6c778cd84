"""One browser for all tests of the page: it starts in seconds, and each test opens its own file in it."""

from collections.abc import Iterator

import pytest
from tests.report.browser import Browser, open_browser


@pytest.fixture(scope="session")
def started() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


@pytest.fixture
def browser(started: Browser) -> Browser:
    """With the window of a laptop, whatever the test before it asked for."""
    started.resize(1440, 900)
    started.prefer("light")
    return started
