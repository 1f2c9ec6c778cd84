"""Asks a judge for reviews until enough can be read, and stops where nothing ever will be."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NoReturn

import numpy as np

from c3l.evaluation.judges import Judge, JudgeError, NoReviewError, RefusedError
from c3l.evaluation.reviews import Marks, Review, read_review
from c3l.markup.thoughts import cut_thoughts

STOP_AFTER = (
    10  # reviews that cannot be read, if they are the first: of a judge that is read every second time 1 in 1000
)
_SHOWN = 160  # characters of a review that are quoted

SYSTEM = "You compare answers to questions about pictures, carefully and without favour to either side."


@dataclass(slots=True)
class ReviewLog:
    """What came back from a judge, over all answers that it was asked about.

    Attributes:
        read: How many reviews were read, by how.
        unread: How many came back without marks that can be read, or not at all.
        refused: How many of those have no text at all.
        example: One of the unread, as a person should see it.
    """

    read: Counter[str] = field(default_factory=Counter)
    unread: int = 0
    refused: int = 0
    example: str = ""

    def describe(self) -> str:
        """One line for ``scores.json``: scores compare with the original's reading where nothing was unwrapped."""
        counts = f"{self.read['first line']} on their first line as the original, {self.read['unwrapped']} unwrapped"
        return f"{counts}, {self.unread} not read" + (f", such as {self.example}" if self.example else "")

    def warn(self) -> Iterator[str]:
        """One line for a person about what cannot be read, if there is any."""
        if self.unread:
            yield f"{self.unread} of {self.unread + self.read.total()} reviews cannot be read, such as {self.example}"


class Panel:
    """Asks for reviews until enough can be read."""

    def __init__(self, judge: Judge, repeats: int, attempts: int, log: ReviewLog) -> None:
        self._judge, self._repeats, self._attempts, self._log = judge, repeats, attempts, log

    def review(self, prompt: str, role: str) -> Marks | None:
        """The mean marks of first and second place over ``repeats`` reviews that can be read; None if too few can.

        Reviews are numbered from 0 and used in that order, so that more repeats or attempts use those there are.

        Raises:
            JudgeError: If the judge does not work, or the first ``STOP_AFTER`` reviews of all cannot be read.
        """
        marks: list[Marks] = []
        for repeat in range(self._repeats * self._attempts):
            try:
                review = self._ask(prompt, role, repeat)
            except RefusedError:
                return None
            if review is None:
                continue
            self._log.read[review.how] += 1
            marks.append(review.marks)
            if len(marks) == self._repeats:
                first, second = np.mean(marks, axis=0)
                return float(first), float(second)
        return None

    def check(self) -> None:
        """Refuse a judge that had no text for anybody: then it is not about a single answer.

        Raises:
            JudgeError: If so.
        """
        if self._log.unread == self._log.refused > 0 and not self._log.read:
            self._stop()

    def _ask(self, prompt: str, role: str, repeat: int) -> Review | None:
        """A review; None, and a line in the log, where it cannot be read."""
        try:
            text = self._judge.ask(SYSTEM, prompt, repeat)
        except NoReviewError as error:
            self._log.refused += 1
            self._note_unread(f"{error}")
            if isinstance(error, RefusedError):
                raise
            return None
        review = read_review(text, role)
        if review is None:
            self._note_unread(_quote(text))
        return review

    def _note_unread(self, example: str) -> None:
        self._log.unread += 1
        self._log.example = example
        if self._log.unread >= STOP_AFTER and not self._log.read:
            self._stop()

    def _stop(self) -> NoReturn:
        raise JudgeError(
            f"the judge {self._judge.name} gave no two marks that can be read in its first {self._log.unread} reviews, "
            f"expected a line such as 8 6; the last: {self._log.example}; choose another judge"
        )


def _quote(text: str) -> str:
    """The beginning of a review, and what is known of why it holds no marks."""
    if cut_thoughts(text) is None:
        return f"{text[:_SHOWN]!a}, a thought without an end: raise evaluation.judge.max_tokens"
    return f"{text[:_SHOWN]!a}"
