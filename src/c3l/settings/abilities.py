"""What a model is asked for that its backend cannot do, known from the settings alone."""

from c3l.errors import ConfigError
from c3l.records import KL_FORMS, Form
from c3l.settings.schema import RunConfig


def check_scorer(config: RunConfig) -> None:
    """Look whether there is a model that scores, and can give the numbers that the settings need; nothing is loaded.

    Raises:
        ConfigError: If a served model would have to score; or as ``check_form``.
    """
    if config.scorer.backend == "openai":
        raise ConfigError(
            f"the served model {config.scorer.name} can write, but not score; name a model that does with "
            "--set scoring.model=FOLDER"
        )
    check_form(config)


def check_form(config: RunConfig) -> None:
    """Look whether the settings ask for what the model that scores cannot give.

    Raises:
        ConfigError: If vLLM would have to give what it cannot, with who can.
    """
    if config.scorer.backend != "vllm":
        return
    who = f"set scoring.model={config.scorer.weights_name}, which transformers runs"
    asked: dict[str, Form | None] = {"scoring.form": config.scoring.form, "filtering.first": config.filtering.first}
    for setting, form in asked.items():
        if form in KL_FORMS:
            raise ConfigError(
                f"got {setting}={form}, which compares whole vocabularies, but vLLM gives the probabilities of the "
                f"answer's tokens alone: take another form, such as lift, or {who}"
            )
    if config.scoring.no_image == "mask":
        raise ConfigError(
            f"got scoring.no_image=mask, but vLLM cannot hide an image from a prompt: set drop, blank, noise or "
            f"others, or {who}"
        )
