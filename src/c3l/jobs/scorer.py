"""Scores from Python: pairs in the memory in, numbers out, without files."""

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from c3l.data.images import decode_image
from c3l.errors import DataError
from c3l.method.i2c import FORMS, compute_i2c, unit_of
from c3l.method.scoring import ImageSource, score_samples
from c3l.models.interface import InferenceModel
from c3l.models.load import load_model
from c3l.records import KL_FORMS, ImageRef, Rejected, Sample, make_id
from c3l.settings.abilities import check_scorer
from c3l.settings.load import load_config

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, slots=True)
class PairScore:
    """What a pair scores.

    Attributes:
        i2c: S(I2C) in the form that was asked for, in nats or probability (``unit``); None where there is an error.
        forms: The same in every form that the numbers allow.
        tokens: The answer's tokens as text.
        contributions: What each of them adds: ``log p - log q``, nats, with the image against without it.
        unit: Of ``i2c``: ``nats`` or ``probability``.
        error: ``reason: detail`` where the pair cannot be scored; empty else.
    """

    i2c: float | None
    forms: Mapping[str, float]
    tokens: tuple[str, ...]
    contributions: tuple[float, ...]
    unit: str
    error: str = ""


class Scorer:
    """A model that scores question-answer pairs about images; it is loaded when it is first asked.

    Example:
        >>> scorer = Scorer("llava-hf/llava-1.5-7b-hf")
        >>> [one.i2c for one in scorer.score([{"image": "cat.jpg", "question": "What is it?", "answer": "A cat."}])]
    """

    def __init__(self, model: str = "builtin", *, settings: Sequence[str] = (), seed: int = 0) -> None:
        """Name a model; nothing is loaded yet.

        Args:
            model: ``builtin``, a folder, or a hub id; ``vllm:NAME`` where vLLM is to run it.
            settings: As ``--set`` takes them, such as ``scoring.form=log_ratio``, ``scoring.no_image=drop``,
                ``model.dtype=float32``.
            seed: Of the noise, and of which other images are shown.

        Raises:
            ConfigError: If a setting is unknown or out of range, or the model cannot give the form's numbers.
        """
        self._config = load_config(None, [f"model.name={model}", *settings, f"seed={seed}"])
        check_scorer(self._config)

    @cached_property
    def _model(self) -> InferenceModel:
        return load_model(self._config.scorer, self._config.seed)

    def score(self, rows: Iterable[Mapping[str, Any]]) -> list[PairScore]:
        """One score a row, in order; a row that cannot be scored says why, and costs no other.

        With ``scoring.no_image=others``, the default, the other rows' images stand for "no image": give rows about
        several images at once.

        Args:
            rows: Each with ``image`` (a ``PIL.Image``, a path, or the bytes of a file; or a list of them, each shown
                where the question has an ``<image>``), ``question`` and ``answer``; a list, a table of ``datasets``, or
                any iterable.

        Raises:
            BackendError: If the model cannot be loaded, or cannot leave the image out in this way.
            DataError: If a row has no such keys.
        """
        scoring, samples, images = self._config.scoring, list[Sample](), dict[str, Any]()
        sets: dict[str, tuple[str, ...]] = {}
        for number, row in enumerate(rows):
            if missing := {"image", "question", "answer"} - row.keys():
                raise DataError(f"got row {number} without {' and '.join(sorted(missing))}, expected all three")
            shown = row["image"] if isinstance(row["image"], list | tuple) else [row["image"]]
            if not shown:
                raise DataError(f"got row {number} with an empty list of images, expected at least one")
            names = tuple(map(_name, shown))
            images |= dict(zip(names, shown, strict=True))
            name = names[0] if len(names) == 1 else make_id("several", *names)
            sets |= {name: names} if len(names) > 1 else {}
            sample_id = make_id("row", number)
            samples.append(Sample(sample_id, name, "rows", str(row["question"]), str(row["answer"]), 0, number))
        refs = {name: ImageRef(name, name, "", 0, 0) for name in images}
        source = ImageSource(refs, lambda ref: _open(images[ref.image_id], self._config.images), list(refs), sets)
        outcomes = score_samples(samples, source, self._model, scoring, self._config.seed)
        return list(self._tell(outcomes))

    def _tell(self, outcomes: Iterable[Any]) -> Iterator[PairScore]:
        unit = unit_of(self._config.scoring.form).removeprefix("in ")
        for one in outcomes:
            if isinstance(one, Rejected):
                yield PairScore(None, {}, (), (), unit, f"{one.reason}: {one.detail}")
                continue
            known = one.scores.token_kl is not None
            forms: dict[str, float] = {
                form: compute_i2c(one.scores, form) for form in FORMS if known or form not in KL_FORMS
            }
            both = zip(one.scores.logprobs_with_image, one.scores.logprobs_without_image, strict=True)
            yield PairScore(one.i2c, forms, one.scores.tokens, tuple(p - q for p, q in both), unit)


def _name(image: Any) -> str:
    """What tells images apart: paths by their text, others by their content."""
    if isinstance(image, str | Path):
        return make_id("path", str(image))
    content = image if isinstance(image, bytes) else _encode(image)
    return make_id("image", sha256(content).hexdigest())


def _encode(image: "Image") -> bytes:
    """An opened image as the bytes of a file, so that it is seen as that file would be."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _open(image: Any, rules: Any) -> "Image":
    if isinstance(image, str | Path):
        try:
            image = Path(image).expanduser().read_bytes()
        except OSError as error:
            raise DataError(f"cannot read {image}: {error.strerror}") from None
    opened: Image = decode_image(image if isinstance(image, bytes) else _encode(image), rules)
    return opened
