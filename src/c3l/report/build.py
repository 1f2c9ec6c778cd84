"""Records become one self-contained HTML page: no network, no foreign script, hostile text stays text."""

import base64
import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from c3l.records import Provenance
from c3l.report.album import Album
from c3l.report.charts import draw_share
from c3l.report.contents import ReportContents
from c3l.report.curves import ACCURACY, LOSSES, build_tuning
from c3l.report.distribution import build_panels, build_scatter, judge_length
from c3l.report.evaluation import build_benchmarks
from c3l.report.examples import ExamplesView, build_examples, pick_examples
from c3l.report.facts import Facts, read_facts, read_shown
from c3l.report.forms import FORMS, NO_IMAGE, build_form_rows, show_correlation
from c3l.report.gallery import (
    GalleryView,
    Material,
    build_gallery,
    choose_images,
    find_scale,
    mean_of_images,
)
from c3l.report.lead import build_lead
from c3l.report.openings import build_openings
from c3l.report.rejections import RejectionsView, read_rejections
from c3l.report.rounds import build_rounds
from c3l.report.specificity import build_specificity
from c3l.report.statistics import compute_spearman, find_median
from c3l.report.tokens import LEVEL_FACTORS
from c3l.report.units import Unit, unit_in_use
from c3l.storage.atomic import write_atomic

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, slots=True)
class Gathered:
    """What the sections share: the numbers of all pairs, and the pairs that are shown.

    Attributes:
        facts: Numbers of all pairs.
        rejections: What was rejected.
        gallery: The cards.
        examples: The pairs that stand before it.
    """

    facts: Facts
    rejections: RejectionsView
    gallery: GalleryView
    examples: ExamplesView


def write_report(path: Path, contents: ReportContents) -> Facts:
    """Write the report of a run; the file is whole or not there, and replaces an older one at once.

    Returns:
        The numbers of all pairs, so that nobody need read them again.

    Raises:
        DataError: If the records do not belong together.
        StorageError: If the disk refuses.
    """
    gathered = gather(contents)
    write_atomic(path, _render(contents, gathered).encode("utf-8", errors="replace"))
    return gathered.facts


def render_report(contents: ReportContents) -> str:
    """The whole page as text."""
    return _render(contents, gather(contents))


def _render(contents: ReportContents, gathered: Gathered) -> str:
    style, script = ((TEMPLATES / name).read_text(encoding="utf-8").strip() for name in ("report.css", "report.js"))
    return _load_template().render(
        style=Markup(style),
        script=Markup(script),
        policy=_build_policy(style, script),
        **build_context(contents, gathered),
    )


def gather(contents: ReportContents) -> Gathered:
    """Two passes over the pairs: their numbers first, then the texts of those that these numbers choose."""
    facts = read_facts(contents)
    picks, album = pick_examples(facts), Album(contents)
    first = [pair.image_id for pair in picks.all]
    chosen = choose_images(mean_of_images(contents, facts), contents.gallery_limit, first)
    rejections = read_rejections(contents.rejected, frozenset(chosen))
    ids = {pair.sample_id for pair in picks.all} | _find_ids(facts, frozenset(chosen))
    material = Material(read_shown(contents, ids), rejections.by_image, album, album.measure(first))
    gallery = build_gallery(contents, facts, chosen, material, find_scale(facts, unit_in_use(contents, facts)))
    cards = frozenset(card.image.image_id for card in gallery.cards)
    return Gathered(facts, rejections, gallery, build_examples(contents, facts, picks, material.shown, album, cards))


def _find_ids(facts: Facts, images: Collection[str]) -> set[str]:
    """The sample ids of what the cards of these images hold."""
    held = chain(facts.pairs, facts.rounds.get(0, ()))
    return {pair.sample_id for pair in held if pair.image_id in images}


def build_context(contents: ReportContents, gathered: Gathered) -> dict[str, Any]:
    """What the template reads, by name."""
    facts, gallery = gathered.facts, gathered.gallery
    anchors = {card.image.image_id: card.anchor for card in gallery.cards}
    return {
        "contents": contents,
        "lead": build_lead(contents, facts),
        "rounds": build_rounds(contents, facts, anchors),
        "tunings": [build_tuning(curves) for curves in contents.tunings],
        "benchmarks": build_benchmarks(contents.evaluations),
        "lines": (*LOSSES, *ACCURACY),
        "forms": build_form_rows(contents, facts),
        "form_meanings": FORMS,
        "without": NO_IMAGE[facts.no_image] if facts.no_image else "",
        "specificity": build_specificity(contents, facts),
        "openings": build_openings(facts),
        "gallery": gallery,
        "examples": gathered.examples,
        "factors": LEVEL_FACTORS,
        "rejections": gathered.rejections,
        "makers": group_provenance(contents),
        "draw_share": draw_share,
        **_describe_scores(facts, unit_in_use(contents, facts), anchors),
    }


def _describe_scores(facts: Facts, unit: Unit, cards: Collection[str]) -> dict[str, Any]:
    scores = [pair.i2c for pair in facts.pairs]
    spearman = compute_spearman(scores, [pair.tokens for pair in facts.pairs])
    return {
        "pairs": len(scores),
        "kept": len(facts.kept),
        "form": facts.form,
        "unit": unit,
        "median": unit.show(find_median(scores)),
        "median_kept": unit.show(find_median([pair.i2c for pair in facts.kept])),
        "median_dropped": unit.show(find_median([pair.i2c for pair in facts.dropped])),
        "against": sum(pair.less_likely for pair in facts.pairs),
        "panels": build_panels(facts.pairs, unit),
        "scatter": build_scatter(facts.pairs, unit, cards),
        "spearman": show_correlation(spearman),
        "verdict": judge_length(spearman, len(scores)),
    }


def group_provenance(contents: ReportContents) -> list[tuple[str, Provenance]]:
    """Each distinct maker with the stages that it made, in order."""
    groups: list[tuple[list[str], Provenance]] = []
    for stage, maker in contents.provenance.items():
        for names, known in groups:
            if known == maker:
                names.append(stage)
                break
        else:
            groups.append(([stage], maker))
    return [(", ".join(names), maker) for names, maker in groups]


@cache
def _load_template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2")


def _build_policy(style: str, script: str) -> str:
    """A Content-Security-Policy that allows data-URI images and exactly this style and this script."""
    style_hash, script_hash = (
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script)
    )
    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{style_hash}'; "
        f"script-src 'sha256-{script_hash}'; base-uri 'none'; form-action 'none'; "
        "require-trusted-types-for 'script'"
    )
