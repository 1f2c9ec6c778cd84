"""The study on a tiny LLaVA: arms are runs that share their first stages, and the tables add up."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from studies.picture_world.calibration import calibrate
from studies.picture_world.grading import (
    GradedPair,
    GradedRun,
    bootstrap,
    difference,
    grade_run,
    keep,
    mean_lift,
    qualities,
    remeasure,
    same_kinds,
    specific_share,
    split_positives,
    true_share,
)
from studies.picture_world.oracle import Graded, Oracle
from studies.picture_world.study import ARMS, make_config, paint_scenes, run_arm
from studies.picture_world.study_choices import choose, keep_in_steps, specific_auroc, true_auroc
from studies.picture_world.study_tables import write_results
from tests.studies.picture_world.worlds import NAMES, random_scene
from tests.tiny_models import make_picture

from c3l.models.hf.inference import HfModel
from c3l.models.interface import Completion, GenerateRequest, Sampling
from c3l.records import AnswerScores, Sample, ScoredPair
from c3l.run.run_folder import Run

PICTURES = 4
KINDS = {arm.name: arm for arm in ARMS}


def write(model: HfModel, requests: Sequence[GenerateRequest], sampling: Sampling) -> list[Completion]:
    """Five questions that the oracle can grade, "yes" or "no" by the seed."""
    texts = [
        "\n".join(
            f"Question {n}: Is there a {NAMES[(request.seed + 3 * n) % len(NAMES)]} in the picture?\n"
            f"Answer {n}: {'Yes' if request.seed >> n & 1 else 'No'}."
            for n in range(1, 6)
        )
        for request in requests
    ]
    return [Completion(request.request_id, text, "stop") for request, text in zip(requests, texts, strict=True)]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory, copy_tiny: Callable[[str, Path], Path]) -> Path:
    folder = tmp_path_factory.mktemp("study")
    (folder / "scenes").mkdir()
    scenes = [random_scene(n) for n in range(PICTURES)]
    for n, scene in enumerate(scenes):
        make_picture(n).save(folder / "scenes" / f"{scene.scene_id}.png")
    (folder / "scenes/truth.jsonl").write_text("".join(scene.to_json() + "\n" for scene in scenes))
    copy_tiny("llava", folder / "llava")
    return folder


def pair(
    picture: str, grade: str, kind: str = "yesno", i2c: float = 0.0, sample_id: str = "", elsewhere: float = 0.0
) -> GradedPair:
    sample = Sample(sample_id or f"{picture}{grade}{kind}{i2c}", picture, "conversation", "q?", "a", 0, 0)
    scored = ScoredPair(sample, AnswerScores((1,), ("a",), (i2c,), (0.0,), (0.0,)), i2c, "log_ratio", "drop")
    return GradedPair(scored, picture, Graded(grade, kind), ("dog",), elsewhere)  # type: ignore[arg-type]


def test_arms_share_the_draft_and_the_tables_name_them_all(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("C3L_CACHE", str(out / "cache"))
    monkeypatch.setattr(HfModel, "generate", write)
    scenes = paint_scenes(Path("no-world-is-needed"), out / "scenes", PICTURES)
    monkeypatch.setattr("studies.picture_world.grading.DRAWS", 20)  # intervals are judged below, by hand
    graded = []
    for name in ("draft", "c3l", "likelihood", "scorer_tuned", "no_image_blank"):
        config = make_config(KINDS[name], out, 0, PICTURES, str(out / "llava"), ["model.dtype=float32"])
        graded.append(grade_run(Run.reader(run_arm(KINDS[name], config)), config, name, Oracle(NAMES), scenes))
    runs = out / "runs/0"
    assert (runs / "c3l/draft/scored/00000.jsonl").read_bytes() == (
        runs / "draft/draft/scored/00000.jsonl"
    ).read_bytes()
    assert (runs / "scorer_tuned/refined/scored/00000.jsonl").read_bytes() != (
        runs / "c3l/refined/scored/00000.jsonl"
    ).read_bytes()
    assert all(len(run.pairs) == 5 * PICTURES for run in graded)
    assert {p.graded.grade for run in graded for p in run.pairs} >= {"true", "false"}
    text = write_results(graded, {arm.name: arm.phrase for arm in ARMS}, out)
    assert all(
        phrase in text
        for phrase in (
            "| C3L |",
            "| draft, half kept: longest |",
            "| blank | log_ratio |",
            "| drop | lift |",
            "| answer length |",
        )
    )
    results = json.loads((out / "results.json").read_text())
    assert results["data"]["draft, half kept: random"]["pairs"] == 5 * PICTURES / 2
    assert {row["against"] for row in results["pairs"] if row["data"] == "C3L"} == {"likelihood on positives only"}
    assert (out / "lift.svg").read_text().count("<svg") == 1
    of_draft = next(one for one in graded if one.arm == "draft").pairs
    assert results["data"]["draft"]["lift"]["value"] == pytest.approx(mean_lift(of_draft))
    assert any(one.elsewhere > 0 for one in of_draft), "else it would say no more than truth"


def test_what_a_measure_chooses_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studies.picture_world.grading.DRAWS", 20)
    pairs = [pair(f"p{i}", "true", i2c=1.0) for i in range(10)] + [pair(f"p{i}", "false", i2c=2.0) for i in range(10)]
    [chosen] = [row for row in choose({"draft": [GradedRun("draft", 0, tuple(pairs), 10)]}) if row["by"] == "log_ratio"]
    assert chosen["kept_0.5"]["true"]["value"] == chosen["positives"]["true"]["value"] == 0
    assert chosen["positives_over_negatives"]["value"] == -1
    turned = remeasure(GradedRun("draft", 0, tuple(pairs), 10), lambda scores: -scores.logprobs_with_image[0])
    positives, negatives = split_positives(turned)
    assert (true_share(positives.pairs), true_share(negatives.pairs)) == (1, 0)


def test_shares_by_hand() -> None:
    pairs = [pair("a", "true"), pair("a", "false"), pair("b", "true"), pair("b", "ungradable")]
    assert true_share(pairs) == pytest.approx(2 / 3)
    share = bootstrap([GradedRun("x", 0, tuple(pairs), 2)], true_share)
    assert (share.value, share.count) == (pytest.approx(2 / 3), 4)
    assert share.low == 0.5, "a picture is drawn with all its pairs: twice `a` is the worst"
    assert share.high == 1


def test_what_is_true_of_many_pictures_is_true_and_not_specific() -> None:
    common, rare = pair("a", "true", elsewhere=0.9), pair("b", "true", elsewhere=0.1)
    wrong, unknown = pair("c", "false", elsewhere=0.5), pair("d", "ungradable", elsewhere=0.0)
    pairs = [common, rare, wrong, unknown]
    assert (true_share(pairs), specific_share(pairs)) == (pytest.approx(2 / 3), pytest.approx(1 / 3))
    assert mean_lift(pairs) == pytest.approx((0.1 + 0.9 - 0.5) / 3)
    assert not pair("a", "true", elsewhere=0.2).is_specific, "true of a fifth of the others is common"


def test_all_qualities_at_once_are_those_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studies.picture_world.grading.DRAWS", 50)
    grades = ("true", "false", "true", "ungradable")
    one = GradedRun("x", 0, tuple(pair(f"p{i % 7}", grades[i % 4], elsewhere=i / 40) for i in range(40)), 1)
    other = GradedRun("y", 0, tuple(pair(f"p{i % 5}", grades[i % 3], elsewhere=i / 60) for i in range(30)), 1)
    for name, statistic in (("true", true_share), ("specific", specific_share), ("lift", mean_lift)):
        alone, apart = bootstrap([one], statistic), difference([one], [other], statistic)
        for found, expected in ((qualities([one]), alone), (qualities([one], [other]), apart)):
            got = found[name]
            assert (got.value, got.low, got.high) == pytest.approx((expected.value, expected.low, expected.high))


def test_specific_pairs_are_ranked_above_true_ones_that_hold_everywhere() -> None:
    pairs = [
        pair("a", "true", i2c=3, elsewhere=0.1),
        pair("b", "true", i2c=1, elsewhere=0.9),
        pair("c", "false", i2c=2),
    ]
    assert specific_auroc(pairs) == 1
    assert true_auroc(pairs) == 0.5


def test_how_a_lift_is_held_against_the_oracle_by_hand() -> None:
    pairs = [  # lifts of 0.2, 0.2, 0.01 and 0, and one that the truth does not decide
        pair("a", "true", i2c=math.log(1.2)),
        pair("b", "true", i2c=math.log(1.2), elsewhere=0.9),
        pair("c", "true", i2c=math.log(1.01)),
        pair("d", "false"),
        pair("e", "ungradable", i2c=1.0),
    ]
    [row] = [row for row in calibrate([GradedRun("x", 0, tuple(pairs), 5)]) if row["least_lift"] == 0.15]
    assert row == {
        "least_lift": 0.15, "share": 0.5, "precision": 0.5, "recall": 0.5, "true": 1.0, "specific": 0.5
    }  # fmt: skip
    assert calibrate([])[0]["share"] == 0, "a study without that arm has an empty table"


def test_two_steps_keep_what_both_like() -> None:
    pairs = tuple(pair(f"p{i}", "true", i2c=i, sample_id=str(i)) for i in range(16))
    run = GradedRun("x", 0, pairs, 16)
    kept = keep_in_steps(run, (lambda s: s.logprobs_with_image[0], lambda s: -s.logprobs_with_image[0]), 0.25)
    assert sorted(p.scored.sample.sample_id for p in kept.pairs) == ["10", "11", "8", "9"]


def test_even_mixtures_take_away_what_easy_kinds_give() -> None:
    easy = [pair(f"p{i}", "true", "yesno", i) for i in range(10)]
    hard = [pair(f"p{i}", "false", "where", i) for i in range(10)]
    rare = [pair("p0", "false", "count")]
    one = [GradedRun("x", 0, (*easy, *easy, *hard), 1)]
    other = [GradedRun("y", 0, (*easy, *hard, *rare), 1)]
    even = same_kinds(one, other)
    assert true_share(one[0].pairs) == pytest.approx(2 / 3)
    assert even(one[0].pairs) == even(other[0].pairs) == 0.5, "and the kind that one side lacks is left out of both"
    assert difference(one, other).value == pytest.approx(2 / 3 - 10 / 21)
    assert difference(one, other, even).value == 0


def test_a_difference_is_of_the_same_pictures() -> None:
    worse = GradedRun("x", 0, (pair("a", "false"), pair("b", "true")), 2)
    better = GradedRun("y", 0, (pair("a", "true"), pair("b", "true")), 2)
    found = difference([better], [worse])
    assert (found.value, found.low, found.high, found.count) == (0.5, 0, 1, 2)


def test_a_filter_keeps_the_better_half() -> None:
    run = GradedRun(
        "x", 0, tuple(pair("a", "true" if i > 1 else "false", i2c=i, sample_id=str(i)) for i in range(4)), 1
    )
    assert true_share(keep(run, "top_fraction").pairs) == 1
    assert true_share(keep(run, "lowest").pairs) == 0
