"""Written answers without the thoughts before them: what every rule reads, what a judge and others' scorers see."""

from collections.abc import Mapping
from dataclasses import replace

from c3l.evaluation.task import Prediction
from c3l.thoughts import cut_thoughts


def cut_answers(predictions: Mapping[str, Prediction]) -> tuple[dict[str, Prediction], dict[str, str]]:
    """The predictions without thoughts, and ``thoughts``: how many had one, if any.

    An answer that ends inside its thought is empty.
    """
    cut = {name: _cut(one) for name, one in predictions.items()}
    changed = [name for name, one in predictions.items() if cut[name] != one]
    if not changed:
        return cut, {}
    endless = sum(not cut[name].text for name in changed)
    told = f"{len(changed)} of {len(cut)} answers began with a thought, which is cut off"
    return cut, {"thoughts": told + (f"; {endless} of them are nothing else, so are empty" if endless else "")}


def _cut(one: Prediction) -> Prediction:
    blind = one.blind_text
    return replace(
        one, text=cut_thoughts(one.text) or "", blind_text=None if blind is None else cut_thoughts(blind) or ""
    )
