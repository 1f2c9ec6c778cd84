"""A run that ends with finetuning and a benchmark: every stage once, base beside tuned, in the report."""

import json
import shutil
import sys
from functools import partial

import pytest

from c3l.cli.main import main
from c3l.errors import BackendError, ConfigError, StaleStageError, TooManyRejectedError
from c3l.jobs import finetune as finetuning
from c3l.records import EvalReport
from c3l.run import learn_stages as learning
from c3l.run.pipeline import run_method
from c3l.run.run_folder import Run
from runs import Loader, draw_pictures, make_config, walk


@pytest.fixture(scope="module")
def world(tmp_path_factory, copy_tiny):
    root = tmp_path_factory.mktemp("learning")
    draw_pictures(root / "images", 4)
    copy_tiny("llava", root / "model")
    rows = [
        {"question_id": n, "image": f"picture_{n // 2}.png", "text": f"Is there a thing {n} in the image?",
         "label": ("yes", "no")[n % 2]} for n in range(4)
    ]  # fmt: skip
    (root / "coco_pope_random.json").write_text("\n".join(map(json.dumps, rows)))
    return root


def configure(world, run, *overrides):
    task = {"task": "pope", "data": [str(world / "coco_pope_random.json")], "image_root": str(world / "images")}
    return make_config(
        run, world / "images", world / "model", f"evaluation.tasks={json.dumps([task])}", "finetuning.enabled=true",
        "finetuning.max_steps=2", "finetuning.lora_r=4", "finetuning.batch_size=2",
        "finetuning.gradient_accumulation=1", "evaluation.max_new_tokens=8", *overrides,
    )  # fmt: skip


def test_a_run_ends_with_what_a_model_learned_from_it(world, tmp_path, capsys, monkeypatch):
    config = configure(world, tmp_path / "run")
    walk(config, Loader(), run_method)
    run = Run.reader(tmp_path / "run")
    assert run.stored("finetuned").info.recorded["trained"] > 0
    reports = list(run.stored("evaluation/pope").read(EvalReport))
    assert [(one.rule, one.baseline is None) for one in reports] == [
        ("llava", True), ("strict", True), ("llava", False), ("strict", False),
    ]  # fmt: skip
    assert reports[0].model.weights != reports[2].model.weights
    page = (tmp_path / "run" / "report.html").read_text()
    assert "What a model learned from it" in page
    assert "mean_f1" in page
    loader = Loader()
    walk(config, loader, run_method)
    assert loader.times == 0
    monkeypatch.setitem(sys.modules, "trl", None)
    (world / "images").rename(world / "away")
    try:
        walk(config, loader, run_method)  # what is done needs neither
    finally:
        (world / "away").rename(world / "images")
    assert main(["status", str(tmp_path / "run")]) == 0
    shown = capsys.readouterr().out
    assert "finetuned" in shown
    assert "evaluation/pope" in shown
    assert main(["clean", str(tmp_path / "run"), "finetuned", "--yes"]) == 0
    assert not (tmp_path / "run" / "finetuned").exists()
    assert not (tmp_path / "run" / "evaluation" / "pope").exists()


def test_without_finetuning_the_base_alone_is_measured(world, tmp_path):
    config = configure(world, tmp_path / "run", "finetuning.enabled=false")
    walk(config, Loader(), run_method)
    reports = list(Run.reader(tmp_path / "run").stored("evaluation/pope").read(EvalReport))
    assert [one.rule for one in reports] == ["llava", "strict"]
    assert not (tmp_path / "run" / "finetuned").exists()


def test_a_benchmark_is_known_by_what_is_in_its_files_and_not_by_where_they_lie(world, tmp_path):
    def asked(folder, *overrides):
        task = {"task": "pope", "data": [str(folder / "coco_pope_random.json")], "image_root": str(world / "images")}
        tasks = f"evaluation.tasks={json.dumps([task])}"
        return configure(world, tmp_path / "run", "finetuning.enabled=false", tasks, *overrides)

    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    shutil.copy(world / "coco_pope_random.json", before)
    walk(asked(before), Loader(), run_method)
    before.rename(after)
    walk(asked(after, "evaluation.judge.endpoint=http://elsewhere/v1"), Loader(), run_method)
    walk(asked(before), Loader(), run_method)  # they are gone, what was made of them is there
    labels = (after / "coco_pope_random.json").read_text()
    (after / "coco_pope_random.json").write_text(labels.replace('"no"', '"yes"'))
    with pytest.raises(StaleStageError, match=r"evaluation/pope .* the data file changed"):
        walk(asked(after), Loader(), run_method)


