"""The data set: the kept pairs and preferences in every format asked for, read back, with a card beside them."""

import time
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path

from c3l.data.export import export, verify
from c3l.data.export_layouts import FILES, LAYOUTS, list_written
from c3l.data.export_rows import ExportSource
from c3l.method.preferences import prefer_answers, prefer_pairs
from c3l.method.prompts import choose_templates
from c3l.records import AnswerScores, FilterDecision, ImageRef, Preference, Provenance, ScoredPair, name_round
from c3l.run.context import Context, save_settings
from c3l.run.dataset_card import CARD, write_card
from c3l.run.shards import begin, discard, read_scored
from c3l.settings.schema import PreferenceKind
from c3l.storage.atomic import atomic_folder, write_atomic
from c3l.storage.stage import Stage

_NO_TOKENS = AnswerScores((), (), (), ())
_NONE_OF = {
    "preference": "no image has a kept answer and one with a lower S(I2C) to the same question: within a round each "
    "question is asked once, so set more rounds, or compare whole pairs ({name}_whole_pair)",
    "whole_pair": "no image has a kept pair and one with a lower S(I2C)",
}


def export_stage(context: Context, images: Stage, scored: Stage, kept: Stage) -> Stage:
    """The kept pairs in every format asked for, each file read back and checked.

    An earlier export gives way, and its settings do, only when the new one is whole.
    """
    stored = context.run.stored("export")
    if stored is not None and _is_exported(context, stored):
        _renew_card(context, stored)
        return begin(context, "export", 0)
    start = time.monotonic()
    ids = {one.sample_id: one.image_id for one in kept.read(FilterDecision)}
    rows = (one for one in read_scored(scored, context.config.scoring.form) if one.sample.sample_id in ids)
    pictures = {image.image_id: image for image in images.read(ImageRef)}
    maker, root = scored.info.provenance or _no_maker(context), context.config.images.root
    source = ExportSource(rows, pictures, maker, root, _gather_preferences(context, scored, ids.keys()))
    with atomic_folder(context.run.path / "export") as new:
        counts = _write(context, source, new)
        recorded = {"rows": counts, "images": len(set(ids.values()))}
        write_atomic(new / CARD, write_card(context, recorded, len(ids), maker))
        stage = begin(context, "export", 0)
        discard(context.run, "export")
        save_settings(context.run, context.config)
    _tell_missing(context, counts, len(ids))
    stage.finish(scored.info.provenance, time.monotonic() - start, inputs=len(ids), recorded=recorded)
    return stage


def _write(context: Context, source: ExportSource, folder: Path) -> dict[str, int]:
    """Write every file; returns how many rows each holds as it is read back, 0 of one that there is no row for."""
    export(source, folder, context.config.export)
    return {
        FILES[name]: verify(folder / FILES[name], name) if (folder / FILES[name]).exists() else 0
        for name in context.config.export.formats
    }


def _is_exported(context: Context, stage: Stage) -> bool:
    """Whether the export lies there whole, with the settings of now."""
    written = list_written(context.config.export.formats, stage.info.recorded.get("rows", {}))
    wanted = [FILES[name] for name in written]
    same = stage.info.fingerprint == context.plan["export"].fingerprint
    return same and stage.is_done() and all((stage.folder / file).exists() for file in (*wanted, CARD))


def _renew_card(context: Context, stage: Stage) -> None:
    """Write the card again where it says something else by now, such as another licence."""
    maker = stage.info.provenance or _no_maker(context)
    text = write_card(context, stage.info.recorded, stage.info.inputs or 0, maker)
    if (stage.folder / CARD).read_text(encoding="utf-8") != text:
        write_atomic(stage.folder / CARD, text)


def _no_maker(context: Context) -> Provenance:
    """What an export without rows is given, for which no model was loaded."""
    model = context.config.model
    return Provenance(model.name, "", model.backend, model.dtype, "", context.config.seed, {})


def _gather_preferences(
    context: Context, scored: Stage, kept: Set[str]
) -> Mapping[PreferenceKind, Sequence[Preference]]:
    """Those of each kind that a format asks for."""
    config, out = context.config, dict[PreferenceKind, Sequence[Preference]]()
    for kind in config.export.preferences:
        pairs = _comparable(context, scored)
        if kind == "preference":
            out[kind] = prefer_answers(pairs, kept)
        else:
            templates = {template.id: template for template in choose_templates(config.generation)}
            out[kind] = prefer_pairs(pairs, kept, templates)
    return out


def _comparable(context: Context, scored: Stage) -> Iterator[ScoredPair]:
    """The pairs of the last round, and of those before it where the same model scored them; without their tokens."""
    config = context.config
    rounds = range(config.rounds) if config.scoring.scorer == "base" else ()
    earlier = (context.run.stored(f"{name_round(round)}/scored") for round in rounds)
    for stage in (scored, *earlier):
        if stage is not None:
            for one in read_scored(stage, config.scoring.form):
                yield replace(one, scores=_NO_TOKENS)  # all are held, and nobody looks at these


def _tell_missing(context: Context, counts: Mapping[str, int], pairs: int) -> None:
    """Say which formats there is nothing to write in, and which cannot hold every pair."""
    for name in context.config.export.formats:
        kind = LAYOUTS[name].kind
        if kind is not None and not counts[FILES[name]]:
            reason = _NONE_OF[kind].format(name=name.removesuffix(f"_{kind}"))
            context.progress.note(f"export: {FILES[name]} is not written, {reason}")
        elif kind is None and (missing := pairs - counts[FILES[name]]):
            context.progress.note(
                f"export: {FILES[name]} is without {missing} of {pairs} pairs: their texts hold the marks of its turns"
            )
