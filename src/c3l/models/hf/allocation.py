"""Memory of tensors on a CPU: what one has freed is there for the next.

glibc gives large blocks back to the system as soon as they are freed. A forward frees and asks for some thousand of
them, and each page of the next one is mapped and cleared anew (docs/speed.md has what that costs).
"""

import ctypes
import os
from functools import cache

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # names of glibc's malloc.h
_LARGEST_KEPT = 32 * 2**20  # bytes; the most that glibc takes
_KEPT_IN_ALL = 512 * 2**20  # bytes, of what is free at the end of the heap; choice
_THRESHOLDS = {f"MALLOC_{name}_" for name in ("TRIM_THRESHOLD", "TOP_PAD", "MMAP_THRESHOLD", "MMAP_MAX")}


@cache  # for all of the process, once
def keep_freed_memory() -> bool:
    """Let glibc keep what is freed for what is asked for next; whether it was told to.

    Nothing changes on other systems, or where the environment says when glibc gives memory back. Where another
    library hands out memory, such as jemalloc, glibc is told for nothing.
    """
    told = not _THRESHOLDS.isdisjoint(os.environ) or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "")
    mallopt = None if told or os.name != "posix" else getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _LARGEST_KEPT) and mallopt(_TRIM_THRESHOLD, _KEPT_IN_ALL))
