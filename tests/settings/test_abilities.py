"""What a model is asked for that its backend cannot do, told before anything is loaded."""

import pytest

from c3l.errors import ConfigError
from c3l.settings.abilities import check_form, check_scorer
from c3l.settings.load import load_config

VLLM = "model.name=vllm:who/what"


@pytest.mark.parametrize(
    "settings",
    [
        ["scoring.form=focused_gain"],
        ["scoring.form=vocabulary_kl", "scoring.no_image=drop"],
        ["scoring.form=lift", "filtering.first=focused_likelihood"],
        ["scoring.form=lift", "scoring.no_image=mask"],
    ],
)
def test_what_vllm_cannot_score_is_refused_with_who_can(settings: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"vLLM .* set scoring\.model=who/what, which transformers runs$"):
        check_scorer(load_config(None, [VLLM, *settings]))
    check_scorer(load_config(None, [VLLM, *settings, "scoring.model=who/what"]))
    check_scorer(load_config(None, ["model.name=who/what", *settings]))
    with pytest.raises(ConfigError, match="vLLM"):
        check_scorer(load_config(None, ["model.name=who/what", "scoring.model=vllm:who/what", *settings]))


@pytest.mark.parametrize("form", ["log_ratio", "discounted_likelihood", "answer_kl", "weighted_log_ratio", "lift"])
@pytest.mark.parametrize("mode", ["drop", "blank", "noise", "others"])
def test_what_vllm_scores_is_let_through(form: str, mode: str) -> None:
    check_scorer(load_config(None, [VLLM, f"scoring.form={form}", f"scoring.no_image={mode}"]))


def test_a_served_model_is_none_that_scores() -> None:
    served = ["model.name=openai:who", "model.endpoint=http://localhost/v1"]
    told = r"^the served model openai:who can write, but not score; name a model that does with --set scoring\.model="
    with pytest.raises(ConfigError, match=told):
        check_scorer(load_config(None, served))
    check_scorer(load_config(None, [*served, "scoring.model=builtin"]))
    check_form(load_config(None, served))
