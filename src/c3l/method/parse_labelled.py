"""Reads labelled blocks: ``Question 1: ... Answer 1: ...``."""

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice, zip_longest

from c3l.method.parsed import BULLET, MARK, MAX_PAIRS, ParsedPair, asks, one_line, split_at_mark, trim, without_labels

# A label opens a line: bullets and markdown, perhaps "1.", the word, perhaps its number, and what closes it.
# Inside a line it stands after the sentence before it ("Q: What is it? A: A dog."). A word without a number
# needs a colon, or "A. red" of a multiple choice and "A dog" would be labels. Every repetition is bounded, so
# that a label costs constant time.
_LABEL = re.compile(
    r"""(?:^[ \t>*_#•+`-]{0,16}(?:\(?\d{1,4}[.):\]][ \t*_]{0,8})?
      |(?<=[.?!])[ \t*_|,;/-]{1,8}(?=Q|A[a-z]{0,5}[ \t]?\d)
      |(?<=\?)[ \t*_|,;/-]{1,8}(?=A))
    [\[(]?(?:(?P<question>Q(?:uestion|ues)?)|A(?:nswer|ns)?)
    (?:[ \t]{0,4}[#(]?(?P<number>\d{1,4})\)?(?:[ ]\([^()\n]{1,40}\))?
        (?:[ \t*_\]]{0,8}(?:[:\uff1a]|[.)\u2013\u2014-](?=\s))|[ \t*_\]]{0,8}$)
      |[ \t*_\])]{0,8}[:\uff1a])
    [ \t*_]{0,8}""",
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)


# What a model says when it is done: not of its last answer.
_REMARK = re.compile(
    r"""[\s*_#(]{0,8}(?:I\shope|hope\s(?:this|these)|(?:please\s)?let\sme\sknow|(?:please\s)?feel\sfree|would\syou\slike
    |do\syou\s(?:want|need)\b.{0,40}\b(?:questions?|more|help)\b
    |these\s(?:questions?|pairs)\b.{0,60}\b(?:cover|are|should|help|focus|can|will|ask)\b
    |if\syou\s(?:need|have|want|would\slike)\b.{0,40}\b(?:questions?|more|help|anything)\b|note\b[*_]{0,2}:)""",
    re.IGNORECASE | re.VERBOSE,
)
_ALSO_IN_TEXTS = re.compile(r"[\s*_#(]{0,8}(?:note|if|these|do)\b", re.IGNORECASE)


def read_labelled(text: str) -> Iterator[ParsedPair]:
    """``Question 1: ... / Answer 1: ...`` and its variants, over one line or several, without a closing remark."""
    pairs = list(islice(_read_labels(text), MAX_PAIRS))
    if pairs:
        pairs[-1] = replace(pairs[-1], answer=_without_remark(pairs[-1].answer))
    # questions alone have labels that are known: those of the answers are of another language
    known = any(label["question"] is None for label in _LABEL.finditer(text))
    yield from pairs if known else without_labels(pairs)


def _without_remark(answer: str) -> str:
    lines = answer.split("\n")
    for place in range(1, len(lines)):
        before, follows_blank = lines[place - 1], not lines[place - 1].strip()
        is_quoted = before.rstrip().endswith(":") or (follows_blank and place > 1 and lines[place - 2].endswith(":"))
        if _REMARK.match(lines[place]) and not is_quoted and (follows_blank or not _ALSO_IN_TEXTS.match(lines[place])):
            return trim("\n".join(lines[:place]))
    return answer


def _read_labels(text: str) -> Iterator[ParsedPair]:
    """As ``read_labelled``, up to the end of the text.

    Strict first: where the numbered labels alone count Q1 A1 Q2 A2 ..., a label without a number is part of a
    text ("Answer: see below" inside an answer). Otherwise every label counts.
    """
    labels = list(islice(_LABEL.finditer(text), 4 * MAX_PAIRS))
    if _count_up(numbered := [label for label in labels if label["number"]], labels):
        labels = numbered
    question: str | None = None
    if labels and labels[0]["question"] is None:
        _, question = _split_off_question(text[: labels[0].start()])
    for label, following in zip_longest(labels, labels[1:]):
        content = text[label.end() : following.start() if following else len(text)]
        if label["question"] is None:
            unlabelled = None
            if following and following["question"] is None:
                content, unlabelled = _split_off_question(content)
            yield ParsedPair(one_line(question or ""), trim(content))
            question = unlabelled
            continue
        if question is not None:
            yield _without_label(question)
        question = content
    if question is not None:
        yield _without_label(question)


def _count_up(numbered: list[re.Match[str]], labels: list[re.Match[str]]) -> bool:
    if not numbered or (len(numbered) % 2 and numbered[-1] is not labels[-1]):
        return False  # the last numbered question has an answer without a number
    return all(
        int(label["number"]) == place // 2 + 1 and (label["question"] is None) == bool(place % 2)
        for place, label in enumerate(numbered)
    )


def _split_off_question(content: str) -> tuple[str, str]:
    """The text without a last line that asks, and that line: "2. Why?" before "Answer: ..."."""
    rest, _, last = content.rstrip().rpartition("\n")
    question = one_line(BULLET.sub("", last, count=1))
    return (rest, question) if asks(question) else (content, "")


def _without_label(content: str) -> ParsedPair:
    """A question whose answer has no label: what follows the question mark, unless that asks on."""
    question, mark, answer = split_at_mark(content)
    if mark and not MARK.search(answer):
        return ParsedPair(one_line(question + mark), trim(answer))
    return ParsedPair(one_line(content), "")
