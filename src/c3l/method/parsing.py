"""Reads question-answer pairs out of what an LVLM wrote.

Three forms are known: labelled blocks (``Question 1: ... Answer 1: ...``), JSON, one pair a line. A parser
tries the form that was asked for first and the others after it. Text is untrusted: nothing is evaluated, and
every form is read in one forward pass, so that time is linear in its length.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, zip_longest
from typing import Any, TypeAlias

# Raise it when the same text is read into, or judged as, other pairs: what was parsed before is then read again.
PARSER_VERSION = 3

MAX_PAIRS = 1_000  # read from one generation at most; 50 is the most that can be asked for


@dataclass(frozen=True, slots=True)
class ParsedPair:
    """A question and an answer as they were written; either may be empty.

    Attributes:
        question: One line.
        answer: One line or several.
        closed: The form itself shows where the answer ends, so a cut-off after it did not touch it.
    """

    question: str
    answer: str
    closed: bool = False


ReadPairs: TypeAlias = Callable[[str], Iterator[ParsedPair]]


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


# --- labelled blocks -------------------------------------------------------------------------------------

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
    yield from pairs if known else _without_labels(pairs)


def _without_remark(answer: str) -> str:
    lines = answer.split("\n")
    for place in range(1, len(lines)):
        before, follows_blank = lines[place - 1], not lines[place - 1].strip()
        is_quoted = before.rstrip().endswith(":") or (follows_blank and place > 1 and lines[place - 2].endswith(":"))
        if _REMARK.match(lines[place]) and not is_quoted and (follows_blank or not _ALSO_IN_TEXTS.match(lines[place])):
            return _trim("\n".join(lines[:place]))
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
            yield ParsedPair(_one_line(question or ""), _trim(content))
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
    question = _one_line(_BULLET.sub("", last, count=1))
    return (rest, question) if _asks(question) else (content, "")


def _without_label(content: str) -> ParsedPair:
    """A question whose answer has no label: what follows the question mark, unless that asks on."""
    question, mark, answer = _split_at_mark(content)
    if mark and not _MARK.search(answer):
        return ParsedPair(_one_line(question + mark), _trim(answer))
    return ParsedPair(_one_line(content), "")


_MARK = re.compile("[?\uff1f\u061f]")  # that of Chinese and Japanese, and of Arabic


def _asks(text: str) -> bool:
    return _MARK.match(text.rstrip()[-1:]) is not None


def _split_at_mark(text: str) -> tuple[str, str, str]:
    """The text before its first question mark, the mark, and the text behind it."""
    found = _MARK.search(text)
    return (text[: found.start()], found[0], text[found.end() :]) if found else (text, "", "")


# --- JSON ------------------------------------------------------------------------------------------------

_QUESTION_KEYS = {"question", "q", "query", "prompt", "instruction", "human", "user"}
_ANSWER_KEYS = {"answer", "a", "response", "reply", "output", "gpt", "assistant"}
# A string runs to a quote before punctuation or a line's end, as other quotes are ones that the model did not
# escape, or to the end of the text. Possessive: a string is read once, whatever follows it.
_TOKEN = re.compile(
    r"""(?P<brace>[{}])
    |"(?P<string>(?:[^"\\]++|\\.|"(?![ \t]{0,8}(?:[,}\]:\r\n]|\Z)))*+)(?P<end>"?)(?P<colon>\s{0,8}:)?
    |(?P<bare>[\w.+-]++)""",
    re.DOTALL | re.VERBOSE,
)
_KEYS = _QUESTION_KEYS, _ANSWER_KEYS
_Item: TypeAlias = tuple[str, str, bool]  # key, value, closed


class _Object(tuple[tuple[str, Any], ...]):
    """A JSON object as it was written, with keys that stand in it twice."""


def read_json(text: str) -> Iterator[ParsedPair]:
    """Objects with a question and an answer: a list of them, one a line, in a code fence, before other text.

    Strict first (the whole text is one JSON value), then object by object, which survives text around them, a
    missing comma, an unescaped quote and a cut-off end.
    """
    try:
        value = json.loads(_strip_fence(text), object_pairs_hook=_Object)
    except (ValueError, RecursionError):
        found = False
        for items in _scan_objects(text):
            for pair in list(_pairs_of(items)) or _pair_of(items):
                found = True
                yield pair
        if not found:
            yield from _read_lists(text)
    else:
        yield from _walk(value)


def _pair_of(items: Sequence[_Item]) -> list[ParsedPair]:
    """A question and its answer under names of another language."""
    if len(items) != 2 or not _is_pair([value for _, value, _ in items]):
        return []
    (_, question, _), (_, answer, closed) = items
    return [ParsedPair(_one_line(question), _trim(answer), closed)]


def _read_lists(text: str) -> Iterator[ParsedPair]:
    """A list a line: ``["What is it?", "A dog."]``."""
    for line in text.splitlines():
        if line.lstrip().startswith("["):
            try:
                yield from _walk(json.loads(line.strip().rstrip(","), object_pairs_hook=_Object))
            except (ValueError, RecursionError):
                continue


def _strip_fence(text: str) -> str:
    text = text.strip()
    return text.removesuffix("```").partition("\n")[2] if text.startswith("```") else text


def _walk(value: Any) -> Iterator[ParsedPair]:
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, _Object):
            found = [*_pairs_of([(key, _as_text(inner), True) for key, inner in value]), *_side_by_side(value)]
            yield from found
            value = [inner for _, inner in value if not found or _holds_objects(inner)]  # else options of the question
            pair = not found and _is_pair(value)  # under names of another language
        else:
            pair = _is_pair(value)
        if pair:
            yield ParsedPair(_one_line(value[0]), _trim(value[1]), closed=True)
        elif isinstance(value, list):
            waiting.extend(reversed(value))


def _holds_objects(value: Any) -> bool:
    return isinstance(value, _Object) or (isinstance(value, list) and any(map(_holds_objects, value)))


def _side_by_side(value: _Object) -> Iterator[ParsedPair]:
    """A list of questions beside a list of as many answers."""
    lists = {_name(key).removesuffix("s"): inner for key, inner in value if _name(key).endswith("s")}
    questions, answers = (next((lists[key] for key in lists if key in keys), None) for keys in _KEYS)
    if isinstance(questions, list) and isinstance(answers, list) and len(questions) == len(answers):
        for question, answer in zip(questions, answers, strict=True):
            yield ParsedPair(_one_line(_as_text(question)), _trim(_as_text(answer)), closed=True)


def _is_pair(value: Any) -> bool:
    """A question and its answer as a list: ``["What is it?", "A dog."]``."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(isinstance(text, str) for text in value)
        and _asks(value[0])
        and not _asks(value[1])
    )


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value) if isinstance(value, bool | int | float) else ""


