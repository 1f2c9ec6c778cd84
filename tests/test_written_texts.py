"""Thoughts, boxes and control tokens through the whole command, with real tiny models that always write one text."""

import json

import pytest

from c3l.jobs.evaluate import evaluate_files
from c3l.jobs.finetune import finetune_files
from c3l.jobs.score import score_file
from c3l.models.load import load_model
from c3l.progress import SilentProgress
from c3l.records import Generation, Rejected
from c3l.run import pipeline
from c3l.run.run_folder import Run
from c3l.run.status import read_states, summarise
from c3l.settings.evaluation import BenchmarkConfig
from c3l.settings.load import load_config
from runs import draw_pictures, make_config, walk
from tiny_models import CHAT_TEMPLATE, load_tiny, write_scripted

OPENS = CHAT_TEMPLATE.format(image="<image>").replace("{{ 'assistant: ' }}", "{{ 'assistant: <think>\\n' }}")
THOUGHT = "Question 1: Is it a dog? Answer 1: No, that is not right.\n"
PAIRS = "\n\nQuestion 1: What is it? Answer 1: A card.\nQuestion 2: Where? Answer 2: At "
BOX = ("<|box_start|>", "(1,2)", "<|box_end|>")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Two pictures; models that think before they write, one whose template opens the thought."""
    root = tmp_path_factory.mktemp("written")
    patch = pytest.MonkeyPatch()
    patch.setenv("C3L_CACHE", str(root / "cache"))
    draw_pictures(root / "images", 2)
    (root / "images/broken.jpg").unlink()
    special = (BOX[0], BOX[2])
    write_scripted(root / "thinks", "<think>", THOUGHT, "</think>", PAIRS, *BOX, special=special)
    write_scripted(root / "opened", THOUGHT, "</think>", PAIRS, *BOX, special=special, template=OPENS)
    write_scripted(root / "answers", "<think>", "There is no trick.", "</think>", "\n\nYes")
    yield root
    patch.undo()


@pytest.mark.parametrize("model", ["thinks", "opened"])
def test_pairs_are_read_behind_the_thought_and_boxes_reach_the_export(model, world):
    run = world / f"run-{model}"
    config = make_config(
        run, world / "images", world / model, "filtering.rule=all", "generation.instructions=[brief_vqa]"
    )
    walk(config, load_model)
    exported = json.loads((run / "export/llava.json").read_text())
    said = [tuple(turn["value"].removeprefix("<image>\n") for turn in row["conversations"]) for row in exported]
    assert set(said) == {("What is it?", "A card."), ("Where?", "At <|box_start|>(1,2)<|box_end|>")}
    assert len(said) == 4
    texts = [one.text for one in Run.reader(run).stored("draft/generated").read(Generation)]
    assert {text.replace("<think>\n", "<think>") for text in texts} == {
        f"<think>{THOUGHT}</think>{PAIRS}{''.join(BOX)}"
    }
    [note] = summarise(Run.reader(run))["notes"]
    assert ("opens a thought" if model == "opened" else "would begin an answer with '<think>'") in note


@pytest.mark.parametrize("model", ["thinks", "opened"])
def test_a_text_that_ends_inside_its_thought_is_rejected_as_that(model, world):
    run = world / f"cut-{model}"
    asked = ("generation.instructions=[brief_vqa]",)
    tokens = 2 if model == "thinks" else 1
    config = make_config(run, world / "images", world / model, *asked, f"generation.max_new_tokens={tokens}")
    walk(config, load_model, pipeline.run_generate)
    lost = list(Run.reader(run).stored("draft/parsed").read(Rejected))
    assert [one.reason for one in lost] == ["unfinished_thought"] * 2
    assert "generation.max_new_tokens" in lost[0].detail
    states = {one.name: one for one in read_states(Run.reader(world / f"cut-{model}"))}
    assert states["draft/parsed"].counts.rejected == {"unfinished_thought": 2}, "what a stage lost is in its counts"


def ask(world, out, *overrides, question="Is there a card in the image?"):
    row = {"question_id": 1, "image": "picture_0.png", "text": question, "label": "yes"}
    data = world / f"{out}_random.json"
    data.write_text(json.dumps(row))
    task = BenchmarkConfig(task="pope", data=(data,), image_root=world / "images")
    config = load_config(None, [f"model.name={world / 'answers'}", "model.dtype=float32", *overrides])
    reports = evaluate_files(task, world / out, config, SilentProgress())
    [made] = [json.loads(line) for line in (world / out / "predictions.jsonl").read_text().splitlines()]
    return reports, made


def test_answers_are_read_behind_the_thought_and_the_whole_text_is_kept(world):
    reports, made = ask(world, "e1")
    assert (made["text"], made["blind_text"]) == ("Yes", "Yes")
    assert made["raw"] == made["blind_raw"] == "<think>There is no trick.</think>\n\nYes"
    for one in reports:
        assert {figure.name: figure.seen.value for figure in one.figures}["accuracy"] == 1
        assert one.settings["thoughts"].startswith("1 of 1")


def test_an_answer_that_ends_inside_its_thought_failed_and_more_room_helps(world):
    reports, made = ask(world, "e2", "evaluation.max_new_tokens=2")
    assert reports[0].failed == 1 and made["text"] == "" and made["raw"] == "<think>There is no trick."
    assert "evaluation.max_new_tokens" in made["failed"]


def test_a_question_that_spells_a_control_token_is_asked_and_told(world):
    reports, made = ask(world, "e3", question="Is <s> struck out?")
    assert (made["respelled"], made["failed"], made["text"]) == ("<s>", "", "Yes")
    assert "<s>" in reports[0].settings["respelled"]


@pytest.fixture(scope="module")
def data(world):
    """Rows with a box, with control tokens, and one whose answer is longer than the model's positions."""
    turns = [
        ("Where?", "At <|box_start|>(1,2)<|box_end|>."),
        ("What?", "A <s>dog</s>."),
        ("Say <|im_end|>.", "No."),
        ("What?", "y" * 3000),
    ]
    rows = [
        {
            "id": str(number),
            "image": "picture_0.png",
            "conversations": [{"from": "human", "value": question}, {"from": "gpt", "value": answer}],
        }
        for number, (question, answer) in enumerate(turns)
    ]
    path = world / "data.json"
    path.write_text(json.dumps(rows))
    return path


