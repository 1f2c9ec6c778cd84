"""The immutable records that travel between stages, and their JSON form.

Ids stand inside every record, and nothing is ever joined by position. No record holds a tensor.
"""

from c3l.records.denials import says_no
from c3l.records.figures import Estimate, EvalReport, Figure, HeldOut, TuningStep
from c3l.records.lines import from_json, to_json
from c3l.records.samples import (
    MAX_ROUNDS,
    Generation,
    ImageRef,
    Provenance,
    Rejected,
    Sample,
    make_id,
    name_round,
    name_step,
)
from c3l.records.scores import (
    KL_FORMS,
    PROBABILITY_FORMS,
    AnswerScores,
    ContrastiveGroup,
    FilterDecision,
    Form,
    NoImageMode,
    Preference,
    Role,
    ScoredPair,
    ScoredSample,
    Specificity,
)

__all__ = [
    "KL_FORMS",
    "MAX_ROUNDS",
    "PROBABILITY_FORMS",
    "AnswerScores",
    "ContrastiveGroup",
    "Estimate",
    "EvalReport",
    "Figure",
    "FilterDecision",
    "Form",
    "Generation",
    "HeldOut",
    "ImageRef",
    "NoImageMode",
    "Preference",
    "Provenance",
    "Rejected",
    "Role",
    "Sample",
    "ScoredPair",
    "ScoredSample",
    "Specificity",
    "TuningStep",
    "from_json",
    "make_id",
    "name_round",
    "name_step",
    "says_no",
    "to_json",
]
