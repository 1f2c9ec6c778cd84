"""The scorer that Python calls: rows of any kind, the numbers of the command, and errors that cost no other row."""

import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy
import pytest
from PIL import Image as pillow
from PIL.Image import Image

import c3l
from c3l import PairScore, Scorer
from c3l.errors import BackendError, ConfigError, DataError, StaleStageError
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
    assert (single.i2c, single.tokens) == (same.i2c, same.tokens)
    with pytest.raises(DataError, match="got row 0 with an empty list of images"):
        scorer.score([row([])])


def test_a_row_that_cannot_be_scored_says_why_and_costs_no_other(scorer: Scorer, tmp_path: Path) -> None:
    found = scorer.score([row(make_picture(1)), row(tmp_path / "gone.png"), row(make_picture(1), " ")])
    assert isinstance(found[0], PairScore)
    assert [one.i2c is None for one in found] == [False, True, True]
    assert found[1].error.startswith("unreadable_image: ")
    assert found[2].error.startswith("empty_answer: ")
    assert scorer.score([]) == []


@pytest.mark.parametrize("name", ["~$gone.png", "a\0.png", "half \ud83d.png"])
def test_a_path_that_is_none_costs_no_other(scorer: Scorer, tmp_path: Path, name: str) -> None:
    rows, others = [row(name), row(make_picture(1))], ["model.dtype=float32"]
    for one in (scorer, Scorer(scorer._config.model.name, settings=others)):
        kept = tmp_path / f"kept-{one is scorer}"
        for found in (one.score(rows), one.score(rows, keep=kept), one.score(rows, keep=kept)):
            assert [bool(its.error) for its in found] == [True, False]


def test_an_opened_image_is_seen_as_its_file(scorer: Scorer, tmp_path: Path) -> None:
    turned = make_picture(1, (60, 30))
    exif = turned.getexif()
    exif[274] = 6  # orientation
    turned.save(tmp_path / "phone.jpg", exif=exif, quality=100)
    opened = [pillow.open(tmp_path / "phone.jpg"), pillow.open(tmp_path / "phone.jpg").copy()]
    file, *same = scorer.score([row(tmp_path / "phone.jpg"), *map(row, opened)])
    assert [one.i2c for one in same] == pytest.approx([file.i2c] * 2, abs=1e-6)
    plain = make_picture(1, (60, 30))
    plain.save(tmp_path / "plain.jpg", quality=100)
    assert scorer.score([row(tmp_path / "plain.jpg")])[0].i2c != pytest.approx(file.i2c, abs=1e-4), "turning matters"


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "L", "P", "RGBA", "LA", "I", "I;16"])
def test_images_of_every_mode_are_taken(scorer: Scorer, mode: str) -> None:
    first = make_picture(1).convert("I").convert("I;16") if mode == "I;16" else make_picture(1).convert(mode)
    assert [one.error for one in scorer.score([row(first), row(make_picture(2))])] == ["", ""]


