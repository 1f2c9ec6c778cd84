"""Images behind an address of fsspec, such as ``s3://bucket/prefix``: listed, and fetched once into the cache.

Nothing is ever written there. What was fetched is not asked for again; whether it is still the image of the run is
told by its hash, as with files.
"""

import os
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from c3l.data.paths import clean_path
from c3l.errors import BadImageError, ConfigError, DataError, StorageError, name_error
from c3l.records import make_id
from c3l.settings.cache import cache_folder
from c3l.settings.roots import Address

R = TypeVar("R")

MAX_BYTES = 256 * 2**20
PAUSES = (0.5, 2.0, 8.0)  # seconds before another attempt
_GONE = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)  # asking again changes nothing


def has_address(address: Address) -> bool:
    """Whether there is anything behind the address.

    Raises:
        ConfigError: If what opens it is not installed.
        DataError: If the server does not answer, or lets nobody in.
    """
    system, base = _open(address)
    try:
        _ask(address, lambda: system.info(base))  # `exists` would say no of a server that does not answer
    except PermissionError as error:
        raise _unreachable(address, error) from None
    except _GONE:
        return False
    return True


def list_address(address: Address) -> list[str]:
    """The names of all files behind the address, as paths relative to it.

    Raises:
        DataError: If there is nothing, or the server does not answer, or lets nobody in.
    """
    system, base = _open(address)
    try:
        names = _ask(address, lambda: system.find(base))
    except _GONE as error:
        raise _unreachable(address, error) from None
    if not names:
        raise DataError(f"got the image root {address}, behind which is nothing, expected images")
    start = f"{base.rstrip('/')}/"
    return [name.removeprefix(start) for name in names if name.startswith(start)]


def fetch(address: Address, relative: str) -> Path:
    """The file in the cache that holds what is at a path below the address.

    Raises:
        BadImageError: ``bad_path`` for a path that leaves the address (``clean_path``), ``missing_image``,
            ``not_a_file``, ``file_too_large``, ``unreadable_file`` where the server lets nobody read it.
        DataError: If the server does not answer.
        StorageError: If the cache cannot be written.
    """
    relative = clean_path(relative)
    kept = cache_folder() / "images" / make_id(address) / sha256(relative.encode()).hexdigest()
    if not kept.is_file():
        _keep(_fetch(address, relative), kept)
    return kept


def _fetch(address: Address, relative: str) -> bytes:
    system, base = _open(address)
    path = f"{base.rstrip('/')}/{relative}"
    try:
        known = _ask(address, lambda: system.info(path))
        if known["type"] != "file":
            raise BadImageError("not_a_file", f"{relative[:200]!a} is a folder, expected an image")
        if (known.get("size") or 0) > MAX_BYTES:
            raise BadImageError("file_too_large", f"got {known['size']:,} bytes, expected at most {MAX_BYTES:,}")
        content: bytes = _ask(address, lambda: system.cat_file(path))
    except PermissionError as error:
        raise BadImageError("unreadable_file", f"cannot read {relative[:200]!a}: {name_error(error)}") from None
    except _GONE:
        raise BadImageError("missing_image", f"there is no {relative[:200]!a} under {address}") from None
    return content


def _keep(content: bytes, path: Path) -> None:
    """Write to the cache, which several processes may do at once."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent)
        try:
            with open(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as error:
        raise StorageError(
            f"cannot keep an image in {path.parent}: {error.strerror}; set C3L_CACHE to a folder with room"
        ) from None


def _open(address: Address) -> tuple[Any, str]:
    """What opens the address, and the address as that names it."""
    try:
        import fsspec
    except ImportError:
        raise ConfigError(f"{address} needs fsspec to be read: pip install 'c3l[remote]'") from None
    try:
        system, base = fsspec.core.url_to_fs(address)
    except (ImportError, ValueError) as error:
        raise ConfigError(f"cannot open {address}: {name_error(error)}") from None
    return system, str(base)


def _ask(address: Address, question: Callable[[], R]) -> R:
    """The answer of a server, which is asked again where it failed.

    Raises:
        OSError: One of ``_GONE``, at once.
        DataError: If it failed every time.
    """
    for pause in (*PAUSES, None):
        try:
            return question()
        except (*_GONE, BadImageError):
            raise
        except Exception as error:  # each library raises its own, and none of them lists which
            if pause is None:
                raise _unreachable(address, error) from None
        time.sleep(pause)
    raise AssertionError("the last attempt returns or raises")


def _unreachable(address: Address, error: Exception) -> DataError:
    return DataError(
        f"cannot read {address}: {name_error(error)}; is its server there, and may its keys read? Start the same "
        "command again to go on"
    )
