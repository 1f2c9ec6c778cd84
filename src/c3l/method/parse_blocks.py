"""Joins questions with answers that stand in blocks of their own, and reads those without labels.

Labels make such blocks (``parse_labelled``); so do tags, and a list of questions above a list of answers.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest

from c3l.method.label_words import KNOWN_ANSWERS, KNOWN_QUESTIONS
from c3l.method.parsed import MARK, MAX_PAIRS, ParsedPair, one_line, split_at_mark, trim

MAX_BLOCKS = 4 * MAX_PAIRS


@dataclass(frozen=True, slots=True)
class Block:
    """A question or an answer, as it was written, with its number if it has one."""

    is_question: bool
    number: int | None
    text: str
    closed: bool = False


def join_blocks(blocks: Sequence[Block]) -> Iterator[ParsedPair]:
    """The pairs, each where its later block stands; what has no other side has an empty one.

    Blocks that alternate belong together as they stand. Else a number decides, if every block has one, and a
    question never gets the answer to another. Without numbers as many answers as questions before them are theirs.
    """
    if alternate(blocks):
        partners = {place: place + 1 for place in range(0, len(blocks) - 1, 2)}
    elif all(block.number is not None for block in blocks):
        partners = _join_by_number(blocks)
    else:
        partners = _join_runs(blocks)
    answered = {answer: question for question, answer in partners.items()}
    for place, block in enumerate(blocks):
        if place in answered:
            yield ParsedPair(one_line(blocks[answered[place]].text), block.text, block.closed)
        elif not block.is_question:
            yield ParsedPair("", block.text, block.closed)
        elif place not in partners:
            yield _without_answer(block)


def alternate(blocks: Sequence[Block]) -> bool:
    """Whether the blocks are a question, an answer, a question, an answer ..."""
    return all(block.is_question != bool(place % 2) for place, block in enumerate(blocks))


def _join_by_number(blocks: Sequence[Block]) -> dict[int, int]:
    partners: dict[int, int] = {}
    waiting: dict[int | None, int] = {}
    for place, block in enumerate(blocks):
        if block.is_question:
            waiting[block.number] = place
        elif block.number in waiting:
            partners[waiting.pop(block.number)] = place
    return partners


def _join_runs(blocks: Sequence[Block]) -> dict[int, int]:
    """Questions that follow each other get the answers behind them, if these are as many or the question is one."""
    partners: dict[int, int] = {}
    questions: list[int] = []
    answers: list[int] = []
    for place, block in enumerate([*blocks, Block(True, None, "")]):
        if block.is_question and answers:
            if len(answers) == 1 or len(questions) == 1:
                questions, answers = questions[-1:], answers[:1]
            if len(questions) == len(answers):
                partners.update(zip(questions, answers, strict=True))
            questions, answers = [], []
        (questions if block.is_question else answers).append(place)
    return {
        question: answer
        for question, answer in partners.items()
        if None in (numbers := (blocks[question].number, blocks[answer].number)) or numbers[0] == numbers[1]
    }


def _without_answer(block: Block) -> ParsedPair:
    """A question whose answer has no block: what follows the question mark, unless that asks on."""
    question, mark, answer = split_at_mark(block.text)
    if mark and not MARK.search(answer):
        return ParsedPair(one_line(question + mark), trim(answer), block.closed)
    return ParsedPair(one_line(block.text), "", block.closed)


_TAG = re.compile(r"<(?P<end>/?)(?:(?P<question>question|q)|answer|a)[ _-]?(?P<number>\d{0,4})>", re.IGNORECASE)


def read_tagged(text: str) -> Iterator[ParsedPair]:
    """``<question>What is it?</question> <answer>A dog.</answer>``."""
    tags = list(islice(_TAG.finditer(text), 2 * MAX_BLOCKS))
    blocks = []
    for tag, following in zip_longest(tags, tags[1:]):
        if not tag["end"]:
            content = text[tag.end() : following.start() if following else len(text)]
            number = int(tag["number"]) if tag["number"] else None
            closed = following is not None and bool(following["end"])
            blocks.append(Block(tag["question"] is not None, number, trim(content), closed))
    if {block.is_question for block in blocks} == {True, False}:
        yield from islice(join_blocks(blocks), MAX_PAIRS)


_TITLE = re.compile(
    rf"^[ \t>*_#-]{{0,16}}(?:(?P<question>{'|'.join(KNOWN_QUESTIONS)})|{'|'.join(KNOWN_ANSWERS)})(?:e?[sn])?"
    r"[ \t*_]{0,8}[:\uff1a]?[ \t*_]{0,8}$",
    re.IGNORECASE | re.MULTILINE,
)
_ITEM = re.compile(
    r"^[ \t>*_#]{0,16}(?:[\[(]?(?P<number>\d{1,4})[.):\]])(?!\d)(?:[*_]{1,3}(?=[ \t]))?[ \t]{0,8}(?=\S)", re.MULTILINE
)


def read_sections(text: str) -> Iterator[ParsedPair]:
    """A numbered list of questions, the title ``Answers``, and a numbered list of answers."""
    if not _ITEM.search(text):
        return
    titles = list(islice(_TITLE.finditer(text), 2))
    if not titles or titles[-1]["question"] or (len(titles) == 2 and not titles[0]["question"]):
        return
    start, end = (titles[0].end() if len(titles) == 2 else 0), titles[-1].start()
    questions = _read_items(text[start:end], is_question=True)
    answers = _read_items(text[titles[-1].end() :], is_question=False)
    if {block.number for block in answers} <= {block.number for block in questions}:
        yield from islice(join_blocks([*questions, *answers]), MAX_PAIRS)


def _read_items(text: str, *, is_question: bool) -> list[Block]:
    """The items of a list, with the lines below them, as far as they count up."""
    items: list[re.Match[str]] = []
    for item in islice(_ITEM.finditer(text), MAX_BLOCKS):
        if not items or int(item["number"]) == int(items[-1]["number"]) + 1:
            items.append(item)
    ends = [*(item.start() for item in items), len(text)][1:]
    return [
        Block(is_question, int(item["number"]), trim(text[item.end() : end]))
        for item, end in zip(items, ends, strict=True)
    ]
