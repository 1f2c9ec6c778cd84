from dataclasses import replace

import pytest
from tests.report.fake_rounds import make_rounds
from tests.report.fake_run import make_contents

from c3l.errors import DataError
from c3l.report.contents import join_pairs


def test_pairs_are_joined_by_id_whatever_the_order() -> None:
    contents = make_contents(3)
    shuffled = replace(contents, decisions=list(contents.decisions)[::-1])
    for pair in join_pairs(shuffled):
        assert pair.decision.sample_id == pair.scored.sample.sample_id


def test_a_pair_without_a_decision_is_an_error_that_names_it() -> None:
    contents = make_contents(1)
    with pytest.raises(DataError, match=contents.decisions[-1].sample_id):
        join_pairs(replace(contents, decisions=contents.decisions[:-1]))


def test_a_pair_about_an_unknown_picture_is_an_error() -> None:
    with pytest.raises(DataError, match="not in the run's list"):
        join_pairs(replace(make_contents(1), images={}))


def test_a_pair_of_an_earlier_round_about_an_unknown_picture_is_an_error() -> None:
    contents = make_rounds(3)
    last = {one.sample.image_id for one in contents.scored}
    images = {image_id: image for image_id, image in contents.images.items() if image_id in last}
    with pytest.raises(DataError, match="not in the run's list"):
        join_pairs(replace(contents, images=images))


def test_pairs_of_earlier_rounds_need_no_decision() -> None:
    contents = make_rounds(3)
    assert len(join_pairs(contents)) == len(contents.scored)
