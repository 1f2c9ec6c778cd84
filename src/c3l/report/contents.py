"""What a report shows, as the pipeline hands it over: records and counts, nothing to look up in files."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from c3l.records import (
    AnswerScores,
    EvalReport,
    FilterDecision,
    Form,
    HeldOut,
    ImageRef,
    Provenance,
    Rejected,
    ScoredPair,
    Specificity,
    TuningStep,
)


@dataclass(frozen=True, slots=True)
class StageCounts:
    """What went into one stage and what came out.

    Attributes:
        name: The stage, as the command line calls it.
        takes: What the stage counts at its entrance, a plural: ``"pictures"``.
        makes: What it counts at its exit; differs from ``takes`` where one thing becomes several.
        count_in: How many went in.
        count_out: How many came out.
        rejected: How many did not come out, by reason.
        seconds: Wall-clock time; None where it was not measured.
    """

    name: str
    takes: str
    makes: str
    count_in: int
    count_out: int
    rejected: Mapping[str, int]
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class TuningCurves:
    """One contrastive tuning.

    Attributes:
        name: The stage: tuned, tuned-2, ...
        trained: Number of groups (images) that it was tuned on.
        steps: What was logged, in order.
        held_out: The groups that only measured, before and after; empty where none was held out.
    """

    name: str
    trained: int
    steps: Sequence[TuningStep]
    held_out: Sequence[HeldOut]


@dataclass(frozen=True, slots=True)
class ReportContents:
    """Everything on the page.

    The records of which a run has thousands are read again for each pass over them, so that none need be held: hand
    in a list, or anything whose every ``iter`` begins anew.

    Attributes:
        title: Name of the run.
        folder: The run folder, as a command takes it.
        settings: The resolved config as YAML text.
        provenance: Which model made the records, by stage.
        stages: Counts, in the order of the method.
        images: The images of the run, by ``image_id``, in the order of the gallery.
        scored: Every scored pair of the last round.
        decisions: One decision a scored pair, in any order.
        rejected: What was rejected in any stage.
        exported: How many pairs the export holds.
        exports: Its files by format, as paths within the run folder.
        rows: How many rows the file of a format holds, where that is known.
        open_thumbnail: An image as JPEG bytes; about 60 kB each (480 pixels) keeps the page light.
            An ``OSError`` or ``DataError`` leaves a line of text in the image's place.
        compute_i2c: S(I2C) in the unit of its form, ``c3l.method.i2c.compute_i2c``; handed in, as are the next two,
            so that the report imports nothing of the method.
        unit_of: The unit of a form, ``c3l.method.i2c.unit_of``.
        measure_specificity: How specific pairs are, each as image, lift and whether it says no,
            ``c3l.method.specificity.measure_specificity``.
        gallery_limit: Most images in the gallery; the page says which are shown beyond it.
        earlier: Every scored pair of the rounds before the last, round 0 (the draft) first; no decision is made
            about them.
        tunings: The contrastive tunings, in order.
        evaluations: The benchmarks, each model's figures by each rule.
    """

    title: str
    folder: str
    settings: str
    provenance: Mapping[str, Provenance]
    stages: Sequence[StageCounts]
    images: Mapping[str, ImageRef]
    scored: Iterable[ScoredPair]
    decisions: Iterable[FilterDecision]
    rejected: Iterable[Rejected]
    exported: int
    exports: Mapping[str, str]
    rows: Mapping[str, int]
    open_thumbnail: Callable[[ImageRef], bytes]
    compute_i2c: Callable[[AnswerScores, Form], float]
    unit_of: Callable[[Form], str]
    measure_specificity: Callable[[Iterable[tuple[str, float, bool]]], Specificity]
    gallery_limit: int = 200
    earlier: Iterable[ScoredPair] = ()
    tunings: Sequence[TuningCurves] = ()
    evaluations: Sequence[EvalReport] = ()
