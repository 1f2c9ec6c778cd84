"""The card of an exported data set: `README.md`, whose head the Hub and `datasets` read.

No clock, no path and no host stands in it: the same run gives the same bytes, and nothing of a machine is told.
"""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from c3l.data.export_layouts import FILES, LAYOUTS, list_written
from c3l.data.export_rows import public_name
from c3l.method.i2c import unit_of
from c3l.records import Provenance
from c3l.run.context import Context
from c3l.run.run_folder import stages_of_round
from c3l.run.status import count
from c3l.settings.base import results_of
from c3l.settings.schema import ExportFormat, ImagesConfig, RunConfig
from c3l.storage.job import plain, show_value

CARD = "README.md"

# which files `load_dataset` finds by name: it opens those of one kind only, so of the first that there is
_KINDS = {"parquet": (".parquet",), "json": (".json", ".jsonl"), "webdataset": ("",), "text": (".txt",)}
_SIZES = {1_000: "n<1K", 10_000: "1K<n<10K", 100_000: "10K<n<100K", 1_000_000: "100K<n<1M", 10_000_000: "1M<n<10M"}
_SECTIONS = ("model", "images", "generation", "scoring", "selection", "contrastive", "filtering", "export")
_COMPARED = {
    "preference": "two answers to one question",
    "whole_pair": "two whole pairs, to teach writing them",
}

_HOLDS: dict[ExportFormat, str] = {
    "ids": "ids of the pairs",
    "webdataset": "pairs; `datasets` opens them if all images are of one kind, the library `webdataset` always",
}


def write_card(context: Context, recorded: Mapping[str, Any], pairs: int, maker: Provenance) -> str:
    """The text of the card.

    Args:
        context: The run, whose stages up to the filter are done.
        recorded: ``rows`` of each exported file, 0 where it was not written, and how many ``images`` the pairs are of.
        pairs: How many pairs are kept.
        maker: The model that scored.
    """
    from huggingface_hub import DatasetCard, DatasetCardData

    config, rows = context.config, recorded["rows"]
    formats = list_written(config.export.formats, rows)
    head = DatasetCardData(
        license=config.export.licence,
        task_categories=["visual-question-answering", "image-text-to-text"],
        size_categories=next((size for most, size in _SIZES.items() if pairs < most), "10M<n<100M"),
        tags=["c3l", "synthetic"],
        configs=list(_list_configs(formats)),
    )
    body = (
        _describe(config, pairs, recorded["images"], maker),
        _tell_files(formats, rows),
        _tell_stages(context),
        _tell_again(config, maker),
        _tell_licence(config, formats),
    )
    return str(DatasetCard(f"---\n{head.to_yaml()}\n---\n\n" + "\n\n".join(body) + "\n"))


def _list_configs(formats: Sequence[ExportFormat]) -> Iterator[dict[str, Any]]:
    """What ``load_dataset`` opens by the name of its format; the first is what it opens without one."""
    of_kind: dict[str, list[ExportFormat]] = {}
    for name in formats:
        of_kind.setdefault(_kind_of(name), []).append(name)
    first = next((kind for kind in _KINDS if kind in of_kind), "")
    for place, name in enumerate(of_kind.get(first, ())):
        path = f"{FILES[name]}/*.tar" if first == "webdataset" else FILES[name]
        yield {
            "config_name": name,
            "data_files": [{"split": "train", "path": path}],
            **({"default": True} if place == 0 else {}),
        }


def _kind_of(name: ExportFormat) -> str:
    ending = Path(FILES[name]).suffix
    return next(kind for kind, endings in _KINDS.items() if ending in endings)


def _describe(config: RunConfig, pairs: int, pictures: int, maker: Provenance) -> str:
    rounds = f"{config.rounds} round{'s' if config.rounds > 1 else ''}"
    tuned = f" after {rounds} of tuning towards its own best pairs" if config.rounds else ""
    return f"""# Question-answer pairs that depend on their images

{pairs} pairs about {pictures} images, written by `{public_name(config.model.name)}` (revision: \
{config.model.revision or "not pinned"}){tuned}. S(I2C) measured for every pair how much its answer depends on its \
image: how much likelier the answer is with the image than without it. A high score says that an answer needs the \
image, not that it is true.

| | |
|---|---|
| form of S(I2C) | `{config.scoring.form}`, {unit_of(config.scoring.form)} |
| without the image means | `{config.scoring.no_image}` |
| measured by | `{public_name(maker.model)}`, weights `{maker.weights[:16]}`, {maker.dtype}, {maker.backend} |
| kept by | `{config.filtering.rule}` |"""