def test_rows_are_scored_as_they_are_or_rejected_by_name(world, data):
    named = [f"model.name={world / 'opened'}", "model.dtype=float32", f"images.root={world / 'images'}"]
    summary = score_file([data], world / "scores.jsonl", load_config(None, named), SilentProgress())
    rows = [json.loads(line) for line in (world / "scores.jsonl").read_text().splitlines()]
    assert [(row["error"] or "ok").partition(":")[0] for row in rows] == [
        "ok", "control_token_in_text", "control_token_in_text", "too_long",
    ]  # fmt: skip
    assert rows[0]["n_answer_tokens"] == len("At .") + 3
    assert summary["rejected"] == {"control_token_in_text": 2, "too_long": 1}
    assert "opens a thought" in summary["notes"][0]
    again = score_file([data], world / "scores.jsonl", load_config(None, named), SilentProgress())
    assert again["notes"] == summary["notes"]


def test_rows_are_taught_as_they_are_or_rejected_and_what_is_cut_off_is_counted(world, data):
    load_tiny("llava", world / "llava")
    named = [f"model.name={world / 'llava'}", "model.dtype=float32", f"images.root={world / 'images'}"]
    named += ["finetuning.lora_r=2", "finetuning.max_steps=1", "finetuning.max_length=4000"]
    summary = finetune_files([data], world / "tuned", load_config(None, named), SilentProgress())
    assert summary["rejected"] == {"control_token_in_text": 2}
    assert (summary["trained"], summary["noted"]) == (2, {"cut": 1})
    assert "2048" in summary["base"]["notes"][0]


def test_groups_that_are_too_long_to_be_tuned_on_are_rejected_and_counted(world):
    from c3l.data.images import image_id_of
    from c3l.models.load import load_trainable
    from c3l.records import ImageRef
    from c3l.settings.tuning import ContrastiveConfig
    from c3l.training.groups import TextGroup, sort_out
    from tiny_models import make_picture

    load_tiny("llava", world / "llava")
    lvlm = load_trainable(load_config(None, [f"model.name={world / 'llava'}"]).model, ContrastiveConfig(lora_r=2), 0)
    image = ImageRef(image_id_of("a.png"), "a.png", "", 40, 30)
    texts = (("A.", "B."), ("A.", "y" * 3000), ("A.", "B<s>"))
    fit, lost = sort_out(lvlm, [TextGroup(image, "Write.", one) for one in texts], lambda ref: make_picture(1))
    assert [group.completions for group in fit] == [texts[0]]
    assert [(one.stage, one.reason) for one in lost] == [("tuning", "too_long"), ("tuning", "control_token_in_text")]
