"""POPE by hand: how answers are read, what is counted."""

import json
from functools import partial

import numpy as np
import pytest

from c3l.errors import DataError
from c3l.evaluation.pictures import find_ending
from c3l.evaluation.pope import read_llava, read_pope, read_strict
from c3l.evaluation.statistics import compare, estimate
from c3l.evaluation.task import Prediction

READINGS = [  # text, llava, strict
    ("Yes", "yes", "yes"),
    ("\nNo", "no", "no"),
    ("No\n", "no", "no"),
    ("\n\nNo.", "no", "no"),
    ("No\nThere is none", "yes", "no"),  # one word to LLaVA, as in its own code
    ("Yes.", "yes", "yes"),
    ("Yes, there is a dog.", "yes", "yes"),
    ("No, there isn't", "no", "no"),
    ("There is no dog", "no", "no"),
    ("There is not a dog", "no", "unknown"),
    ("Yes, no dog is there", "no", "yes"),
    ("NO", "yes", "no"),
    ("Not sure", "yes", "unknown"),
    ("I cannot see", "yes", "unknown"),
    ("", "yes", "unknown"),
    ("Yes. No dog, not one", "yes", "yes"),
    ("nothing known", "yes", "unknown"),
    ("_Yes_", "yes", "yes"),
    ("\uff39\uff45\uff53", "yes", "yes"),
]


@pytest.mark.parametrize(("text", "llava", "strict"), READINGS)
def test_an_answer_is_read_by_each_rule(text, llava, strict):
    assert (read_llava(text), read_strict(text)) == (llava, strict)


def write(folder, split="random", labels=("yes", "no", "yes", "no"), **more):
    rows = [
        {"question_id": n + 1, "image": f"{n // 2}.jpg", "text": f"Is there a thing {n} in the image?", "label": label}
        | more
        for n, label in enumerate(labels)
    ]
    path = folder / f"coco_pope_{split}.json"
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")
    return path


def answer(pope, *texts, failed=""):
    return {
        item.item_id: Prediction(item.item_id, text, failed=failed if text == "FAILED" else "")
        for item, text in zip(pope.items, texts, strict=True)
    }


def figures_of(pope, predictions, rule="llava"):
    tally = pope.tally(predictions, rule)
    return tally, {name: one.value for name, one in estimate(tally, pope.figures, draws=50).items()}


def test_the_figures_are_those_of_the_definitions(tmp_path):
    pope = read_pope([write(tmp_path)])
    assert [item.item_id for item in pope.items] == ["random/1", "random/2", "random/3", "random/4"]
    assert pope.items[0].prompt.endswith("image?\nAnswer the question using a single word or phrase.")
    tally, found = figures_of(pope, answer(pope, "Yes", "Yes", "No", "No"))  # tp fp fn tn
    assert found["accuracy"] == found["precision"] == found["recall"] == found["mean_f1"] == 0.5
    assert found["yes_share"] == 0.5
    assert (tally.items, tally.unparsed, tally.failed, len(tally.units)) == (4, 0, 0, 2)


def test_mean_f1_and_pooled_f1_differ_where_splits_do(tmp_path):
    pope = read_pope([write(tmp_path), write(tmp_path, "popular", ("yes", "no"))])
    _, found = figures_of(pope, answer(pope, "yes", "no", "yes", "no", "no", "yes"))
    assert (found["random/f1"], found["popular/f1"]) == (1.0, 0.0)
    assert found["mean_f1"] == 0.5
    assert found["pooled_f1"] == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))


def test_an_answer_that_is_neither_is_wrong_and_no_yes_and_counted(tmp_path):
    pope = read_pope([write(tmp_path)])
    tally, found = figures_of(pope, answer(pope, "perhaps", "perhaps", "yes", "no"), "strict")
    assert (tally.unparsed, found["unknown_share"], found["yes_share"]) == (2, 0.5, 0.25)
    assert (found["accuracy"], found["recall"], found["precision"]) == (0.5, 0.5, 1.0)
    tally, found = figures_of(pope, answer(pope, "perhaps", "perhaps", "yes", "no"))
    assert (tally.unparsed, found["yes_share"]) == (2, 0.75)  # llava takes them for a yes, and says how many
    tally, found = figures_of(pope, answer(pope, "FAILED", "no", "yes", "no", failed="gone"))
    assert (tally.failed, tally.unparsed, found["accuracy"]) == (1, 0, 0.75)
    _, found = figures_of(pope, answer(pope, "yes", "FAILED", "yes", "no", failed="gone"))  # its "no" would be right
    assert (found["accuracy"], found["unknown_share"], found["mean_f1"]) == (0.75, 0.25, 1.0)


