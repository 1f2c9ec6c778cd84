"""The run's list of images, ``images.jsonl``: frozen, read, and compared with the folder as it is now."""

import json
from collections.abc import Sequence
from pathlib import Path

from c3l.data.finding import find_some, list_images
from c3l.data.near_images import NearImage, find_near, tell_near
from c3l.errors import DataError
from c3l.method.batching import map_ahead
from c3l.records import Rejected
from c3l.run.context import Context
from c3l.run.run_folder import Run, spell_path
from c3l.settings.roots import Address
from c3l.storage.atomic import write_atomic


def read_list(run: Run) -> list[str]:
    """The paths of the frozen list."""
    with (run.path / "images.jsonl").open(encoding="utf-8") as lines:
        return [json.loads(line)["path"] for line in lines]


def tell_unusable(rejected: Sequence[Rejected], root: Path | Address, then: str = "") -> str:
    """One line about images of which none can be used: how many, and why the first."""
    first = rejected[0]
    return (
        f"none of the {len(rejected)} images that were looked at under {root} can be used, such as {first.id} "
        f"({first.reason}: {first.detail}); mend the files, or name another folder with --image-root{then}"
    )


def tell_changed_folder(context: Context) -> None:
    """Say by names alone whether other images lie in the image root than those that were listed."""
    run, rules = context.run, context.config.images
    try:
        there, listed = list_images(rules.root, links=rules.follow_links), set(read_list(run))
    except (DataError, FileNotFoundError):  # gone or closed, which is told where an image is needed
        return
    more, fewer = len(set(there[: rules.limit]) - listed), len(listed - set(there))
    if more or fewer:
        context.progress.note(
            f"images: the folder has changed since the list was made (+{more}, -{fewer} files); "
            f"`c3l clean {spell_path(run.path)} images` lists anew, and all is made again"
        )


def freeze_list(context: Context) -> None:
    """List the images under the image root, once and for all.

    Raises:
        DataError: If there is no image, or texts are there that were written about another list.
    """
    rules = context.config.images
    if context.run.stored("draft/generated") is not None:
        raise DataError(
            f"{context.run.path} has texts but its list of images is gone; "
            f"remove the rest with `c3l clean {spell_path(context.run.path)}`"
        )
    paths, left_out = find_some(rules.root, rules.limit, rules.follow_links)
    for told in left_out:
        context.progress.note(f"images: {told}")
    write_atomic(context.run.path / "images.jsonl", (json.dumps({"path": path}) for path in paths))


def look_for_near(context: Context, paths: Sequence[str]) -> dict[str, NearImage]:
    """The images to drop since they look like an earlier one; those that are only counted are told.

    All are looked at again where a run goes on: what is dropped depends on the images before.

    Raises:
        ConfigError: If they are to be looked for and imagehash is not installed.
    """
    rules = context.config.images
    if rules.near_duplicates == "ignore":
        return {}
    with context.progress.track("near-duplicates", "images", len(paths)) as advance:
        near = find_near(paths, rules, advance, map_ahead)
    context.progress.note(f"images: {tell_near(near, rules)}")
    return near if rules.near_duplicates == "drop" else {}
