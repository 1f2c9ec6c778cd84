"""Scored pairs as Python's callers get them: plain records, to filter and to export without a run folder."""

import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from c3l.data.export import export as write_files
from c3l.data.export import verify
from c3l.data.export_layouts import LAYOUTS
from c3l.data.export_rows import ExportSource
from c3l.data.images import inspect_image
from c3l.errors import ConfigError, DataError
from c3l.method.filtering import filter_samples, tell_unused
from c3l.method.i2c import compute_forms, unit_of
from c3l.method.preferences import prefer_answers
from c3l.method.scoring import Context, rescore
from c3l.records import Form, ImageRef, Preference, Provenance, ScoredPair
from c3l.settings.load import load_config, read_override
from c3l.settings.roots import Address, read_root
from c3l.settings.schema import ExportConfig, ImagesConfig, PreferenceKind
from c3l.storage.atomic import make_folder


@dataclass(frozen=True, slots=True)
class Beyond:
    """What a pair has beyond a question and an answer about one image, and exports do not hold.

    Attributes:
        context: What stands before the question.
        several: Whether it is about several images.
    """

    context: Context = field(default_factory=Context)
    several: bool = False

    def __str__(self) -> str:
        """What it is, in words; empty where there is nothing."""
        has = {
            "several images": self.several,
            "a system prompt": bool(self.context.system),
            "earlier turns": bool(self.context.earlier),
        }
        return " and ".join(what for what, there in has.items() if there)


NOTHING_MORE = Beyond()


@dataclass(frozen=True, slots=True)
class PairScore:
    """A question-answer pair about an image, and what it scores.

    Attributes:
        id: Hash of what the pair is: the same pair has the same id in every call.
        image: Path of the image, or of several with commas between; empty where one was given in memory.
        question: As it was given, or written.
        answer: As it was given, or written.
        i2c: S(I2C) in the form that was asked for, in ``unit``; None where there is an error.
        unit: Of ``i2c``: ``nats`` or ``probability``.
        forms: The score in every form that the numbers allow.
        tokens: The answer's tokens as text.
        contributions: What each of them adds: ``log p - log q``, nats, with the image against without it.
        error: ``reason: detail`` where the pair cannot be scored; empty else.
        scored: The per-token numbers that ``c3l.filter`` and ``c3l.export`` work on; None where there is an error.
        model: Name of the model that scored.
        weights: Hash of its weights.
        beyond: What it has beyond a question and an answer about one image.
    """

    id: str
    image: str
    question: str
    answer: str
    i2c: float | None
    unit: str
    forms: Mapping[str, float] = field(default_factory=dict)
    tokens: tuple[str, ...] = ()
    contributions: tuple[float, ...] = ()
    error: str = ""
    scored: ScoredPair | None = field(default=None, repr=False)
    model: str = ""
    weights: str = field(default="", repr=False)
    beyond: Beyond = field(default_factory=Beyond, repr=False)


@dataclass(frozen=True, slots=True)
class Decision:
    """What the filter decided about a pair.

    Attributes:
        pair: The pair, with its score in the form that decided.
        kept: Whether the filter keeps it.
        reason: The rule that decided, in words; of a pair without a score, why it has none.
        rank: 1 for the highest S(I2C) among the pairs of its image; None without a score.
    """

    pair: PairScore
    kept: bool
    reason: str
    rank: int | None


def describe_pair(one: ScoredPair, image: str, model: str, weights: str, beyond: Beyond = NOTHING_MORE) -> PairScore:
    """The record of a pair that was scored.

    Args:
        one: The pair with its numbers.
        image: Path of its image, or empty.
        model: Name of the model that scored.
        weights: Hash of its weights.
        beyond: What it has beyond a question and an answer about one image.
    """
    both = zip(one.scores.logprobs_with_image, one.scores.logprobs_without_image, strict=True)
    return PairScore(
        id=one.sample.sample_id,
        image=image,
        question=one.sample.question,
        answer=one.sample.answer,
        i2c=one.i2c,
        unit=tell_unit(one.form),
        forms=compute_forms(one.scores),
        tokens=one.scores.tokens,
        contributions=tuple(p - q for p, q in both),
        scored=one,
        model=model,
        weights=weights,
        beyond=beyond,
    )


