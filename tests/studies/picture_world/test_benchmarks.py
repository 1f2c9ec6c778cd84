"""The benchmarks over scenes: true labels, right rotations, and files that c3l's own readers take.

What is true is decided here from the scene itself, by another way than the oracle's.
"""

import csv
import io
import json
import random
import re
import sys
from collections import Counter
from types import SimpleNamespace

import pytest
from PIL import Image
from studies.picture_world.benchmarks import SPLITS, PlainAsker, grade_open, make_pope, write_benchmarks
from studies.picture_world.multiple_choice import NEAR, make_choices
from studies.picture_world.naming import Names, call, is_countable
from studies.picture_world.oracle import Oracle
from studies.picture_world.oracle_judge import measure_open, open_questions
from studies.picture_world.questions import QA
from studies.picture_world.scenes import Placed, Scene
from tests.studies.picture_world.worlds import NAMES, random_scene

from c3l.evaluation.llava_bench import read_llava_bench
from c3l.evaluation.mmbench import read_mmbench
from c3l.evaluation.pope import read_pope
from c3l.evaluation.seed_bench import read_seed_bench
from studies.picture_world import multiple_choice

ORACLE = Oracle([*NAMES, "parrot", "bird", "rooster", "hen", "plant", "pepper", "guitar", "bass guitar", "goat"])
SCENES = {f"scene-{n}.png": random_scene(n) for n in range(60)}
ANYWHERE = (0.4, 0.4, 0.6, 0.6)
NUMBERS = ["zero", "one", "two", "three", "four", "five"]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmarks")
    pictures = {name: (Image.new("RGB", (32, 32), (n, 0, 0)), scene) for n, (name, scene) in enumerate(SCENES.items())}
    return folder, write_benchmarks(folder, pictures, ORACLE), pictures


@pytest.fixture(scope="module")
def table(written):
    csv.field_size_limit(sys.maxsize)
    text = (written[0] / "mmbench" / "picture_world_mmbench.tsv").read_text()
    return list(csv.DictReader(io.StringIO(text), delimiter="\t"))


@pytest.fixture(scope="module")
def seed_file(written):
    return json.loads((written[0] / "seed_bench" / "SEED-Bench.json").read_text())


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def names_in(scene):
    return {name for placed in scene.placed for name in placed.names}


def is_true(scene, question, option, margin=0.0):
    """Whether an option answers a question, by the scene's own names, colours and boxes.

    What stands nearer to the middle than the margin is on no side.
    """
    if question.startswith("What is in"):
        return option in names_in(scene)
    name = re.search(r"(?:How many|(?:is|are) the) (.+?)(?: are in the picture)?\?", question)[1]
    irregular = {"tabbies": "tabby", "scarves": "scarf"}
    singular = irregular.get(name, name if name in names_in(scene) else name.removesuffix("s"))
    named = [placed for placed in scene.placed if singular in placed.names]
    if question.startswith("How many"):
        return len(named) == NUMBERS.index(option)
    (placed,) = named
    if question.startswith("What colo"):
        return option == placed.colour
    x, y = (placed.box[0] + placed.box[2]) / 2, (placed.box[1] + placed.box[3]) / 2
    low, high = 0.5 - margin, 0.5 + margin
    sides = {"left": x < low, "right": x > high, "top": y < low, "bottom": y > high}
    if option == "in the middle":
        return abs(x - 0.5) < 0.25 and abs(y - 0.5) < 0.3
    return all(sides[word] for word in option.split() if word in sides)


