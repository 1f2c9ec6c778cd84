"""The tables of ``benefit``: what each model answers with the picture, without it, and by how much it needs it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from c3l.evaluation.statistics import reorder, resample, summarise
from c3l.evaluation.task import Benchmark, FloatArray, Tally
from c3l.records import Estimate
from studies.picture_world.benefit_arms import ARMS
from studies.picture_world.grading import GradedRun, qualities
from studies.picture_world.table_cells import show_qualities

UNTUNED, ANY = "base", "draft_any"
HEADS = {"pope": "POPE, mean F1", "seed_bench": "multiple choice", "open": "open questions, true"}


@dataclass(frozen=True)
class Asked:
    """A model's answers to one benchmark, counted: with the picture, and to the same questions without it."""

    seen: Tally
    blind: Tally


Answers = Mapping[str, Sequence[Mapping[str, Asked]]]
"""Of each model (the untuned one, and every arm's) one a seed, by benchmark."""


def write_tables(measured: Answers, learned: Mapping[str, Sequence[GradedRun]], found: Mapping[str, Benchmark]) -> str:
    """Markdown: what was learned and is answered; then the same questions without the picture, and what it adds.

    Every value has its interval; differences are over the same drawn units.

    Args:
        measured: The answers.
        learned: The chosen pairs of every arm, one run a seed.
        found: The benchmarks, by name.
    """
    drawn = {
        name: _draw({model: [one[name] for one in seeds] for model, seeds in measured.items()}, found[name])
        for name in HEADS
    }
    return f"{_write_seen(drawn, learned)}\n\n{_write_blind(drawn)}"


def _write_seen(drawn: Mapping[str, "Mapping[str, _Drawn]"], learned: Mapping[str, Sequence[GradedRun]]) -> str:
    heads = (cell for head in HEADS.values() for cell in (head, "against any draft", "against the untuned"))
    lines = [_row(["tuned on", "its pairs: true / specific / lift", *heads]), "|---|" + "--:|" * (1 + 3 * len(HEADS))]
    for model, phrase in _phrases(drawn).items():
        cells = [phrase, _describe(learned[model]) if model in learned else ""]
        for of_model in drawn.values():
            own, others = of_model[model].seen, _others(drawn, model)
            cells += [show(own), *(show(own - of_model[name].seen, "+") if name else "" for name in others)]
        lines.append(_row(cells))
    return "\n".join(lines)


def _write_blind(drawn: Mapping[str, "Mapping[str, _Drawn]"]) -> str:
    heads = (
        cell
        for head in HEADS.values()
        for cell in (f"{head}, blind", "seen less blind", "that against any draft", "that against the untuned")
    )
    lines = [_row(["tuned on", *heads]), "|---|" + "--:|" * (4 * len(HEADS))]
    for model, phrase in _phrases(drawn).items():
        cells = [phrase]
        for of_model in drawn.values():
            own = of_model[model]
            cells += [show(own.blind), show(own.gap, "+")]
            cells += [show(own.gap - of_model[name].gap, "+") if name else "" for name in _others(drawn, model)]
        lines.append(_row(cells))
    return "\n".join(lines)


def _phrases(drawn: Mapping[str, "Mapping[str, _Drawn]"]) -> dict[str, str]:
    """What each model is, in the order of the answers."""
    phrases = {UNTUNED: "not tuned", **{arm.name: arm.phrase for arm in ARMS}}
    return {model: phrases[model] for model in next(iter(drawn.values()))}


def _others(drawn: Mapping[str, "Mapping[str, _Drawn]"], model: str) -> list[str]:
    """Whom a model is held against; empty where there is none, or it is the model itself."""
    there = next(iter(drawn.values()))
    return [name if name in there and name != model else "" for name in (ANY, UNTUNED)]


def _describe(runs: Sequence[GradedRun]) -> str:
    return show_qualities({name: asdict(one) for name, one in qualities(runs).items()})


@dataclass(frozen=True)
class _Drawn:
    """The headline figure of a model, (1 + draws,): over all units, then over every draw of them."""

    seen: FloatArray
    blind: FloatArray

    @property
    def gap(self) -> FloatArray:
        return self.seen - self.blind


def _draw(measured: Mapping[str, Sequence[Asked]], benchmark: Benchmark) -> dict[str, _Drawn]:
    """Every model's headline over the same draws of the units that have an answer of all models, seen and blind."""
    added = {
        model: (add_up([one.seen for one in seeds]), add_up([one.blind for one in seeds]))
        for model, seeds in measured.items()
    }
    like = next(iter(added.values()))[0]
    tallies = {model: [reorder(one, like) for one in both] for model, both in added.items()}
    counts = np.all([one.values.any(axis=1) for both in tallies.values() for one in both], axis=0)[:, None]

    def headline(tally: Tally) -> FloatArray:
        values = np.where(counts, tally.values, 0.0)
        return next(iter(resample(replace(tally, values=values), benchmark.figures).values()))

    return {model: _Drawn(*map(headline, both)) for model, both in tallies.items()}


def add_up(tallies: Sequence[Tally]) -> Tally:
    """The tallies of several seeds, unit by unit: a unit is drawn with all its seeds."""
    first = tallies[0]
    rows = [{unit: row for unit, row in zip(one.units, one.values, strict=True)} for one in tallies]
    values = np.stack([np.sum([of_seed[unit] for of_seed in rows], axis=0) for unit in first.units])
    return Tally(first.units, first.columns, values, first.items, first.unparsed, first.failed)


def show(values: FloatArray, sign: str = "") -> str:
    """A value with its interval, out of it and its draws."""
    one: Estimate = summarise({"": values})[""]
    if one.value is None:
        return "-"
    return f"{one.value:{sign}.3f} ({one.low:{sign}.2f} to {one.high:{sign}.2f})"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
