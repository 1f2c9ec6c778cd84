"""Vision-language instruction tuning data that depends on the image.

From Python: ``from c3l import Scorer``, or ``c3l.make``, ``c3l.filter`` and ``c3l.export``; what they raise is in
``c3l.errors``. Nothing heavy is imported before it is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from c3l import errors
    from c3l.jobs.pairs import Decision, PairScore, export, filter
    from c3l.jobs.scorer import Scorer
    from c3l.run.make import Made, make

__all__ = ["Decision", "Made", "PairScore", "Scorer", "errors", "export", "filter", "make"]

_PLACES = {
    "Scorer": "c3l.jobs.scorer",
    **dict.fromkeys(("Decision", "PairScore", "export", "filter"), "c3l.jobs.pairs"),
    **dict.fromkeys(("Made", "make"), "c3l.run.make"),
}


def __getattr__(name: str) -> Any:
    if name == "errors":
        return import_module("c3l.errors")
    if name not in _PLACES:
        raise AttributeError(f"module 'c3l' has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
