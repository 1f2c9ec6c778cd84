"""Scores that a folder keeps between two calls of ``Scorer.score``: a journal, and what its lines were made with."""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from c3l.errors import StaleStageError, StorageError
from c3l.method.scoring import SCORER_VERSION
from c3l.models.load import resolve_dtype
from c3l.records import Rejected, ScoredPair, ScoredSample, from_json, to_json
from c3l.settings.base import results_of
from c3l.settings.roots import expand_home
from c3l.settings.schema import RunConfig
from c3l.storage.job import Job, plain, refuse_changes
from c3l.storage.journal import append_lines, read_lines

T = TypeVar("T")

_AT_ONCE = 64  # pairs between two writes: what a kill costs


class KeptScores:
    """A folder of scores. What could not be scored is not kept: it is tried again."""

    def __init__(self, folder: Path) -> None:
        """Name the folder; nothing is read or written."""
        self._job = Job(folder, "Scorer.score", "kept_by_scorer", remedy="choose another folder to keep")
        self._lines, self._images = folder / "scores.jsonl", folder / "images.txt"

    @contextmanager
    def open(self, config: RunConfig, weights: str, pool: str) -> Iterator["KeptScores"]:
        """The folder for one writer, made if need be, if its scores were made in the same way.

        Args:
            config: The settings of now.
            weights: What stands for the model.
            pool: What stands for the other images that are shown.

        Raises:
            StaleStageError: If they were made in another way.
        """
        model = config.scorer.model_copy(update={"dtype": resolve_dtype(config.scorer)})
        settings = {
            **results_of("images", config.images, {"limit", "follow_links"}),
            **results_of("scoring", config.scoring, {"form", "model", "scorer"}),  # another form is a re-sum
            **results_of("model", model),
            "kept_by_scorer": SCORER_VERSION,
            "seed": config.seed,
            "weights": weights,
            "pool": pool,
        }
        with self._job.open():
            begun = self._job.read()
            if begun is not None:
                remedy = "put them back, or keep these scores in another folder"
                refuse_changes(self._job.folder, begun["settings"], settings, remedy)
            else:
                self._job.begin(plain(settings))
            yield self

    def check_images(self, paths: Mapping[str, str], scored: Collection[str]) -> None:
        """Compare images with those of the same paths that were scored before, and keep what the new ones are.

        Args:
            paths: Of the images, by their names; those that cannot be read are passed over. One that has not changed
                in size or time is not read again.
            scored: The names of those that a kept score is of; another one may be mended since.

        Raises:
            StaleStageError: If one is another by now.
        """
        known = dict(_split(line) for line in read_lines(self._images))
        for some in _chunks(paths.items(), _AT_ONCE):
            new: list[str] = []
            for name, path in some:
                state, before = _look(path), known.get(name, ("", ""))
                if not state or state == before[1]:
                    continue
                its = sha256(expand_home(path).read_bytes()).hexdigest()
                if name in scored and its != before[0] != "":
                    raise StaleStageError(
                        f"got another image at {path} than the scores in {self._job.folder} were made of; put it back, "
                        "or keep these scores in another folder"
                    )
                new.append(f"{name} {its} {state}")
            if new:
                append_lines(self._images, new)

    def read(self, wanted: Collection[str]) -> tuple[dict[str, ScoredSample], set[str]]:
        """What is kept of the pairs with these ids, by them, and the names of the images of all that is kept.

        Raises:
            StorageError: If a line is not what c3l wrote.
        """
        found, images = dict[str, ScoredSample](), set[str]()
        try:
            for one in (from_json(ScoredSample, line) for line in read_lines(self._lines)):
                images.add(one.sample.image_id)
                if one.sample.sample_id in wanted:
                    found[one.sample.sample_id] = one
        except ValidationError:
            raise StorageError(f"{self._lines} holds lines that c3l did not write; remove {self._job.folder}") from None
        return found, images

    def keep(self, outcomes: Iterable[ScoredPair | Rejected]) -> Iterator[ScoredPair | Rejected]:
        """The same outcomes, those with a score written before they are given on."""
        for some in _chunks(outcomes, _AT_ONCE):
            scored = [one for one in some if isinstance(one, ScoredPair)]
            lines = [to_json(ScoredSample(one.sample, one.scores, one.no_image)) for one in scored]
            if lines:
                append_lines(self._lines, lines)
            yield from some


def _split(line: bytes) -> tuple[str, tuple[str, str]]:
    name, its, state = line.decode().split()
    return name, (its, state)


def _look(path: str) -> str:
    """Size and time of a file that can be read; else empty."""
    try:
        file = expand_home(path)
        if not os.access(file, os.R_OK) or not file.is_file():
            return ""
        state = file.stat()
    except ValueError:  # no name of a file, as with NUL
        return ""
    return f"{state.st_size}-{state.st_mtime_ns}"


def _chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of so many items; the last may be shorter."""
    items = iter(items)
    while chunk := list(islice(items, size)):
        yield chunk
