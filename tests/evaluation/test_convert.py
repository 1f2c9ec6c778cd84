"""Predictions for other scorers, and the commands of other toolkits."""

import csv
import json

from c3l.evaluation.commands import LMMS_EVAL, format_commands
from c3l.evaluation.convert import write_conversions
from c3l.evaluation.mmbench import read_mmbench
from c3l.evaluation.pope import read_pope
from c3l.evaluation.seed_bench import read_seed_bench
from c3l.evaluation.task import Prediction


def read_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_pope_answers_keep_the_order_and_ids_of_each_file(tmp_path):
    files = []
    for split in ("random", "popular"):
        rows = [
            {"question_id": n, "image": "a.jpg", "text": f"Is there a {split} {n}?", "label": "yes"} for n in (2, 1)
        ]
        files.append(tmp_path / f"coco_pope_{split}.json")
        files[-1].write_text("\n".join(map(json.dumps, rows)))
    pope = read_pope(files)
    predictions = {
        item.item_id: Prediction(item.item_id, f"Yes to {item.item_id}")
        for item in sorted(pope.items, key=lambda item: item.item_id)
    }
    paths = write_conversions(tmp_path, pope, predictions, "ours")
    assert [path.name for path in paths] == [
        "llava_answers.jsonl", "pope_random_answers.jsonl", "pope_popular_answers.jsonl", "vlmevalkit.tsv",
    ]  # fmt: skip
    rows = read_lines(paths[0])
    assert [(row["question_id"], row["metadata"]["category"]) for row in rows] == [
        (2, "random"), (1, "random"), (2, "popular"), (1, "popular"),
    ]  # fmt: skip
    assert rows[0]["text"] == "Yes to random/2"
    assert rows[0]["model_id"] == "ours"
    assert [row["answer"] for row in read_lines(paths[2])] == ["Yes to popular/2", "Yes to popular/1"]
    assert read_lines(paths[2])[0]["question"].startswith("Is there a popular 2?")


def test_a_category_is_no_path(tmp_path):
    rows = [
        {"question_id": n, "image": "a.jpg", "text": f"Is there a {n}?", "label": "yes", "category": category}
        for n, category in enumerate(("a/../../escaped", "coco/random", "coco_random", "x" * 300))
    ]
    (tmp_path / "rows.json").write_text("\n".join(map(json.dumps, rows)))
    pope, out = read_pope([tmp_path / "rows.json"]), tmp_path / "out/pope_a"
    out.mkdir(parents=True)
    predictions = {item.item_id: Prediction(item.item_id, "\nYes ") for item in pope.items}
    paths = write_conversions(out, pope, predictions, "ours")
    assert [path.parent for path in paths] == [out] * 6
    assert len(set(paths)) == 6
    assert [path.name for path in paths if "coco" in path.name] == [
        "pope_1_coco_random_answers.jsonl", "pope_coco_random_answers.jsonl",
    ]  # fmt: skip
    assert [row["answer"] for path in paths[1:5] for row in read_lines(path)] == ["Yes"] * 4
    assert {row["text"] for row in read_lines(paths[0])} == {"Yes"}


def read_table(path):
    with path.open(newline="") as lines:
        return list(csv.DictReader(lines, delimiter="\t"))


def test_vlmevalkits_table_of_pope_has_an_index_of_its_own_and_capital_answers(tmp_path):
    files = []
    for split, label in (("random", "yes"), ("popular", "no")):
        row = {"question_id": 1, "image": "a.jpg", "text": "Is there a dog?", "label": label}
        files.append(tmp_path / f"coco_pope_{split}.json")
        files[-1].write_text(json.dumps(row))
    pope = read_pope(files)
    texts = {"random/1": "Yes,\tthere\nis", "popular/1": "a\rb"}
    *_, path = write_conversions(tmp_path, pope, {name: Prediction(name, text) for name, text in texts.items()}, "m")
    rows = read_table(path)
    assert [list(row.values())[2:] for row in rows] == [["Yes", "random", "Yes,\tthere\nis"], ["No", "popular", "a\rb"]]
    assert [row["index"] for row in rows] == ["0", "1"]


def test_vlmevalkits_table_of_mmbench_keeps_indices_and_leaves_absent_options_empty(tmp_path):
    source = tmp_path / "mmbench.tsv"
    source.write_text(
        "index\tquestion\tA\tB\tC\tanswer\tcategory\timage\n7\tQ?\tx\ty\t\tB\twhat\tQUJD\n8\tQ?\tx\ty\tz\tA\thow\t7\n"
    )
    benchmark = read_mmbench(source)
    made = {item.item_id: Prediction(item.item_id, f"P{item.item_id}") for item in benchmark.items}
    rows = read_table(write_conversions(tmp_path, benchmark, made, "m")[-1])
    assert [row["index"] for row in rows] == ["7", "1000007", "8", "1000008", "2000008"]
    assert [(row["A"], row["C"], row["answer"], row["prediction"]) for row in rows[:3]] == [
        ("x", "", "B", "P7"), ("y", "", "A", "P1000007"), ("x", "z", "A", "P8"),
    ]  # fmt: skip


def test_seed_bench_is_known_by_its_question_ids(tmp_path):
    question = {"answer": "C", **{f"choice_{x}": x * 2 for x in "abcd"}, "data_id": "1", "data_type": "image",
                "question": "What?", "question_id": "31", "question_type_id": 1}  # fmt: skip
    path = tmp_path / "SEED-Bench.json"
    path.write_text(json.dumps({"questions": [question], "question_type": {"Scene": 1}}))
    benchmark = read_seed_bench(path, None, "generation", tmp_path)
    (row,) = read_table(write_conversions(tmp_path, benchmark, {"31": Prediction("31", "C")}, "m")[-1])
    assert (row["index"], row["C"], row["answer"], row["category"], row["prediction"]) == (
        "31",
        "cc",
        "C",
        "Scene",
        "C",
    )


def test_choices_that_were_compared_have_no_answer_to_convert(tmp_path):
    question = {"answer": "A", **{f"choice_{x}": x for x in "abcd"}, "data_id": "1", "data_type": "image",
                "question": "What?", "question_id": "1", "question_type_id": 1}  # fmt: skip
    path = tmp_path / "SEED-Bench.json"
    path.write_text(json.dumps({"questions": [question], "question_type": {"Scene": 1}}))
    benchmark = read_seed_bench(path, None, "likelihood", tmp_path)
    assert write_conversions(tmp_path, benchmark, {"1": Prediction("1", likelihoods=(-1.0,) * 4)}, "m") == []


def test_commands_name_the_folder_and_every_task(tmp_path):
    text = "\n".join(format_commands(tmp_path / "my model", list(LMMS_EVAL)))
    assert all(name in text for name in (*LMMS_EVAL.values(), "MMBench_DEV_EN", "--base-url"))
    assert "pretrained='" in text or "my\\ model" in text or "my model'" in text
