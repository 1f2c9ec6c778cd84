"""The scorer that Python calls: rows of any kind, the numbers of the command, and errors that cost no other row."""

import subprocess
import sys
from pathlib import Path

import pytest

import c3l
from c3l import PairScore, Scorer
from c3l.errors import ConfigError, DataError
from c3l.method.i2c import compute_i2c
from c3l.models.interface import Pair, ScoreRequest
from c3l.models.load import load_model
from c3l.settings.schema import ModelConfig
from scores import score_rows
from tiny_models import make_picture

ASK, TELL = "What is it?", "A red dog."
PLAIN = ("model.dtype=float32", "scoring.no_image=drop", "scoring.form=log_ratio")


@pytest.fixture(scope="module")
def scorer(tmp_path_factory, copy_tiny) -> Scorer:
    return Scorer(str(copy_tiny("llava", tmp_path_factory.mktemp("scorer") / "model")), settings=PLAIN)


def row(image: object, answer: str = TELL) -> dict[str, object]:
    return {"image": image, "question": ASK, "answer": answer}


def test_a_score_is_what_the_model_gives(scorer: Scorer) -> None:
    picture = make_picture(1)
    [one] = scorer.score([row(picture)])
    model = load_model(ModelConfig(name=scorer._config.model.name, dtype="float32"), 0)
    [[scores]] = score_rows(model, [ScoreRequest(picture, (Pair("p", ASK, TELL),))], "drop")
    assert one.i2c == pytest.approx(compute_i2c(scores, "log_ratio"), abs=1e-5)
    assert one.forms["lift"] == pytest.approx(compute_i2c(scores, "lift"), abs=1e-5)
    assert (one.tokens, one.unit, one.error) == (scores.tokens, "nats", "")
    assert sum(one.contributions) / len(one.contributions) == pytest.approx(one.i2c)


def test_images_are_pictures_paths_or_bytes(scorer: Scorer, tmp_path: Path) -> None:
    make_picture(1).save(tmp_path / "a.png")
    make_picture(2).save(tmp_path / "b.png")
    kinds = [make_picture(1), tmp_path / "a.png", str(tmp_path / "a.png"), (tmp_path / "a.png").read_bytes()]
    one, *same, other = [score.i2c for score in scorer.score([*map(row, kinds), row(tmp_path / "b.png")])]
    assert same == pytest.approx([one] * 3, abs=1e-6)
    assert other != pytest.approx(one, abs=1e-4), "the picture has to matter"


def test_a_row_may_have_several_images(scorer: Scorer) -> None:
    one, two = make_picture(1), make_picture(2)
    asked = {"question": "Is <image> like <image>?", "answer": "No."}
    rows = [{"image": [one, two], **asked}, {"image": [two, one], **asked}, row(one), row([one])]
    both, swapped, single, same = scorer.score(rows)
    assert both.i2c is not None and both.i2c != pytest.approx(swapped.i2c, abs=1e-4)
    assert single == same
    with pytest.raises(DataError, match="got row 0 with an empty list of images"):
        scorer.score([row([])])


def test_a_row_that_cannot_be_scored_says_why_and_costs_no_other(scorer: Scorer, tmp_path: Path) -> None:
    found = scorer.score([row(make_picture(1)), row(tmp_path / "gone.png"), row(make_picture(1), " ")])
    assert isinstance(found[0], PairScore)
    assert [one.i2c is None for one in found] == [False, True, True]
    assert found[1].error.startswith("unreadable_image: ")
    assert found[2].error.startswith("empty_answer: ")
    assert scorer.score([]) == []


def test_other_images_are_those_of_the_other_rows(scorer: Scorer) -> None:
    others = Scorer(scorer._config.model.name, settings=["model.dtype=float32", "scoring.others=2"])
    together = others.score([row(make_picture(number)) for number in range(3)])
    assert [one.unit for one in together] == ["probability"] * 3
    alone = others.score([row(make_picture(0))])
    assert together[0].i2c != pytest.approx(alone[0].i2c, abs=1e-6), "alone a grey image stands beside it"


def test_mistakes_are_told(scorer: Scorer) -> None:
    with pytest.raises(DataError, match="got row 0 without answer and question"):
        scorer.score([{"image": make_picture(1)}])
    with pytest.raises(ConfigError, match=r"scoring\.form"):
        Scorer(settings=["scoring.form=magic"])
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        c3l.Nothing  # noqa: B018


def test_the_package_imports_nothing_heavy() -> None:
    code = "import sys, c3l; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "transformers", "pydantic", "PIL", "numpy"} & set(loaded)
