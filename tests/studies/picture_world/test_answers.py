"""The study of answers on a tiny LLaVA: what is asked and contrasted, that DPO is TRL's, and all of it once."""

import json
import math
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from studies.picture_world.answer_seeds import ARMS, Plan, SeedStudy
from studies.picture_world.answer_tables import best, write_results
from studies.picture_world.answer_tuning import PreferenceCollator, make_trainer
from studies.picture_world.answering import Answer, ask, choose_questions, contrast_answers, drop_equal, score
from studies.picture_world.answers import resolve_config, run_seed
from studies.picture_world.grading import GradedRun
from studies.picture_world.oracle import Oracle
from studies.picture_world.study import ARMS as STUDY_ARMS
from studies.picture_world.study import make_config, paint_scenes, run_arm
from tests.studies.picture_world.test_study import pair
from tests.studies.picture_world.worlds import NAMES, random_scene
from tests.tiny_models import Tiny, make_picture

from c3l.models.hf.finetunable import FinetunableHfModel
from c3l.models.hf.inference import HfModel
from c3l.models.interface import Completion, GenerateRequest, Sampling
from c3l.models.tunable import Conversation
from c3l.progress import SilentProgress
from c3l.records import AnswerScores, ImageRef, Provenance, Sample, ScoredPair
from c3l.settings.schema import ScoringConfig
from c3l.settings.tuning import ContrastiveConfig, FinetuningConfig
from c3l.training.arguments import TrainingPlace
from c3l.training.groups import TextGroup
from fakes import FakeModel

PICTURES = 6
PROVENANCE = Provenance("tiny", "", "hf", "float32", "cpu", 0, {})
IMAGES = {str(n): ImageRef(str(n), f"{n}.png", "", 40, 30) for n in range(PICTURES)}


def open_image(image: ImageRef):
    return make_picture(int(image.image_id))


def question(number: int, image: str = "0") -> Sample:
    return Sample(f"{image}-{number}", image, "conversation", f"Question {number}?", "as drafted", 0, number)


def answer(text: str, number: int = 0, i2c: float = 0.0) -> ScoredPair:
    sample = Sample(f"a{number}", "0", "answers", "Which?", text, 0, number)
    return ScoredPair(sample, AnswerScores((1,), ("a",), (i2c,), (0.0,), (0.0,)), i2c, "lift", "others")


def test_the_first_questions_of_every_picture_are_asked_several_times() -> None:
    questions = choose_questions([question(n, image) for image in "01" for n in range(3)], 2)
    assert [one.sample_id for one in questions] == ["0-0", "0-1", "1-0", "1-1"]
    model = FakeModel(lambda request: f" {request.prompt} {request.seed} ")
    answers = list(ask(questions, IMAGES, model, open_image, Sampling(), 0, 3))
    assert [(one.sample.image_id, one.sample.question, one.sample.index) for one in answers] == [
        (one.image_id, one.question, number) for one in questions for number in range(3)
    ]
    assert len({one.sample.answer for one in answers}) == len({one.sample.sample_id for one in answers}) == 12
    assert [request.prompt for request in model.generated[::3]] == [one.question for one in questions]
    assert model.generated[0].image is model.generated[5].image, "one object, so that the picture is read once"
    assert model.generated[5].image is not model.generated[6].image
    [first] = list(
        ask(questions[:1], IMAGES, FakeModel(lambda request: str(request.seed)), open_image, Sampling(), 0, 1)
    )
    assert answers[0].sample.answer.endswith(f" {first.sample.answer}"), "its seed hangs on nothing else that is asked"


def test_what_was_cut_off_is_no_answer_to_contrast() -> None:
    said = [("Yes.", "stop"), ("No.", "stop"), ("Perhaps it", "length")]
    answers = [Answer(answer(text, n).sample, why) for n, (text, why) in enumerate(said)]  # type: ignore[arg-type]
    assert [one.answer for one in drop_equal(answers)] == ["Yes.", "No."]


