"""Reads JSON, whole or in pieces, under the names that models give to questions and answers."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import Any, TypeAlias

from c3l.method.parsed import ParsedPair, asks, one_line, trim

# The best name first: an object's question stands under the first of these that it has.
_QUESTION_KEYS = ("question", "query", "prompt", "instruction", "human", "user", "q")
_ANSWER_KEYS = ("answer", "response", "reply", "output", "gpt", "assistant", "a")
# A string runs to a quote before punctuation or a line's end, as other quotes are ones that the model did not
# escape, or to the end of the text. A comma ends it where a key, a brace or a bracket follows, or the text is cut
# off, perhaps with a comment between. Possessive: a string is read once, whatever follows it.
_COMMENT = r"(?:(?://|\#[ ])[^\n]{0,300}+|/\*[^*]{0,300}\*/)"
_KEY = r"""[^"\n]{1,300}"\s{0,8}:"""  # a question may be a key
_NEXT = rf"""(?:[{{}}\[\]]|"{_KEY})"""
_AFTER_COMMA = rf"""\s{{0,80}}(?:(?:{_COMMENT}\s{{0,80}})?{_NEXT}|"?[^"\n]{{0,80}}\Z)"""
_END = rf"""[ \t]{{0,8}}(?:[}}\]:\r\n]|,[ \t]{{0,8}}[\r\n]|,{_AFTER_COMMA}|{_COMMENT}\s{{0,80}}(?:{_NEXT}|,)|\Z)"""
_TOKEN = re.compile(
    rf"""(?P<brace>[{{}}])
    |(?P<comment>(?<!:){_COMMENT})
    |"(?P<string>(?:[^"\\]++|\\.|"(?!{_END}))*+)(?P<end>"?)(?P<colon>\s{{0,8}}:)?
    |(?P<bare>[\w.+-]++)""",
    re.DOTALL | re.VERBOSE,
)
# A string that nothing ends runs to the end of the text: sought anew from each quote, it would be read again and again.
_PYTHON = re.compile(
    r"""'((?:[^'\\]++|\\.)*+)(?:'|\Z)|"((?:[^"\\]++|\\.)*+)(?:"|\Z)|\b(?:None|True|False)\b|[()]""", re.DOTALL
)
_IN_JSON = {"None": "null", "True": "true", "False": "false", "(": "[", ")": "]"}
_Item: TypeAlias = tuple[str, str, bool]  # key, value, closed


class _Object(tuple[tuple[str, Any], ...]):
    """A JSON object as it was written, with keys that stand in it twice."""


def read_json(text: str) -> Iterator[ParsedPair]:
    """Objects with a question and an answer: a list of them, one a line, in a code fence, before other text.

    Strict first (the whole text is one JSON value), then object by object, which survives text around them, comments, a
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
            lists = list(_read_lists(text))
            yield from lists or _read_python(_strip_fence(text))
    else:
        yield from _walk(value)


def _pair_of(items: Sequence[_Item]) -> list[ParsedPair]:
    """A question and its answer under names of another language."""
    if len(items) != 2 or not _is_pair([value for _, value, _ in items]):
        return []
    (_, question, _), (_, answer, closed) = items
    return [ParsedPair(one_line(question), trim(answer), closed)]


def _read_lists(text: str) -> Iterator[ParsedPair]:
    """A list a line: ``["What is it?", "A dog."]``."""
    for line in text.splitlines():
        if line.lstrip().startswith("["):
            try:
                yield from _walk(json.loads(line.strip().rstrip(","), object_pairs_hook=_Object))
            except (ValueError, RecursionError):
                continue


def _read_python(text: str) -> Iterator[ParsedPair]:
    """What Python would print of the same lists and objects: ``[{'question': 'What is it?', 'answer': 'A dog.'}]``.

    Nothing is evaluated: strings, names and brackets are written as JSON has them.
    """
    start, end = re.search(r"[\[{(]", text), max(text.rfind(bracket) for bracket in "]})")
    if start and end > start.start() and "'" in text:
        try:
            value = json.loads(_PYTHON.sub(_as_json, text[start.start() : end + 1]), object_pairs_hook=_Object)
        except (ValueError, RecursionError):
            return
        yield from _walk(value)


def _as_json(token: re.Match[str]) -> str:
    if token[0] in _IN_JSON:
        return _IN_JSON[token[0]]
    single, double = token.groups()
    if double is not None:
        return token[0]
    return '"' + single.replace("\\'", "'").replace('"', '\\"') + '"'


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
            yield ParsedPair(one_line(value[0]), trim(value[1]), closed=True)
        elif isinstance(value, list):
            waiting.extend(reversed(value))


def _holds_objects(value: Any) -> bool:
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, _Object):
            return True
        if isinstance(one, list):
            waiting.extend(one)
    return False


def _side_by_side(value: _Object) -> Iterator[ParsedPair]:
    """A list of questions beside a list of as many answers."""
    lists = {_name(key).removesuffix("s"): inner for key, inner in value if _name(key).endswith("s")}
    questions, answers = (
        next((lists[key] for key in keys if key in lists), None) for keys in (_QUESTION_KEYS, _ANSWER_KEYS)
    )
    if isinstance(questions, list) and isinstance(answers, list) and len(questions) == len(answers):
        for question, answer in zip(questions, answers, strict=True):
            yield ParsedPair(one_line(_as_text(question)), trim(_as_text(answer)), closed=True)


def _is_pair(value: Any) -> bool:
    """A question and its answer as a list: ``["What is it?", "A dog."]``."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(isinstance(text, str) for text in value)
        and asks(value[0])
        and not asks(value[1])
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
        brace, comment, string, end, colon, bare = token.groups()
        if brace and (items or brace == "}"):
            return items, token.start()
        if key is not None and "[" in text[position : token.start()]:  # a list is no text
            items.append((_unescape(key), "", True))
            key = None
        position = token.end()
        if comment:
            continue
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
    items = list(items)
    names = {_name(key) for key, _, _ in items}
    asked, answered = _best(_QUESTION_KEYS, names), _best(_ANSWER_KEYS, names)
    questions: list[str] = []
    answers: list[tuple[str, bool]] = []
    for key, value, closed in items:
        name = _name(key)
        if name == asked:
            questions.append(one_line(value))
        elif asks(key) and value:  # {"What is it?": "A dog."}
            questions.append(one_line(key))
            answers.append((trim(value), closed))
        elif name == answered:
            answers.append((trim(value), closed))
    for question, answer in zip_longest(questions, answers):
        yield ParsedPair(question or "", *(answer or ("",)))


def _best(keys: Sequence[str], names: set[str]) -> str | None:
    """The first of the keys that an object has; "a" beside "b" is one of several options."""
    return next((key for key in keys if key in names and not (key == "a" and "b" in names)), None)


def _name(key: str) -> str:
    return key.strip().rstrip("0123456789").rstrip(" _-#").lower()


def _unescape(text: str) -> str:
    try:
        return str(json.loads(f'"{text}"', strict=False))
    except ValueError:
        return text.replace('\\"', '"').replace("\\n", "\n")
