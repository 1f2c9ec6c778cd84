"""Predictions for other scorers, and the commands of other toolkits."""

import json

from c3l.evaluation.commands import LMMS_EVAL, format_commands
from c3l.evaluation.convert import write_conversions
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
        "llava_answers.jsonl", "pope_random_answers.jsonl", "pope_popular_answers.jsonl",
    ]  # fmt: skip
    rows = read_lines(paths[0])
    assert [(row["question_id"], row["metadata"]["category"]) for row in rows] == [
        (2, "random"), (1, "random"), (2, "popular"), (1, "popular"),
    ]  # fmt: skip
    assert rows[0]["text"] == "Yes to random/2"
    assert rows[0]["model_id"] == "ours"
    assert [row["answer"] for row in read_lines(paths[2])] == ["Yes to popular/2", "Yes to popular/1"]
    assert read_lines(paths[2])[0]["question"].startswith("Is there a popular 2?")


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