def _scan_objects(text: str) -> Iterator[list[_Item]]:
    """The items behind every brace that opens, up to the next brace; each character is looked at once."""
    position = text.find("{")
    while position >= 0:
        items, position = _scan_items(text, position + 1)
        if items:
            yield items
        position = text.find("{", position)


def _scan_items(text: str, position: int) -> tuple[list[_Item], int]:
    items: list[_Item] = []
    key = None
    while token := _TOKEN.search(text, position):
        brace, string, end, colon, bare = token.groups()
        if brace and (items or brace == "}"):
            return items, token.start()
        if key is not None and "[" in text[position : token.start()]:  # a list is no text
            items.append((_unescape(key), "", True))
            key = None
        position = token.end()
        if brace:
            key = None
        elif colon:
            key = string
        elif key is not None:
            said = string or ("" if bare in ("null", "None") else bare) or ""
            items.append((_unescape(key), _unescape(said), bool(end) or token.end() < len(text)))
            key = None
    return items, len(text)


def _pairs_of(items: Iterable[_Item]) -> Iterator[ParsedPair]:
    questions: list[str] = []
    answers: list[tuple[str, bool]] = []
    for key, value, closed in items:
        name = _name(key)
        if name in _QUESTION_KEYS:
            questions.append(_one_line(value))
        elif _asks(key) and value:  # {"What is it?": "A dog."}
            questions.append(_one_line(key))
            answers.append((_trim(value), closed))
        elif name in _ANSWER_KEYS:
            answers.append((_trim(value), closed))
    for question, answer in zip_longest(questions, answers):
        yield ParsedPair(question or "", *(answer or ("",)))


def _name(key: str) -> str:
    return key.strip().rstrip("0123456789").rstrip(" _-#").lower()


def _unescape(text: str) -> str:
    try:
        return str(json.loads(f'"{text}"', strict=False))
    except ValueError:
        return text.replace('\\"', '"').replace("\\n", "\n")


# --- one pair a line -------------------------------------------------------------------------------------


def read_lines(text: str) -> Iterator[ParsedPair]:
    """``What ...? Answer``, ``question<tab>answer``, ``question | answer``, or the answer on the next line.

    A line whose first sentence is no question holds no pair: prose is not taken apart, nor JSON of another form.
    """
    yield from _without_labels(list(islice(_read_bare(text), MAX_PAIRS)))


# "Pregunta 1: ", "Frage: ", "R\u00e9ponse 1 : ": labels of languages that `_LABEL` does not know
_WORD = re.compile(r"(?P<word>[^\W\d]{1,20})[ \t]?(?P<number>\d{0,4})[ \t]?[:\uff1a][ \t]?")