def _tell_files(formats: Sequence[ExportFormat], rows: Mapping[str, int]) -> str:
    lines = ["## Files", "", "| format | file | rows | what | opened by |", "|---|---|--:|---|---|"]
    for name in formats:
        kind, file = _kind_of(name), FILES[name]
        compared = LAYOUTS[name].kind
        what = f"preferences: {_COMPARED[compared]}" if compared else _HOLDS.get(name, "pairs")
        path = f"{file}/*.tar" if kind == "webdataset" else file
        lines.append(f'| `{name}` | `{file}` | {rows[file]} | {what} | `load_dataset("{kind}", data_files="{path}")` |')
    return "\n".join(lines)


def _tell_stages(context: Context) -> str:
    lines = ["## Counts", "", "| stage | in | out | rejected |", "|---|--:|--:|---|"]
    rounds = range(context.config.rounds + 1)
    names = ["images", *(name for round in rounds for name in stages_of_round(round)), "filtered"]
    for stage in filter(None, map(context.run.stored, names)):
        one = count(stage)
        why = ", ".join(f"{times} {reason}" for reason, times in sorted(one.rejected.items())) or "none"
        lines.append(f"| {one.name} | {one.count_in} {one.takes} | {one.count_out} {one.makes} | {why} |")
    return "\n".join(lines)


def _tell_again(config: RunConfig, maker: Provenance) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in maker.versions.items())
    return f"""## Made again

```sh
{spell_command(config)}
```

With {versions or "the same versions"} and the same images under the same paths, this command keeps the same pairs \
under the same ids: an id is a hash of the image's path, the instruction, the round and the place in the reply. \
`export.formats=ids` writes the ids alone; `decisions.jsonl` of a run has score, rank and fate of every pair, kept or \
not."""


def _tell_licence(config: RunConfig, formats: Sequence[ExportFormat]) -> str:
    inside = [name for name in formats if LAYOUTS[name].has_pictures]
    where = (
        f"The images lie in {', '.join(f'`{FILES[name]}`' for name in inside)}."
        if inside
        else "The images are not in these files; the paths in them begin in the folder that the run read."
    )
    known = (
        f"The licence is `{config.export.licence}`, as whoever exported this said."
        if config.export.licence
        else "No licence was named: ask whoever has the rights in the images before you pass them on."
    )
    return f"## Licence\n\n{where} {known}"


def spell_command(config: RunConfig) -> str:
    """The `c3l run` that makes the same data, without any path of this machine."""
    default = _flatten(RunConfig())
    changed = [f"{key}={show_value(value)}" for key, value in _flatten(config).items() if value != default.get(key)]
    return " ".join(["c3l run --run RUN --image-root IMAGES", *(f"--set {shlex.quote(one)}" for one in changed)])


def _flatten(config: RunConfig) -> dict[str, Any]:
    """What changes the data, by the names that `--set` takes."""
    sections = [name for name in _SECTIONS if config.rounds or name != "contrastive"]
    named = {
        "model.name": public_name(config.model.name),
        "model.revision": config.model.revision,
        "generation.templates": config.generation.templates and config.generation.templates.name,
    }
    flat = {"rounds": config.rounds, "seed": config.seed, **named}
    for name in sections:
        flat |= results_of(name, getattr(config, name))
    near = config.images if config.images.near_duplicates == "drop" else ImagesConfig()  # counting changes nothing
    flat |= {f"images.{key}": getattr(near, key) for key in ("near_duplicates", "near_distance")}
    flat |= {"scoring.model": config.scoring.model and public_name(config.scoring.model)}
    return {key: value for key, value in plain(flat).items() if key != "model.backend"}  # the name says it
