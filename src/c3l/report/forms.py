"""The forms of S(I2C) and the ways of leaving the image out in words, and the pairs in every form."""

from dataclasses import dataclass

from c3l.records import Form, NoImageMode
from c3l.report.contents import ReportContents
from c3l.report.facts import Facts
from c3l.report.statistics import compute_spearman, find_quantiles
from c3l.report.tokens import format_signed
from c3l.report.units import NONE, unit_of_form

FORMS: dict[Form, str] = {
    "log_ratio": "mean over the answer's tokens of log p \N{MINUS SIGN} log q; "
    "below 0 the image speaks against the answer",
    "discounted_likelihood": "mean over the answer's tokens of log p \N{MINUS SIGN} 0.5 log q; "
    "high where the answer is likely, and not already without the image",
    "focused_likelihood": "mean over the answer's tokens of log p, weighted by the square of KL(p \N{PARALLEL TO} q); "
    "high where the answer is likely at the tokens that the image decides",
    "vocabulary_kl": "mean over the answer's positions of KL(p \N{PARALLEL TO} q) over the whole vocabulary; "
    "never below 0",
    "answer_kl": "KL between the answer's token probabilities under p and q, each normalised over the answer",
    "weighted_log_ratio": "mean over the answer's tokens of p \N{MULTIPLICATION SIGN} (log p \N{MINUS SIGN} log q)",
    "lift": "exp of the mean log p \N{MINUS SIGN} exp of the mean log q; "
    "how much more probable the image makes a token of the answer; in probability, not nats",
    "probability_gain": "mean over the answer's tokens of p \N{MINUS SIGN} q; in probability, not nats",
    "focused_gain": "mean over the answer's tokens of p \N{MINUS SIGN} q, weighted by the square of "
    "KL(p \N{PARALLEL TO} q); what the image adds at the tokens that it decides, in probability, not nats",
}
NO_IMAGE: dict[NoImageMode, str] = {
    "drop": "the image is left out of the prompt",
    "blank": "a mid-grey image stands in its place",
    "noise": "an image of seeded noise stands in its place",
    "mask": "the model may not attend to the image's tokens",
    "others": "other images of the run stand in its place, averaged",
}


@dataclass(frozen=True, slots=True)
class FormRow:
    """One form of S(I2C), re-summed from the stored numbers of all pairs."""

    name: Form
    meaning: str
    median: str
    quartiles: str
    with_length: str
    with_used: str
    used: bool


def build_form_rows(contents: ReportContents, facts: Facts) -> list[FormRow]:
    """Every form that the stored numbers allow, the one in use first."""
    if not facts.pairs:
        return []
    there = [form for form in FORMS if form in facts.by_form]
    return [_build_row(contents, facts, form) for form in sorted(there, key=lambda form: form != facts.form)]


def _build_row(contents: ReportContents, facts: Facts, form: Form) -> FormRow:
    scores, unit = facts.by_form[form], unit_of_form(contents, form)
    low, middle, high = find_quantiles(scores, (0.25, 0.5, 0.75))
    return FormRow(
        name=form,
        meaning=FORMS[form],
        median=unit.show(middle),
        quartiles=f"{unit.show(low)} \N{EN DASH} {unit.show(high)}",
        with_length=show_correlation(compute_spearman(scores, [pair.tokens for pair in facts.pairs])),
        with_used=show_correlation(compute_spearman(scores, [pair.i2c for pair in facts.pairs])),
        used=form == facts.form,
    )


def show_correlation(value: float | None) -> str:
    """A rank correlation with its sign, a dash where it is not defined."""
    return NONE if value is None else format_signed(value)
