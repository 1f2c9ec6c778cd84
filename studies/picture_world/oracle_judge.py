"""Open questions about scenes, whose answers the oracle grades: no LLaVA-Bench, for there are no marks, only truth."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from studies.picture_world.naming import SCENERY, Names, names_its_colour
from studies.picture_world.oracle import Oracle
from studies.picture_world.questions import QA, Asker
from studies.picture_world.scenes import Scene

OPEN = {"what": 3.0, "yes": 2.0, "no": 2.0, "count": 1.0, "colour": 1.0, "category": 1.0, "where": 1.0}


def open_questions(
    scenes: Mapping[str, Scene], asker: Asker, names: Names, each: int = 3
) -> Iterator[dict[str, Any] | None]:
    """Questions with the scene that decides them, as lines of ``open/questions.jsonl``.

    A drawn question whose right answer the truth does not surely decide comes out as None, so that it can be counted.

    Args:
        scenes: Picture -> its truth.
        asker: Draws the questions.
        names: Knows what is surely absent.
        each: Questions drawn of a picture.
    """
    number = 0
    for image, scene in scenes.items():
        for qa in asker.ask(scene, each, OPEN):
            if not _is_sound(scene, qa, names):
                yield None
                continue
            yield {
                "question_id": f"open-{number}",
                "image": image,
                "text": qa.question,
                "kind": qa.kind,
                "scene": json.loads(scene.to_json()),
            }
            number += 1


def _is_sound(scene: Scene, qa: QA, names: Names) -> bool:
    if qa.kind == "no" and not names.is_absent(scene, qa.topic):
        return False
    if qa.kind == "count" and qa.topic and not names.can_count(scene, qa.topic):
        return False
    if qa.kind in ("where", "colour") and qa.topic in SCENERY:
        return False  # the background may have another
    if qa.kind == "colour" and names_its_colour(qa.topic):
        return False
    return names.oracle.grade(scene, qa.question, qa.long).grade == "true"


def grade_open(rows: Sequence[Mapping[str, Any]], answers: Mapping[str, str], oracle: Oracle) -> dict[str, bool]:
    """Whether each answer is true, by question; answers that make no claim the truth decides are left out.

    Args:
        rows: Lines of ``open/questions.jsonl``.
        answers: Question id -> text.
        oracle: Decides.
    """
    graded = {}
    for row in rows:
        grade = oracle.grade(Scene.from_json(json.dumps(row["scene"])), row["text"], answers[row["question_id"]]).grade
        if grade != "ungradable":
            graded[row["question_id"]] = grade == "true"
    return graded


def measure_open(rows: Sequence[Mapping[str, Any]], answers: Mapping[str, str], oracle: Oracle) -> dict[str, float]:
    """``accuracy``: true answers among those that the truth decides (NaN without one); ``gradable``: their share."""
    graded = grade_open(rows, answers, oracle)
    right = sum(graded.values())
    return {
        "questions": len(rows),
        "accuracy": right / len(graded) if graded else float("nan"),
        "gradable": len(graded) / len(rows) if rows else float("nan"),
    }
