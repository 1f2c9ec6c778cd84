"""Filtering and exporting from Python: what a run decides and writes, without a run folder."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

import c3l
from c3l import Decision, PairScore, Scorer
from c3l.errors import ConfigError, DataError
from c3l.jobs.pairs import NOTHING_MORE, Beyond, describe_pair
from c3l.method.scoring import Context, rescore
from c3l.records import AnswerScores, Form, NoImageMode, Sample, ScoredSample
from tiny_models import make_picture

PLAIN = ("model.dtype=float32", "scoring.no_image=drop")
FRACTION = "filtering.fraction=0.5"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, copy_tiny) -> Path:
    """Three images in a folder, and a model."""
    folder = tmp_path_factory.mktemp("pairs")
    copy_tiny("llava", folder / "model")
    (folder / "images").mkdir()
    for number in range(3):
        make_picture(number).save(folder / f"images/{number}.png")
    return folder


@pytest.fixture(scope="module")
def scores(folder: Path) -> list[PairScore]:
    """Two answers to one question about each image, and a row whose image is gone."""
    rows = [
        {"image": folder / f"images/{number}.png", "question": "What is it?", "answer": answer}
        for number in range(3)
        for answer in ("A red dog.", "A boat, and a long answer about it.")
    ]
    gone = {"image": folder / "images/gone.png", "question": "What is it?", "answer": "A dog."}
    return Scorer(str(folder / "model"), settings=PLAIN).score([*rows, gone])


def score_by_hand(
    answer: str,
    logprobs: tuple[float, float],
    form: Form = "log_ratio",
    no_image: NoImageMode = "others",
    beyond: Beyond = NOTHING_MORE,
    model: str = "m",
) -> PairScore:
    """An answer of one token to one question about the first image, with and without it."""
    given, without = logprobs
    sample = Sample(answer, "0", "rows", "What is it?", answer, 0, 0)
    numbers = AnswerScores((0,), ("x",), (given,), (without,))
    return describe_pair(rescore(ScoredSample(sample, numbers, no_image), form), "0.png", model, model, beyond)


SQUARE = score_by_hand("A red square.", (-0.1, -3.0))  # lift 0.86, log ratio 2.9
TOMATO = score_by_hand("A tomato.", (-5.0, -12.0))  # lift 0.007, log ratio 7


@pytest.fixture
def one_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of that image, as the working folder."""
    monkeypatch.chdir(tmp_path)
    make_picture(0).save(tmp_path / "0.png")
    return tmp_path


def by_score(pairs: list[PairScore], form: str) -> list[str]:
    return [one.id for one in sorted(pairs, key=lambda one: -one.forms[form])]


def test_the_higher_half_is_kept_and_every_pair_has_its_decision(scores: list[PairScore]) -> None:
    decided = c3l.filter(scores, settings=[FRACTION])
    assert [one.pair for one in decided] == scores
    kept = {one.pair.id for one in decided if one.kept}
    assert kept == set(by_score(scores[:6], "focused_gain")[:3])
    assert decided[-1] == Decision(scores[-1], False, scores[-1].error, None)
    assert scores[-1].error.startswith("unreadable_image: ")
    assert sorted(one.rank for one in decided[:2]) == [1, 2], "of its image"
    assert "top_fraction 0.5: rank" in decided[0].reason


def test_a_limit_that_the_rule_does_not_look_at_is_told() -> None:
    with pytest.warns(UserWarning, match=r"top_fraction does not look at filtering\.min_score: .*rule=threshold"):
        assert c3l.filter([], settings=["filtering.min_score=0.1"]) == []


def test_another_form_needs_no_model(scores: list[PairScore]) -> None:
    for form in ("log_ratio", "vocabulary_kl", "lift"):
        decided = c3l.filter(scores, settings=[f"scoring.form={form}", "filtering.rule=top_k", "filtering.count=2"])
        assert {one.pair.id for one in decided if one.kept} == set(by_score(scores[:6], form)[:2])
    orders = {tuple(by_score(scores[:6], form)) for form in ("log_ratio", "vocabulary_kl", "focused_gain")}
    assert len(orders) > 1, "the forms have to disagree"


