from typing import Any

import numpy as np
import pytest
import torch
from studies.picture_world.lessons import Lesson
from studies.picture_world.rows import IMAGE_TOKENS, Rows, collate
from studies.picture_world.train import loss_of

EXERCISES = (("What is this?", "A dog."), ("Is there a cat in the image?", "No."), ("Where is it?", "On the left."))


@pytest.fixture(scope="module")
def rows(processor: Any) -> Rows:
    return Rows(processor, 520)


def features(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 2, (IMAGE_TOKENS, 1280)).astype(np.float16)


def mean_loss(model: Any, rows: Rows, lessons: list[Lesson]) -> tuple[float, float]:
    made = [rows.row(lesson) for lesson in lessons]
    seen = torch.from_numpy(np.stack([row.features for row in made if row.features is not None])).float()
    with torch.inference_mode():
        loss = loss_of(model, collate(made, rows.tokenizer.pad_token_id), seen, rows.image)
    return float(loss), sum(sum(row.weights) for row in made)


def test_exercises_sharing_a_row_cost_what_they_cost_alone(model: Any, rows: Rows) -> None:
    together, weight = mean_loss(model, rows, [Lesson(features(1), EXERCISES)])
    alone = [mean_loss(model, rows, [Lesson(features(1), (exercise,))]) for exercise in EXERCISES]
    assert weight == pytest.approx(sum(w for _, w in alone))
    assert together == pytest.approx(sum(loss * w for loss, w in alone) / weight, abs=2e-4)


def test_padding_and_neighbours_change_nothing(model: Any, rows: Rows) -> None:
    short, long = Lesson(features(1), EXERCISES[:1]), Lesson(features(2), EXERCISES)
    both, weight = mean_loss(model, rows, [short, long])
    alone = [mean_loss(model, rows, [lesson]) for lesson in (short, long)]
    assert both == pytest.approx(sum(loss * w for loss, w in alone) / weight, abs=2e-4)


def test_another_picture_changes_the_loss(model: Any, rows: Rows) -> None:
    one, _ = mean_loss(model, rows, [Lesson(features(1), EXERCISES)])
    other, _ = mean_loss(model, rows, [Lesson(features(2), EXERCISES)])
    assert abs(one - other) > 1e-3


def test_only_answers_are_learnt_and_the_end_of_the_turn_with_them(rows: Rows) -> None:
    row = rows.row(Lesson(features(1), EXERCISES[:1]))
    learnt = [i for i, weight in zip(row.ids, row.weights, strict=True) if weight]
    assert rows.tokenizer.decode(learnt) == "A dog.<|im_end|>"


def test_a_lesson_without_a_picture_has_no_image_token(rows: Rows) -> None:
    assert rows.image not in rows.row(Lesson(None, EXERCISES)).ids
