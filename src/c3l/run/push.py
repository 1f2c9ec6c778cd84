"""A finished export goes to the Hub; only when asked, and with the token of the environment or of the hub's login."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from c3l.data.export_layouts import FILES
from c3l.data.images import read_image_bytes
from c3l.errors import ConfigError, DataError, HubError, StaleStageError, name_error
from c3l.records import FilterDecision, ImageRef
from c3l.run.dataset_card import CARD
from c3l.run.run_folder import Run, spell_path
from c3l.run.status import read_states
from c3l.settings.load import load_saved
from c3l.storage.atomic import TEMPORARY, make_folder, write_atomic
from c3l.storage.stage import Stage

IMAGES = "images"
"""Where images lie in the repository: the image root of whoever loads it."""

T = TypeVar("T")


def push(path: Path, to: str, *, private: bool, with_images: bool) -> dict[str, Any]:
    """Upload the export of a run as a dataset; the same call again goes on where one was cut off.

    Args:
        path: The run folder.
        to: ``user/name``; made if it is not there.
        private: Make it private; a public one of that name is refused.
        with_images: Upload the images of the kept pairs too, those that no file of the export holds, as files.

    Returns:
        The summary: run, to, url, how many files, and of them images.

    Raises:
        ConfigError: If ``to`` is no such name, or there is no token.
        DataError: If the export is not finished.
        StaleStageError: If it was made with other settings than the run has now.
        BadImageError: If an image is gone or changed.
        HubError: If the Hub refuses or cannot be reached.
    """
    with Run.open(path) as run:
        export = _finished_export(run)
        api = _connect(to)
        url = _ask(to, lambda: _make_repository(api, to, private=private))
        images = 0
        if with_images:
            with _staged_images(run) as folder:
                images = sum(file.is_file() for file in folder.rglob("*"))
                _upload(api, to, folder, IMAGES)
        # the card comes with the files, after the images that it is about
        _upload(api, to, export.folder, None)
    files = sum(file.is_file() and file.name not in _OURS for file in export.folder.rglob("*"))
    return {"run": str(path), "to": to, "url": url, "files": files + images, "images": images}


_OURS = ("stage.json", "begun.json")  # they say what a run was made with, and nothing of the data


def _finished_export(run: Run) -> Stage:
    state = next(one.state for one in read_states(run) if one.name == "export")
    stage = run.stored("export")
    if stage is None or state != "done" or not (stage.folder / CARD).exists():
        told = "is without its card" if state == "done" else f"is {state}"
        raise (StaleStageError if state == "stale" else DataError)(
            f"the export of {run.path} {told}, expected a finished one; make it with "
            f"`c3l export {spell_path(run.path)}`"
        )
    return stage


def _connect(to: str) -> Any:
    """The Hub, with a token."""
    from huggingface_hub import HfApi, get_token

    if to.count("/") != 1 or not all(to.split("/")):
        raise ConfigError(f"got --to {to!r}, expected user/name")
    if get_token() is None:
        raise ConfigError("the Hub asks for a token to write with: `hf auth login`, or HF_TOKEN in the environment")
    return HfApi(library_name="c3l")


def _make_repository(api: Any, to: str, *, private: bool) -> str:
    url = str(api.create_repo(to, repo_type="dataset", private=private, exist_ok=True))
    if private and not api.repo_info(to, repo_type="dataset").private:
        raise ConfigError(f"got --private, but {to} is there and public; make it private on the Hub, or choose another")
    return url


def _upload(api: Any, to: str, folder: Path, inside: str | None) -> None:
    _ask(
        to,
        lambda: api.upload_folder(
            repo_id=to,
            repo_type="dataset",
            folder_path=folder,
            path_in_repo=inside,
            ignore_patterns=list(_OURS) if inside is None else None,
            # what an earlier export left there and this one lacks would be read as part of it
            delete_patterns=[*FILES.values(), f"{FILES['webdataset']}/*"] if inside is None else "*",
            commit_message="Export of c3l",
        ),
    )


def _ask(to: str, call: Callable[[], T]) -> T:
    """Ask the Hub; whatever it or the way there fails with becomes one line, which never holds the token."""
    from huggingface_hub import get_token

    try:
        return call()
    except ConfigError:
        raise
    except Exception as error:  # of the hub's library, of its client, of its uploader: they share no base
        told = name_error(error).replace(get_token() or "\0", "***")
        raise HubError(f"cannot upload to {to}: {told}; the same command goes on where this one stopped") from None


@contextmanager
def _staged_images(run: Run) -> Iterator[Path]:
    """A folder with copies of the images that the kept pairs are about, each as the run began with it."""
    config = load_saved(run.path / "config.yaml")
    images, kept = run.stored("images"), run.stored("filtered")
    wanted = {one.image_id for one in kept.read(FilterDecision)} if kept else set()
    folder = run.path / f".{IMAGES}{TEMPORARY}"
    try:
        for image in images.read(ImageRef) if images else ():
            if image.image_id in wanted:
                content = read_image_bytes(config.images.root, image, config.images.follow_links)
                make_folder((folder / image.path).parent)
                write_atomic(folder / image.path, content, lasting=False)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