def test_what_cannot_be_filtered_is_told(scores: list[PairScore], folder: Path) -> None:
    with pytest.raises(DataError, match="got a dict among the pairs, expected what Scorer"):
        c3l.filter([{"question": "What?"}])  # type: ignore[list-item]
    with pytest.raises(DataError, match="got a pair twice"):
        c3l.filter([scores[0], scores[0]])
    with pytest.raises(ConfigError, match=r"filtering\.rule"):
        c3l.filter(scores, settings=["filtering.rule=magic"])
    other = Scorer(str(folder / "model"), settings=[*PLAIN, "scoring.form=lift"])
    row = {"image": folder / "images/0.png", "question": "What is there?", "answer": "A dog."}
    mixed = [*scores, *other.score([row])]
    with pytest.raises(DataError, match="focused_gain and lift"):
        c3l.filter(mixed)
    assert len(c3l.filter(mixed, settings=["scoring.form=lift"])) == 8
    assert c3l.filter([]) == []


def test_the_kept_pairs_are_exported_and_the_others_are_what_they_are_preferred_to(
    scores: list[PairScore], folder: Path, tmp_path: Path
) -> None:
    decided = c3l.filter(scores, settings=["filtering.rule=best_per_image"])
    wanted = ["export.formats=[llava, trl, swift_preference]", "export.with_scores=true"]
    files = c3l.export(decided, tmp_path / "out", image_root=folder / "images", settings=wanted)
    assert [one.name for one in files] == ["llava.json", "trl.parquet", "swift_preference.jsonl"]
    rows = json.loads(files[0].read_text())
    kept = [one.pair for one in decided if one.kept]
    assert [(row["id"], row["image"]) for row in rows] == [(one.id, Path(one.image).name) for one in kept]
    assert len(rows) == 3
    assert {row["model"] for row in rows} == {"model"}
    assert rows[0]["i2c"] == pytest.approx(kept[0].i2c)
    preferred = [json.loads(line) for line in files[2].read_text().splitlines()]
    assert {row["id"] for row in preferred} == {one.id for one in kept}
    assert {row["rejected_id"] for row in preferred} == {one.id for one in scores[:6]} - {one.id for one in kept}


def test_scores_are_decided_about_before_they_are_exported(scores: list[PairScore], tmp_path: Path) -> None:
    told = r"^got a PairScore among the decisions, expected what c3l\.filter gives, or made\.decisions of c3l\.make$"
    with pytest.raises(DataError, match=told):
        c3l.export(scores, tmp_path / "out", image_root=tmp_path)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_the_seed_of_the_settings_counts_unless_one_is_given(scores: list[PairScore]) -> None:
    def kept(named: list[str], **given: int) -> list[bool]:
        return [one.kept for one in c3l.filter(scores, settings=["filtering.rule=random", *named], **given)]

    by_zero = kept([], seed=0)
    # the ids follow the temporary folder, so that a single other seed keeps the same pairs by chance
    other, by_other = next((seed, found) for seed in range(1, 40) if (found := kept([], seed=seed)) != by_zero)
    assert kept([]) == by_zero
    assert kept([f"seed={other}"]) == by_other
    assert kept([f"seed={other}"], seed=0) == by_zero


@pytest.mark.parametrize("settings", ["rounds=0", {"rounds": 0}])
def test_settings_that_are_no_list_are_told(settings: str, tmp_path: Path) -> None:
    told = r"^got settings=.*, expected a list such as \['rounds=0'\]$"
    for call in (
        lambda: Scorer(settings=settings),
        lambda: c3l.filter([], settings=settings),
        lambda: c3l.export([], tmp_path / "out", image_root=tmp_path, settings=settings),
        lambda: c3l.make(tmp_path, run=tmp_path / "run", settings=settings),
    ):
        with pytest.raises(ConfigError, match=told):
            call()