def test_a_model_that_never_says_yes_has_an_f1_of_0_and_no_precision(tmp_path):
    pope = read_pope([write(tmp_path)])
    _, found = figures_of(pope, answer(pope, "no", "no", "no", "no"))
    assert (found["mean_f1"], found["precision"], found["recall"]) == (0.0, None, 0.0)


def test_a_picture_with_its_questions_is_drawn_as_one(tmp_path):
    pope = read_pope([write(tmp_path), write(tmp_path, "popular")])
    tally = pope.tally(answer(pope, *["yes"] * 8), "llava")
    assert tally.units == ("0.jpg", "1.jpg")
    assert {one.value for one in compare(tally, tally, pope.figures).values()} <= {0.0, None}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows[0].pop("label"), "no label"),
        (lambda rows: rows[1].update(label="maybe"), "row 2 has the label 'maybe'"),
        (lambda rows: rows[1].update(question_id=1), "comes twice"),
        (lambda rows: rows[1].update(question_id=None), "row 2 has question_id None"),
        (lambda rows: rows[1].update(question_id=True), "row 2 has question_id True"),
        (lambda rows: rows[1].update(text=None), "row 2 has text None, expected text"),
        (lambda rows: rows[1].update(text=" "), "row 2 has an empty question"),
        (lambda rows: rows[1].update(text="A \ud83d?"), "row 2 has half a character .* in text"),
        (lambda rows: rows[1].update(image="\ud83d.jpg"), "row 2 has half a character .* in image"),
        (lambda rows: rows[1].update(image={"bytes": "x"}), "row 2 has image .*, expected text"),
        (lambda rows: rows.append("text"), "row 5 is 'text', expected an object"),
    ],
)
def test_another_file_is_one_line(change, said, tmp_path):
    path = write(tmp_path)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    change(rows)
    path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(DataError, match=said):
        read_pope([path])


def test_a_line_that_is_not_json_is_named(tmp_path):
    path = write(tmp_path)
    path.write_text(path.read_text() + "{broken\n")
    with pytest.raises(DataError, match="line 5 with text is not JSON"):
        read_pope([path])


def test_a_suffix_and_a_category_that_are_there_are_kept(tmp_path):
    asked = "Is there a dog?\nAnswer the question using a single word or phrase."
    pope = read_pope([write(tmp_path, "anything", text=asked, category="popular")])
    assert pope.items[0].prompt == asked
    assert pope.items[0].item_id == "popular/1"


def test_rows_of_other_releases_say_the_same(tmp_path):
    (tmp_path / "COCO_7.jpg").write_bytes(b"")
    path = tmp_path / "pope.json"
    rows = [{"question_id": 1.0, "image": "COCO_7.jpg", "text": "A dog?", "label": True}]
    rows += [{"question_id": "2", "image_source": "COCO_7", "image": {}, "question": "A cat?", "answer": "NO"}]
    path.write_text(json.dumps([row | {"category": "popular"} for row in rows]))
    pope = read_pope([path], find=partial(find_ending, tmp_path))
    assert [(item.item_id, item.image) for item in pope.items] == [(f"popular/{n}", "COCO_7.jpg") for n in (1, 2)]
    assert [known["answer"] for known in pope.describe()] == ["Yes", "No"]


def test_a_split_may_be_the_name_of_a_folder(tmp_path):
    paths = []
    for split in ("random", "popular"):
        (tmp_path / split).mkdir()
        paths.append(write(tmp_path / split, split).rename(tmp_path / split / "pope.json"))
    assert [item.item_id for item in read_pope(paths).items][::4] == ["random/1", "popular/1"]
    with pytest.raises(DataError, match="give each split once"):
        read_pope([paths[0], paths[0]])


def test_an_interval_holds_its_value_and_narrows_with_more_pictures(tmp_path):
    rng = np.random.default_rng(0)

    def width(pictures):
        pope = read_pope([write(tmp_path, labels=("yes", "no") * pictures)])
        texts = rng.choice(["yes", "no"], len(pope.items))
        one = estimate(pope.tally(answer(pope, *texts), "llava"), pope.figures)["accuracy"]
        assert one.low <= one.value <= one.high
        return one.high - one.low

    assert width(400) < 0.6 * width(50)