# --- POPE ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", SPLITS)
def test_pope_is_balanced_and_true(split, written):
    folder, counts, _ = written
    path = folder / "pope" / f"picture_world_pope_{split}.json"
    rows = lines(path)
    assert len(rows) == counts[f"pope/{split}"] > 100
    assert len(rows) // 2 == len(SCENES)
    assert counts[f"left out/pope/{split}"] == 0
    assert [row["label"] for row in rows] == ["yes", "no"] * (len(rows) // 2)
    assert len({(row["image"], row["text"]) for row in rows}) == len(rows)
    for row in rows:
        assert list(row) == ["question_id", "image", "text", "label"]
        article, asked = re.fullmatch(r"Is there (an?) (.+) in the image\?", row["text"]).groups()
        assert article == ("an" if asked[0] in "aeiou" else "a")
        present = names_in(SCENES[row["image"]])
        assert (asked in present) is (row["label"] == "yes"), row
        assert row["label"] == "yes" or not any(asked in name or name in asked for name in present), row
    assert len(read_pope([path]).items) == len(rows)


def test_pope_drops_and_counts_a_picture_whose_label_the_oracle_denies(monkeypatch):
    monkeypatch.setattr(Names, "is_absent", lambda self, scene, name: True)
    dog, some = (Scene("", (Placed(names, "", ANYWHERE),)) for names in (("beagle", "dog", "animal"), ("animal",)))
    rows, lost = make_pope({"dog": dog, "some": some}, Names([dog, some], ORACLE), "random", 0)
    assert [(row["image"], row["text"], row["label"]) for row in rows] == [
        ("some", "Is there an animal in the image?", "yes"),
        ("some", "Is there a dog in the image?", "no"),
    ]
    assert lost == 1  # "Is there an animal?", no, where there is a dog


def test_pope_takes_nothing_for_absent_that_is_there_by_another_name():
    kinds = {
        "a": ("beagle", "dog", "animal"),
        "b": ("tabby", "cat", "animal"),
        "c": ("goat", "animal"),
        "d": ("goat", "animal"),
    }
    scenes = {name: Scene(name, (Placed(kind, "", ANYWHERE),)) for name, kind in kinds.items()}
    rows, lost = make_pope(scenes, Names(scenes.values(), ORACLE), "popular", 0)
    asked = [(row["image"], row["text"].split()[3]) for row in rows if row["label"] == "no"]
    assert asked[:2] == [("a", "cat"), ("b", "dog")]  # and never the most frequent name, animal
    assert [image for image, _ in asked] == ["a", "b", "c", "d"] and lost == 0


@pytest.mark.parametrize(
    ("present", "asked", "absent"),
    [
        (("beagle", "dog", "animal"), "cat", True),
        (("beagle", "dog", "animal"), "dog", False),
        (("fire truck", "vehicle"), "truck", False),  # its own last word
        (("guitar", "musical instrument"), "bass guitar", False),  # might be one, by the words
        (("beagle", "dog", "animal"), "unicorn", False),  # the oracle has never heard of it
        (("bird", "animal"), "parrot", False),  # might be one, by what other things are called
        (("rooster", "bird"), "hen", False),  # looks like one
        (("pepper", "vegetable"), "food", False),  # is some, though no name says so
        (("beagle", "dog", "animal"), "plant", False),  # the background may show one
    ],
)
def test_what_is_surely_absent(present, asked, absent):
    others = [Placed(names, "", ANYWHERE) for names in (("parrot", "bird", "animal"), ("fire truck", "vehicle"))]
    scene = Scene("x", (Placed(present, "", ANYWHERE),))
    assert Names([scene, Scene("y", tuple(others))], ORACLE).is_absent(scene, asked) is absent


def test_cut_outs_of_several_are_not_counted():
    several = Scene("x", (Placed(("penguins", "penguin", "bird"), "", ANYWHERE),))
    one = Scene("y", (Placed(("fat penguin", "penguin", "bird"), "", ANYWHERE),))
    names = Names([several, one], ORACLE)
    assert [names.can_count(scene, "penguin") for scene in (several, one)] == [False, True]


def test_names_are_said_as_people_say_them():
    assert call(Placed(("hot air balloon", "balloon", "aircraft"), "", ANYWHERE)) == "balloon"
    assert [is_countable(name) for name in ("owl", "dog", "glasses", "clothing", "unicorn")] == [True, True] + 3 * [
        False
    ]


# --- multiple choice -------------------------------------------------------------------------------------


def test_mmbench_has_its_columns_and_its_rotations(written, table):
    folder, counts, _ = written
    assert list(table[0]) == (
        "index question hint A B C D answer category l2-category image source comment split".split()
    )
    groups = {}
    for row in table:
        groups.setdefault(int(row["index"]) % 1_000_000, []).append(row)
    assert len(groups) == counts["mmbench"]
    for rows in groups.values():
        assert [int(row["index"]) // 1_000_000 for row in rows] == [0, 1, 2, 3]
        assert len({row[row["answer"]] for row in rows}) == 1
        assert sorted(row["answer"] for row in rows) == list("ABCD")
        assert len({tuple(sorted(row[letter] for letter in "ABCD")) for row in rows}) == 1
    assert {row["category"] for row in table} == {"what", "count", "colour", "position"}
    assert len(read_mmbench(folder / "mmbench" / "picture_world_mmbench.tsv").items) == len(table)


def test_seed_bench_has_its_keys(written, seed_file):
    folder, counts, _ = written
    assert set(seed_file) == {"questions", "question_type"}
    assert len(seed_file["questions"]) == counts["seed_bench"]
    for row in seed_file["questions"]:
        keys = "answer choice_a choice_b choice_c choice_d data_id data_type question question_id question_type_id"
        assert sorted(row) == sorted(keys.split())
        assert row["data_type"] == "image" and row["question_type_id"] in seed_file["question_type"].values()
    file = folder / "seed_bench" / "SEED-Bench.json"
    assert len(read_seed_bench(file, None, "likelihood", folder).items) == counts["seed_bench"]


def test_one_choice_is_right_and_no_other_nearly(seed_file):
    for row in seed_file["questions"]:
        scene, options = SCENES[row["data_id"]], {letter: row[f"choice_{letter.lower()}"] for letter in "ABCD"}
        margin = 0.03 if options[row["answer"]] == "in the middle" else 0.0
        right = [letter for letter, text in options.items() if is_true(scene, row["question"], text, margin)]
        assert right == [row["answer"]], row
        if row["question"].startswith("What colo"):
            assert not NEAR[options[row["answer"]]] & set(options.values()), row


@pytest.mark.parametrize("seed", range(8))
def test_with_every_seed_one_choice_is_right(seed):
    names = Names(SCENES.values(), ORACLE)
    choices, _ = make_choices(SCENES, PlainAsker(random.Random(seed), sorted(names.called)), names)
    assert len(choices) > 100
    for choice in choices:
        margin = 0.03 if choice.right == "in the middle" else 0.0
        options = (choice.right, *choice.wrong)
        right = [text for text in options if is_true(SCENES[choice.image], choice.question, text, margin)]
        assert right == [choice.right], choice


def test_mmbench_asks_the_same_with_the_same_truth(table, seed_file):
    asked = {(row["question"], row["category"], row[row["answer"]]) for row in table}
    kinds = dict(zip((1, 2, 3, 4), ("what", "count", "colour", "position"), strict=True))
    for row in seed_file["questions"]:
        key = (row["question"], kinds[row["question_type_id"]], row[f"choice_{row['answer'].lower()}"])
        assert key in asked


def test_letters_and_numbers_are_balanced(seed_file):
    for kind in seed_file["question_type"].values():
        letters = Counter(row["answer"] for row in seed_file["questions"] if row["question_type_id"] == kind)
        assert max(letters.values()) - min(letters[letter] for letter in "ABCD") <= 1
    counts = [row[f"choice_{row['answer'].lower()}"] for row in seed_file["questions"] if row["question_type_id"] == 2]
    assert 2 * counts.count("one") <= len(counts)


def test_counts_of_one_beyond_the_others_are_left_out_and_counted():
    one, two = (tuple(Placed(("beagle", "dog"), "", (x, 0.4, x + 0.2, 0.6)) for x in xs) for xs in ((0.1,), (0.1, 0.7)))
    lemon = Placed(("lemon",), "", (0.4, 0.7, 0.6, 0.9))
    scenes = {str(n): Scene(str(n), (*(one if n < 5 else two), lemon)) for n in range(7)}
    names = Names(scenes.values(), ORACLE)
    choices, left_out = make_choices(scenes, PlainAsker(random.Random(0), []), names)
    assert Counter(choice.right for choice in choices if choice.kind == "count") == {"one": 2, "two": 2}
    assert left_out == 3 + 7  # and "What is in the picture?", for which there is no wrong name


@pytest.mark.parametrize(
    ("right", "wrong"), [("two", ("three", "four", "five")), ("one", ("two", "three", "1"))], ids=["right", "wrong"]
)
def test_a_choice_that_the_oracle_denies_is_left_out_and_counted(monkeypatch, right, wrong):
    asked = QA("count", "dog", "How many dogs are in the picture?", right, "")
    monkeypatch.setattr(multiple_choice, "_MAKERS", {"count": lambda *_: (asked, list(wrong))})
    scenes = {"x": Scene("x", (Placed(("beagle", "dog"), "", ANYWHERE),))}
    assert make_choices(scenes, PlainAsker(random.Random(0), []), Names(scenes.values(), ORACLE)) == ([], 1)


# --- open questions --------------------------------------------------------------------------------------


def test_open_questions_are_graded_by_the_truth(written):
    folder, counts, _ = written
    rows = lines(folder / "open" / "questions.jsonl")
    assert len(rows) == counts["open"]
    assert all(list(row) == ["question_id", "image", "text", "kind", "scene"] for row in rows)
    answers = {row["question_id"]: "Yes." if row["kind"] == "yes" else "No." for row in rows}
    kinds = {row["question_id"]: row["kind"] for row in rows}
    graded = grade_open(rows, answers, ORACLE)
    assert all(right for name, right in graded.items() if kinds[name] in ("yes", "no"))
    flipped = {name: "No." if text == "Yes." else "Yes." for name, text in answers.items()}
    assert not any(right for name, right in grade_open(rows, flipped, ORACLE).items() if kinds[name] in ("yes", "no"))


@pytest.mark.parametrize(
    ("qa", "sound"),
    [
        (QA("yes", "dog", "Is there a dog in the image?", "yes", "Yes."), True),
        (QA("yes", "dog", "Is there a dog in the image?", "no", "No."), False),  # not true
        (QA("no", "plant", "Is there a plant in the image?", "no", "No."), False),  # perhaps behind it
        (QA("count", "tree", "How many trees are there?", "one", "There is one tree."), False),
        (QA("where", "tree", "Where is the tree?", "in the middle", "In the middle."), False),
        (QA("colour", "yellow fruit", "What colour is the yellow fruit?", "yellow", "It is yellow."), False),
        (QA("colour", "lemon", "What colour is the lemon?", "yellow", "It is yellow."), True),
    ],
)
def test_only_questions_with_a_sure_answer_are_asked_openly(qa, sound):
    things = (("beagle", "dog"), ("fir", "tree"), ("lemon", "yellow fruit", "fruit"))
    scene = Scene("x", tuple(Placed(names, "yellow", ANYWHERE) for names in things))
    names = Names([scene], Oracle([*NAMES, "plant", "tree", "yellow fruit"]))
    asker = SimpleNamespace(ask=lambda scene, each, kinds: [qa])
    (row,) = open_questions({"x.png": scene}, asker, names)
    assert (row is not None) is sound
    assert not sound or row["text"] == qa.question


def test_the_accuracy_is_over_what_the_truth_decides(written):
    rows = [row for row in lines(written[0] / "open" / "questions.jsonl") if row["kind"] in ("yes", "no")][:4]
    right = ["Yes." if row["kind"] == "yes" else "No." for row in rows]
    wrong = "No." if right[1] == "Yes." else "Yes."
    said = dict(zip((row["question_id"] for row in rows), (right[0], wrong, "Well.", right[3]), strict=True))
    assert measure_open(rows, said, ORACLE) == {"questions": 4, "accuracy": pytest.approx(2 / 3), "gradable": 0.75}


def test_llava_bench_has_its_files_and_true_references(written):
    folder, counts, _ = written
    files = {name: lines(folder / "llava_bench" / f"{name}.jsonl") for name in ("questions", "context", "answers_gpt4")}
    assert {tuple(row) for row in files["questions"]} == {("question_id", "image", "text", "category")}
    assert {tuple(row) for row in files["context"]} == {("image", "caption")}
    assert {tuple(row) for row in files["answers_gpt4"]} == {("question_id", "text")}
    assert {row["category"] for row in files["questions"]} == {"conv", "detail", "complex"}
    texts = {row["question_id"]: row["text"] for row in files["answers_gpt4"]}
    everything = set().union(*map(names_in, SCENES.values()))
    for row in files["questions"]:
        absent = everything - names_in(SCENES[row["image"]])
        assert not [name for name in absent if re.search(rf"\b{name}\b", texts[row["question_id"]])], row
    benchmark = read_llava_bench(folder / "llava_bench", None)
    assert len(benchmark.items) == counts["llava_bench"]
    assert all((folder / "llava_bench" / "images" / item.image).exists() for item in benchmark.items)


# --- all of them -----------------------------------------------------------------------------------------


def test_the_same_seed_writes_the_same_files_and_another_does_not(written, tmp_path):
    folder, counts, pictures = written
    assert write_benchmarks(tmp_path / "same", pictures, ORACLE) == counts
    files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    assert len(files) > len(SCENES)
    assert all((folder / file).read_bytes() == (tmp_path / "same" / file).read_bytes() for file in files)
    write_benchmarks(tmp_path / "other", pictures, ORACLE, seed=1)
    for name in ("seed_bench/SEED-Bench.json", "open/questions.jsonl", "pope/picture_world_pope_random.json"):
        assert (folder / name).read_bytes() != (tmp_path / "other" / name).read_bytes()
