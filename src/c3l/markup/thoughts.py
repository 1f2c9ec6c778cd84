"""What a model that thinks writes before its answer: how that is spelled, and a text without it.

A thought is a block at the beginning of what was written. Where the chat template opens it, the text begins inside it,
with only its end to be seen. A text that merely mentions the words is left as it is.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spelling:
    """How a family writes a thought.

    Attributes:
        opening: What it begins with.
        closing: What it ends with; the answer follows.
    """

    opening: str
    closing: str


# A new family is a line here. Longer openings of the same beginning come first.
SPELLINGS = (
    Spelling("<think>", "</think>"),  # Qwen3, DeepSeek-R1, GLM-4.1V, InternVL3.5, MiMo, MiniCPM-V 4.5, ERNIE 4.5
    Spelling("<thinking>", "</thinking>"),
    Spelling("<thought>", "</thought>"),  # EXAONE
    Spelling("<reasoning>", "</reasoning>"),
    Spelling("<analysis>", "</analysis>"),  # Keye-VL
    Spelling("<|begin_of_thought|>", "<|end_of_thought|>"),  # Sky-T1, Virgo
    Spelling("<|START_THINKING|>", "<|END_THINKING|>"),  # Command A
    Spelling("[THINK]", "[/THINK]"),  # Magistral
    Spelling("\u25c1think\u25b7", "\u25c1/think\u25b7"),  # Kimi-VL
    Spelling("<seed:think>", "</seed:think>"),  # Seed-OSS
    Spelling("<unused94>thought", "<unused95>"),  # MedGemma
    Spelling("<|channel>thought", "<channel|>"),  # Gemma 4
    Spelling("<|channel|>analysis", "<|channel|>final<|message|>"),  # gpt-oss
    Spelling("<|channel|>commentary", "<|channel|>final<|message|>"),
    Spelling("<SUMMARY>", "</SUMMARY>"),  # LLaVA-CoT, one block after the other
    Spelling("<CAPTION>", "</CAPTION>"),
    Spelling("<REASONING>", "</REASONING>"),
)
# What stands around an answer, once the thoughts are gone.
WRAPPERS = (
    ("<answer>", "</answer>"),  # GLM-4.1V, Hunyuan
    ("<response>", "</response>"),  # ERNIE 4.5
    ("<|begin_of_box|>", "<|end_of_box|>"),  # GLM-4.1V
    ("<|begin_of_solution|>", "<|end_of_solution|>"),  # Sky-T1, Virgo
    ("<|START_RESPONSE|>", "<|END_RESPONSE|>"),  # Command A
    ("<CONCLUSION>", "</CONCLUSION>"),  # LLaVA-CoT
)
MARKS = tuple(
    dict.fromkeys(
        mark
        for pair in (*((one.opening, one.closing) for one in SPELLINGS), *WRAPPERS)
        for mark in pair
        if mark == mark.strip()
    )
)

_MOST = 32  # thoughts one behind the other; a model that goes round in circles writes thousands
_BOX = ("<|begin_of_box|>", "<|end_of_box|>")  # stands inside a sentence too
_CAPITALS = ("<SUMMARY>", "<CAPTION>", "<REASONING>", "<CONCLUSION>")  # in small letters they are words of HTML


def cut_thoughts(text: str) -> str | None:
    """What follows the thoughts at the beginning of a text; None if it ends inside one.

    A text without a thought comes back as it is.
    """
    rest = text
    for _ in range(_MOST):
        after = _after_one(rest)
        if after is None:
            return None
        if after == rest:
            bare = _unwrap(rest)
            return text if bare == text.lstrip() else bare
        rest = after
    return None  # nothing but thoughts


def find_open_thought(prompt: str) -> tuple[Spelling, str] | None:
    """The thought that a prompt ends inside of: its spelling, and the prompt from its opening on."""
    found = [(begin.start(), one) for one in SPELLINGS for begin in _pattern(one.opening).finditer(prompt)]
    if not found:
        return None
    place, spelling = max(found, key=lambda pair: (pair[0], len(pair[1].opening)))
    opened = prompt[place:]
    if not opened.startswith(spelling.opening):  # in capital letters
        spelling = Spelling(spelling.opening.upper(), spelling.closing.upper())
    return None if spelling.closing in opened else (spelling, opened)


def find_mark(text: str) -> str | None:
    """The first mark of a thought, or of what stands around an answer, that a text holds anywhere."""
    return next((mark for mark in MARKS if mark in text), None)


def _after_one(text: str) -> str | None:
    """The text behind the thought that it begins with, or begins inside of; the same if there is none."""
    text = text.lstrip("\ufeff \t\r\n")
    for one in SPELLINGS:
        if _pattern(one.opening).match(text):
            end = _pattern(one.closing).search(text, len(one.opening))
            return text[end.end() :].lstrip() if end else None
    return _after_lone_end(text)


def _after_lone_end(text: str) -> str:
    """The text behind the end of a thought that begins before the text does.

    Such an end stands at the border of a line: inside a sentence somebody speaks of it.
    """
    for one in SPELLINGS:
        mark = _pattern(one.closing).pattern
        end = re.search(rf"(?:\A|\n)[ \t]*{mark}|{mark}[ \t]*\r?\n", text, _flags(one.closing))
        if end and not _pattern(one.opening).search(text):
            return text[end.end() :].lstrip()
    return text


def _unwrap(text: str) -> str:
    """An answer without what stands around it."""
    for opening, closing in WRAPPERS:
        begin = _pattern(opening).match(text)
        if begin:
            inner, mark, rest = text[begin.end() :].partition(closing)
            text = f"{inner.strip()} {rest.strip()}".strip() if mark else inner.lstrip()
    for mark in _BOX:
        text = text.replace(mark, "")
    return text


def _pattern(mark: str) -> re.Pattern[str]:
    return re.compile(re.escape(mark), _flags(mark))


def _flags(mark: str) -> re.RegexFlag:
    return re.NOFLAG if mark.replace("/", "") in _CAPITALS else re.IGNORECASE