@pytest.mark.parametrize(
    ("asked", "said", "different"),
    [
        ("Is there a dog?", ["No.", "no", "No, there is no dog in the picture.", "Yes."], ["No.", "Yes."]),
        ("How many cats are there?", ["Two.", "There are two cats.", "Three."], ["Two.", "Three."]),
        (
            "What is it?",
            ["A dog and a cat.", "The image shows a cat and a dog.", "A dog."],
            ["A dog and a cat.", "A dog."],
        ),
        ("Is it red or blue?", ["Red.", "It is red.", "Blue."], ["Red.", "Blue."]),
    ],
)
def test_answers_that_say_the_same_in_other_words_are_not_contrasted(
    asked: str, said: list[str], different: list[str]
) -> None:
    answers = [Answer(replace(answer(text, n).sample, question=asked), "stop") for n, text in enumerate(said)]
    assert [one.answer for one in drop_equal(answers)] == different


def test_answers_are_scored_against_other_pictures() -> None:
    samples = [replace(question(0, "1"), answer="a red dog"), replace(question(1, "1"), answer="")]
    [scored] = score(samples, IMAGES, FakeModel(), open_image, ScoringConfig(others=2), 0)
    assert (scored.sample.answer, scored.no_image) == ("a red dog", "others")


def test_the_best_answer_stands_first_and_the_worst_last() -> None:
    answers = [answer("A.", 0, 1.0), answer("B.", 1, 3.0), answer("C.", 2, 2.0)]
    lonely = replace(answers[0], sample=replace(answers[0].sample, sample_id="b", question="Who?"))
    [group] = contrast_answers([lonely, *answers], IMAGES, "highest", 0)
    assert (group.image, group.prompt, group.completions) == (IMAGES["0"], "Which?", ("B.", "C.", "A."))
    drawn = {contrast_answers(answers, IMAGES, "random", seed)[0].completions[0] for seed in range(20)}
    assert drawn == {"A.", "B.", "C."}


def test_best_is_one_answer_to_each_question() -> None:
    pairs = [pair("p", "true", i2c=1, sample_id="a"), pair("p", "false", i2c=2, sample_id="b"), pair("q", "true")]
    run = GradedRun("x", 0, tuple(pairs), 3)
    assert [one.scored.sample.sample_id for one in best(run).pairs] == ["b", pairs[2].scored.sample.sample_id]
    assert best(run, lambda one: -one.scored.i2c).pairs[0] is pairs[0]


def make_lvlm(tiny: Tiny) -> FinetunableHfModel:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = FinetuningConfig(lora_r=4, lora_alpha=8, lora_dropout=0, tune_connector=False)
        return FinetunableHfModel(deepcopy(tiny.model), tiny.processor, PROVENANCE, config)


@pytest.mark.parametrize("family", ["llava", "fast_vlm"])
def test_dpo_begins_at_even_odds_and_comes_to_prefer_what_it_should(tiny, tmp_path, family) -> None:
    groups = [TextGroup(IMAGES[str(n)], "What?", (f"A dog {n}.", "Well.", "It is no cat.")) for n in range(4)]
    recipe = ContrastiveConfig(max_steps=6, batch_size=2, learning_rate=1e-2, warmup_share=0, held_out=0)
    lvlm = make_lvlm(tiny(family))
    collate = PreferenceCollator(lvlm, IMAGES, open_image)
    [row] = [{"image": "0", "prompt": "What?", "chosen": "A dog 0.", "rejected": "It is no cat."}]
    batch, alone = collate([row]), lvlm.collate([Conversation(make_picture(0), (("What?", "A dog 0."),))])
    chosen, rejected = (
        ids[mask.bool()] for ids, mask in zip(batch["input_ids"], batch["completion_mask"], strict=True)
    )
    end = tiny(family).processor.tokenizer.eos_token
    assert lvlm.processor.tokenizer.decode(chosen) == f"A dog 0.{end}"
    assert lvlm.processor.tokenizer.decode(rejected) == f"It is no cat.{end}"
    before = lvlm.module(**alone).loss.item()
    trainer = make_trainer(lvlm, groups, open_image, recipe, TrainingPlace(0, tmp_path))
    trainer.train()
    log = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert log[0]["loss"] == pytest.approx(math.log(2), abs=1e-4)
    count = len(chosen)
    first = trainer.compute_ref_log_probs(trainer.model, batch)[0].item()
    assert first == pytest.approx(-before * count, rel=1e-3), "the reference is the model before, with the picture"
    assert log[-1]["loss"] < 0.6
    assert log[-1]["rewards/margins"] > 0.1