def test_an_opened_image_that_cannot_be_used_costs_no_other(scorer: Scorer, tmp_path: Path) -> None:
    make_picture(1, (200, 200)).save(tmp_path / "whole.jpg")
    (tmp_path / "half.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:1500])
    half, thin = pillow.open(tmp_path / "half.jpg"), make_picture(1).resize((4000, 1))
    bad, good, flat = scorer.score([row(half), row(make_picture(1)), row(thin)])
    assert bad.error.startswith("unreadable_image: ")
    assert flat.error.startswith("unreadable_image: ")
    assert good.i2c is not None


@pytest.mark.parametrize("missing", [None, float("nan"), ""])
def test_what_a_table_lacks_is_an_empty_text(scorer: Scorer, missing: object) -> None:
    picture = make_picture(1)
    lacking, alone, plain = scorer.score(
        [
            {**row(picture), "answer": missing},
            {**row(picture), "question": missing, "system": missing, "history": missing or None},
            {**row(picture), "question": ""},
        ]
    )
    assert lacking.error.startswith("empty_answer: ")
    assert (alone.question, alone.i2c) == ("", plain.i2c)
    assert scorer.score([{**row(picture), "answer": 3}])[0].answer == "3"
    with pytest.raises(DataError, match="got row 0 with answer of type list, expected a text"):
        scorer.score([{**row(picture), "answer": ["A dog."]}])


def test_the_placeholder_of_one_image_is_no_text(scorer: Scorer) -> None:
    picture = make_picture(1)
    plain, *same, twice = scorer.score(
        [
            row(picture),
            {**row(picture), "question": f"<image>\n{ASK}"},
            {**row([picture]), "question": f"{ASK}\n<image>"},
            {**row(picture), "question": f"<image><image>{ASK}"},
        ]
    )
    assert [(one.question, one.i2c) for one in same] == [(ASK, plain.i2c)] * 2
    assert twice.error == "several_images: the text shows 2 images by <image>, the row has one"
    before = {**row(picture), "history": [["<image>\nHow many?", "Two."]]}
    bare = {**row(picture), "history": [["How many?", "Two."]]}
    assert scorer.score([before])[0].i2c == scorer.score([bare])[0].i2c


def test_other_images_are_those_of_the_other_rows(scorer: Scorer) -> None:
    others = Scorer(scorer._config.model.name, settings=["model.dtype=float32", "scoring.others=2"])
    together = others.score([row(make_picture(number)) for number in range(3)])
    assert [one.unit for one in together] == ["probability"] * 3
    with pytest.warns(UserWarning, match="a grey one is shown instead"):
        alone = others.score([row(make_picture(0))])
    assert together[0].i2c != pytest.approx(alone[0].i2c, abs=1e-6), "alone a grey image stands beside it"


def test_what_was_said_before_a_question_counts(scorer: Scorer) -> None:
    before = {"history": [["How many?", "Two."]], "system": "Be brief."}
    picture = make_picture(1)
    alone, system, after = scorer.score(
        [row(picture), {**row(picture), "system": "Be brief."}, {**row(picture), **before}]
    )
    assert len({alone.id, system.id, after.id}) == 3
    assert len({round(one.i2c, 4) for one in (alone, system, after)}) == 3
    model = load_model(ModelConfig(name=scorer._config.model.name, dtype="float32"), 0)
    pair = Pair("p", ASK, TELL, (("How many?", "Two."),))
    [[scores]] = score_rows(model, [ScoreRequest(picture, (pair,), system="Be brief.")], "drop")
    assert after.i2c == pytest.approx(compute_i2c(scores, "log_ratio"), abs=1e-5)
    single = Scorer(scorer._config.model.name, settings=[*PLAIN, "scoring.context=none"])
    assert single.score([{**row(picture), "history": before["history"]}])[0].i2c == pytest.approx(alone.i2c, abs=1e-5)
    with pytest.raises(DataError, match="in `history`, expected pairs"):
        scorer.score([{**row(picture), "history": ["How many?"]}])


def test_a_template_that_shows_no_earlier_turns_refuses_them(scorer: Scorer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(scorer._model), "takes_turns", False)
    with pytest.raises(BackendError, match=r"scoring\.context=none"):
        scorer.score([{**row(make_picture(1)), "history": [("How many?", "Two.")]}])


def test_a_table_of_datasets_is_read_row_by_row(scorer: Scorer) -> None:
    datasets = pytest.importorskip("datasets")
    pictures = [make_picture(number) for number in range(3)]
    columns = {"image": pictures, "question": [ASK] * 3, "answer": [TELL] * 3}
    table = datasets.Dataset.from_dict(columns).cast_column("image", datasets.Image())
    expected = [one.i2c for one in scorer.score(map(row, pictures))]
    assert len(set(expected)) == 3
    assert [one.i2c for one in scorer.score(table)] == pytest.approx(expected, abs=1e-6)
    undecoded = table.cast_column("image", datasets.Image(decode=False))
    assert [one.i2c for one in scorer.score(undecoded)] == pytest.approx(expected, abs=1e-6)


class Table(list[int]):
    """Rows that are made when they are asked for, as those of ``datasets``; it knows which of their images live."""

    def __init__(self, rows: int) -> None:
        super().__init__(range(rows))
        self.made, self.most = list[weakref.ref[Image]](), 0

    def __getitem__(self, number: int) -> dict[str, object]:
        picture = make_picture(number)
        self.made.append(weakref.ref(picture))
        self.most = max(self.most, sum(one() is not None for one in self.made))
        return row(picture)

    def __iter__(self) -> Iterator[dict[str, object]]:
        return map(self.__getitem__, range(len(self)))


def test_a_long_table_is_not_held_in_memory(scorer: Scorer) -> None:
    table = Table(60)
    assert len(scorer.score(table)) == 60
    assert 0 < table.most < 30


def test_kept_scores_are_not_made_again(scorer: Scorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row(make_picture(number)) for number in range(3)]
    rows.insert(1, row(tmp_path / "late.png"))
    asked: list[int] = []
    score = type(scorer._model).score

    def count(self: object, requests: list[ScoreRequest], mode: str) -> object:
        asked.append(sum(len(request.pairs) for request in requests))
        return score(self, requests, mode)

    monkeypatch.setattr(type(scorer._model), "score", count)
    first = scorer.score(rows, keep=tmp_path / "kept")
    assert (sum(asked), [one.i2c is None for one in first]) == (3, [False, True, False, False])
    with (tmp_path / "kept/scores.jsonl").open("ab") as file:
        file.write(b'{"sample": "of a write that was killed')
    make_picture(4).save(tmp_path / "late.png")
    again = scorer.score([*rows, row(make_picture(9))], keep=tmp_path / "kept")
    assert sum(asked) == 5, "the one that opens by now, and the new one"
    assert [again[0], again[2], again[3]] == [first[0], first[2], first[3]]
    assert [one.error for one in again] == [""] * 5
    other = Scorer(scorer._config.model.name, settings=[*PLAIN, "scoring.form=lift"])
    lifted = other.score(rows, keep=tmp_path / "kept")
    assert "_model" not in vars(other), "another form is a re-sum"
    assert [one.i2c for one in lifted] == [one.forms["lift"] for one in again[:4]]


def test_scores_of_other_settings_or_other_images_are_not_mixed(scorer: Scorer, tmp_path: Path) -> None:
    rows = [row(make_picture(number)) for number in range(2)]
    scorer.score(rows, keep=tmp_path / "kept")
    blank = Scorer(scorer._config.model.name, settings=[*PLAIN, "scoring.no_image=blank"])
    with pytest.raises(StaleStageError, match="drop -> blank"):
        blank.score(rows, keep=tmp_path / "kept")
    others = Scorer(scorer._config.model.name, settings=["model.dtype=float32"])
    others.score(rows, keep=tmp_path / "others")
    with pytest.raises(StaleStageError, match="the images that stand for no image changed"):
        others.score([*rows, row(make_picture(2))], keep=tmp_path / "others")


def test_an_image_that_opens_by_now_and_stands_for_no_image_is_another_one(scorer: Scorer, tmp_path: Path) -> None:
    others = Scorer(scorer._config.model.name, settings=["model.dtype=float32"])
    rows = [row(make_picture(0)), row(make_picture(1)), row(tmp_path / "late.png")]
    assert others.score(rows, keep=tmp_path / "kept") == others.score(rows, keep=tmp_path / "kept")
    make_picture(2).save(tmp_path / "late.png")
    with pytest.raises(StaleStageError, match="the images that stand for no image changed"):
        others.score(rows, keep=tmp_path / "kept")


def test_another_image_of_the_same_path_is_not_taken_for_the_first(scorer: Scorer, tmp_path: Path) -> None:
    for name in "ab":
        make_picture(1).save(tmp_path / f"{name}.png")
    rows, kept = [row(tmp_path / f"{name}.png") for name in "ab"], tmp_path / "kept"
    first = scorer.score(rows[:1], keep=kept)
    assert scorer.score(rows, keep=kept)[:1] == first
    make_picture(2).save(tmp_path / "b.png")
    with pytest.raises(StaleStageError, match=r"another image at .*b\.png"):
        scorer.score(rows, keep=kept)
    with pytest.raises(StaleStageError, match=r"another image at .*b\.png"):
        scorer.score([row(tmp_path / "b.png", "A dog.")], keep=kept)  # of which no pair is kept
    make_picture(1).save(tmp_path / "b.png")
    assert scorer.score(rows, keep=kept)[:1] == first


def test_another_image_that_stands_for_no_image_makes_scores_stale(scorer: Scorer, tmp_path: Path) -> None:
    for number, name in enumerate("ab"):
        make_picture(number).save(tmp_path / f"{name}.png")
    others = Scorer(scorer._config.model.name, settings=["model.dtype=float32"])
    rows = [row(tmp_path / "a.png"), row(tmp_path / "b.png", " ")]
    assert [bool(one.error) for one in others.score(rows, keep=tmp_path / "kept")] == [False, True]
    make_picture(2).save(tmp_path / "b.png")
    with pytest.raises(StaleStageError, match=r"another image at .*b\.png"):
        others.score(rows, keep=tmp_path / "kept")
    make_picture(1).save(tmp_path / "b.png")
    assert [bool(one.error) for one in others.score(rows, keep=tmp_path / "kept")] == [False, True]


def test_of_images_that_were_drawn_only_those_that_were_shown_must_stay(scorer: Scorer, tmp_path: Path) -> None:
    for number in range(6):
        make_picture(number).save(tmp_path / f"{number}.png")
    rows = [row(tmp_path / f"{number}.png", "" if number else TELL) for number in range(6)]
    others = Scorer(scorer._config.model.name, settings=["model.dtype=float32", "scoring.others=1"])
    others.score(rows, keep=tmp_path / "kept")

    def refuses(number: int) -> bool:
        make_picture(9).save(tmp_path / f"{number}.png")
        try:
            others.score(rows, keep=tmp_path / "kept")
        except StaleStageError:
            return True
        finally:
            make_picture(number).save(tmp_path / f"{number}.png")
        return False

    # one stands beside the first image; and one more might have, beside an image that is this one
    assert 1 <= sum(map(refuses, range(1, 6))) <= 2


def test_an_image_that_was_mended_is_scored_by_now(scorer: Scorer, tmp_path: Path) -> None:
    make_picture(1).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:40])
    rows = [row(tmp_path / f"{name}.png") for name in "ab"]
    assert [bool(one.error) for one in scorer.score(rows, keep=tmp_path / "kept")] == [False, True]
    make_picture(2).save(tmp_path / "b.png")
    assert [one.error for one in scorer.score(rows, keep=tmp_path / "kept")] == ["", ""]
    make_picture(3).save(tmp_path / "b.png")
    with pytest.raises(StaleStageError, match=r"another image at .*b\.png"):
        scorer.score(rows, keep=tmp_path / "kept")


