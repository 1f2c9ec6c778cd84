from collections.abc import Iterator
from dataclasses import replace

import pytest
from tests.report.fake_rounds import make_rounds
from tests.report.fake_run import make_contents

from c3l.errors import DataError
from c3l.records import ScoredPair
from c3l.report.build import render_report
from c3l.report.facts import read_facts, read_shown


class Passes:
    """Records that can be read from the beginning only, and know how often they were."""

    def __init__(self, records: list[ScoredPair]) -> None:
        self.records, self.times = records, 0

    def __iter__(self) -> Iterator[ScoredPair]:
        self.times += 1
        yield from self.records


def test_pairs_are_joined_by_id_whatever_the_order() -> None:
    contents = make_contents(3)
    shuffled = replace(contents, decisions=list(contents.decisions)[::-1])
    for pair in read_facts(shuffled).pairs:
        assert pair.decision is not None
        assert pair.decision.sample_id == pair.sample_id


def test_a_pair_without_a_decision_is_an_error_that_names_it() -> None:
    contents = make_contents(1)
    with pytest.raises(DataError, match=contents.decisions[-1].sample_id):
        read_facts(replace(contents, decisions=contents.decisions[:-1]))


def test_a_pair_about_an_unknown_picture_is_an_error() -> None:
    with pytest.raises(DataError, match="not in the run's list"):
        read_facts(replace(make_contents(1), images={}))


def test_a_pair_of_an_earlier_round_about_an_unknown_picture_is_an_error() -> None:
    contents = make_rounds(3)
    last = {one.sample.image_id for one in contents.scored}
    images = {image_id: image for image_id, image in contents.images.items() if image_id in last}
    with pytest.raises(DataError, match="not in the run's list"):
        read_facts(replace(contents, images=images))


def test_pairs_of_earlier_rounds_need_no_decision() -> None:
    contents = make_rounds(3)
    facts = read_facts(contents)
    assert len(facts.pairs) == len(contents.scored)
    assert {pair.decision for pair in facts.rounds[0]} == {None}


def test_only_what_is_asked_for_is_held() -> None:
    contents = make_rounds(3)
    draft, last = contents.earlier[4], contents.scored[2]
    ids = {draft.sample.sample_id, last.sample.sample_id}
    assert read_shown(contents, ids) == {one.sample.sample_id: one for one in (draft, last)}


def test_the_page_reads_every_pair_twice_and_no_more() -> None:
    contents = make_rounds(6)
    scored, earlier = Passes(list(contents.scored)), Passes(list(contents.earlier))
    page = render_report(replace(contents, scored=scored, earlier=earlier))
    assert page == render_report(contents)
    assert (scored.times, earlier.times) == (2, 2)
