"""A preview shows what a run would have in its draft, and leaves nothing behind."""

import pytest

from c3l.errors import ConfigError, DataError
from c3l.progress import SilentProgress
from c3l.records import Generation
from c3l.run.preview import preview
from c3l.run.run_folder import Run
from c3l.run.shards import read_scored
from fakes import FakeModel, write_pairs
from runs import Loader, make_config, walk


def look(world, number, *overrides, loader=None):
    config = make_config(world / "run", world / "pictures", world / "model", *overrides)
    *lines, summary = preview(config, number, SilentProgress(), loader or Loader())
    return config, lines, summary


def test_it_shows_what_the_run_will_have_and_writes_nothing(world):
    before = sorted(world.rglob("*"))
    config, lines, summary = look(world, 7, "scoring.no_image=others", "scoring.others=2", "scoring.form=log_ratio")
    assert sorted(world.rglob("*")) == before
    walk(config, Loader())
    run = Run.reader(config.run)
    texts = list(run.stored("draft/generated").read(Generation))
    scored = list(read_scored(run.stored("draft/scored"), "log_ratio"))
    assert (summary["texts"], summary["scored"]) == (len(texts), len(scored)) == (6, 30)
    for text in texts:
        assert all(f"    | {line}" in lines for line in text.text.splitlines())
    for one in scored:
        assert f"  {one.i2c:+.3f} nats  Q: {one.sample.question}  A: {one.sample.answer}" in lines


def test_the_pictures_are_spread_over_the_folder_and_the_prompt_is_whole(world):
    _, lines, summary = look(world, 3)
    shown = [line.split()[0] for line in lines if line.endswith("40x30")]
    assert shown == ["picture_1.png", "picture_3.png"]
    assert "broken.jpg  rejected: not_an_image, " in "\n".join(lines)
    assert summary["rejected"] == {"not_an_image": 1}
    assert summary["images"] == 3
    assert any(line.startswith("    | Write 5 different questions") for line in lines)
    with pytest.raises(DataError, match=r"none of the 1 images .*such as broken\.jpg"):
        look(world, 1)


def test_what_is_rejected_stands_with_its_picture(world):
    def write(request):
        return (
            write_pairs(request)
            + "\nQuestion 6: What colour is dog 1?\nAnswer 6: It is red.\nQuestion 7: \nAnswer 7: x"
        )

    _, lines, summary = look(world, 7, loader=Loader(lambda: FakeModel(write)))
    assert summary["pairs"] == 30
    assert sum(summary["rejected"].values()) > 6
    assert any(line.startswith("  rejected in parsing: ") for line in lines)


def test_a_scorer_of_its_own_is_loaded_after_the_writer_is_let_go(world):
    loader = Loader()
    look(world, 3, loader=loader)
    assert loader.times == 1
    look(world, 3, f"scoring.model={world / 'other'}", loader=loader)
    assert loader.times == 3


def test_without_a_picture_and_with_a_model_that_cannot_score_it_says_so(world):
    (world / "empty").mkdir()
    with pytest.raises(DataError, match="there is no image under"):
        look(world, 3, f"images.root={world / 'empty'}")
    with pytest.raises(ConfigError, match="can write, but not score"):
        look(world, 3, "model={name: openai:x, endpoint: http://localhost:1/v1}")
