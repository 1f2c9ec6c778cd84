"""Memory of tensors on a CPU: what one has freed is there for the next.

glibc gives large blocks back to the system as soon as they are freed. A forward frees and asks for some thousand of
them, and each page of the next one is mapped and cleared anew: a sixth of the time of scoring (docs/speed.md).
"""

import ctypes
import os
from functools import cache

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # names of glibc's malloc.h
_LARGEST_KEPT = 32 * 2**20  # bytes; the most that glibc takes
_KEPT_IN_ALL = 512 * 2**20  # bytes, of what is free at the end of the heap; choice


@cache  # for all of the process, once
def keep_freed_memory() -> bool:
    """Let glibc keep what is freed for what is asked for next; whether it does.

    Nothing changes on other systems, or where the environment says how memory is handed out.
    """
    told = any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ)
    mallopt = None if told or os.name != "posix" else getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _LARGEST_KEPT) and mallopt(_TRIM_THRESHOLD, _KEPT_IN_ALL))
