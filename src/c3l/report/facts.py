"""What the page counts: a few numbers of every pair, taken in one pass; texts are read again where they are shown."""

import sys
from array import array
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import get_args

from c3l.errors import DataError
from c3l.records import KL_FORMS, FilterDecision, Form, NoImageMode, ScoredPair, Specificity, says_no
from c3l.report.contents import ReportContents
from c3l.report.tokens import is_less_likely

LIFT: Form = "lift"


@dataclass(frozen=True, slots=True)
class PairFacts:
    """One scored pair without its texts and tokens.

    Attributes:
        sample_id: The pair.
        image_id: Its image.
        instruction_id: Who asked for it.
        round: In which it was written.
        opening: The question's first word.
        answer_opening: The answer's first word.
        tokens: Length of the answer.
        i2c: S(I2C), in the unit of the form in use.
        lift: In probability.
        says_no: Whether the answer opens by saying no.
        less_likely: Whether the answer is less likely with the image than without it.
        decision: What the filter decided; None of a pair of an earlier round.
    """

    sample_id: str
    image_id: str
    instruction_id: str
    round: int
    opening: str
    answer_opening: str
    tokens: int
    i2c: float
    lift: float
    says_no: bool
    less_likely: bool
    decision: FilterDecision | None

    @property
    def kept(self) -> bool:
        """Whether the filter kept it."""
        return self.decision is not None and self.decision.kept

    @property
    def rank(self) -> int:
        """Its place among the pairs of its image; 0 where no filter looked at it."""
        return self.decision.rank if self.decision else 0


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of all pairs.

    Attributes:
        pairs: Those of the last round, in the order of ``contents.scored``.
        rounds: All, by round from 0 to the last; empty where there was one round only.
        by_form: S(I2C) of ``pairs`` in every form that the stored numbers allow, in their order.
        form: The form in use, also of a run whose draft alone has pairs; None where there is no pair.
        no_image: What the pairs were scored without the image as.
    """

    pairs: Sequence[PairFacts]
    rounds: Mapping[int, Sequence[PairFacts]]
    by_form: Mapping[Form, Sequence[float]]
    form: Form | None
    no_image: NoImageMode | None

    @property
    def kept(self) -> list[PairFacts]:
        """What the filter kept of the last round."""
        return [pair for pair in self.pairs if pair.kept]

    @property
    def dropped(self) -> list[PairFacts]:
        """What it did not."""
        return [pair for pair in self.pairs if not pair.kept]


def read_facts(contents: ReportContents) -> Facts:
    """One pass over the scored pairs of all rounds; those of the last are joined with their decisions by id.

    Raises:
        DataError: If a pair of the last round has no decision, or the image of any is not in ``contents.images``.
    """
    decisions = {decision.sample_id: decision for decision in contents.decisions}
    by_form = {form: array("d") for form in get_args(Form)}
    first: ScoredPair | None = None
    earlier, pairs = [], []
    for scored in contents.scored:
        first = first or scored
        _add_forms(contents, by_form, scored)
        decision = _find_decision(decisions, scored.sample.sample_id)
        pairs.append(_take(contents, scored, by_form[LIFT][-1], decision))
    for scored in contents.earlier:
        first = first or scored
        earlier.append(_take(contents, scored, contents.compute_i2c(scored.scores, LIFT), None))
    return Facts(
        pairs=pairs,
        rounds=_split_rounds(contents, earlier, pairs),
        by_form=by_form,
        form=first.form if first else None,
        no_image=first.no_image if first else None,
    )


def read_shown(contents: ReportContents, ids: Collection[str]) -> dict[str, ScoredPair]:
    """The pairs with these sample ids, of any round, with their texts and tokens."""
    everything = chain(contents.scored, contents.earlier)
    return {one.sample.sample_id: one for one in everything if one.sample.sample_id in ids}


def measure(contents: ReportContents, pairs: Iterable[PairFacts]) -> Specificity:
    """How specific these pairs are."""
    return contents.measure_specificity((pair.image_id, pair.lift, pair.says_no) for pair in pairs)


def _take(contents: ReportContents, scored: ScoredPair, lift: float, decision: FilterDecision | None) -> PairFacts:
    sample, scores = scored.sample, scored.scores
    if sample.image_id not in contents.images:
        raise DataError(
            f"got a pair about image {sample.image_id}, which is not in the run's list of images: "
            "report with the image list that the pairs were made from"
        )
    return PairFacts(
        sample_id=sample.sample_id,
        image_id=contents.images[sample.image_id].image_id,  # one text for all pairs of an image
        instruction_id=sys.intern(sample.instruction_id),
        round=sample.round,
        opening=sys.intern(sample.opening),
        answer_opening=sys.intern(sample.answer_opening),
        tokens=len(scores.token_ids),
        i2c=scored.i2c,
        lift=lift,
        says_no=says_no(sample.answer),
        less_likely=is_less_likely(scores),
        decision=decision,
    )


def _find_decision(decisions: Mapping[str, FilterDecision], sample_id: str) -> FilterDecision:
    if sample_id not in decisions:
        raise DataError(
            f"got the scored pair {sample_id} without a decision, expected one for each: run the selection again"
        )
    return decisions[sample_id]


def _add_forms(contents: ReportContents, by_form: dict[Form, "array[float]"], scored: ScoredPair) -> None:
    """S(I2C) of one more pair in every form; a form that needs what is not stored for all is left out."""
    if scored.scores.token_kl is None:
        for form in KL_FORMS:
            by_form.pop(form, None)
    for form, column in by_form.items():
        column.append(scored.i2c if form == scored.form else contents.compute_i2c(scored.scores, form))


def _split_rounds(
    contents: ReportContents, earlier: Sequence[PairFacts], pairs: Sequence[PairFacts]
) -> dict[int, Sequence[PairFacts]]:
    if not earlier:
        return {}
    last = max(len(contents.tunings), *(pair.round + 1 for pair in earlier), *(pair.round for pair in pairs))
    rounds = {number: [pair for pair in earlier if pair.round == number] for number in range(last)}
    return {**rounds, last: pairs}
