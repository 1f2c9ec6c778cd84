"""What an export is made of: the kept pairs and the preferences, checked, with their images and scores."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from c3l.errors import DataError
from c3l.markup.placeholders import PLACEHOLDERS
from c3l.records import ImageRef, Preference, Provenance, ScoredPair
from c3l.settings.roots import Address
from c3l.settings.schema import VLLM, PreferenceKind

JsonRow = dict[str, Any]
Scores = Mapping[str, str | float | int]


@dataclass(frozen=True, slots=True)
class ExportSource:
    """All that can be exported of a run.

    Attributes:
        pairs: The kept pairs, in their order; read once.
        images: The images by ``image_id``.
        provenance: The model that scored.
        image_root: Where the images lie; needed by the layouts that hold the images themselves.
        preferences: Those of each kind that a format asks for.
    """

    pairs: Iterable[ScoredPair]
    images: Mapping[str, ImageRef]
    provenance: Provenance
    image_root: Path | Address | None = None
    preferences: Mapping[PreferenceKind, Sequence[Preference]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ExportRow:
    """What a layout needs of a kept pair; ``scores`` is empty without ``with_scores``, ``i2c`` is always there."""

    id: str
    image: ImageRef
    question: str
    answer: str
    i2c: float
    scores: Scores


@dataclass(frozen=True, slots=True)
class PreferenceRow:
    """What a layout needs of a preference; ``id`` and ``rejected_id`` are the samples that the two come from."""

    id: str
    rejected_id: str
    image: ImageRef
    prompt: str
    chosen: str
    rejected: str
    scores: Scores


@dataclass(frozen=True, slots=True)
class ExportRows:
    """The rows of every layout."""

    pairs: list[ExportRow]
    preferences: Mapping[PreferenceKind, list[PreferenceRow]]
    image_root: Path | Address | None


def make_rows(source: ExportSource, *, with_scores: bool) -> ExportRows:
    """The rows that layouts are written from.

    Raises:
        DataError: If an image is unknown, a score is not finite, or a text holds a placeholder.
    """
    pairs = [_make_row(pair, source, with_scores=with_scores) for pair in source.pairs]
    preferences = {
        kind: [_make_preference(one, source, with_scores=with_scores) for one in ones]
        for kind, ones in source.preferences.items()
    }
    return ExportRows(pairs, preferences, source.image_root)


def check_unique(path: Path, ids: Iterable[str]) -> None:
    """Refuse ids that come twice.

    Raises:
        DataError: If one does, or is empty.
    """
    seen: set[str] = set()
    for name in ids:
        if not name or name in seen:
            raise DataError(f"{path}: id {name!r} comes twice or is empty, expected one row a pair")
        seen.add(name)


def write_messages(question: str, answer: str) -> list[JsonRow]:
    """A question and its answer as a chat."""
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def _make_row(pair: ScoredPair, source: ExportSource, *, with_scores: bool) -> ExportRow:
    sample, image = pair.sample, _find_image(pair, source.images)
    _check_texts(pair, sample.question, sample.answer)
    scores: dict[str, str | float | int] = {}
    if with_scores:
        scores = {"i2c": pair.i2c, **_say_how(pair, source.provenance), "n_answer_tokens": len(pair.scores.token_ids)}
    return ExportRow(sample.sample_id, image, sample.question, sample.answer, pair.i2c, scores)


def _make_preference(one: Preference, source: ExportSource, *, with_scores: bool) -> PreferenceRow:
    image = _find_image(one.better, source.images)
    _check_texts(one.better, one.prompt, one.chosen)
    _check_texts(one.worse, one.rejected)
    scores: dict[str, str | float | int] = {}
    if with_scores:
        scores = {
            "i2c_chosen": one.better.i2c,
            "i2c_rejected": one.worse.i2c,
            **_say_how(one.better, source.provenance),
        }
    ids = one.better.sample.sample_id, one.worse.sample.sample_id
    return PreferenceRow(*ids, image, one.prompt, one.chosen, one.rejected, scores)


def _find_image(pair: ScoredPair, images: Mapping[str, ImageRef]) -> ImageRef:
    sample = pair.sample
    if sample.image_id not in images:
        raise DataError(f"sample {sample.sample_id} is about image {sample.image_id}, which the run does not list")
    return images[sample.image_id]


def _check_texts(pair: ScoredPair, *texts: str) -> None:
    name = pair.sample.sample_id
    if not math.isfinite(pair.i2c):
        raise DataError(f"sample {name} has S(I2C) {pair.i2c}, expected a finite number; reject it")
    if any(placeholder in text for text in texts for placeholder in PLACEHOLDERS):
        raise DataError(f"sample {name} holds one of {', '.join(PLACEHOLDERS)} in its text; reject it")


def _say_how(pair: ScoredPair, provenance: Provenance) -> dict[str, str]:
    return {
        "form": pair.form,
        "no_image": pair.no_image,
        "model": public_name(provenance.model),
        "weights": provenance.weights,
    }


def public_name(model: str) -> str:
    """A model's name; of a folder, whose place is nobody's affair, the last part."""
    prefix = VLLM if model.startswith(VLLM) else ""
    path = Path(model.removeprefix(prefix))
    return f"{prefix}{path.name}" if path.is_absolute() or path.exists() else model