def tell_unit(form: Form) -> str:
    """The unit of a form in one word."""
    return unit_of(form).removeprefix("in ")


def filter(pairs: Iterable[PairScore], *, settings: Sequence[str] = (), seed: int | None = None) -> list[Decision]:
    """Decide which pairs to keep: one decision a pair, in their order; pairs without a score are never kept.

    Examples:
        >>> kept = [one.pair for one in c3l.filter(scores, settings=["filtering.fraction=0.25"]) if one.kept]

    Args:
        pairs: From ``Scorer.score`` or ``c3l.make``; of several calls too, if no pair comes twice.
        settings: As ``--set`` takes them: ``filtering.*``, such as ``filtering.rule=top_k``, and ``scoring.form`` to
            filter by another form, which needs no model; the pairs of the decisions then have their score in that
            form. The default keeps the better half.
        seed: Orders the pairs under ``filtering.rule=random``; wins over that of ``settings``, which is 0 if not named.

    Raises:
        ConfigError: If a setting is unknown or out of range.
        DataError: If one is no ``PairScore`` or comes twice; if they were scored without the image in different ways,
            or have different forms and ``scoring.form`` names none.
    """
    config, pairs = load_config(None, settings), list(pairs)
    if others := [one for one in pairs if not isinstance(one, PairScore)]:
        got = type(others[0]).__name__
        raise DataError(f"got a {got} among the pairs, expected what Scorer.score or c3l.make gives")
    if unused := tell_unused(config.filtering):
        warnings.warn(unused, stacklevel=2)
    chosen = any(read_override(one).key == "scoring.form" for one in settings)
    if len({one.id for one in pairs if one.scored}) < sum(one.scored is not None for one in pairs):
        raise DataError("got a pair twice, expected each once: take duplicates out, or filter the calls one by one")
    if chosen:
        pairs = [_rescore(one, config.scoring.form) for one in pairs]
    scored = [one.scored for one in pairs if one.scored is not None]
    _refuse_mixed(scored)
    seed = config.seed if seed is None else seed
    decided = {one.sample_id: one for one in filter_samples(scored, config.filtering, seed)}
    return [
        Decision(one, (its := decided[one.id]).kept, its.reason, its.rank)
        if one.scored is not None
        else Decision(one, False, one.error, None)
        for one in pairs
    ]


def _rescore(one: PairScore, form: Form) -> PairScore:
    """The pair with its score in another form."""
    if one.scored is None:
        return one
    try:
        scored = rescore(one.scored, form)
    except ValueError as error:
        raise ConfigError(f"scoring.form={form}: {error}") from None
    return replace(one, i2c=scored.i2c, unit=tell_unit(form), scored=scored)


def _refuse_mixed(scored: Sequence[ScoredPair]) -> None:
    """Refuse scores that cannot be compared with each other."""
    if len(forms := {one.form for one in scored}) > 1:
        raise DataError(
            f"got pairs scored by {' and '.join(sorted(forms))}: name one where they are filtered, such as "
            "scoring.form=lift"
        )
    if len(ways := {one.no_image for one in scored}) > 1:
        raise DataError(
            f"got pairs scored with scoring.no_image {' and '.join(sorted(ways))}, whose scores cannot be compared: "
            "score them in one way, or filter and export them one by one"
        )


