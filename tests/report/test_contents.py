from dataclasses import replace

import pytest
from tests.report.fake_run import make_contents

from c3l.errors import DataError
from c3l.report.contents import join_pairs


def test_pairs_are_joined_by_id_whatever_the_order() -> None:
    contents = make_contents(3)
    shuffled = replace(contents, selected=list(contents.selected)[::-1])
    for pair in join_pairs(shuffled):
        assert pair.decision.sample_id == pair.scored.sample.sample_id


def test_a_pair_without_a_decision_is_an_error_that_names_it() -> None:
    contents = make_contents(1)
    with pytest.raises(DataError, match=contents.selected[-1].sample_id):
        join_pairs(replace(contents, selected=contents.selected[:-1]))


def test_a_pair_about_an_unknown_picture_is_an_error() -> None:
    with pytest.raises(DataError, match="not in the run's list"):
        join_pairs(replace(make_contents(1), images={}))
