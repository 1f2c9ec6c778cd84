"""What axe-core finds on the page; it is a test's tool only: ``npm install --no-save --prefix build axe-core``."""

from pathlib import Path
from typing import Literal

import pytest
from tests.report.browser import Browser, needs_browser
from tests.report.fake_rounds import make_rounds

from c3l.report.build import write_report

AXE = Path(__file__).parents[2] / "build" / "node_modules" / "axe-core" / "axe.min.js"
VIOLATIONS = """axe.run(document, { resultTypes: ["violations"] }).then((found) => found.violations.map((one) =>
  [one.impact, one.id, one.nodes[0].html.slice(0, 200)]))"""

pytestmark = [
    needs_browser,
    pytest.mark.skipif(not AXE.exists(), reason=f"no {AXE}: npm install --no-save --prefix build axe-core"),
]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("axe") / "report.html"
    write_report(path, make_rounds(4))
    return path


def find_violations(browser: Browser, page: Path) -> list[list[str]]:
    browser.open(page)
    browser.evaluate(AXE.read_text(encoding="utf-8") + "; 0")
    found: list[list[str]] = browser.evaluate(VIOLATIONS)
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(1366, 768), (375, 812)])
def test_axe_finds_nothing(
    browser: Browser, page: Path, width: int, height: int, scheme: Literal["light", "dark"]
) -> None:
    browser.resize(width, height, phone=width < 400)
    browser.prefer(scheme)
    assert find_violations(browser, page) == []


def test_axe_would_find_something(browser: Browser, page: Path, tmp_path: Path) -> None:
    broken = page.read_text(encoding="utf-8").replace(' alt="', ' data-alt="').replace('<html lang="en">', "<html>")
    (tmp_path / "broken.html").write_text(broken, encoding="utf-8")
    assert {rule for _, rule, _ in find_violations(browser, tmp_path / "broken.html")} >= {"image-alt", "html-has-lang"}
