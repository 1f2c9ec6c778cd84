"""Which option of a multiple-choice question an answer names."""

import re
from collections.abc import Mapping, Sequence

LETTERS = "ABCDEFGHIJ"
INSTRUCTION = "Answer with the option's letter from the given choices directly."


def write_question(question: str, options: Mapping[str, str], hint: str = "") -> str:
    """The prompt in LLaVA's layout: hint, question, an option a line, what to answer with."""
    lines = [hint, question] if hint else [question]
    return "\n".join([*lines, *(f"{letter}. {text}" for letter, text in options.items()), INSTRUCTION])


def match_option(text: str, options: Mapping[str, str]) -> str | None:
    """The letter of the one option that an answer names, None if it names none or several.

    First a letter that stands there as a word of its own, then the text of an option; nothing is guessed and no
    model is asked.

    Args:
        text: What was written.
        options: Letter -> text.
    """
    return _one(_letters(text, options)) or _one(_texts(text, options))


def equals_letter(text: str, options: Mapping[str, str]) -> str | None:
    """The answer if, without white space around it, it is one of the letters and nothing else."""
    answer = text.strip()
    return answer if answer in options else None


def _letters(text: str, options: Mapping[str, str]) -> list[str]:
    words = re.findall(r"[^\W_]+(?:['\u2019][^\W_]+)*", text)
    found = [letter for letter in options if letter in words]
    # "A dog." and "I see a cat" are no choice of A or I, "A" and "A." are
    if found == ["A"] and len(words) > 3 and not re.search(r"(?:^|\W)\(?A[).:]", text):
        return []
    return found


def _texts(text: str, options: Mapping[str, str]) -> list[str]:
    folded = f" {_fold(text)} "
    return [letter for letter, option in options.items() if _fold(option) and f" {_fold(option)} " in folded]


def _fold(text: str) -> str:
    return " ".join(re.findall(r"[^\W_]+", text.lower()))


def _one(found: Sequence[str]) -> str | None:
    return found[0] if len(found) == 1 else None
