"""Evaluate a model on one benchmark: its files in, ``predictions.jsonl`` and ``scores.json`` out.

A prediction that is in the file is not made again unless it failed, so a killed evaluation goes on where it was, and
the figures can be computed anew without a model. ``settings.json`` says what the predictions were made with, and by
whom.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from c3l.errors import DataError, StaleStageError, tell_too_many
from c3l.evaluation.convert import write_conversions
from c3l.evaluation.describing import describe_setup
from c3l.evaluation.display import describe_answers
from c3l.evaluation.judges import CachedJudge, EndpointJudge, Judge, ModelJudge
from c3l.evaluation.llava_bench import LlavaBench
from c3l.evaluation.panel import ReviewLog
from c3l.evaluation.pictures import check_images
from c3l.evaluation.reading import find_image_root, hash_files, read_benchmark
from c3l.evaluation.scores import score, was_blind
from c3l.evaluation.task import Benchmark, Item, Prediction
from c3l.executors.interface import LoadModel
from c3l.jobs.asking import PREDICTIONS, answer_length, ask_rest, find_rest
from c3l.models.interface import Completion, GenerateRequest, InferenceModel, Sampling
from c3l.models.load import choose_dtype, load_model, weights_hash
from c3l.progress import Progress
from c3l.records import EvalReport, Provenance, from_json, to_json
from c3l.settings.base import results_of
from c3l.settings.evaluation import BenchmarkConfig
from c3l.settings.schema import RunConfig
from c3l.storage.atomic import write_atomic
from c3l.storage.job import Job, refuse_changes
from c3l.storage.journal import read_lines

EVALUATOR_VERSION = 4
SCORES, REVIEWS = "scores.json", "reviews.jsonl"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of an evaluation is wanted.

    Attributes:
        baseline: The folder of another model on the same files, for paired differences.
        rescore: Use the predictions that are there, and no model.
        limit: Take only so many of the first questions; another limit goes on with the same predictions.
    """

    baseline: Path | None = None
    rescore: bool = False
    limit: int | None = None


WHOLE = Wanted()


def check_benchmark(task: BenchmarkConfig, config: RunConfig) -> None:
    """Read a benchmark and look for its images, long before a model is there to be asked.

    Raises:
        DataError: If a file, or the folder of images, is not there or not what it should be.
        TooManyRejectedError: If too many of the images are not there.
        ConfigError: If something that the task needs is not set.
    """
    root = find_image_root(task)
    benchmark = read_benchmark(task, _make_judge(task, Path(), config, load_model), config.evaluation.judge)
    check_images(benchmark.items, root, config.max_error_rate, config.images.follow_links)


def describe_benchmark(task: BenchmarkConfig, config: RunConfig) -> dict[str, Any]:
    """What its figures depend on beside the model: no path and no address, so that files and servers may move.

    ``data`` is None where a file is not there.
    """
    try:
        hashes = hash_files(task)
    except OSError:
        hashes = None
    rules = config.evaluation
    asked: dict[str, Any] = {"data": hashes, "by": task.by, "frames": task.frames, "evaluation.blind": rules.blind}
    if rules.max_new_tokens is not None:
        asked["evaluation.max_new_tokens"] = rules.max_new_tokens
    return asked | (results_of("evaluation.judge", rules.judge) if task.task == "llava_bench" else {})


