"""What `c3l show` prints, and how little of a run it holds for that."""

import pytest

from c3l.cli import tables
from held import Held
from runs import Loader, draw_pictures, make_config, make_fake_model, walk


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("C3L_CACHE", str(tmp_path / "cache"))
    root, model = draw_pictures(tmp_path / "pictures"), make_fake_model(tmp_path / "model")
    config = make_config(tmp_path / "run", root, model)
    walk(config, Loader())
    return tables.Run.reader(config.run)


def test_the_list_of_images_holds_the_tokens_of_few_pairs_at_once(run, monkeypatch):
    whole, held, read = list(tables.format_images(run)), Held(), tables.read_scored
    assert sum("5 pairs  best" in line for line in whole) == 6
    monkeypatch.setattr(tables, "read_scored", lambda stage, form: held.give(read(stage, form)))
    assert list(tables.format_images(run)) == whole
    assert 0 < held.most <= 2


def test_a_list_that_is_cut_says_how_many_more_there_are(run, monkeypatch):
    whole = list(tables.format_images(run))
    monkeypatch.setattr(tables, "MAX_LISTED", 4)
    cut = list(tables.format_images(run))
    assert cut[:4] == whole[:4] and cut[5:] == whole[6:] and cut[4].startswith("... 2 more; `c3l show ")
