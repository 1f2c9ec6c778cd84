"""What a model learns from the data: the stages that tune an LVLM on the export and measure it on the benchmarks."""

import time
from functools import partial
from typing import Literal

from c3l.data.export_layouts import FILES
from c3l.data.parquet import check_parquet
from c3l.executors.interface import LoadModel
from c3l.executors.local import KeptModel, LocalExecutor
from c3l.jobs.evaluate import Wanted, check_benchmark, evaluate_files
from c3l.jobs.finetune import check_finetuning, check_recipe, finetune_files
from c3l.models.interface import InferenceModel
from c3l.models.load import load_model
from c3l.records import EvalReport, name_step
from c3l.run.context import Context
from c3l.run.run_folder import Run
from c3l.run.shards import begin, mark_begun
from c3l.run.tune_stage import MERGED, ensure_writer, writer_of
from c3l.settings.columns import ColumnsConfig
from c3l.settings.evaluation import BenchmarkConfig
from c3l.settings.schema import ModelConfig, RunConfig
from c3l.storage.stage import Stage

FINETUNED, EVALUATION = "finetuned", "evaluation"

Who = Literal["base", "tuned", "finetuned"]


def check_tasks(run: Run, config: RunConfig) -> None:
    """Look for what tunings, the export and the benchmarks still need, before hours of work that would end there.

    Raises:
        DataError: If a file, or a folder of images, is not there or not what it should be.
        TooManyRejectedError: If too many of a benchmark's images are not there.
        ConfigError: If a package, or a setting that a task needs, is missing.
    """
    if not all(_is_done(run, name_step("tuned", round)) for round in range(1, config.rounds + 1)):
        check_recipe(config.model, "contrastive", config.contrastive)
    if not _is_done(run, "export"):
        for name in config.export.formats:
            if FILES[name].endswith(".parquet"):
                check_parquet(name)
    if config.finetuning.enabled and not _is_done(run, FINETUNED):
        check_finetuning(config)
    for task in config.evaluation.tasks:
        if not _is_done(run, f"{EVALUATION}/{task.task}"):
            check_benchmark(task, config)


def _is_done(run: Run, name: str) -> bool:
    stage = run.stored(name)
    return stage is not None and stage.is_done()


def finetune_stage(context: Context, exported: Stage) -> Stage:
    """The config's LVLM, instruction-tuned on the kept pairs; leaves an adapter and a merged model folder."""
    stage = begin(context, FINETUNED, 0)
    if stage.is_done():
        return stage
    context.executor.forget_model()
    start = time.monotonic()
    data = exported.folder / FILES["llava"]
    config = context.config.model_copy(update={"columns": ColumnsConfig()})  # columns are those of other people's files
    summary = finetune_files([data], stage.folder, config, context.progress, partial(mark_begun, context, stage))
    stage.finish(None, time.monotonic() - start, inputs=summary["rows"], recorded=summary)
    return stage


def evaluate_stages(context: Context, load: LoadModel = load_model) -> list[Stage]:
    """Every benchmark of the config, for the model that the run began with and for the one that it ends with.

    Their questions are asked where the run's shards are made; ``load`` loads the models of this process.
    """
    tasks = context.config.evaluation.tasks
    stages: dict[str, Stage] = {task.task: begin(context, f"{EVALUATION}/{task.task}", 1) for task in tasks}
    rest = [task for task in tasks if not stages[task.task].is_done()]
    if rest:
        context.executor.forget_model()
        begun = time.monotonic()
        reports = _evaluate_all(context, rest, stages, KeptModel(load))
        for task in rest:
            stage = stages[task.task]
            if stage.missing():
                stage.write_shard(0, reports[task.task])
            stage.finish(None, (time.monotonic() - begun) / len(rest), inputs=reports[task.task][0].items)
    return list(stages.values())


def whose(config: RunConfig) -> tuple[Who, ...]:
    """The models that a run compares: the config's own first, then what the run made of it."""
    if config.finetuning.enabled:
        return "base", "finetuned"
    return ("base", "tuned") if config.rounds else ("base",)


def _evaluate_all(
    context: Context, tasks: list[BenchmarkConfig], stages: dict[str, Stage], load: LoadModel
) -> dict[str, list[EvalReport]]:
    """The reports of each task; one model after the other, so that each is loaded once."""
    reports: dict[str, list[EvalReport]] = {task.task: [] for task in tasks}
    for who in whose(context.config):
        config = context.config.model_copy(update={"model": _model_of(context.run, context.config, who)})
        for task in tasks:
            folder = stages[task.task].folder
            here = context.executor.name == LocalExecutor.name
            loading = partial(_load_and_begin, context, stages[task.task], load) if here else None
            if not here:
                mark_begun(context, stages[task.task])
            baseline = None if who == "base" else folder / "base"
            made = evaluate_files(task, folder / who, config, context.progress, loading, Wanted(baseline))
            reports[task.task] += made
    return reports


def _load_and_begin(context: Context, stage: Stage, load: LoadModel, config: ModelConfig, seed: int) -> InferenceModel:
    """The model; what it is asked then makes the stage a begun one."""
    model = load(config, seed)
    mark_begun(context, stage)
    return model


def _model_of(run: Run, config: RunConfig, who: Who) -> ModelConfig:
    if who == "base":
        return config.model
    if who == "tuned":
        ensure_writer(run, config, config.rounds)
        return writer_of(run, config, config.rounds)
    folder = run.path / FINETUNED / MERGED
    return config.model.model_copy(update={"name": str(folder), "revision": None})