def _without_labels(pairs: Sequence[ParsedPair]) -> list[ParsedPair]:
    """The pairs without a label that all answers begin with, and one that then all questions begin with."""
    whole = [pair for pair in pairs if pair.answer]
    answers, questions = (
        _common_label([pair.answer for pair in whole]),
        _common_label([pair.question for pair in whole]),
    )
    if not answers or answers == questions or answers.lower() in ("yes", "no"):
        return list(pairs)
    found = []
    for pair in pairs:
        question = _WORD.match(pair.question)
        its = question is not None and question["word"] == questions
        if not pair.answer and questions and not its:
            continue  # said after the last pair
        asked = _one_line(pair.question[question.end() :]) if its and question is not None else pair.question
        found.append(replace(pair, question=asked, answer=_trim(_WORD.sub("", pair.answer, count=1))))
    return found


def _common_label(texts: Sequence[str]) -> str:
    """The word of a label that all texts begin with, several or with a number; empty if there is none."""
    labels = [_WORD.match(text) for text in texts]
    words = {label["word"] if label else "" for label in labels}
    if len(words) != 1 or (len(labels) == 1 and labels[0] is not None and not labels[0]["number"]):
        return ""
    return words.pop()


def _read_bare(text: str) -> Iterator[ParsedPair]:
    waiting = ""
    for line in text.splitlines():
        if cells := _cells(line.strip()):
            if waiting:
                yield ParsedPair(waiting, "")
            waiting, answer = cells
        elif waiting:
            answer = _trim(_BULLET.sub("", line, count=1))
        else:
            continue
        if answer:
            yield ParsedPair(waiting, answer)
            waiting = ""
    if waiting:
        yield ParsedPair(waiting, "")


def _cells(line: str) -> tuple[str, str] | None:
    if len(line) < 3 or _JSON.search(line) or not (_MARK.search(line) or "\t" in line or " | " in line):
        return None
    line = _BULLET.sub("", line, count=1)
    for separator in ("\t", " | "):
        if separator in line:
            cells = [cell for cell in line.strip(" \t|").split(separator) if cell.strip(" \t-:")]
            if cells and cells[0].strip().rstrip(".)").isdecimal():
                del cells[0]
            if len(cells) < 2 or cells[0].strip().lower() == "question":
                return None
            return _one_line(cells[0]), _trim(" ".join(cells[1:]))
    question, mark, answer = _split_at_mark(line)
    if not mark or not question.strip() or re.search(r"[.!]\s", question):
        return None
    return _unquoted(_one_line(question + mark)), _unquoted(_trim(answer.lstrip(' \t*_:-\u2013\u2014|"”')))


def _unquoted(text: str) -> str:
    """A text without a quotation mark whose other one was cut off."""
    if text.count('"') % 2 == 0:
        return text
    if text.startswith('"'):
        return text[1:].lstrip()
    return text[:-1].rstrip() if text.endswith('"') and not text[-2:-1].isdigit() else text  # 12" are inches


# --- texts -----------------------------------------------------------------------------------------------

# `{"`, `[[`, `"key": "`: of JSON that `read_json` found no pair in.
_JSON = re.compile(r"""^(?:[\[{]\s{0,8}){1,4}["\[{]|^"[^"]{1,80}"\s{0,8}:\s{0,8}["\[{]|\{\s{0,8}"[^"]{1,80}"\s{0,8}:""")
# What opens an item of a list.
_BULLET = re.compile(r"[ \t>*_#•+-]{0,16}(?:[\[(]?\d{1,4}[.):\]][ \t*_]{0,8})?")
# Control characters, and the halves of a character that "\\ud83d" in JSON makes: no file can hold them.
_UNWRITABLE = re.compile("[\x00-\x08\x0e-\x1b\x7f\ud800-\udfff]")
# Lines between two blocks that belong to neither: rules, headings, a lone "2.", "Pair 2:", a code fence.
_BETWEEN = re.compile(
    r"[-*_=~`#]*|#{1,6}\s.*|[*_]{0,2}(?:Q\W?A\s)?(?:pair|set|Q\W?A)?\s?#?\d{1,4}[.):][*_]{0,2}|```\w+",
    re.IGNORECASE,
)


def _one_line(text: str) -> str:
    return " ".join(_trim(text).split())


def _trim(text: str) -> str:
    """A text without markdown around it, and without the lines that separate it from the next block."""
    lines = [line.rstrip() for line in _UNWRITABLE.sub("", text).strip().splitlines()]
    while len(lines) > 1 and len(lines[-1]) <= 80 and _BETWEEN.fullmatch(lines[-1].strip()):
        lines.pop()
    text = "\n".join(lines).strip(" \t\n*_`")
    for opening, closing in ('""', "“”"):
        inner = text[1:-1]
        if len(text) > 1 and text[0] == opening and text[-1] == closing and not {opening, closing} & set(inner):
            return inner.strip()
    return text


# Labels and JSON are marks that prose does not carry by chance, so either is looked for before bare lines.
PARSERS: dict[str, tuple[ReadPairs, ...]] = {
    "numbered": (read_labelled, read_json, read_lines),
    "json": (read_json, read_labelled, read_lines),
    "lines": (read_labelled, read_json, read_lines),
}
