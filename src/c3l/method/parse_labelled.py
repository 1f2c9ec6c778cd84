"""Reads labelled blocks: ``Question 1: ... Answer 1: ...``, in any language."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import islice, zip_longest

from c3l.method.label_words import ENGLISH, NUMBER, Words, find_words, read_number
from c3l.method.parse_blocks import MAX_BLOCKS, Block, alternate, join_blocks
from c3l.method.parsed import BULLET, MAX_PAIRS, ParsedPair, asks, one_line, trim
from c3l.method.remarks import without_remark

# A label opens a line: bullets and markdown, perhaps "1.", the word, perhaps its number, and what closes it.
# Inside a line it stands after the sentence before it ("Q: What is it? A: A dog."). A word without a number
# needs a colon, or "A. red" of a multiple choice and "A dog" would be labels. Every repetition is bounded, so
# that a label costs constant time.
_LABEL = r"""(?:^[ \t>*_#•+`-]{0,16}(?:\(?\d{1,4}[.):\]][ \t*_]{0,8})?
      |(?:(?<=[.?!])[ \t*_|,;/-]{1,8}|(?<=[。\uff1f\uff01])[ \t*_|,;/-]{0,8})(?=QUESTIONS|(?:ANSWERS)[ \t]?\d)
      |(?:(?<=\?)[ \t*_|,;/-]{1,8}|(?<=[\uff1f\u061f])[ \t*_|,;/-]{0,8})(?=ANSWERS))
    [\[(]?(?:(?P<question>QUESTIONS)|(?P<answer>ANSWERS))
    (?:[ \t]{0,4}[#(\uff08]?(?P<number>NUMBER)[)\uff09]?(?:[ ]\([^()\n]{1,40}\))?
        (?:[ \t*_\]]{0,8}(?:[:\uff1a]|[.)\u2013\u2014-](?=\s))|[ \t*_\]]{0,8}$)
      |[ \t*_\])]{0,8}[:\uff1a])
    [*_]{0,3}[ \t]{0,8}"""


def read_labelled(text: str) -> Iterator[ParsedPair]:
    """``Question 1: ... / Answer 1: ...`` and its variants, over one line or several, without a closing remark."""
    words = find_words(text)
    pairs = list(islice(join_blocks(_read_blocks(text, words)), MAX_PAIRS))
    if pairs:
        pairs[-1] = replace(pairs[-1], answer=without_remark(pairs[-1].answer, known=words == ENGLISH))
    yield from pairs


@lru_cache(maxsize=64)
def _pattern(words: Words) -> re.Pattern[str]:
    filled = _LABEL.replace("QUESTIONS", words.questions.replace(r"\ ", "[ ]"))
    filled = filled.replace("ANSWERS", words.answers.replace(r"\ ", "[ ]")).replace("NUMBER", NUMBER)
    return re.compile(filled, re.IGNORECASE | re.MULTILINE | re.VERBOSE)


def _read_blocks(text: str, words: Words) -> list[Block]:
    """What stands behind each label, and the questions without one that stand before the label of their answer."""
    labels = _choose(list(islice(_pattern(words).finditer(text), MAX_BLOCKS)))
    asked = {label["number"] for label in labels if _is_question(label)}
    blocks = []
    questions = 0
    for label, following in zip_longest([None, *labels], labels):
        unlabelled = ""
        content = text[label.end() if label else 0 : following.start() if following else len(text)]
        is_answer = label is None or not _is_question(label)
        if following and is_answer and not _is_question(following) and following["number"] not in asked - {None}:
            content, unlabelled = _split_off_question(content)
        if label:
            questions += not is_answer
            number = read_number(label["number"])
            expected = None if following is None else read_number(following["number"]) or questions + 1
            blocks.append(Block(not is_answer, number, trim(content, expected)))
        if unlabelled and following:
            questions += 1
            blocks.append(Block(True, read_number(following["number"]), unlabelled))
    return blocks


def _choose(labels: list[re.Match[str]]) -> list[re.Match[str]]:
    """The labels that are no part of a text.

    Where numbered labels alone count up (Q1 A1 Q2 A2 ..., or Q1 Q2 ... A1 A2 ...), one without a number is part of a
    text: "Answer: see below" inside an answer. So are questions or answers of one letter among those of whole words,
    such as roads "A1" and quarters "Q1", or the reverse, if the others do without them. Otherwise every label counts.
    """
    numbered = [label for label in labels if label["number"]]
    lacking = _count_up(numbered)
    if lacking == 0 or (lacking and numbered[-1] is labels[-1]):
        return numbered  # else a numbered question has an answer without a number
    for chosen in _without_letters_or_words(numbered):
        if _count_up(chosen) in (0, 1):
            return chosen
    if not _take_turns(labels):
        for chosen in _without_letters_or_words(labels):
            if _take_turns(chosen):
                return chosen
    return labels


def _without_letters_or_words(labels: list[re.Match[str]]) -> Iterator[list[re.Match[str]]]:
    """The labels of whole words, and those of one letter, where the rest is questions alone or answers alone."""
    letters = [label for label in labels if len(label["question"] or label["answer"]) == 1]
    words = [label for label in labels if len(label["question"] or label["answer"]) > 1]
    for chosen, rest in ((words, letters), (letters, words)):
        if len({_is_question(label) for label in chosen}) == 2 and len({_is_question(label) for label in rest}) == 1:
            yield chosen


def _is_question(label: re.Match[str]) -> bool:
    return label["question"] is not None


def _take_turns(labels: Sequence[re.Match[str]]) -> bool:
    return alternate([Block(_is_question(label), None, "") for label in labels])


def _count_up(numbered: Sequence[re.Match[str]]) -> int | None:
    """How many answers are lacking where both sides count from 1, answers behind their questions; else None."""
    counts = {True: 0, False: 0}
    for label in numbered:
        counts[_is_question(label)] += 1
        if read_number(label["number"]) != counts[_is_question(label)] or counts[False] > counts[True]:
            return None
    return counts[True] - counts[False] if numbered else None


def _split_off_question(content: str) -> tuple[str, str]:
    """The text without a last line that asks, and that line: "2. Why?" before "Answer: ..."."""
    rest, _, last = content.rstrip().rpartition("\n")
    question = one_line(BULLET.sub("", last, count=1))
    return (rest, question) if asks(question) else (content, "")