def write(model: HfModel, requests: Sequence[GenerateRequest], sampling: Sampling) -> list[Completion]:
    """Five questions that the oracle can grade, or an answer to one of them, "yes" or "no" by the seed."""

    def said(request: GenerateRequest) -> str:
        if request.prompt.startswith("Is there"):
            return ("Yes.", "No.", "Yes, there is.")[request.seed % 3]
        return "\n".join(
            f"Question {n}: Is there a {NAMES[(request.seed + 3 * n) % len(NAMES)]} in the picture?\n"
            f"Answer {n}: {'Yes' if request.seed >> n & 1 else 'No'}."
            for n in range(1, 6)
        )

    return [Completion(request.request_id, said(request), "stop") for request in requests]


@pytest.fixture
def study(
    tmp_path: Path, copy_tiny: Callable[[str, Path], Path], own_cache: None, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The folder of a study with a draft."""
    monkeypatch.setattr(HfModel, "generate", write)
    monkeypatch.setattr("studies.picture_world.grading.DRAWS", 20)
    (tmp_path / "scenes").mkdir()
    scenes = [random_scene(n) for n in range(PICTURES)]
    for n, scene in enumerate(scenes):
        make_picture(n).save(tmp_path / "scenes" / f"{scene.scene_id}.png")
    (tmp_path / "scenes/truth.jsonl").write_text("".join(scene.to_json() + "\n" for scene in scenes))
    copy_tiny("llava", tmp_path / "llava")
    draft = next(arm for arm in STUDY_ARMS if arm.name == "draft")
    run_arm(draft, make_config(draft, tmp_path, 0, PICTURES, str(tmp_path / "llava"), ["model.dtype=float32"]))
    return tmp_path


def test_arms_make_as_many_steps_and_what_is_done_is_read(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan(5, 2, 4, 8, "lift", ("contrastive.lora_r=4",))
    arms = [arm for arm in ARMS if arm.name in ("infonce", "dpo")]
    scenes, oracle = paint_scenes(Path("no-world-is-needed"), study / "scenes", PICTURES), Oracle(NAMES)

    def run() -> str:
        seed = SeedStudy(study, study / "out/0", 0, plan, SilentProgress())
        found = run_seed(seed, arms, oracle, scenes)
        assert found.questions == 10
        assert len(found.answers["own"].pairs) == 40
        assert {p.picture for p in found.drafts["draft"].pairs} == {f"{n}.png" for n in range(5)}
        assert {len(one.pairs) for name, one in found.answers.items() if name != "own"} == {10}
        tunings = [tuple(one.items()) for one in found.tunings.values()]
        assert len(tunings) == 2
        assert len(set(tunings)) == 1, "the same groups, held-out ones and steps"
        return write_results([found], {arm.name: arm.phrase for arm in ARMS}, "lift", 4, study / "out")

    text = run()
    for phrase in ("| the draft |", "temperature 0.5", "any of 4", "best of 4 by lift", "DPO", "perplexity saved"):
        assert phrase in text
    weights = {arm.name: (study / f"out/0/{arm.name}/adapter/adapter_model.safetensors").read_bytes() for arm in arms}
    assert len(set(weights.values())) == 2
    assert not list(study.glob("out/0/*/merged")), "half a gigabyte each"
    assert len(json.loads((study / "out/results.json").read_text())["best"]["lift"]["by_seed"]) == 1

    def refuse(*_: object) -> None:
        raise AssertionError("nothing is left to be asked")

    monkeypatch.setattr("studies.picture_world.answer_seeds.KeptModel.__call__", refuse)
    assert run() == text


def test_a_folder_of_another_plan_is_refused(tmp_path: Path) -> None:
    plan = Plan(5, 2, 4, 8, "lift", ())
    resolve_config(tmp_path, plan)
    resolve_config(tmp_path, plan)
    with pytest.raises(SystemExit, match="by: lift -> log_ratio"):
        resolve_config(tmp_path, replace(plan, by="log_ratio"))
