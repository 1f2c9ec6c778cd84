"""The benchmarks over scenes: true labels, right rotations, and files that c3l's own readers take."""

import json

import pytest
from PIL import Image
from studies.picture_world.benchmarks import grade_open, write_benchmarks
from studies.picture_world.oracle import Oracle
from tests.studies.picture_world.worlds import NAMES, random_scene

from c3l.evaluation.llava_bench import read_llava_bench
from c3l.evaluation.mmbench import read_mmbench
from c3l.evaluation.pope import SPLITS, read_pope
from c3l.evaluation.seed_bench import read_seed_bench

ORACLE = Oracle(NAMES)
SCENES = {f"scene-{n}.png": random_scene(n) for n in range(30)}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmarks")
    pictures = {name: (Image.new("RGB", (32, 32), (n, 0, 0)), scene) for n, (name, scene) in enumerate(SCENES.items())}
    return folder, write_benchmarks(folder, pictures, ORACLE), pictures


def names_in(scene):
    return {name for placed in scene.placed for name in placed.names}


@pytest.mark.parametrize("split", SPLITS)
def test_pope_is_balanced_and_true(split, written):
    folder, counts, _ = written
    path = folder / "pope" / f"picture_world_pope_{split}.json"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(rows) == counts[f"pope/{split}"] == 60
    assert [row["label"] for row in rows] == ["yes", "no"] * 30
    for row in rows:
        asked = row["text"].split(" in the image")[0].removeprefix("Is there a").removeprefix("n ").strip()
        assert (asked in names_in(SCENES[row["image"]])) is (row["label"] == "yes"), row
    assert len(read_pope([path]).items) == 60


def is_right(scene, question, option):
    if question.startswith("What is in"):
        return option in names_in(scene)
    return ORACLE.grade(scene, question, option).grade == "true"


def test_choices_have_one_right_option_in_every_rotation(written):
    folder, counts, _ = written
    benchmark = read_mmbench(folder / "mmbench" / "picture_world_mmbench.tsv")
    assert len(benchmark.items) == 4 * counts["mmbench"] > 100
    groups = {}
    for row in benchmark._rows:
        groups.setdefault(row.group, []).append(row)
    for rows in groups.values():
        assert len({row.options[row.answer] for row in rows}) == 1
        assert sorted(row.answer for row in rows) == list("ABCD")
    assert {row.category for row in benchmark._rows} == {"what", "count", "colour", "where"}


def test_seed_questions_have_one_right_choice(written):
    folder, counts, _ = written
    content = json.loads((folder / "seed_bench" / "SEED-Bench.json").read_text())
    assert len(content["questions"]) == counts["seed_bench"]
    for row in content["questions"]:
        right = [x for x in "ABCD" if is_right(SCENES[row["data_id"]], row["question"], row[f"choice_{x.lower()}"])]
        assert right == [row["answer"]], row
    letters = {row["answer"] for row in content["questions"]}
    assert letters == set("ABCD")
    assert len(read_seed_bench(folder / "seed_bench" / "SEED-Bench.json", None, "likelihood", folder).items) > 30


def test_open_questions_are_graded_by_the_truth(written):
    folder, counts, _ = written
    rows = [json.loads(line) for line in (folder / "open" / "questions.jsonl").read_text().splitlines()]
    assert len(rows) == counts["open"]
    answers = {row["question_id"]: "Yes." if row["kind"] == "yes" else "No." for row in rows}
    graded = grade_open(rows, answers, ORACLE)
    kinds = {row["question_id"]: row["kind"] for row in rows}
    assert {kinds[name] for name, right in graded.items() if right} >= {"yes", "no"}
    flipped = {name: "No." if text == "Yes." else "Yes." for name, text in answers.items()}
    assert not any(right for name, right in grade_open(rows, flipped, ORACLE).items() if kinds[name] in ("yes", "no"))


def test_references_are_read_by_llava_bench(written):
    folder, counts, _ = written
    benchmark = read_llava_bench(folder / "llava_bench", None)
    assert len(benchmark.items) == counts["llava_bench"]
    assert (folder / "llava_bench" / "images" / benchmark.items[0].image).exists()


def test_the_same_seed_writes_the_same_files(written, tmp_path):
    folder, counts, pictures = written
    assert write_benchmarks(tmp_path, pictures, ORACLE) == counts
    for path in folder.rglob("*.json*"):
        assert path.read_bytes() == (tmp_path / path.relative_to(folder)).read_bytes()
