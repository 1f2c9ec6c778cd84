"""Names of columns and keys as people spell them: in any case, with hyphens, spaces or humps."""

import re
from functools import lru_cache

_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_GAP = re.compile(r"[-\s]+")


@lru_cache(4096)
def fold_name(name: str) -> str:
    """``lossMask``, ``Loss-Mask`` and ``loss mask`` as ``loss_mask``."""
    return _GAP.sub("_", _HUMP.sub("_", name.strip())).lower()
