"""The figures of a benchmark as lines for a terminal, and what was done to questions and answers."""

from collections.abc import Iterator, Mapping, Sequence

from c3l.evaluation.task import Prediction
from c3l.records import Estimate, EvalReport

_SHOWN = 8  # figures a rule; the others, such as those of each category, are in scores.json


def format_reports(reports: Sequence[EvalReport]) -> Iterator[str]:
    """A table a rule: value with interval, the blind value, the difference to the baseline."""
    for one in reports:
        lost = f"{one.unparsed} unread, {one.failed} failed"
        if one.blind_unparsed or (one.blind_failed or 0) > one.failed:
            lost += f" (blind: {one.blind_unparsed} unread, {one.blind_failed} failed)"
        yield f"{one.benchmark}, rule {one.rule}: {one.items} questions, {lost}"
        compared = any(figure.difference for figure in one.figures)
        head = f"  {'':28}{'value':>8} {'95% interval':>18}{'blind':>9}{'by the image':>26}"
        yield head + ("" if not compared else f"{'against the baseline':>28}")
        for figure in one.figures[:_SHOWN]:
            low_high = f"{_show(figure.seen.low)} to {_show(figure.seen.high)}"
            line = f"  {figure.name:28}{_show(figure.seen.value):>8} {low_high:>18}"
            line += f"{_show(figure.blind.value if figure.blind else None):>9}{_signed(figure.by_image):>26}"
            yield line + ("" if not compared else f"{_signed(figure.difference):>28}")


def describe_answers(predictions: Mapping[str, Prediction]) -> dict[str, str]:
    """What was done to the questions and answers of a model, by kind; empty where nothing was."""
    made = predictions.values()
    told = {}
    if cut := [one for one in made if one.raw]:
        told["thoughts"] = _tell_cut(len(cut), len(made), sum(not one.text for one in cut), "answers")
    if cut := [one for one in made if one.blind_raw]:
        told["blind_thoughts"] = _tell_cut(len(cut), len(made), sum(not one.blind_text for one in cut), "blind answers")
    if spelled := [one.respelled for one in made if one.respelled]:
        told["respelled"] = f"{len(spelled)} questions spell a control token ({spelled[0]}): asked with a space in it"
    return told


def _tell_cut(cut: int, made: int, empty: int, what: str) -> str:
    return f"{cut} of {made} {what} began with a thought, which was cut off; {empty} have nothing else"


def _show(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def _signed(estimate: Estimate | None) -> str:
    return "-" if estimate is None else estimate.signed()
