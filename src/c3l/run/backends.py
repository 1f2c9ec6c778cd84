"""Whether a run has all that it asks for, and each model can do what is asked of it."""

from c3l.errors import ConfigError
from c3l.run.learn_stages import check_tasks
from c3l.run.run_folder import Run
from c3l.run.tracking import check_trackers
from c3l.settings.abilities import check_scorer
from c3l.settings.schema import RunConfig


def check_ahead(run: Run, config: RunConfig) -> None:
    """Look for all that the run will ask for, before hours of work that would end where it is missing.

    Raises:
        ConfigError: If a model cannot do what it is to do, or a package or a setting is missing.
        DataError: If a file, or a folder of images, of a benchmark is not there or not what it should be.
        TooManyRejectedError: If too many of a benchmark's images are not there.
    """
    check_backends(config)
    check_trackers(config.report_to)
    check_tasks(run, config)


def check_backends(config: RunConfig) -> None:
    """Look whether each model can do what the run asks of it, before any is asked.

    Raises:
        ConfigError: If a served model would have to score, or one that transformers does not run to be tuned or taught.
    """
    check_scorer(config)
    model = config.model
    if model.backend == "hf":
        return
    served = model.backend == "openai"
    wanted = {
        "be tuned": (config.rounds > 0, "set rounds=0"),
        "answer by likelihood": (
            served and any(task.by == "likelihood" for task in config.evaluation.tasks),
            "leave by: likelihood out of evaluation.tasks",
        ),
        "be taught": (config.finetuning.enabled, "leave finetuning out, and tune a model with c3l finetune"),
    }
    can = f"the served model {model.name} can write" if served else f"{model.name} can write and score"
    remedy = "" if served else f", or take --model {model.weights_name}, which transformers runs"
    for verb, (asked, otherwise) in wanted.items():
        if asked:
            raise ConfigError(f"{can}, but not {verb}; {otherwise}{remedy}")