def export(
    decisions: Iterable[Decision], folder: str | Path, *, image_root: str | Path, settings: Sequence[str] = ()
) -> list[Path]:
    """Write the kept pairs for a trainer, read every file back, and return their paths.

    Examples:
        >>> c3l.export(decisions, "out", image_root="my/images", settings=["export.formats=[llava, trl]"])

    Args:
        decisions: From ``c3l.filter`` or ``c3l.make``; those that are not kept serve as the rejected answers of
            preferences, but for those with more than a question and an answer about one image.
        folder: Where the files go, made if need be; files of the same names are replaced.
        image_root: The folder, or address, that the paths in the files begin in; every image lies under it.
        settings: As ``--set`` takes them: ``export.formats``, ``export.with_scores`` and the rules of ``images``.

    Raises:
        ConfigError: If a setting is unknown, a package of a format is missing, or a format is for runs alone.
        DataError: If one is no ``Decision``; if an image is not a file under ``image_root``, or cannot be used; if a
            kept pair has more than a question and an answer about one image, which files of pairs do not hold; if
            pairs were scored by different models, in different forms or without the image in different ways.
    """
    config, root, folder, decisions = load_config(None, settings), read_root(image_root), Path(folder), list(decisions)
    _refuse_whole_pairs(config.export)
    if others := [one for one in decisions if not isinstance(one, Decision)]:
        got = type(others[0]).__name__
        raise DataError(
            f"got a {got} among the decisions, expected what c3l.filter gives, or made.decisions of c3l.make"
        )
    scored = [(one, one.pair.scored) for one in decisions if one.pair.scored is not None]
    kept = [(one.pair, pair) for one, pair in scored if one.kept]
    if more := [pair for pair, _ in kept if str(pair.beyond)]:
        raise DataError(
            f"got {len(more)} of {len(kept)} kept pairs with more than a question and an answer about one image, which "
            f"exports do not hold, such as {more[0].question!r} with {more[0].beyond}: leave them out, or choose rows "
            "of a data file with `c3l score --data`"
        )
    used = kept
    if config.export.preferences:  # an answer to something else before the question was not given to this prompt
        used = [(one.pair, pair) for one, pair in scored if not str(one.pair.beyond)]
    _refuse_mixed([its for _, its in used])
    maker = _find_maker([pair for pair, _ in used])
    preferences: dict[PreferenceKind, Sequence[Preference]] = {}
    if config.export.preferences:
        preferences["preference"] = prefer_answers((its for _, its in used), {pair.id for pair, _ in kept})
    images = dict(_find_images(((pair, its.sample.image_id) for pair, its in kept), root, config.images))
    source = ExportSource([its for _, its in kept], images, maker, root, preferences)
    make_folder(folder)
    written = write_files(source, folder, config.export)
    for name in config.export.formats:
        if (folder / LAYOUTS[name].file) in written:
            verify(folder / LAYOUTS[name].file, name)
    return written


def _refuse_whole_pairs(config: ExportConfig) -> None:
    if "whole_pair" in config.preferences:
        raise ConfigError(
            f"got export.formats=[{', '.join(config.formats)}], but whole pairs are compared as replies to the "
            "instructions of a run: leave them out, or export the run with `c3l export`"
        )


def _find_images(
    pairs: Iterable[tuple[PairScore, str]], root: Path | Address, rules: ImagesConfig
) -> Iterator[tuple[str, ImageRef]]:
    """Each image once, by the id that its pairs know it by, as a file under the root."""
    seen = set[str]()
    for pair, image_id in pairs:
        if image_id in seen:
            continue
        seen.add(image_id)
        if not pair.image:
            raise DataError(f"pair {pair.id} is about an image in memory, expected a path: save the images first")
        found = inspect_image(root, _name_under(root, pair.image), rules)
        if not isinstance(found, ImageRef):
            raise DataError(f"cannot export {pair.image} under {root}: {found.reason}: {found.detail}")
        yield image_id, found


def _name_under(root: Path | Address, image: str) -> str:
    """The path of an image from the root on; with ``..``, which is refused, where it does not lie under it."""
    if isinstance(root, Address):
        return image.removeprefix(f"{root}/")
    return Path(os.path.relpath(os.path.abspath(image), os.path.abspath(root))).as_posix()


def _find_maker(pairs: Sequence[PairScore]) -> Provenance:
    """The one model that scored them; weights tell it, for a folder has many names."""
    makers = {one.weights or one.model: (one.model, one.weights) for one in pairs} or {"": ("", "")}
    if len(makers) > 1:
        raise DataError(f"got pairs scored by {len(makers)} models, expected one: export them one by one")
    [(model, weights)] = makers.values()
    return Provenance(model, weights, "", "", "", 0, {})
