"""Records become one self-contained HTML page: no network, no foreign script, hostile text stays text."""

import base64
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from c3l.records import KL_FORMS, Form, NoImageMode, Provenance, Rejected
from c3l.report.charts import Dot, draw_histogram, draw_scatter, draw_share
from c3l.report.contents import DecidedPair, ReportContents, join_pairs
from c3l.report.curves import ACCURACY, LOSSES, build_tuning
from c3l.report.evaluation import build_benchmarks
from c3l.report.gallery import GalleryView, build_gallery
from c3l.report.openings import build_openings
from c3l.report.rounds import build_rounds
from c3l.report.specificity import build_specificity
from c3l.report.statistics import compute_spearman, find_bin_edges, find_median, find_quantiles
from c3l.report.tokens import LEVEL_FACTORS, format_signed, is_less_likely
from c3l.report.units import NONE, Unit, unit_in_use, unit_of_form
from c3l.storage.atomic import write_atomic

MAX_REJECTIONS = 200
TEMPLATES = Path(__file__).parent / "templates"

FORMS: dict[Form, str] = {
    "log_ratio": "mean over the answer's tokens of log p \N{MINUS SIGN} log q; "
    "below 0 the picture speaks against the answer",
    "discounted_likelihood": "mean over the answer's tokens of log p \N{MINUS SIGN} 0.5 log q; "
    "high where the answer is likely, and not already without the picture",
    "focused_likelihood": "mean over the answer's tokens of log p, weighted by the square of KL(p \N{PARALLEL TO} q); "
    "high where the answer is likely at the tokens that the picture decides",
    "vocabulary_kl": "mean over the answer's positions of KL(p \N{PARALLEL TO} q) over the whole vocabulary; "
    "never below 0",
    "answer_kl": "KL between the answer's token probabilities under p and q, each normalised over the answer",
    "weighted_log_ratio": "mean over the answer's tokens of p \N{MULTIPLICATION SIGN} (log p \N{MINUS SIGN} log q)",
    "lift": "exp of the mean log p \N{MINUS SIGN} exp of the mean log q; "
    "how much likelier, a token, the picture makes the answer; in probability, not nats",
    "probability_gain": "mean over the answer's tokens of p \N{MINUS SIGN} q; in probability, not nats",
    "focused_gain": "mean over the answer's tokens of p \N{MINUS SIGN} q, weighted by the square of "
    "KL(p \N{PARALLEL TO} q); what the picture adds at the tokens that it decides, in probability, not nats",
}
NO_IMAGE: dict[NoImageMode, str] = {
    "drop": "the picture is left out of the prompt",
    "blank": "a mid-grey picture stands in its place",
    "noise": "a picture of seeded noise stands in its place",
    "mask": "the model may not attend to the picture's tokens",
    "others": "other pictures of the run stand in its place, averaged",
}


@dataclass(frozen=True, slots=True)
class FormRow:
    """One form of S(I2C), re-summed from the stored numbers of all pairs."""

    name: Form
    meaning: str
    median: str
    quartiles: str
    with_length: str
    with_used: str
    used: bool


@dataclass(frozen=True, slots=True)
class Panel:
    """One histogram: of all pairs, or of one instruction's."""

    name: str
    pairs: int
    median: str
    chart: Markup


def write_report(path: Path, contents: ReportContents) -> None:
    """Write the report of a run; the file is whole or not there, and replaces an older one at once.

    Raises:
        DataError: If the records do not belong together.
        StorageError: If the disk refuses.
    """
    write_atomic(path, render_report(contents).encode("utf-8", errors="replace"))


def render_report(contents: ReportContents) -> str:
    """The whole page as text."""
    style, script = ((TEMPLATES / name).read_text(encoding="utf-8").strip() for name in ("report.css", "report.js"))
    return _load_template().render(
        style=Markup(style),
        script=Markup(script),
        policy=_build_policy(style, script),
        **build_context(contents),
    )


def build_context(contents: ReportContents) -> dict[str, Any]:
    """What the template reads, by name."""
    pairs = join_pairs(contents)
    gallery, unit = build_gallery(contents, pairs), unit_in_use(contents)
    scores = [pair.scored.i2c for pair in pairs]
    lengths = [len(pair.scored.scores.token_ids) for pair in pairs]
    spearman = compute_spearman(scores, lengths)
    kept = [pair.scored.i2c for pair in pairs if pair.decision.kept]
    dropped = [pair.scored.i2c for pair in pairs if not pair.decision.kept]
    return {
        "contents": contents,
        "pairs": len(pairs),
        "with_pairs": len({pair.scored.sample.image_id for pair in pairs}),
        "rounds": build_rounds(contents, {card.image.image_id: card.anchor for card in gallery.cards}),
        "tunings": [build_tuning(curves) for curves in contents.tunings],
        "benchmarks": build_benchmarks(contents.evaluations),
        "lines": (*LOSSES, *ACCURACY),
        "pictures_in": contents.stages[0].count_in if contents.stages else len(contents.images),
        "kept": len(kept),
        "unit": unit,
        "median": unit.show(find_median(scores)),
        "median_kept": unit.show(find_median(kept)),
        "median_dropped": unit.show(find_median(dropped)),
        "against": sum(is_less_likely(pair.scored.scores) for pair in pairs),
        "form": pairs[0].scored.form if pairs else None,
        "forms": build_form_rows(contents, pairs),
        "form_meanings": FORMS,
        "without": NO_IMAGE[pairs[0].scored.no_image] if pairs else "",
        "specificity": build_specificity(contents, pairs, gallery),
        "openings": build_openings(contents, pairs),
        "panels": build_panels(pairs, unit),
        "scatter": build_scatter(pairs, gallery, unit),
        "spearman": _show(spearman),
        "verdict": judge_length(spearman, len(pairs)),
        "gallery": gallery,
        "factors": LEVEL_FACTORS,
        "rejections": list(contents.rejected)[:MAX_REJECTIONS],
        "reasons": count_reasons(contents.rejected),
        "makers": group_provenance(contents),
        "draw_share": draw_share,
    }


