"""Reads question-answer pairs out of what an LVLM wrote.

Five forms are known: labelled blocks (``Question 1: ... Answer 1: ...``), JSON, tags, a list of questions above one of
answers, one pair a line. A parser tries the form that was asked for first and the others after it. Text is untrusted:
nothing is evaluated, and every form is read in a fixed number of forward passes, so that time is linear in its length.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import TypeAlias

from c3l.method.parse_blocks import read_sections, read_tagged
from c3l.method.parse_json import read_json
from c3l.method.parse_labelled import read_labelled
from c3l.method.parse_lines import read_lines
from c3l.method.parsed import MAX_PAIRS, ParsedPair

# Raise it when the same text is read into, or judged as, other pairs: what was parsed before is then read again.
PARSER_VERSION = 6

_Form: TypeAlias = Callable[[str], Iterator[ParsedPair]]

# Labels and JSON are marks that prose does not carry by chance, so either is looked for before bare lines.
_LAST: tuple[_Form, ...] = (read_tagged, read_sections, read_lines)
PARSERS: dict[str, tuple[_Form, ...]] = {
    "numbered": (read_labelled, read_json, *_LAST),
    "json": (read_json, read_labelled, *_LAST),
    "lines": (read_labelled, read_json, *_LAST),
}


def find_pairs(text: str, parser: str) -> list[ParsedPair]:
    """The pairs in a generation, in the order of the text; none if no form fits.

    Args:
        text: What the model wrote.
        parser: A key of ``PARSERS``.
    """
    for form in PARSERS[parser]:
        if pairs := list(islice(form(text), MAX_PAIRS)):
            return pairs
    return []
