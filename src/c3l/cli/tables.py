"""Lines for the terminal: how far a run is, and its pairs.

They hold what a model wrote, so print them through ``c3l.progress.printable``.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from math import inf

from c3l.errors import DataError
from c3l.method.i2c import unit_of
from c3l.method.specificity import tell_specificity
from c3l.progress import format_seconds
from c3l.records import FilterDecision, Form, ImageRef, Rejected, ScoredPair, name_round
from c3l.run.run_folder import Run, spell_path, stages_of_round
from c3l.run.shards import read_scored
from c3l.run.status import StageState, read_rounds, read_specificity, read_states
from c3l.settings.load import load_saved
from c3l.storage.stage import Stage, read_records

MAX_LISTED = 200


def format_status(run: Run) -> Iterator[str]:
    """A table of the stages, and under each what was rejected; at the end what to do about stale ones."""
    header = ("stage", "state", "shards", "in", "out", "rejected", "time")
    states = read_states(run)
    rows = [_status_row(one) for one in states]
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    yield _align(header, widths)
    for one, row in zip(states, rows, strict=True):
        yield _align(row, widths)
        for reason, times in one.counts.rejected.items():
            yield f"    {times} {reason}"
    yield from _tell_specificity(run, states)
    stale = [one for one in states if one.state == "stale"]
    if stale:
        yield f"stale: made with other settings than the run has now; {_tell_remedy(run, stale)}"


def _tell_specificity(run: Run, states: Sequence[StageState]) -> Iterator[str]:
    if any(one.name == "report" and one.state == "done" for one in states):
        for name, one in read_specificity(run).items():
            yield f"{name}: {tell_specificity(one)}"


def _tell_remedy(run: Run, stale: Sequence[StageState]) -> str:
    refused = next((one.name for one in stale if one.costly), None)
    where = spell_path(run.path)
    if refused is None:
        return f"`c3l run --run {where}` makes it again"
    return f"{refused} took long, so put them back, or remove it and what follows with `c3l clean {where} {refused}`"


def _status_row(one: StageState) -> tuple[str, ...]:
    shards = f"{one.shards_made}/{one.shards}" if one.shards else ""
    if one.state not in ("done", "stale"):
        return one.name, one.state, shards, "", "", "", ""
    counts = one.counts
    lost = sum(counts.rejected.values())
    came = (str(counts.count_in), str(counts.count_out)) if counts.takes else ("", "")
    return one.name, one.state, shards, *came, str(lost or ""), format_seconds(counts.seconds or 0)


def _align(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [
        f"{cell:<{width}}" if column < 2 else f"{cell:>{width}}"
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()


def format_images(run: Run) -> Iterator[str]:
    """One line an image: its id, number of scored pairs, best S(I2C) and path; then those that were rejected, and why.

    An image without a pair has the reasons for which what was written about it was rejected.
    """
    pairs: dict[str, tuple[int, float]] = {}
    for one in _scored(run):
        count, best = pairs.get(one.sample.image_id, (0, -inf))
        pairs[one.sample.image_id] = count + 1, max(best, one.i2c)
    lost: dict[str, Counter[str]] = {}
    for row in _rejected_texts(run):
        lost.setdefault(row.image_id, Counter())[row.reason] += 1
    stage = _done(run, "images")
    unit = unit_of(_form(run))
    yield from _list_first(run, (_image_line(one, pairs, unit, lost) for one in stage.read(ImageRef)))
    yield from _list_first(run, (f"{row.image_id}  rejected: {row.reason}  {row.id}" for row in stage.rejected()))


def _list_first(run: Run, lines: Iterator[str]) -> Iterator[str]:
    yield from islice(lines, MAX_LISTED)
    if more := sum(1 for _ in lines):
        where = spell_path(run.path)
        yield f"... {more} more; `c3l show {where} ID` finds them by a part of their path"


def _image_line(
    image: ImageRef, pairs: Mapping[str, tuple[int, float]], unit: str, lost: Mapping[str, Counter[str]]
) -> str:
    """The line of an image, of whose pairs the number and the best S(I2C) are known."""
    count, best = pairs.get(image.image_id, (0, -inf))
    if count:
        said = f"best {best:+.3f} {unit}"
    else:
        reasons = ", ".join(f"{times} {reason}" for reason, times in lost.get(image.image_id, Counter()).items())
        said = f"rejected: {reasons}" if reasons else "none yet"
    return f"{image.image_id}  {count:3} pairs  {said}  {image.path}"


def format_pairs(run: Run, name: str) -> Iterator[str]:
    """The pairs of one image, the highest S(I2C) first, and what was rejected of it.

    Raises:
        DataError: If no image, or more than one, has this id, path, or part of either.
    """
    images = _done(run, "images")
    image = _find_image(chain(images.read(ImageRef), images.rejected()), name)
    if isinstance(image, Rejected):
        yield f"{image.id}  {image.image_id}"
        yield f"rejected in {image.stage}: {image.reason}, {image.detail}"
        return
    yield f"{image.path}  {image.width}x{image.height}  {image.image_id}"
    decisions = _decisions(run, image.image_id)
    pairs = [one for one in _scored(run) if one.sample.image_id == image.image_id]
    for one in sorted(pairs, key=lambda one: -one.i2c):
        decision = decisions.get(one.sample.sample_id)
        yield ""
        kept = "" if decision is None else f"{'kept' if decision.kept else 'dropped'}, {decision.reason}"
        yield f"{one.i2c:+.3f} {unit_of(one.form)}, {one.form}  {kept}"
        yield f"  Q: {one.sample.question}"
        yield f"  A: {one.sample.answer}"
    for row in _rejected_texts(run):
        if row.image_id == image.image_id:
            yield f"rejected in {row.stage}: {row.reason}, {row.detail}"


def _rejected_texts(run: Run) -> Iterator[Rejected]:
    """What was rejected of what was written about the images, in every round."""
    written = [name for round in range(read_rounds(run) + 1) for name in stages_of_round(round) if "/" in name]
    for stage in map(run.stored, written):
        if stage is not None:
            yield from stage.rejected()


def _find_image(images: Iterable[ImageRef | Rejected], name: str) -> ImageRef | Rejected:
    found = []
    for image in images:
        path = _path_of(image)
        if name in (image.image_id, path):
            return image
        if name in path or image.image_id.startswith(name):
            found.append(image)
    if len(found) == 1:
        return found[0]
    several = f"{len(found)} images, such as {' and '.join(map(_path_of, found[:2]))}" if found else "no image"
    raise DataError(f"got {name!r}, which names {several}; `c3l show RUN` lists them")


def _path_of(image: ImageRef | Rejected) -> str:
    return image.path if isinstance(image, ImageRef) else image.id


def _scored(run: Run) -> Iterator[ScoredPair]:
    return read_scored(_done(run, _last_scored(run)), _form(run))


def _form(run: Run) -> Form:
    return load_saved(run.path / "config.yaml").scoring.form


def _last_scored(run: Run) -> str:
    """The scores of the last round that has any."""
    names = [f"{name_round(round)}/scored" for round in range(read_rounds(run), 0, -1)]
    return next((name for name in names if run.stored(name) is not None), "draft/scored")


def _decisions(run: Run, image_id: str) -> dict[str, FilterDecision]:
    """Those about the pairs of an image."""
    path = run.path / "decisions.jsonl"
    read = read_records(path, FilterDecision) if path.exists() else ()
    return {one.sample_id: one for one in read if one.image_id == image_id}


def _done(run: Run, name: str) -> Stage:
    stage = run.stored(name)
    if stage is None:
        look = f"`c3l status {spell_path(run.path)}`"
        raise DataError(f"stage {name} in {run.path} is not done; {look} says how far it is")
    return stage