def evaluate_files(
    task: BenchmarkConfig,
    out: Path,
    config: RunConfig,
    progress: Progress,
    load: LoadModel | None = None,
    wanted: Wanted = WHOLE,
) -> list[EvalReport]:
    """Ask what is not asked yet, then compute and write the figures by every rule of the benchmark.

    Args:
        task: The benchmark and its files.
        out: The folder of this model on this benchmark.
        config: Model, seed, image rules and ``evaluation``.
        progress: Who is told how far it is.
        load: Loads the model in this process, if not as the settings say; called only if there is something to ask.
        wanted: What of it is wanted.

    Raises:
        StaleStageError: If ``out`` was made with other settings, or about other images.
        RunLockedError: If another process writes to ``out``.
        ConfigError: If something that the task needs is not set.
        DataError: If a file cannot be read, ``out`` holds other work, or a prediction that is needed is missing.
        TooManyRejectedError: If too many of the images are not there.
    """
    judge = _make_judge(task, out, config, load or load_model)
    whole = read_benchmark(task, judge, config.evaluation.judge)
    benchmark = whole if wanted.limit is None else whole.take(wanted.limit)
    hashes = hash_files(task)
    others, other_maker = _read_baseline(wanted.baseline, benchmark.items, hashes) if wanted.baseline else (None, None)
    with _job(out).open() as job:
        if not wanted.rescore:
            made = _read_worth(out)
            config, settings = _resume(job, task, hashes, whole, config, begun=bool(made))
            if rest := find_rest(out, task, benchmark, made, config):
                begin = partial(_begin, job, settings, [one for name, one in made.items() if name not in rest.shows])
                ask_rest(rest, begin, config, progress, load)
        length = _check_questions(out, job, whole, hashes) or answer_length(benchmark, config)
        predictions, maker = read_predictions(out, benchmark.items)
        log = ReviewLog()
        with _reviewing(benchmark, predictions, others, progress, log) as reviewed:
            found = {rule: score(reviewed, rule, predictions, others, config.seed) for rule in benchmark.rules}
        lost = describe_answers(predictions)
        setup = describe_setup(benchmark, judge, log, config, length, maker) | lost
        if wanted.limit is not None:
            setup["limit"] = f"the first {len(benchmark.items)} of {len(whole.items)} questions"
        reports = [
            EvalReport(benchmark.name, rule, *one.counts, maker, other_maker, hashes, setup, *one.blind_counts)
            for rule, one in found.items()
        ]
        write_atomic(out / SCORES, "[" + ",\n".join(map(to_json, reports)) + "]\n")
        write_conversions(out, benchmark, predictions, maker.model)
    if failed_too_often(reports[0], config):
        progress.note(_describe_failures(reports[0], predictions, config))
    for line in (*lost.values(), *log.warn()):
        progress.note(line)
    return reports


def failed_too_often(report: EvalReport, config: RunConfig) -> bool:
    """Whether more than ``max_error_rate`` of the questions have no answer, or no review."""
    return report.failed > config.max_error_rate * report.items


def _describe_failures(report: EvalReport, predictions: Mapping[str, Prediction], config: RunConfig) -> str:
    told = [one.failed for one in predictions.values() if one.failed]
    told += ["no review that can be read"] * (report.failed - len(told))
    return tell_too_many(told, f"of {report.items} questions failed", config.max_error_rate)


def read_predictions(out: Path, items: Sequence[Item]) -> tuple[dict[str, Prediction], Provenance]:
    """The finished predictions of a folder, by item, and whose they are.

    Raises:
        DataError: If some are missing, or written where choices are compared, or the other way round.
    """
    done = _read_made(out / PREDICTIONS)
    missing = [item.item_id for item in items if item.item_id not in done]
    begun = _job(out).read()
    if missing or begun is None or "model" not in begun:
        raise DataError(
            f"{out} has predictions for {len(items) - len(missing)} of {len(items)} questions; "
            "finish it first, without --rescore"
        )
    found = {item.item_id: done[item.item_id] for item in items}
    if other := [item for item in items if not _answers(found[item.item_id], item)]:
        was, now = ("generation", "likelihood") if other[0].choices else ("likelihood", "generation")
        raise DataError(
            f"{out} has answers by {was} to {len(other)} of {len(items)} questions, expected those by {now}: "
            f"say --by {was}, or name another folder"
        )
    return found, from_json(Provenance, json.dumps(begun["model"]))


def _answers(prediction: Prediction, item: Item) -> bool:
    """Whether it is of the kind that the item asks for: likelihoods of its choices, or a text."""
    return bool(prediction.failed) or bool(prediction.likelihoods) == bool(item.choices)


def _job(out: Path, remedy: str = "choose another --out") -> Job:
    return Job(out, "evaluate", "evaluator_version", remedy=remedy)


def _hash_questions(benchmark: Benchmark) -> str:
    return hashlib.sha256("\n".join(map(to_json, benchmark.items)).encode()).hexdigest()


def _check_questions(out: Path, job: Job, benchmark: Benchmark, hashes: Mapping[str, str]) -> int | None:
    """How long the answers that are there may be, of the very questions of the benchmark; its answers may be mended.

    Raises:
        StaleStageError: If they are answers to other questions.
    """
    stored = (job.read() or {}).get("settings", {})
    others = stored.get("data") != dict(hashes) and stored.get("questions") != _hash_questions(benchmark)
    if stored and others:
        raise StaleStageError(
            f"{out} has answers to other questions than those of the files now; put these back, or choose another --out"
        )
    length = stored.get("max_new_tokens")
    return length if isinstance(length, int) else None


