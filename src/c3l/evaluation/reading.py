"""Which reader reads which benchmark; a benchmark of one's own is a ``Benchmark`` and a line here."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from c3l.errors import ConfigError, DataError
from c3l.evaluation.judges import Judge
from c3l.evaluation.llava_bench import read_llava_bench
from c3l.evaluation.mmbench import read_mmbench
from c3l.evaluation.pictures import IMAGE_ROOT, find_ending
from c3l.evaluation.pope import read_pope
from c3l.evaluation.seed_bench import read_seed_bench
from c3l.evaluation.task import Benchmark
from c3l.settings.cache import hash_each
from c3l.settings.evaluation import BenchmarkConfig, JudgeConfig

_LLAVA_BENCH_FILES = ("questions.jsonl", "context.jsonl", "answers_gpt4.jsonl", "rule.json")


def read_benchmark(task: BenchmarkConfig, judge: Judge | None, rules: JudgeConfig) -> Benchmark:
    """The benchmark, read from its own files.

    Args:
        task: Which, and where its files are.
        judge: Reviews answers; only ``llava_bench`` needs one.
        rules: How it is asked.

    Raises:
        ConfigError: If something that the task needs is missing.
        DataError: If a file is not what it should be.
    """
    check_task(task, rules)
    benchmark = _READERS[task.task](task, judge, rules)
    if not benchmark.items:
        raise DataError(f"got no question of {task.task} from {_name_files(task)}, expected at least one")
    return benchmark


def check_task(task: BenchmarkConfig, rules: JudgeConfig) -> None:
    """Look whether the files are there, and a judge where one is needed.

    Raises:
        DataError: If a file is not there, or a folder where a file is needed.
        ConfigError: If no judge is named, or an option of another task is set.
    """
    wants_folder = task.task == "llava_bench"
    for path in task.data:
        if not path.exists():
            raise DataError(f"there is no {path}; set the data of {task.task} to its own files")
        if path.is_dir() != wants_folder:
            got, wanted = ("file", "the folder of its files") if wants_folder else ("folder", "its own files")
            raise DataError(f"got the {got} {path}, expected {wanted} as the data of {task.task}")
    if task.task != "seed_bench" and (task.by != "generation" or task.frames is not None):
        raise ConfigError(f"got --by or --frames for {task.task}, only seed_bench knows them; leave them out")
    if task.task == "llava_bench" and rules.model is None:
        raise ConfigError(
            "llava_bench needs a judge: --judge-endpoint URL with --judge-model NAME, or --judge-model alone for a "
            "local folder or hub id (evaluation.judge)"
        )


def find_image_root(task: BenchmarkConfig) -> Path:
    """The folder that image paths begin in.

    Raises:
        ConfigError: If it is not said and does not follow from the task.
        DataError: If it is no folder.
    """
    root = _name_image_root(task)
    if not root.is_dir():
        raise DataError(
            f"got the image root {root}, expected the folder that image paths of {task.task} begin in; "
            f"set {IMAGE_ROOT} to it"
        )
    return root


def _name_image_root(task: BenchmarkConfig) -> Path:
    if task.image_root is not None:
        return task.image_root
    if task.task == "llava_bench":
        return task.data[0] / "images"
    if task.task == "mmbench":  # its images are in its file
        return task.data[0].parent
    raise ConfigError(f"{task.task} needs the folder that its image paths begin in; set {IMAGE_ROOT} to it")


def hash_files(task: BenchmarkConfig) -> dict[str, str]:
    """SHA-256 of every file that the benchmark is read from, by its name; by its path where another has that name."""
    hashes, files = dict[str, str](), list(_files(task))
    for path, hashed in zip(files, hash_each(files), strict=True):
        hashes[path.name if path.name not in hashes else str(path)] = hashed
    return hashes


def _files(task: BenchmarkConfig) -> Iterator[Path]:
    for path in task.data:
        if path.is_dir():
            yield from (path / name for name in _LLAVA_BENCH_FILES if (path / name).exists())
        else:
            yield path


def _name_files(task: BenchmarkConfig) -> str:
    return ", ".join(path.name for path in task.data)


def _only(task: BenchmarkConfig) -> Path:
    if len(task.data) != 1:
        raise ConfigError(f"got {len(task.data)} files for {task.task}, expected one")
    return task.data[0]


def _read_pope(task: BenchmarkConfig, judge: Judge | None, rules: JudgeConfig) -> Benchmark:
    return read_pope(task.data, find=_find_endings(task))


def _read_mmbench(task: BenchmarkConfig, judge: Judge | None, rules: JudgeConfig) -> Benchmark:
    return read_mmbench(_only(task))


def _read_seed_bench(task: BenchmarkConfig, judge: Judge | None, rules: JudgeConfig) -> Benchmark:
    return read_seed_bench(_only(task), task.frames, task.by, find_image_root(task))


def _read_llava_bench(task: BenchmarkConfig, judge: Judge | None, rules: JudgeConfig) -> Benchmark:
    assert judge is not None, "check_task wants one"
    folder, find = _only(task), _find_endings(task)
    return read_llava_bench(folder, judge, repeats=rules.repeats, swap=rules.swap, attempts=rules.attempts, find=find)


def _find_endings(task: BenchmarkConfig) -> Callable[[str], str]:
    """What gives an image's path by its name; where no images are named, as to compute figures anew, the name."""
    known = task.image_root is not None or task.task == "llava_bench"
    return partial(find_ending, _name_image_root(task)) if known else str


_READERS: dict[str, Callable[[BenchmarkConfig, Judge | None, JudgeConfig], Benchmark]] = {
    "pope": _read_pope,
    "mmbench": _read_mmbench,
    "seed_bench": _read_seed_bench,
    "llava_bench": _read_llava_bench,
}
