"""Where c3l keeps what it can make or fetch again."""

import os
from pathlib import Path

from c3l.errors import BackendError


def cache_folder() -> Path:
    """The folder: $C3L_CACHE, else $XDG_CACHE_HOME/c3l, else ~/.cache/c3l.

    Raises:
        BackendError: If there is no home folder.
    """
    if chosen := os.environ.get("C3L_CACHE"):
        return Path(chosen)
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "c3l"
    try:
        return Path.home() / ".cache" / "c3l"
    except RuntimeError:  # no HOME, and a user whom the machine does not know, as in containers
        raise BackendError(
            "there is no home folder to keep models, hashes and images in: set C3L_CACHE to a folder"
        ) from None
