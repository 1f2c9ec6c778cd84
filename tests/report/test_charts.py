import re
from xml.etree import ElementTree

import pytest

from c3l.report.charts import Dot, draw_histogram, draw_meter, draw_scatter, draw_share
from c3l.report.units import NATS


def test_histogram_bars_are_as_tall_as_their_counts() -> None:
    svg = draw_histogram([0.3, 0.3, 0.8], [0.3], (0.0, 0.5, 1.0), median=0.3, unit=NATS)
    heights = {kind: re.findall(rf'class="{kind}"[^>]*height="([\d.]+)"', svg) for kind in ("kept", "dropped")}
    assert len(heights["kept"]) == 2
    assert len(heights["dropped"]) == 1
    assert float(heights["kept"][0]) == pytest.approx(2 * float(heights["dropped"][0]), abs=0.2)
    assert float(heights["kept"][1]) == pytest.approx(float(heights["dropped"][0]), abs=0.2)


def test_histogram_of_a_single_value_is_drawn() -> None:
    root = ElementTree.fromstring(draw_histogram([0.0], [], (0.0, 1.0), median=0.0, unit=NATS))
    assert root.tag.endswith("svg")


def test_only_dots_with_a_place_in_the_gallery_are_links() -> None:
    svg = draw_scatter([Dot(3, 0.5, True, "p-1"), Dot(9, -0.5, False, None), Dot(9, -0.5, False, None)], NATS)
    root = ElementTree.fromstring(svg)
    assert [link.get("href") for link in root.iter("a")] == ["#p-1"]
    far = next(path for path in root.iter("path") if path.get("class") == "far dropped")
    assert far.get("d", "").count("M") == 1, "dots at one place are drawn once"


def test_an_anchor_cannot_leave_its_attribute() -> None:
    svg = draw_scatter([Dot(3, 0.5, True, '"><script>x</script>')], NATS)
    assert "<script" not in svg
    ElementTree.fromstring(svg)


def test_meter_grows_to_the_side_of_the_sign_and_stops_at_its_end() -> None:
    assert 'class="for" x="50" y="2" width="24.0"' in draw_meter(0.5, 1.0)
    assert 'class="against" x="26.0" y="2" width="24.0"' in draw_meter(-0.5, 1.0)
    assert 'width="48.0"' in draw_meter(7.0, 1.0)
    assert 'width="0.0"' in draw_meter(0.0, 0.0)


def test_share_is_a_percentage() -> None:
    assert 'class="went" width="25.0"' in draw_share(1, 4)
    assert 'class="went" width="0"' in draw_share(0, 0)
