"""Scores from Python: pairs in the memory in, numbers out, without files."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from c3l.errors import BackendError, BadImageError
from c3l.jobs.given_rows import GivenRows, open_given, read_given
from c3l.jobs.kept_scores import KeptScores
from c3l.jobs.pairs import Beyond, PairScore, describe_pair, tell_unit
from c3l.method.other_images import ImageSource, count_compared, count_others, draw_pool, tell_few_others
from c3l.method.scoring import Context, rescore, score_samples
from c3l.models.interface import InferenceModel
from c3l.models.load import load_model, settle_name, weights_hash
from c3l.records import ImageRef, Rejected, Sample, ScoredPair, make_id
from c3l.settings.abilities import check_scorer
from c3l.settings.load import Override, check_list, load_config


class Scorer:
    """A model that scores question-answer pairs about images; it is loaded when it is first needed.

    Examples:
        >>> scorer = Scorer("llava-hf/llava-1.5-7b-hf")
        >>> [one.i2c for one in scorer.score([{"image": "cat.jpg", "question": "What is it?", "answer": "A cat."}])]
    """

    def __init__(self, model: str | Path = "builtin", *, settings: Sequence[str] = (), seed: int | None = None) -> None:
        """Name a model; nothing is loaded yet.

        Args:
            model: ``builtin``, a folder, or a hub id; ``vllm:NAME`` where vLLM is to run it.
            settings: As ``--set`` takes them, such as ``scoring.form=log_ratio``, ``scoring.no_image=drop``,
                ``model.dtype=float32``.
            seed: Of the noise, and of which other images are shown; wins over that of ``settings``, which is 0 if not
                named.

        Raises:
            ConfigError: If a setting is unknown or out of range, or the model cannot give the form's numbers.
        """
        last = () if seed is None else (Override("seed", seed, f"seed={seed}"),)
        self._config = load_config(None, [Override("model.name", model, "model"), *check_list(settings), *last])
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
                shown where the question has an ``<image>``; that of one image stands first), ``question`` (empty where
                the image alone is asked about) and ``answer``; and, where a row has them, ``history`` (earlier
                questions and answers, as a list of pairs or of the turns of a chat) and ``system`` (a system prompt).
                None and NaN are empty texts.
            keep: A folder for the scores. A call that was stopped goes on from there, and a later one with the same
                settings and images scores only the rows that are new.

        Raises:
            BackendError: If the model cannot be loaded, or cannot leave the image out in this way.
            DataError: If a row has no such keys.
            StaleStageError: If ``keep`` holds scores that were made with other settings or images.
        """
        read = read_given(rows, self._config.images)
        samples = read.samples
        if not samples:
            return list(self._tell(read, ()))
        self._tell_grey(read)
        outcomes = self._measure(read, samples) if keep is None else self._go_on(read, samples, Path(keep))
        return list(self._tell(read, outcomes))

    def _tell_grey(self, rows: GivenRows) -> None:
        """Warn where there is no other image; one of few is what a caller of few rows expects."""
        images = len(rows.images) - max(map(len, rows.sets.values()), default=1) + 1
        if not count_others(self._config.scoring, images) and (few := tell_few_others(self._config.scoring, images)):
            warnings.warn(f"{few}; give rows about several images at once", stacklevel=3)

    def _measure(self, rows: GivenRows, samples: Sequence[Sample]) -> Iterator[ScoredPair | Rejected]:
        """The outcomes of samples of the rows, in their order."""
        scoring, images = self._config.scoring, rows.images
        refs = {name: ImageRef(name, name, "", 0, 0) for name in images}
        source = ImageSource(
            refs, lambda ref: open_given(images[ref.image_id](), self._config.images), list(refs), rows.sets
        )
        contexts = {name: self._fit(context) for name, context in rows.contexts.items()}
        return score_samples(samples, source, self._model, scoring, self._config.seed, contexts)

    def _go_on(self, rows: GivenRows, samples: Sequence[Sample], folder: Path) -> Iterator[ScoredPair | Rejected]:
        """The same, of which those that the folder holds are not measured again."""
        drawn = draw_pool(rows.images, self._config.scoring, self._config.seed)
        stands = [name for name in drawn if self._opens(rows.images[name])]
        pool = make_id(*stands)
        with KeptScores(folder).open(self._config, self._weights, pool) as kept:
            there, shown = kept.read({sample.sample_id for sample in samples})
            of_scores = {one for name in shown for one in rows.sets.get(name, (name,))}
            most = max(map(len, rows.sets.values()), default=1)
            compared = stands[: count_compared(self._config.scoring, most)] if shown else []
            kept.check_images(rows.paths, of_scores.union(compared))
            new = [one for one in samples if one.sample_id not in there]
            made = kept.keep(self._measure(rows, new)) if new else iter(())
            for sample in samples:
                known = there.get(sample.sample_id)
                yield rescore(known, self._config.scoring.form) if known else next(made)

    def _opens(self, image: Callable[[], Any]) -> bool:
        """Whether an image opens by now; one that does not stands for no other."""
        try:
            open_given(image(), self._config.images)
        except BadImageError:
            return False
        return True

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

    def _tell(self, rows: GivenRows, outcomes: Iterable[ScoredPair | Rejected]) -> Iterator[PairScore]:
        unit, outcomes = tell_unit(self._config.scoring.form), iter(outcomes)
        model = settle_name(self._config.scorer.name)  # as in a run, whose pairs can be exported with these
        for sample, fault in rows.rows:
            one = None if fault else next(outcomes)
            paths = rows.tell_paths(sample.image_id)
            beyond = Beyond(rows.contexts.get(sample.sample_id, Context()), sample.image_id in rows.sets)
            if isinstance(one, ScoredPair):
                yield describe_pair(one, ", ".join(paths), model, self._weights, beyond)
            else:
                why = fault if one is None else f"{one.reason}: {one.detail}"
                said = sample.question, sample.answer
                yield PairScore(sample.sample_id, ", ".join(paths), *said, None, unit, error=why, beyond=beyond)
