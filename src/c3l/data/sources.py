"""The data files that a command is given: looked for, hashed, and named so that rows can say where they are from."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from c3l.data.export_layouts import FILES
from c3l.data.rejection import writable
from c3l.errors import ConfigError, DataError
from c3l.settings.cache import hash_each

_STATE = "state.json"
_SHARDS = ("tar", "tar.gz", "tgz", "parquet")
_SPLIT = re.compile(r"(train(?:ing|val)?|val(?:id(?:ation)?)?|dev|test(?:mini)?)(?=[-_.\d])", re.IGNORECASE)
_NUMBERS = re.compile(r"\{(\d{1,9})\.\.(\d{1,9})\}")
_MOST_SHARDS = 1_000_000


def list_files(paths: Sequence[Path]) -> list[Path]:
    """The files; for a folder or a pattern of shards (``shard-{00000..00012}.tar``) those that hold the rows.

    A folder is one that `datasets` saved (``save_to_disk``), or has tar or parquet files, which are read by name.

    Raises:
        DataError: If a folder of `datasets` is not whole, or a folder has both tar and parquet files, those of several
            splits, or one export in several layouts.
    """
    return [file for path in paths for one in _expand(path) for file in _list_folder(one)]


def _expand(path: Path) -> list[Path]:
    """The names that a pattern stands for, counted with as many digits as it has; any other path is one name."""
    found = None if path.exists() else _NUMBERS.search(str(path))
    if found is None or int(found[1]) > int(found[2]) or int(found[2]) - int(found[1]) >= _MOST_SHARDS:
        return [path]
    numbers = (str(number).zfill(len(found[1])) for number in range(int(found[1]), int(found[2]) + 1))
    before, after = str(path)[: found.start()], str(path)[found.end() :]
    return [one for number in numbers for one in _expand(Path(f"{before}{number}{after}"))]


def _list_folder(path: Path) -> list[Path]:
    if (path / _STATE).is_file():
        return _saved(path)
    kinds = {ending: sorted(path.glob(f"[!.]*.{ending}")) for ending in _SHARDS} if path.is_dir() else {}
    found = {ending: files for ending, files in kinds.items() if files}
    if len(found) > 1:
        raise DataError(f"got --data {path}, which has {' and '.join(found)} files; name those of one kind")
    files = next(iter(found.values()), [path])
    _check_alike(path, files)
    return files


def _check_alike(folder: Path, files: Sequence[Path]) -> None:
    """Refuse a folder whose files are not the parts of one data set: `train-00000.parquet` and `test-00000.parquet`."""
    splits = {_fold_split(split[1]): file.name for file in files if (split := _SPLIT.match(file.name))}
    if len(splits) > 1:
        told = " and ".join(sorted(splits.values()))
        raise DataError(f"got --data {folder}, which holds several splits ({told}); name files of one, or a pattern")
    written = [file.name for file in files if file.name in FILES.values()]
    if len(written) > 1:
        told = " and ".join(written)
        raise DataError(f"got --data {folder}, which holds the same rows in several layouts ({told}); name one file")


def _fold_split(name: str) -> str:
    """One name of a split that has several."""
    return {"training": "train", "valid": "val", "validation": "val"}.get(name.lower(), name.lower())


def _saved(folder: Path) -> list[Path]:
    try:
        names = [str(one["filename"]) for one in json.loads((folder / _STATE).read_bytes())["_data_files"]]
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(f"{folder / _STATE} is not what `datasets` writes; save the dataset anew") from None
    missing = [name for name in names if not (folder / Path(name).name).is_file()]
    if missing or not names:
        raise DataError(f"got the dataset {folder} without {missing[0] if missing else 'any row'}; save it anew")
    return [folder / Path(name).name for name in names]


def check_files(paths: Sequence[Path]) -> None:
    """Look whether they are there, and each but once.

    Raises:
        DataError: If there is none, or one of them is no file.
        ConfigError: If one is given twice.
    """
    if not paths:
        raise DataError("got no data file, expected at least one --data")
    for path in paths:
        if not path.is_file():
            got = "which is a pipe or device" if path.exists() else "which is not there"
            if path.is_dir():  # `list_files` has put its shards in its place, if it had any
                got = "which is a folder and holds no tar or parquet file"
            if (path / "dataset_dict.json").is_file():
                raise DataError(f"got --data {path}, which holds several splits; name one, such as {path / 'train'}")
            raise DataError(
                f"got --data {path}, {got}; expected a file of JSON, parquet or tar, or a folder of such shards or one "
                "that `datasets` saved"
            )
    [(path, times)] = Counter(path.resolve() for path in paths).most_common(1)
    if times > 1:
        raise ConfigError(f"got --data {path} {times} times, expected each file once")


def name_files(paths: Sequence[Path]) -> list[str]:
    """By which name rows say that they are from a file: none where there is but one, its path where names repeat."""
    if len(paths) == 1:
        return [""]
    names = [writable(path.name) for path in paths]
    return names if len(set(names)) == len(names) else [writable(str(path)) for path in paths]


def hash_files(paths: Sequence[Path]) -> str | list[str]:
    """The SHA-256 of a single file, or of each in order."""
    digests = hash_each(paths)
    return digests if len(digests) > 1 else digests[0]