def test_a_run_asks_for_the_packages_of_finetuning_before_its_work(world, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "trl", None)
    loader = Loader()
    with pytest.raises(ConfigError, match=r"pip install 'c3l\[train\]'"):
        walk(configure(world, tmp_path / "run"), loader, run_method)
    assert loader.times == 0


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("finetuning.report_to=nonsense", r"finetuning\.report_to=nonsense: .* only .*tensorboard"),
        ("contrastive.report_to=nonsense", r"contrastive\.report_to=nonsense: .* only .*tensorboard"),
        (
            "finetuning.mixed_precision=fp16",
            r"finetuning\.mixed_precision=fp16 .* on a CPU, .* set it to no or bf16",
        ),
        (
            "contrastive.mixed_precision=fp16",
            r"contrastive\.mixed_precision=fp16 .* on a CPU, .* set it to no or bf16",
        ),
        ("model.dtype=float16", "model.dtype=float16 for a tuning on a CPU, .* set --dtype bfloat16 or float32"),
    ],
)
def test_a_tuning_that_would_end_at_once_is_refused_before_the_run(override, said, world, tmp_path):
    loader = Loader()
    with pytest.raises(ConfigError, match=said):
        walk(configure(world, tmp_path / "run", "rounds=1", "model.device=cpu", override), loader, run_method)
    assert loader.times == 0


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["export.formats=[swift]"], "add llava to export.formats"),
        (["evaluation.tasks=[{task: pope, data: [a]}, {task: pope, data: [b]}]"], "each once"),
        (["evaluation.tasks=[{task: pop, data: [a]}]"], "got 'pop'"),
    ],
)
def test_settings_that_cannot_be_run_are_one_line(overrides, said, world, tmp_path):
    with pytest.raises(ConfigError, match=said):
        configure(world, tmp_path / "run", *overrides)


def test_what_never_came_to_learn_is_no_stage_that_other_settings_would_make_stale(world, tmp_path, monkeypatch):
    def refuse(*_):
        raise BackendError("no such model")

    monkeypatch.setattr(finetuning, "load_finetunable", refuse)
    for recipe in ("finetuning.lora_r=4", "finetuning.lora_r=8"):
        with pytest.raises(BackendError, match="no such model"):
            walk(configure(world, tmp_path / "run", recipe), Loader(), run_method)
    assert Run.reader(tmp_path / "run").stored("finetuned") is None


def test_a_wrong_image_root_of_a_task_is_told_before_the_work_and_can_be_mended(world, tmp_path):
    def with_root(root):
        task = {"task": "pope", "data": [str(world / "coco_pope_random.json")], "image_root": str(root)}
        tasks = f"evaluation.tasks={json.dumps([task])}"
        return configure(world, tmp_path / "run", "finetuning.enabled=false", tasks)

    loader = Loader()
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        TooManyRejectedError, match=r"4 of 4 questions have no image .* image_root of evaluation\.tasks"
    ):
        walk(with_root(tmp_path / "empty"), loader, run_method)
    assert loader.times == 0
    walk(with_root(world / "images"), loader, run_method)


def test_a_benchmark_is_begun_by_its_first_question(world, tmp_path, monkeypatch):
    def refuse(*_):
        raise BackendError("no such model")

    monkeypatch.setattr("c3l.run.pipeline.evaluate_stages", partial(learning.evaluate_stages, load=refuse))
    with pytest.raises(BackendError):
        walk(configure(world, tmp_path / "run", "finetuning.enabled=false"), Loader(), run_method)
    assert Run.reader(tmp_path / "run").stored("evaluation/pope") is None