def _resume(
    job: Job,
    task: BenchmarkConfig,
    hashes: Mapping[str, str],
    benchmark: Benchmark,
    config: RunConfig,
    *,
    begun: bool,
) -> tuple[RunConfig, dict[str, Any]]:
    """The config with its dtype resolved, and what the predictions are made with.

    Raises:
        StaleStageError: If they were begun with something else.
    """
    stored = job.read() if begun else None
    config = choose_dtype(config, stored["settings"] if stored else None)
    now: dict[str, Any] = {
        "task": task.task,
        "data": dict(hashes),
        "questions": _hash_questions(benchmark),
        "max_new_tokens": answer_length(benchmark, config),
        "evaluation.blind": config.evaluation.blind,
        **results_of("images", config.images, {"limit", "follow_links"}),
        **results_of("model", config.model, {"backend"}),
        "weights": weights_hash(config.model),
        "evaluator_version": EVALUATOR_VERSION,
    }
    if stored is not None:
        refuse_changes(job.folder, stored["settings"], now)
    return config, now


def _begin(job: Job, settings: Mapping[str, Any], kept: Sequence[Prediction], made_by: Provenance) -> None:
    """Say who answers, and keep the answers that stay, before the first new one is written."""
    job.begin(settings, model=json.loads(to_json(made_by)))
    write_atomic(job.folder / PREDICTIONS, map(to_json, kept))


def _read_worth(out: Path) -> dict[str, Prediction]:
    """The predictions that are there, none if all of them failed: then there is nothing to go on with."""
    made = _read_made(out / PREDICTIONS)
    return {} if all(one.failed for one in made.values()) else made


def _read_made(path: Path) -> dict[str, Prediction]:
    """The predictions that are in the file, by item.

    Raises:
        DataError: If a line is none.
    """
    try:
        return {one.item_id: one for one in (from_json(Prediction, line) for line in read_lines(path))}
    except ValidationError:
        raise DataError(
            f"{path} is not what c3l wrote, it was edited or damaged; remove it and evaluate again"
        ) from None


def _read_baseline(
    folder: Path, items: Sequence[Item], hashes: Mapping[str, str]
) -> tuple[dict[str, Prediction], Provenance]:
    begun = _job(folder, f"name another --baseline than {folder}").read()
    if begun is None:
        raise DataError(f"got --baseline {folder}, expected a folder that c3l evaluate wrote")
    if begun["settings"]["data"] != dict(hashes):
        raise DataError(f"the baseline {folder} is about other files of the benchmark: evaluate both on the same")
    return read_predictions(folder, items)


@contextmanager
def _reviewing(
    benchmark: Benchmark,
    predictions: Mapping[str, Prediction],
    others: Mapping[str, Prediction] | None,
    progress: Progress,
    log: ReviewLog,
) -> Iterator[Benchmark]:
    """The benchmark; where a judge reviews every answer, it tells how far it is."""
    if not isinstance(benchmark, LlavaBench):
        yield benchmark
        return
    answers = len(benchmark.items) * (1 + was_blind(predictions) + (others is not None))
    with progress.track("review", "answers", answers) as advance:
        yield replace(benchmark, advance=advance, log=log)


def _make_judge(task: BenchmarkConfig, out: Path, config: RunConfig, load: LoadModel) -> Judge | None:
    rules = config.evaluation.judge
    if task.task != "llava_bench" or rules.model is None:
        return None
    if rules.endpoint is not None:
        return CachedJudge(EndpointJudge(rules.model, rules.endpoint, max_tokens=rules.max_tokens), out / REVIEWS)
    chosen = config.model.model_copy(update={"name": rules.model, "revision": None, "backend": "hf"})
    local = ModelJudge(_LoadedLater(lambda: load(chosen, config.seed)), rules.model, max_new_tokens=rules.max_tokens)
    return CachedJudge(local, out / REVIEWS)


class _LoadedLater:
    """A judge's model, loaded when it is first asked: a review that is in the cache needs none."""

    def __init__(self, load: Callable[[], InferenceModel]) -> None:
        self._load = cache(load)

    def generate(self, requests: Sequence[GenerateRequest], sampling: Sampling) -> list[Completion]:
        """As the model."""
        return self._load().generate(requests, sampling)
