"""Vision-language instruction tuning data that depends on the picture.

From Python: ``from c3l import Scorer``. Nothing heavy is imported before it is used.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from c3l.jobs.scorer import PairScore, Scorer

__all__ = ["PairScore", "Scorer"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'c3l' has no attribute {name!r}")
    from c3l.jobs import scorer

    return getattr(scorer, name)
