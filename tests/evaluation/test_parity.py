"""The same POPE answers scored by lmms-eval's own functions; skipped where it is not installed."""

import importlib.util
import json
import random
from pathlib import Path

import pytest

from c3l.evaluation.pope import read_pope
from c3l.evaluation.statistics import estimate
from c3l.evaluation.task import Prediction

pytestmark = pytest.mark.integration

LABELS = ["yes", "no"] * 60
FIGURES = {"accuracy": "accuracy", "precision": "precision", "recall": "recall", "pooled_f1": "f1_score"}
READ = [  # what lmms-eval makes of a text
    ("Yes", "yes"),
    ("yes ", "yes"),
    ("NO", "no"),
    ("Yes.", "neither"),
    ("Yes, there is a dog.", "neither"),
    ("No, there isn't", "neither"),
    ("There is no dog", "neither"),
    ("There is not a dog", "neither"),
    ("Yes, no dog is there", "neither"),
    ("Not sure", "neither"),
    ("I cannot see", "neither"),
    ("", "neither"),
]


@pytest.fixture(scope="module")
def theirs():
    """The file alone: its package would load all of lmms-eval, and torch with it."""
    package = importlib.util.find_spec("lmms_eval")
    if package is None or not package.submodule_search_locations:
        pytest.skip("lmms-eval is not installed")
    path = Path(package.submodule_search_locations[0], "tasks", "pope", "utils.py")
    spec = importlib.util.spec_from_file_location("lmms_eval_pope", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def score(theirs, texts, labels):
    docs = [{"question_id": n, "answer": label} for n, label in enumerate(labels)]
    results = [theirs.pope_process_results(doc, [text]) for doc, text in zip(docs, texts, strict=True)]
    return {
        name: getattr(theirs, f"pope_aggregate_{name}")([result[f"pope_{name}"] for result in results])
        for name in FIGURES.values()
    }


@pytest.mark.parametrize("rule", ["llava", "strict"])
@pytest.mark.parametrize("seed", range(5))
def test_plain_answers_give_lmms_evals_figures(theirs, rule, seed, tmp_path):
    path = tmp_path / "coco_pope_random.json"
    path.write_text(
        "\n".join(
            json.dumps({"question_id": n, "image": f"{n // 6}.jpg", "text": "Is there a dog?", "label": label})
            for n, label in enumerate(LABELS)
        )
    )
    pope = read_pope([path])
    texts = random.Random(seed).choices(["yes", "no"], weights=(seed + 1, 3), k=len(LABELS))
    made = {item.item_id: Prediction(item.item_id, text) for item, text in zip(pope.items, texts, strict=True)}
    ours = estimate(pope.tally(made, rule), pope.figures, draws=10)
    expected = score(theirs, texts, LABELS)
    for mine, other in FIGURES.items():
        assert ours[mine].value == pytest.approx(expected[other], abs=1e-12)


@pytest.mark.parametrize(("text", "read"), READ)
def test_lmms_eval_reads_answers_as_our_table_says(theirs, text, read):
    """A yes-label and a no-label with this answer, beside one right yes: which of the counts moved?"""
    labels = ["yes", "no", "yes"]
    found = score(theirs, [text, text, "yes"], labels)
    right = {"yes": 1, "no": 1, "neither": 0}[read]
    assert found["accuracy"] == pytest.approx((right + 1) / 3)
    assert found["precision"] == (2 / 3 if read == "yes" else 1.0)
    assert found["recall"] == (0.5 if read == "no" else 1.0)  # neither is left out, not missed
