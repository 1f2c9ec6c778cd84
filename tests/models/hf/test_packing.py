"""Trees of rows that begin alike: held against a walk token by token, and what many tokens of an image cost them."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from c3l.models.hf import packing
from c3l.models.hf.packing import RowPath, pack
from c3l.models.hf.sight import Sight

IMAGE = 9
ROWS = st.lists(st.tuples(st.lists(st.sampled_from([1, 2, IMAGE]), min_size=1, max_size=7), st.integers(1, 2)))


def walk(rows):
    """Token by token: the tree's tokens with their parents, and the places of each row."""
    children, tokens, places = {}, [], []
    for ids, image in rows:
        last = max((place for place, token in enumerate(ids) if token == IMAGE), default=-1)
        path, parent = [], -1
        for token in ids:
            key = parent, token, (image, tuple(ids[: last + 1])) if token == IMAGE else None
            if key not in children:
                children[key] = len(tokens)
                tokens.append((token, parent))
            parent = children[key]
            path.append(parent)
        places.append(tuple(path))
    return tokens, places


@settings(max_examples=300, deadline=None)
@given(ROWS.filter(bool), st.booleans())
def test_rows_share_what_a_walk_token_by_token_shares(rows, whole):
    tokens, places = walk(rows)
    standing = [np.array([[10 * len(ids[:n]), image] for n in range(len(ids))]).T for ids, image in rows]
    paths = [RowPath(tuple(ids), image, at, whole) for (ids, image), at in zip(rows, standing, strict=True)]
    [(packed, _)] = pack(paths, [0] * len(rows), IMAGE, pad=0)
    assert packed.ids.tolist() == [[token for token, _ in tokens]]
    assert packed.rows == tuple((0, path) for path in places)
    of_rows = [dict(zip(path, at.T.tolist(), strict=True)) for path, at in zip(places, standing, strict=True)]
    first = {place: at for row in reversed(of_rows) for place, at in row.items()}
    assert packed.positions[:, 0].T.tolist() == [first[place] for place in range(len(tokens))]
    begun = [-1] * len(tokens)  # the first token of an image that is seen whole
    for place, (token, parent) in enumerate(tokens):
        if token == IMAGE and whole:
            begun[place] = begun[parent] if parent >= 0 and begun[parent] >= 0 else place
    assert packed.sight.pictures.tolist() == [begun]


def test_an_image_that_is_in_the_tree_is_not_walked_again():
    """Thousands of tokens for a large image are passed over at once."""
    lead = (1, *[IMAGE] * 4000, 2)
    one, five = ([RowPath((*lead, question, 3), 1) for question in range(10, 10 + count)] for count in (1, 5))
    assert count_lines(five) - count_lines(one) < 1000


def count_lines(paths) -> int:
    """How many lines of the packing are run for these rows."""
    lines = []

    def watch(frame, event, _):
        if frame.f_code.co_filename != packing.__file__ or frame.f_code.co_name == "_collate":
            return None
        lines.append(event)
        return watch

    before = sys.gettrace()
    sys.settrace(watch)
    try:
        list(pack(paths, [0] * len(paths), IMAGE, pad=0))
    finally:
        sys.settrace(before)
    return len(lines)


def test_a_batch_holds_no_more_trees_than_its_mask_has_room_for(monkeypatch):
    monkeypatch.setattr(packing, "MOST", 250)
    paths = [RowPath(tuple(range(10)), 0) for _ in range(5)]
    assert [numbers for _, numbers in pack(paths, range(5), None, pad=0)] == [[0, 1], [2, 3], [4]]
    assert [len(numbers) for _, numbers in pack(paths, range(5), None, pad=0, split=False)] == [5]
    monkeypatch.setattr(packing, "MOST", 1)
    assert len(list(pack(paths, range(5), None, pad=0))) == 5  # each has its own, whatever its size


@pytest.mark.parametrize("window", [None, 7])
def test_a_table_is_made_for_some_tokens_at_a_time(window, monkeypatch):
    paths = [RowPath((1, *[IMAGE] * 1500, *[question] * 50), 1, whole_images=True) for question in (2, 3, 4)]
    [(packed, _)] = pack([*paths, *paths], [0, 0, 0, 1, 1, 1], IMAGE, pad=0)
    sees, asked = Sight.sees, []

    def watch(*given):
        asked.append(sees(*given))
        return asked[-1]

    monkeypatch.setattr(Sight, "sees", watch)
    table = packed.sight.table(window)
    assert max(found.numel() for found in asked) <= table.numel() * 0.8
    places = packed.sight.begins.new_tensor(range(table.shape[-1]))
    for tree in (0, 1):
        whole = sees(packed.sight, places.new_tensor(tree), places[:, None], places[None], window)
        assert table[tree, 0].equal(whole)
