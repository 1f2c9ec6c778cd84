"""How many scored pairs are held at once with their tokens, which of many would fill the memory."""

import weakref
from collections.abc import Iterable, Iterator
from dataclasses import fields, replace

from c3l.records import AnswerScores, ScoredPair


class _Watched(AnswerScores):
    """Numbers that tell when they are let go, which those with slots cannot."""


class Held:
    """Gives pairs one after another; ``most`` is how many of those given were held at once."""

    def __init__(self) -> None:
        """Nothing is given yet."""
        self._now = self.most = 0

    def give(self, pairs: Iterable[ScoredPair]) -> Iterator[ScoredPair]:
        """The same pairs, with numbers of their own."""
        for one in pairs:
            scores = _Watched(*(getattr(one.scores, field.name) for field in fields(AnswerScores)))
            weakref.finalize(scores, self._let_go)
            self._now += 1
            self.most = max(self.most, self._now)
            yield replace(one, scores=scores)
            del scores

    def _let_go(self) -> None:
        self._now -= 1
