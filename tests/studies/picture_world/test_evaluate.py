import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image
from studies.picture_world.evaluate import Bench, Picture, naming, write, yes_no
from studies.picture_world.oracle import Oracle
from studies.picture_world.scenes import Scene
from tests.fakes import FakeModel
from tests.studies.picture_world.worlds import KINDS, NAMES, Placed

from c3l.models.interface import GenerateRequest, ScoreRequest, Unfit
from c3l.records import AnswerScores, NoImageMode


def pictures() -> list[Picture]:
    """One thing a picture; the red channel says which."""
    return [
        Picture(Image.new("RGB", (8, 8), (i, 0, 0)), Scene(str(i), (Placed(names, "", (0.1, 0.4, 0.3, 0.6)),)))
        for i, names in enumerate(KINDS)
    ]


def thing_in(image: Image.Image | None) -> str:
    assert image is not None
    pixel = image.getpixel((0, 0))
    assert isinstance(pixel, tuple)
    return KINDS[int(pixel[0])][0]


class Seeing(FakeModel):
    """Raises the likelihood of answers that name what the picture shows."""

    def score(self, requests: Sequence[ScoreRequest], no_image: NoImageMode) -> dict[str, AnswerScores | Unfit]:
        return {
            pair.pair_id: self._judge(thing_in(request.image) in pair.completion.lower(), pair.completion)
            for request in requests
            for pair in request.pairs
        }

    def _judge(self, right: bool, text: str) -> AnswerScores:
        n = len(text.split())
        return AnswerScores((1,) * n, tuple(text.split()), (-1.0 if right else -4.0,) * n, (-2.0,) * n, (0.5,) * n)


def test_a_model_that_sees_names_perfectly_and_a_blind_one_does_not() -> None:
    seeing, blind = naming(Bench(Seeing(), pictures())), naming(Bench(FakeModel(), pictures()))
    assert seeing["pictures"] == len(KINDS)
    assert seeing["log_ratio"]["auroc"] == 1.0
    assert seeing["vocabulary_kl"]["auroc"] == 0.5  # it is the same for every answer
    assert blind["log_ratio"]["auroc"] < 1.0


def test_always_yes_is_half_right_on_balanced_questions() -> None:
    result = yes_no(Bench(FakeModel(lambda request: "Yes."), pictures()))
    assert result["questions"] == 2 * len(KINDS)
    assert result["accuracy"] == 0.5
    assert result["yes_share"] == 1.0


def test_written_pairs_are_parsed_graded_and_ranked(tmp_path: Path) -> None:
    def pairs(request: GenerateRequest) -> str:
        true = f"Question 1: What is in the image?\nAnswer 1: A {thing_in(request.image)}.\n"
        false = "Question 2: What can you see?\nAnswer 2: A whale.\n"
        rest = "".join(f"Question {i}: Who painted {i}?\nAnswer {i}: Nobody {i}.\n" for i in (3, 4, 5))
        return true + false + rest

    result = write(Bench(Seeing(pairs), pictures()), Oracle(NAMES), ("conversation",), tmp_path)
    assert result["completions"] == len(KINDS)
    assert result["parse_into_five"] == 1.0
    assert result["gradable_share"] == pytest.approx(2 / 5)
    assert result["true_share"] == 0.5
    assert result["forms"]["log_ratio"]["auroc"] == 1.0
    lines = [json.loads(line) for line in (tmp_path / "written.jsonl").read_text().splitlines()]
    assert len(lines) == 5 * len(KINDS)
