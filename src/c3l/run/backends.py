"""Whether each model can do what a run asks of it."""

from c3l.errors import ConfigError
from c3l.settings.schema import RunConfig


def check_backends(config: RunConfig) -> None:
    """Look whether each model can do what the run asks of it, before any is asked.

    Raises:
        ConfigError: If a served model would have to score, to be tuned, or to be taught.
    """
    if config.model.backend != "openai":
        return
    wanted = {
        "score": (config.scorer.backend == "openai", "name who does with --set scoring.model=FOLDER"),
        "be tuned": (config.rounds > 0, "set rounds=0"),
        "answer by likelihood": (
            any(task.by == "likelihood" for task in config.evaluation.tasks),
            "leave by: likelihood out of evaluation.tasks",
        ),
        "be taught": (config.finetuning.enabled, "leave finetuning out, and tune a model with c3l finetune"),
    }
    for verb, (asked, remedy) in wanted.items():
        if asked:
            raise ConfigError(f"the served model {config.model.name} can write, but not {verb}; {remedy}")
