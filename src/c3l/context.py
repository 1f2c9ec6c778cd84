"""What the stages of a run are run with, and how a run folder is opened for them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from c3l.config import ModelConfig, RunConfig
from c3l.config_file import dump_config
from c3l.data.store import Run, write_atomic
from c3l.executors import Executor, LocalExecutor
from c3l.models.load import resolve_dtype, weights_hash
from c3l.plan import Plan, check_costly, make_plan
from c3l.progress import Progress


@dataclass(frozen=True, slots=True)
class Context:
    """All that a stage is run with.

    Attributes:
        run: The run folder, open for writing.
        config: The settings, with a dtype that is not ``auto``.
        plan: What every stage depends on.
        executor: Where the shards of the model's stages run.
        progress: Who is told how far the run is.
    """

    run: Run
    config: RunConfig
    plan: Plan
    executor: Executor
    progress: Progress


@contextmanager
def open_context(
    config: RunConfig, progress: Progress, executor: Executor | None = None, *, needs_model: bool = True
) -> Iterator[Context]:
    """The run folder for one writer, with its settings checked against what lies there.

    They are saved as soon as a stage is begun with them, and else when all went well: a refused command changes nothing.

    Args:
        config: The settings asked for.
        progress: Who is told how far the run is.
        executor: Where shards run; this process by default.
        needs_model: False where no stage is asked for that could load the model: it may be gone by then.

    Raises:
        RunLockedError: If another process writes to the run.
        StaleStageError: If a stage that took long was made with other settings.
        BackendError: If there is no such model.
    """
    with Run.open(config.run) as run:
        model, weights = _settle_model(run, config.model, needs_model)
        config = config.model_copy(update={"model": model})
        plan = make_plan(config, weights)
        check_costly(run, plan)
        yield Context(run, config, plan, executor or LocalExecutor(), progress)
        save_settings(run, config)


def save_settings(run: Run, config: RunConfig) -> None:
    """Make these the settings that the run goes on with where nothing else is said."""
    text, saved = dump_config(config), run.path / "config.yaml"
    if not saved.exists() or saved.read_text(encoding="utf-8") != text:
        write_atomic(saved, text)


def _settle_model(run: Run, model: ModelConfig, needs_model: bool) -> tuple[ModelConfig, str]:
    """The model with the dtype that the run began with, or begins with now, and its weights' hash."""
    begun = run.stored("draft/generated")
    if begun is not None and model.dtype == "auto":
        model = model.model_copy(update={"dtype": begun.info.settings["model.dtype"]})
    maker = begun.info.provenance if begun else None
    if begun is not None and maker is not None and maker.model == model.name and not needs_model:
        return model, begun.info.settings["weights"]
    weights = weights_hash(model)
    return model.model_copy(update={"dtype": resolve_dtype(model)}), weights