def test_what_pandas_writes_for_nothing_is_nothing(scorer: Scorer) -> None:
    class NAType:
        pass

    found = scorer.score([{**row(make_picture(1)), "answer": nothing} for nothing in (NAType(), numpy.float32("nan"))])
    assert [one.error.split(":")[0] for one in found] == ["empty_answer"] * 2
    picture, turns = make_picture(1), [["How many?", "Two."]]
    listed, arrays = scorer.score([{**row(picture), "history": told} for told in (turns, numpy.array(turns))])
    assert arrays.i2c == listed.i2c
    for history in ([None], 5, "What?", [["a", 1]]):
        with pytest.raises(DataError, match="in `history`, expected pairs"):
            scorer.score([{**row(make_picture(1)), "history": history}])


def test_the_seed_of_the_settings_counts_unless_one_is_given() -> None:
    seeds = {}, {"settings": ["seed=5"]}, {"settings": ["seed=5"], "seed": 0}, {"seed": 7}
    assert [Scorer(**one)._config.seed for one in seeds] == [0, 5, 0, 7]


def test_mistakes_are_told(scorer: Scorer) -> None:
    with pytest.raises(DataError, match="got row 0 without answer and question"):
        scorer.score([{"image": make_picture(1)}])
    with pytest.raises(DataError, match="got row 1 of type str, expected a mapping"):
        scorer.score([row(make_picture(1)), "image"])
    with pytest.raises(DataError, match="got row 0 with an image of type NoneType"):
        scorer.score([row(None)])
    with pytest.raises(ConfigError, match=r"scoring\.form"):
        Scorer(settings=["scoring.form=magic"])
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        c3l.Nothing  # noqa: B018


def test_the_package_imports_nothing_heavy() -> None:
    code = "import sys, c3l; c3l.errors.C3LError; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert all(callable(getattr(c3l, name)) for name in {*c3l.__all__} - {"errors"}), "and yet all of it is there"
    assert set(c3l.__all__) < set(dir(c3l))
    assert not {"torch", "transformers", "pydantic", "PIL", "numpy"} & set(loaded)