def test_what_cannot_be_exported_is_told(scores: list[PairScore], folder: Path, tmp_path: Path) -> None:
    everything = c3l.filter(scores, settings=["filtering.rule=all"])
    with pytest.raises(DataError, match="bad_path"):
        c3l.export(everything, tmp_path / "out", image_root=tmp_path)
    with pytest.raises(ConfigError, match="c3l export"):
        c3l.export(everything, tmp_path, image_root=folder / "images", settings=["export.formats=trl_whole_pair"])
    of_two = [everything[0], replace(everything[1], pair=replace(everything[1].pair, weights="another"))]
    with pytest.raises(DataError, match="by 2 models"):
        c3l.export(of_two, tmp_path / "out", image_root=folder / "images")
    scorer = Scorer(str(folder / "model"), settings=PLAIN)
    in_memory = scorer.score([{"image": make_picture(1), "question": "What is it?", "answer": "A dog."}])
    with pytest.raises(DataError, match="in memory"):
        c3l.export(c3l.filter(in_memory), tmp_path / "out", image_root=folder / "images")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"system": "Be brief."}, "a system prompt"),
        ({"history": [["How many?", "Two."]]}, "earlier turns"),
        ({"image": ["0.png", "1.png"], "system": "Be brief."}, "several images and a system prompt"),
    ],
)
def test_what_an_export_does_not_hold_is_not_dropped(
    more: dict[str, object], told: str, folder: Path, tmp_path: Path
) -> None:
    scorer = Scorer(str(folder / "model"), settings=PLAIN)
    row = {"image": folder / "images/0.png", "question": "And what else?", "answer": "A dog.", **more}
    if isinstance(names := row["image"], list):
        row["image"] = [folder / "images" / name for name in names]
    [one] = scorer.score([row])
    with pytest.raises(DataError, match=rf"such as 'And what else\?' with {told}"):
        c3l.export([Decision(one, True, "", 1)], tmp_path / "out", image_root=folder / "images")
    assert c3l.export([Decision(one, False, "", 1)], tmp_path / "out", image_root=folder / "images")


def compare(decisions: list[Decision], root: Path) -> list[dict[str, object]]:
    """The preferences that are exported."""
    wanted = ["export.formats=[swift_preference]", "export.with_scores=true"]
    files = c3l.export(decisions, root / "out", image_root=root, settings=wanted)
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def test_pairs_are_exported_in_the_form_that_decided_about_them(one_image: Path) -> None:
    for form, better, worse in (("log_ratio", TOMATO, SQUARE), ("lift", SQUARE, TOMATO)):
        decided = c3l.filter([SQUARE, TOMATO], settings=[f"scoring.form={form}", "filtering.rule=best_per_image"])
        assert [(one.pair.i2c, one.pair.id) for one in decided] == [
            (pytest.approx(one.forms[form]), one.id) for one in (SQUARE, TOMATO)
        ]
        assert {one.pair.unit for one in decided} == {"nats" if form == "log_ratio" else "probability"}
        [row] = compare(decided, one_image)
        assert (row["id"], row["rejected_id"], row["form"]) == (better.id, worse.id, form)
        assert row["i2c_chosen"] == pytest.approx(better.forms[form])


def test_scores_that_cannot_be_compared_are_neither_filtered_nor_exported_together(one_image: Path) -> None:
    cases = (
        (score_by_hand("A dog.", (-1.0, -2.0), form="lift"), "by lift and log_ratio: name one where"),
        (score_by_hand("A dog.", (-1.0, -2.0), no_image="drop"), r"no_image drop and others, whose .* cannot"),
        (score_by_hand("A dog.", (-1.0, -2.0), model="n"), "by 2 models"),
    )
    for other, told in cases:
        if "models" not in told:
            with pytest.raises(DataError, match=told):
                c3l.filter([SQUARE, other])
        with pytest.raises(DataError, match=told):
            compare([Decision(SQUARE, True, "", 1), Decision(other, False, "", 2)], one_image)


def test_an_answer_given_after_earlier_turns_is_no_rejected_answer_to_the_question_alone(one_image: Path) -> None:
    later = Beyond(Context("", (("Look at the leaf.", "I do."),)))
    for beyond, preferences in ((NOTHING_MORE, 1), (later, 0)):
        worse = score_by_hand("A green square.", (-1.0, -2.0), beyond=beyond)
        decided = c3l.filter([SQUARE, worse], settings=["filtering.rule=best_per_image"])
        assert len(compare(decided, one_image)) == preferences
