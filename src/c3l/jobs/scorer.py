"""Scores from Python: pairs in the memory in, numbers out, without files."""

import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from c3l.data.images import decode_image
from c3l.errors import BackendError, DataError
from c3l.jobs.kept_scores import KeptScores
from c3l.jobs.pairs import PairScore, describe_pair, tell_unit
from c3l.method.scoring import Context, ImageSource, draw_pool, rescore, score_samples
from c3l.models.interface import InferenceModel
from c3l.models.load import load_model, weights_hash
from c3l.records import ImageRef, Rejected, Sample, ScoredPair, make_id
from c3l.settings.abilities import check_scorer
from c3l.settings.load import Override, load_config

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(slots=True)
class _Rows:
    """The rows as the method takes them: samples, what stands before their questions, images by name, in sets."""

    samples: list[Sample] = field(default_factory=list)
    contexts: dict[str, Context] = field(default_factory=dict)
    images: dict[str, Callable[[], Any]] = field(default_factory=dict)
    sets: dict[str, tuple[str, ...]] = field(default_factory=dict)
    paths: dict[str, str] = field(default_factory=dict)


class Scorer:
    """A model that scores question-answer pairs about images; it is loaded when it is first needed.

    Examples:
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
        self._config = load_config(None, [Override("model.name", model, "model"), *settings, f"seed={seed}"])
        check_scorer(self._config)

    @cached_property
    def _model(self) -> InferenceModel:
        return load_model(self._config.scorer, self._config.seed)

    def score(self, rows: Iterable[Mapping[str, Any]], *, keep: str | Path | None = None) -> list[PairScore]:
        """One score a row, in order; a row that cannot be scored says why, and costs no other.

        Rows about one image are computed together, in batches of ``scoring.batch_size`` images. With
        ``scoring.no_image=others``, the default, the other rows' images stand for "no image": give rows about several
        images at once. Of a list, or a table of ``datasets``, no more images are held than a batch needs.

        Args:
            rows: A list, a table of ``datasets``, or any iterable of mappings with ``image`` (a ``PIL.Image``, a path,
                the bytes of a file, or what ``datasets`` gives for one that it does not decode; or a list of them, each
                shown where the question has an ``<image>``), ``question`` and ``answer``; and, where a row has them,
                ``history`` (a list of earlier questions and answers, as pairs) and ``system`` (a system prompt).
            keep: A folder for the scores. A call that was stopped goes on from there, and a later one with the same
                settings and images scores only the rows that are new.

        Raises:
            BackendError: If the model cannot be loaded, or cannot leave the image out in this way.
            DataError: If a row has no such keys.
            StaleStageError: If ``keep`` holds scores that were made with other settings or images.
        """
        read = _read_rows(rows)
        if not read.samples:
            return []
        return list(self._tell(read, self._measure(read) if keep is None else self._go_on(read, Path(keep))))

    def _measure(self, rows: _Rows) -> Iterator[ScoredPair | Rejected]:
        """The outcomes of the rows, in their order."""
        scoring, images = self._config.scoring, rows.images
        refs = {name: ImageRef(name, name, "", 0, 0) for name in images}
        source = ImageSource(
            refs, lambda ref: _open(images[ref.image_id](), self._config.images), list(refs), rows.sets
        )
        contexts = {name: self._fit(context) for name, context in rows.contexts.items()}
        return score_samples(rows.samples, source, self._model, scoring, self._config.seed, contexts)

    def _go_on(self, rows: _Rows, folder: Path) -> Iterator[ScoredPair | Rejected]:
        """The same, of which those that the folder holds are not measured again."""
        pool = make_id(*draw_pool(rows.images, self._config.scoring, self._config.seed))
        with KeptScores(folder).open(self._config, self._weights, pool) as kept:
            there = kept.read()
            new = [one for one in rows.samples if one.sample_id not in there]
            left = _Rows(new, rows.contexts, rows.images, rows.sets) if new else None
            made = kept.keep(self._measure(left)) if left else iter(())
            for sample in rows.samples:
                known = there.get(sample.sample_id)
                yield rescore(known, self._config.scoring.form) if known else next(made)

    def _fit(self, context: Context) -> Context:
        """What stands before a question, as far as it is wanted; an error where the model cannot show it."""
        earlier = context.earlier if self._config.scoring.context == "turns" else ()
        if earlier and not self._model.takes_turns:
            raise BackendError(
                "got a row with `history`, but this model's chat template shows no earlier turns: set "
                "scoring.context=none to ask each question alone"
            )
        if context.system and not self._model.takes_system:
            raise BackendError("got a row with `system`, but this model's chat template shows none: leave it out")
        return Context(context.system, earlier)

    @cached_property
    def _weights(self) -> str:
        return weights_hash(self._config.scorer)

    def _tell(self, rows: _Rows, outcomes: Iterable[ScoredPair | Rejected]) -> Iterator[PairScore]:
        unit, model = tell_unit(self._config.scoring.form), self._config.scorer.name
        for sample, one in zip(rows.samples, outcomes, strict=True):
            path = rows.paths.get(sample.image_id, "")
            if isinstance(one, Rejected):
                why = f"{one.reason}: {one.detail}"
                yield PairScore(sample.sample_id, path, sample.question, sample.answer, None, unit, error=why)
            else:
                yield describe_pair(one, path, model, self._weights)


def _read_rows(rows: Iterable[Mapping[str, Any]]) -> _Rows:
    found, seen = _Rows(), Counter[str]()
    table: Any = rows if hasattr(rows, "__getitem__") and hasattr(rows, "__len__") else None
    for number, row in enumerate(rows):
        shown, context = _read_images(number, row), _read_context(number, row)
        names = tuple(map(_name, shown))
        for place, (name, image) in enumerate(zip(names, shown, strict=True)):
            look = partial(_look_up, table, number, place) if table is not None else partial(_same, image)
            found.images.setdefault(name, look)
        name = names[0] if len(names) == 1 else make_id("several", *names)
        found.sets |= {name: names} if len(names) > 1 else {}
        if all(isinstance(image, str | Path) for image in shown):
            found.paths[name] = ", ".join(map(str, shown))
        said = str(row["question"]), str(row["answer"])
        content = make_id(name, *said, context.system, *(text for turn in context.earlier for text in turn))
        sample_id = make_id(content, seen[content])
        seen[content] += 1
        found.samples.append(Sample(sample_id, name, "rows", *said, 0, number))
        if context != Context():
            found.contexts[sample_id] = context
    return found


def _read_images(number: int, row: Any) -> list[Any]:
    """The image of a row that has all that is needed, or its several."""
    if not isinstance(row, Mapping):
        expected = "expected a mapping such as {'image': ..., 'question': ..., 'answer': ...}"
        raise DataError(f"got row {number} of type {type(row).__name__}, {expected}")
    if missing := {"image", "question", "answer"} - row.keys():
        raise DataError(f"got row {number} without {' and '.join(sorted(missing))}, expected all three")
    images = list(map(_unwrap, _list_images(row)))
    if not images:
        raise DataError(f"got row {number} with an empty list of images, expected at least one")
    for image in images:
        if not isinstance(image, str | Path | bytes) and not hasattr(image, "save"):
            expected = "expected a PIL.Image, a path, or the bytes of a file"
            raise DataError(f"got row {number} with an image of type {type(image).__name__}, {expected}")
    return images


def _list_images(row: Mapping[str, Any]) -> Sequence[Any]:
    return row["image"] if isinstance(row["image"], list | tuple) else [row["image"]]


def _unwrap(image: Any) -> Any:
    """What ``datasets`` gives for an image that it does not decode, as bytes or a path; others as they are."""
    return image.get("bytes") or image.get("path") if isinstance(image, Mapping) else image


def _read_context(number: int, row: Mapping[str, Any]) -> Context:
    turns = tuple(tuple(turn) for turn in row.get("history") or ())
    for turn in turns:
        if len(turn) != 2 or not all(isinstance(text, str) for text in turn):
            raise DataError(f"got row {number} with {turn!r} in `history`, expected pairs of a question and its answer")
    return Context(str(row.get("system") or ""), turns)


def _look_up(table: Any, number: int, place: int) -> Any:
    return _unwrap(_list_images(table[number])[place])


def _same(image: Any) -> Any:
    return image


def _name(image: Any) -> str:
    """What tells images apart: paths by their text, others by their content."""
    if isinstance(image, str | Path):
        return make_id("path", str(image))
    content = image if isinstance(image, bytes) else _encode(image)
    return make_id("image", sha256(content).hexdigest())


def _encode(image: "Image") -> bytes:
    """An opened image as the bytes of a file, so that it is seen as that file would be."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _open(image: Any, rules: Any) -> "Image":
    if isinstance(image, str | Path):
        try:
            image = Path(image).expanduser().read_bytes()
        except OSError as error:
            raise DataError(f"cannot read {image}: {error.strerror}") from None
    opened: Image = decode_image(image if isinstance(image, bytes) else _encode(image), rules)
    return opened
