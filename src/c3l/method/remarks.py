"""What a model says when it is done: not of its last answer."""

import re

from c3l.method.parsed import asks, trim

_REMARK = re.compile(
    r"""[\s*_#(]{0,8}(?:I\shope|hope\s(?:this|these)|(?:please\s)?let\sme\sknow|(?:please\s)?feel\sfree|would\syou\slike
    |do\syou\s(?:want|need)\b.{0,40}\b(?:questions?|more|help)\b
    |these\s(?:questions?|pairs)\b.{0,60}\b(?:cover|are|should|help|focus|can|will|ask)\b
    |if\syou\s(?:need|have|want|would\slike)\b.{0,40}\b(?:questions?|more|help|anything)\b|note\b[*_]{0,2}:)""",
    re.IGNORECASE | re.VERBOSE,
)
_ALSO_IN_TEXTS = re.compile(r"[\s*_#(]{0,8}(?:note|if|these|do)\b", re.IGNORECASE)


def without_remark(answer: str, *, known: bool = True) -> str:
    """A last answer without the remark below it.

    Args:
        answer: What stands behind the last label, to the end of the text.
        known: The text is in English, and so are its remarks. Else a last paragraph of one line that asks is one.
    """
    lines = answer.split("\n")
    for place in range(1, len(lines)):
        before, follows_blank = lines[place - 1], not lines[place - 1].strip()
        is_quoted = before.rstrip().endswith(":") or (follows_blank and place > 1 and lines[place - 2].endswith(":"))
        if is_quoted:
            continue
        is_remark = _REMARK.match(lines[place]) and (follows_blank or not _ALSO_IN_TEXTS.match(lines[place]))
        if is_remark or (not known and follows_blank and place == len(lines) - 1 and asks(lines[place])):
            return trim("\n".join(lines[:place]))
    return answer


def end_before_remark(lines: list[str]) -> int:
    """How many lines of a text come before the remark in its last paragraph."""
    last = next((place for place in range(len(lines) - 1, 0, -1) if lines[place].strip()), 0)
    start = next((place for place in range(last, 0, -1) if not lines[place - 1].strip()), 0)
    if start and _REMARK.match(lines[start]):
        return start
    if last and _REMARK.match(lines[last]) and not _ALSO_IN_TEXTS.match(lines[last]):
        return last
    return len(lines)
