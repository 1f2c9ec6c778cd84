from dataclasses import replace

from tests.report.fake_run import make_contents

from c3l.records import ImageRef
from c3l.report import gallery
from c3l.report.contents import join_pairs
from c3l.report.gallery import build_gallery, choose_pictures, group_by_image


def test_all_pictures_are_shown_in_their_order_when_they_fit() -> None:
    contents = make_contents(7)
    view = build_gallery(contents, join_pairs(contents))
    assert [card.image.image_id for card in view.cards] == list(contents.images)
    assert view.shown_pairs == view.total_pairs == 35


def test_pairs_stand_by_rank() -> None:
    contents = make_contents(2)
    for card in build_gallery(contents, join_pairs(contents)).cards:
        assert [pair.decision.rank for pair in card.pairs] == [1, 2, 3, 4, 5]


def test_above_the_limit_best_median_and_worst_are_chosen() -> None:
    contents = make_contents(31)
    groups = group_by_image(contents.images, join_pairs(contents))
    means = {image_id: sum(p.scored.i2c for p in pairs) / len(pairs) for image_id, pairs in groups.items()}
    ordered = sorted(means, key=lambda image_id: -means[image_id])
    assert set(choose_pictures(groups, 9)) == {*ordered[:3], *ordered[-3:], *ordered[14:17]}


def test_the_limit_holds_when_the_three_kinds_overlap() -> None:
    contents = make_contents(5)
    groups = group_by_image(contents.images, join_pairs(contents))
    for limit in range(1, 6):
        chosen = choose_pictures(groups, limit)
        assert len(chosen) == len(set(chosen)) == limit


def test_the_gallery_stops_growing_at_its_size(monkeypatch) -> None:
    contents = make_contents(20)
    monkeypatch.setattr(gallery, "MAX_CHARACTERS", 100_000)
    view = build_gallery(contents, join_pairs(contents))
    assert 0 < len(view.cards) < 20
    assert view.total == 20


def test_a_picture_that_cannot_be_opened_leaves_a_line_of_text() -> None:
    def fail(image: ImageRef) -> bytes:
        raise FileNotFoundError(image.path)

    contents = replace(make_contents(1), open_thumbnail=fail)
    card = build_gallery(contents, join_pairs(contents)).cards[0]
    assert card.picture is None
    assert "photos/harbour-0000.jpg" in card.problem
