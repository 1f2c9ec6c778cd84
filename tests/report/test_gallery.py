from dataclasses import replace

from tests.report.fake_rounds import make_rounds
from tests.report.fake_run import make_contents

from c3l.records import ImageRef
from c3l.report import gallery
from c3l.report.build import gather
from c3l.report.contents import ReportContents
from c3l.report.facts import read_facts
from c3l.report.gallery import GalleryView, choose_images, mean_of_images


def build(contents: ReportContents) -> GalleryView:
    return gather(contents).gallery


def test_all_pictures_are_shown_in_their_order_when_they_fit() -> None:
    contents = make_contents(7)
    view = build(contents)
    assert [card.image.image_id for card in view.cards] == list(contents.images)
    assert view.shown_pairs == view.total_pairs == 35


def test_pairs_stand_by_rank() -> None:
    contents = make_contents(2)
    for card in build(contents).cards:
        assert [pair.decision.rank for pair in card.pairs] == [1, 2, 3, 4, 5]


def test_above_the_limit_best_median_and_worst_are_chosen() -> None:
    contents = make_contents(31)
    means = mean_of_images(contents, read_facts(contents))
    first = contents.scored[:5]
    assert means[first[0].sample.image_id] == sum(one.i2c for one in first) / 5
    ordered = sorted(means, key=lambda image_id: -means[image_id])
    assert set(choose_images(means, 9)) == {*ordered[:3], *ordered[-3:], *ordered[14:17]}


def test_the_limit_holds_when_the_three_kinds_overlap() -> None:
    means = {str(number): number / 10 for number in range(5)}
    for limit in range(1, 6):
        chosen = choose_images(means, limit)
        assert len(chosen) == len(set(chosen)) == limit


def test_the_pictures_of_the_pairs_above_come_first_in_a_limited_gallery() -> None:
    means = {str(number): number / 10 for number in range(12)}
    assert choose_images(means, 5, ["5", "3", "5"]) == ["5", "3", "11", "0", "6"]
    gathered = gather(make_contents(60, gallery_limit=30))
    shown = {pair.anchor for card in gathered.gallery.cards for pair in card.pairs}
    examples = gathered.examples
    assert {one.anchor for one in (*examples.kept, *examples.dropped, *examples.most, *examples.least)} <= shown


def test_what_was_rejected_stands_with_its_picture() -> None:
    first, second = build(make_contents(2)).cards
    assert [one.reason for one in first.lost] == ["unparsable", *["duplicate_question"] * 4, "non_finite"]
    assert list(second.lost) == []


def test_the_gallery_stops_growing_at_its_size(monkeypatch) -> None:
    contents = make_contents(20)
    monkeypatch.setattr(gallery, "MAX_CHARACTERS", 450_000)
    view = build(contents)
    assert 0 < len(view.cards) < 20
    assert view.total == 20


def test_a_picture_that_cannot_be_opened_leaves_a_line_of_text() -> None:
    def fail(image: ImageRef) -> bytes:
        raise FileNotFoundError(image.path)

    contents = replace(make_contents(1), open_thumbnail=fail)
    card = build(contents).cards[0]
    assert card.picture is None
    assert "photos/harbour-0000.jpg" in card.problem


def test_a_run_of_one_round_has_no_columns() -> None:
    contents = make_contents(3)
    view = build(contents)
    assert all(card.columns == () for card in view.cards)
    assert view.total_draft == view.shown_draft == 0


def test_the_draft_stands_beside_the_last_round_of_the_same_picture() -> None:
    contents = make_rounds(6, rounds=2)
    for card in build(contents).cards:
        assert [column.label for column in card.columns] == ["Draft", "Refined (round 2)"]
        assert card.columns[1].pairs == card.pairs
        of_picture = {
            f"p-{one.sample.sample_id}": one
            for one in contents.earlier
            if one.sample.image_id == card.image.image_id and one.sample.round == 0
        }
        assert {pair.anchor for pair in card.columns[0].pairs} == set(of_picture)


def test_the_draft_is_ranked_by_its_own_scores_and_nothing_is_decided_about_it() -> None:
    contents = make_rounds(4)
    i2c = {f"p-{one.sample.sample_id}": one.i2c for one in contents.earlier}
    drafts = [card.columns[0].pairs for card in build(contents).cards]
    assert sum(map(len, drafts)) == 15
    for pairs in drafts:
        assert [pair.rank for pair in pairs] == list(range(1, len(pairs) + 1))
        assert [i2c[pair.anchor] for pair in pairs] == sorted((i2c[pair.anchor] for pair in pairs), reverse=True)
        assert {pair.decision for pair in pairs} <= {None}


def test_a_picture_with_pairs_of_the_draft_only_has_a_card() -> None:
    contents = make_rounds(4)
    card = build(contents).cards[2]
    assert [len(column.pairs) for column in card.columns] == [5, 0]
    assert (card.pairs, card.highest, card.lowest) == ((), None, None)
    assert card.columns[1].mean == ""


def test_pairs_of_the_draft_count_towards_the_size(monkeypatch) -> None:
    contents = make_rounds(20)
    monkeypatch.setattr(gallery, "MAX_CHARACTERS", 450_000)
    alone = build(replace(contents, earlier=[]))
    assert len(build(contents).cards) < len(alone.cards)