def build_form_rows(contents: ReportContents, pairs: Sequence[DecidedPair]) -> list[FormRow]:
    """Every form that the stored numbers allow, the one in use first."""
    if not pairs:
        return []
    used = pairs[0].scored.form
    all_stored = all(pair.scored.scores.token_kl is not None for pair in pairs)
    lengths = [len(pair.scored.scores.token_ids) for pair in pairs]
    in_use = [pair.scored.i2c for pair in pairs]
    rows = []
    for form in sorted(FORMS, key=lambda form: form != used):
        if form in KL_FORMS and not all_stored:
            continue
        scores = [contents.compute_i2c(pair.scored.scores, form) for pair in pairs]
        unit = unit_of_form(contents, form)
        low, middle, high = find_quantiles(scores, (0.25, 0.5, 0.75))
        rows.append(
            FormRow(
                name=form,
                meaning=FORMS[form],
                median=unit.show(middle),
                quartiles=f"{unit.show(low)} \N{EN DASH} {unit.show(high)}",
                with_length=_show(compute_spearman(scores, lengths)),
                with_used=_show(compute_spearman(scores, in_use)),
                used=form == used,
            )
        )
    return rows


def build_panels(pairs: Sequence[DecidedPair], unit: Unit) -> list[Panel]:
    """The histogram of all pairs, then one an instruction where there are several, all on the same axis."""
    if not pairs:
        return []
    edges = find_bin_edges([pair.scored.i2c for pair in pairs])
    instructions = sorted({pair.scored.sample.instruction_id for pair in pairs})
    groups = {"all pairs": list(pairs)}
    if len(instructions) > 1:
        for name in instructions:
            groups[name] = [pair for pair in pairs if pair.scored.sample.instruction_id == name]
    return [
        _build_panel(name, group, edges, unit, height=280 if place == 0 else 170)
        for place, (name, group) in enumerate(groups.items())
    ]


def _build_panel(name: str, group: Sequence[DecidedPair], edges: Sequence[float], unit: Unit, height: int) -> Panel:
    kept = [pair.scored.i2c for pair in group if pair.decision.kept]
    dropped = [pair.scored.i2c for pair in group if not pair.decision.kept]
    median = find_quantiles(kept + dropped, (0.5,))[0]
    return Panel(name, len(group), unit.say(median), draw_histogram(kept, dropped, edges, median, unit, height))


def build_scatter(pairs: Sequence[DecidedPair], gallery: GalleryView, unit: Unit) -> Markup:
    """S(I2C) against length, dots linking to the pairs that the gallery shows."""
    if not pairs:
        return Markup("")
    shown = {pair.anchor for card in gallery.cards for pair in card.pairs}
    dots = []
    for pair in pairs:
        anchor = f"p-{pair.scored.sample.sample_id}"
        tokens = len(pair.scored.scores.token_ids)
        dots.append(Dot(tokens, pair.scored.i2c, pair.decision.kept, anchor if anchor in shown else None))
    return draw_scatter(dots, unit)


def judge_length(spearman: float | None, pairs: int) -> str:
    """What the correlation with answer length says, in one sentence."""
    if spearman is None or pairs < 20:
        return "There are too few pairs, or too alike, for this number to say much."
    if abs(spearman) < 0.3:
        return "Here the score follows length little: it is not a length filter."
    way = "longer" if spearman > 0 else "shorter"
    if abs(spearman) < 0.5:
        return f"Here the score leans towards {way} answers: compare with a length-matched control."
    return f"Here the score largely ranks {way} answers first: much of what the filter does is choose by length."


def count_reasons(rejected: Sequence[Rejected]) -> list[tuple[str, str, int]]:
    """Rejections as (stage, reason, count), most frequent first."""
    counts = Counter((item.stage, item.reason) for item in rejected)
    return [(stage, reason, count) for (stage, reason), count in sorted(counts.items(), key=lambda x: (-x[1], x[0]))]


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
    """A Content-Security-Policy that allows data-URI pictures and exactly this style and this script."""
    style_hash, script_hash = (
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script)
    )
    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{style_hash}'; "
        f"script-src 'sha256-{script_hash}'; base-uri 'none'; form-action 'none'; "
        "require-trusted-types-for 'script'"
    )


def _show(value: float | None) -> str:
    return NONE if value is None else format_signed(value)
