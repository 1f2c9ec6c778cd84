"""What the stages of a run are run with, and how a run folder is opened for them."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from c3l.data.roots import settle_root
from c3l.data.same_images import SeenImage, find_other
from c3l.errors import ConfigError, StaleStageError
from c3l.executors.choose import make_executor
from c3l.executors.interface import Executor
from c3l.models.load import check_device, resolve_dtype, settle_name, weights_hash
from c3l.progress import Progress
from c3l.records import ImageRef
from c3l.run.plan import Plan, check_costly, make_plan
from c3l.run.run_folder import Run, spell_path
from c3l.settings.evaluation import BenchmarkConfig
from c3l.settings.load import dump_config, keep_templates, load_saved
from c3l.settings.roots import Address, expand_home
from c3l.settings.schema import VLLM, FollowLinks, ModelConfig, RunConfig
from c3l.storage.atomic import write_atomic


@dataclass(frozen=True, slots=True)
class Part:
    """One of several processes that share the shards of a run: the one of this number, from 1, out of so many."""

    number: int
    of: int

    def takes(self, shard: int) -> bool:
        """Whether the shard of this number, from 0, is its."""
        return shard % self.of == self.number - 1

    def __str__(self) -> str:
        """As it is asked for."""
        return f"{self.number}/{self.of}"


def read_part(text: str) -> Part:
    """``I/N`` as a part.

    Raises:
        ConfigError: If it is none.
    """
    number, _, of = text.partition("/")
    if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
        raise ConfigError(f"got --shard {text}, expected I/N with I from 1 to N, such as 2/8")
    return Part(int(number), int(of))


@dataclass(frozen=True, slots=True)
class Context:
    """All that a stage is run with.

    Attributes:
        run: The run folder, open for writing.
        config: The settings, with a dtype that is not ``auto``.
        plan: What every stage depends on.
        executor: Where the shards of the model's stages run.
        progress: Who is told how far the run is.
        part: Which of the shards are made, where other processes make the others.
    """

    run: Run
    config: RunConfig
    plan: Plan
    executor: Executor
    progress: Progress
    part: Part | None = None


@contextmanager
def open_context(
    config: RunConfig,
    progress: Progress,
    executor: Executor | None = None,
    *,
    needs_model: bool = True,
    reparse: bool = False,
    part: Part | None = None,
) -> Iterator[Context]:
    """The run folder for one writer, or one of several, with its settings checked against what lies there.

    They are saved as soon as a stage is begun with them, or else when all went well: a refused command changes none.

    Args:
        config: The settings asked for.
        progress: Who is told how far the run is.
        executor: Where shards run; by default where the settings say, until the end of the block.
        needs_model: False where no stage is asked for that could load the model: it may be gone by then.
        reparse: True where texts are read again: what was made of their pairs may stay, as ``sign_again`` sees to.
        part: Which of the shards are to be made, beside others that make theirs.

    Raises:
        RunLockedError: If another process writes to the run.
        StaleStageError: If a stage that took long was made with other settings, or of the images of another folder.
        BackendError: If there is no such model.
    """
    with Run.share(config.run) if part else Run.open(config.run) as run:
        config, plan = _go_on(run, config, needs_model)
        if not reparse:
            check_costly(run, plan)
        with closing(executor or make_executor(config.executor)) as chosen:
            yield Context(run, config, plan, chosen, progress, part)
        save_settings(run, config)


def _go_on(run: Run, config: RunConfig, needs_model: bool) -> tuple[RunConfig, Plan]:
    """The settings that the run goes on with, of the same images, and what its stages depend on."""
    config = settle_paths(config)
    model, weights, scorer = _resolve_models(run, config, needs_model)
    config = config.model_copy(update={"model": model})
    _check_root(run, _absolute(config.images.root), config.images.follow_links)
    return config, make_plan(config, weights, scorer, run)


def plan_ahead(run: Run, config: RunConfig) -> Plan:
    """What the stages would depend on, for who only looks; a model that has not written yet need not be there.

    Raises:
        StaleStageError: As ``open_context``.
        BackendError: If a model is named other than in the run so far, and there is none.
    """
    if run.stored("draft/generated") is not None:
        _, plan = _go_on(run, config, needs_model=False)
    else:
        plan = make_plan(config.with_dtype("float32"), weights="")  # of which only the images can be there
    check_costly(run, plan)
    return plan


def settle_paths(config: RunConfig) -> RunConfig:
    """The settings as another working directory reads them; a folder that is not there is told as it was named."""
    templates = config.generation.templates and config.generation.templates.absolute()
    scorer = config.scoring.model and settle_name(config.scoring.model)
    changed: dict[str, dict[str, object]] = {
        "model": {"name": settle_name(config.model.name)},
        "images": {"root": settle_root(config.images.root)},
        "generation": {"templates": templates},
        "scoring": {"model": scorer},
        "evaluation": {"tasks": tuple(map(_settle_task, config.evaluation.tasks))},
    }
    sections = {name: getattr(config, name).model_copy(update=values) for name, values in changed.items()}
    return config.model_copy(update=sections)


def _settle_task(task: BenchmarkConfig) -> BenchmarkConfig:
    data = tuple(path.absolute() if path.exists() else path for path in task.data)
    root = task.image_root and settle_root(task.image_root)
    return task.model_copy(update={"data": data, "image_root": root})


def save_settings(run: Run, config: RunConfig) -> None:
    """Make these the settings that the run goes on with where nothing else is said, with a copy of its templates."""
    templates = config.generation.templates
    if templates is not None and templates.exists():
        _write_changed(keep_templates(run.path, templates), templates.read_bytes())
    _write_changed(run.path / "config.yaml", dump_config(config).encode())


def _write_changed(path: Path, content: bytes) -> None:
    if not path.exists() or path.read_bytes() != content:
        write_atomic(path, content)


def _check_root(run: Run, root: Path | Address, links: FollowLinks) -> None:
    """Refuse another image root than the run's, unless all of the run's images have moved there."""
    images, saved = run.stored("images"), _read_saved(run)
    before = _absolute(saved.images.root) if saved is not None else None
    if images is None or root == before:
        return
    first = next(images.read(ImageRef), None)
    if before is not None and (first is None or not images.is_done()):
        got = "no image that can be used" if first is None else "only a part of its images"
        raise StaleStageError(
            f"{run.path} has {got} yet, out of a list of those under {before}, not {root}; "
            f"put `--image-root {spell_path(before)}` back, or have the list made anew after "
            f"`c3l clean {spell_path(run.path)} images`"
        )
    if other := find_other((SeenImage(image.path, image.sha256) for image in images.read(ImageRef)), root, links):
        back = f"put `--image-root {spell_path(before)}` back, " if before is not None else ""
        raise StaleStageError(
            f"the images of {run.path} are not those under {root} ({other[1]}); "
            f"{back}say where they lie now, or name another run folder"
        )


def _absolute(root: Path | Address) -> Path | Address:
    return root.absolute() if isinstance(root, Path) else root


def _read_saved(run: Run) -> RunConfig | None:
    """The settings that the run goes on with; None if they are gone or damaged."""
    saved = run.path / "config.yaml"
    try:
        return load_saved(saved) if saved.exists() else None
    except ConfigError:  # then a command that names others, by --config, mends them
        return None


def _resolve_models(run: Run, config: RunConfig, needs_model: bool) -> tuple[ModelConfig, str, str | None]:
    """The model with the dtype that the run began with, or begins with now; its weights' hash, and the scorer's."""
    model, begun, scored = config.model, run.stored("draft/generated"), run.stored("draft/scored")
    dtypes = [stage.info.settings.get("model.dtype") for stage in (begun, scored) if stage is not None]
    if model.dtype == "auto" and (dtype := next(filter(None, dtypes), None)):
        model = model.model_copy(update={"dtype": dtype})
    saved = _read_saved(run)
    if begun and saved and not needs_model and _models_named(saved) == _models_named(config):
        scorer = scored.info.settings["weights"] if scored and config.scoring.model else None
        model = model.model_copy(update={"name": settle_name(saved.model.name)})
        return model, begun.info.settings["weights"], scorer
    weights = weights_hash(model)
    scorer = weights_hash(config.scorer) if config.scoring.model else None
    dtype = resolve_dtype(config.scorer if model.dtype == "auto" else model)
    if begun is None and config.executor.name == "local":
        check_device(model)
    return model.model_copy(update={"dtype": dtype}), weights, scorer


def _models_named(config: RunConfig) -> tuple[object, ...]:
    """All that says which models are meant: only what was begun with the same needs none of them to be there.

    Names are compared as paths, for a folder that is gone by now cannot be told from a hub id.
    """
    names = (config.model.name, config.scoring.model or "")
    places = [(name.startswith(VLLM), expand_home(name.removeprefix(VLLM)).absolute()) for name in names]
    return *places, config.model.revision, config.model.image_side
