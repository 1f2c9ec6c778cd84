"""Which option of a multiple-choice question an answer names."""

import re
from collections.abc import Iterable, Mapping, Sequence

LETTERS = "ABCDEFGHIJ"
WIDE = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}  # full-width signs and letters
_MINUS = str.maketrans("\u2212\u2013", "--")
_WORD = re.compile(
    r"(?:(?:(?<![^\W_])-|[<>]=?\s?|[\u2264\u2265]\s?)(?=\.?\d))?(?:\d+(?:[.,]\d+)+|[^\W_]+)(?:[+#]+(?![^\W_]))?"
)
# Words that are no part of another: neither the C of C++ and 20 \u00b0C nor the letters of B-52, R&B, A/B and A-C; but
# the B of an answer that begins "B-The animal barks".
_ALONE = re.compile(
    r"(?<![^\W_])(?<![\u00b0\u00ba\u2103])(?<![\u00b0\u00ba][ \u00a0])(?<!\b[^\W_][&/])(?<!\b[A-Z]-)"
    r"(?:\A[A-Z](?=-[A-Z][a-z])|[^\W_]++(?:['\u2019][^\W_]+)*+(?![+#])(?![-&/][^\W_]))"
)
_NUMBER = re.compile(r"-?\.?\d+(?:[.,]\d+)*")
_NEGATIVE = re.compile(r"\b(?:minus|negative|below)\b")
_ORDERS = frozenset(["<", ">", "<=", ">=", "\u2264", "\u2265", "+"])
_VERBS = r"(?:is|was|because|since|as|seems|appears|would|should|matches|best)\b"  # what an article never precedes
# The A of "B. A dog barks" and the I of "B: I think": at the beginning of a sentence before a word, unless they may be
# labels there, as in "C fits. A also fits" and "B wrong. A right".
_LABELS = (
    r"(?:and|or|nor|but|not|if|than|over|vs|versus|to|in|on|of|for|from|with|are|were|has|had|did|can|could|may|might"
    r"|must|will|rather|also|only|alone|too|then|before|after|instead|though|although|while|whereas|unlike|like|plus"
    r"|through|first|second|maybe|perhaps|option|choice|answer|right|wrong|true|false|correct|incorrect"
    r"|[a-z]+ly|[a-z]+[^\Waius]s)\b"
)
_ARTICLE = re.compile(
    rf"(?:(?<=\A)|(?<=[\n.!?:)*])|(?<=[\n.!?:)*][ \t]))[AI](?=[ \t]+(?!{_VERBS}|(?i:{_LABELS}))[^\W\d_]{{2}})"
)
_EITHER = re.compile(
    r"(?:\A|\b(?i:answer|option|choice)(?: is|:))[\W_]*(?:(?i:either)\W+)?[A-J]\W+or\W+[A-J](?![^\W_])"
)
_UNSPACED = re.compile("[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")  # Thai, kana, Chinese, Korean


def match_option(text: str, options: Mapping[str, str]) -> str | None:
    """The letter of the one option that an answer names, None if it names none or several.

    First an option that is all the answer, unless that is a bare letter, or all but the letter before it; then a letter
    that stands there as a word of its own, then the text of an option, which "C or D" keeps to these two; nothing is
    guessed and no model is asked.

    Args:
        text: What was written.
        options: Letter -> text.
    """
    text, options = text.translate(WIDE), {letter: option.translate(WIDE) for letter, option in options.items()}
    whole, by_text = _one(_equals(text, options)) or _one(_repeats(text, options)), _one(_texts(text, options))
    letters = _letters(text, options)
    if by_text not in letters and _EITHER.search(text):
        by_text = None
    return whole or _one(letters) or _before_article(text, options, by_text) or by_text


def _before_article(text: str, options: Mapping[str, str], by_text: str | None) -> str | None:
    """The letter of "B. A dog barks", whose A is no second one; beside another's text only where it is the answer."""
    letter, article = _one(_letters(_ARTICLE.sub(" ", text), options)), _ARTICLE.search(text)
    if letter is None or article is None:
        return None
    if re.search(rf"(?:\A|\b(?i:answer|option|choice)(?: is|:)?)[\W_]*{letter}(?![^\W_])", text):
        return letter
    stands_before = letter in _ALONE.findall(text[: article.start()])
    return letter if stands_before and by_text in (None, letter) else None


def equals_letter(text: str, options: Mapping[str, str]) -> str | None:
    """The answer if, without white space around it, it is one of the letters and nothing else."""
    answer = text.strip()
    return answer if answer in options else None


def _equals(text: str, options: Mapping[str, str]) -> list[str]:
    said = _bare(text)
    if not said or said.upper() in options:
        return []
    found = [letter for letter, option in options.items() if _bare(option) == said]
    folded = _fold(text)
    if found or not folded:
        return found
    is_text = " " in folded or _UNSPACED.search(folded)
    return [letter for letter, option in options.items() if is_text and _fold(option) == folded]


def _repeats(text: str, options: Mapping[str, str]) -> list[str]:
    """The option whose letter and text are all the answer: an option may speak of others, as "B. Both A and C"."""
    said = _fold(text)
    return [letter for letter, option in options.items() if _fold(option) and _fold(f"{letter} {option}") == said]


def _bare(text: str) -> str:
    """In small letters, without what is put around and behind an answer; but its signs are the answer of some."""
    text = text.strip().casefold()
    return text.strip("*_`\"'\u201c\u201d ").rstrip(".!,;: ") or text


def _letters(text: str, options: Mapping[str, str]) -> list[str]:
    for option in options.values():  # a letter of theirs is no choice, as the C of a vitamin
        text = text.replace(option.strip(), " ") if _UNSPACED.search(option) else text
    text = _UNSPACED.sub(" ", text)
    words = _ALONE.findall(text)
    found = [letter for letter in options if letter in words]
    return [] if found in (["A"], ["I"]) and not _is_letter(found[0], text) else found


def _is_letter(word: str, text: str) -> bool:
    """Whether A or I is a choice somewhere: not in "A dog", "I see a cat" or "U.S.A."."""
    goes_on = r"(?![ \t]+[^\W\d_])" if word == "I" else rf"(?![ \t]+(?!{_VERBS})[^\W\d_])"
    return re.search(rf"(?<![^\W_])(?<![^\W_][.'\u2019-]){word}(?![^\W_]|['\u2019][^\W_]){goes_on}", text) is not None


def _texts(text: str, options: Mapping[str, str]) -> list[str]:
    folded = f" {_fold(text)} "
    found = {letter: _fold(option) for letter, option in options.items()}
    found = {
        letter: option
        for letter, option in found.items()
        if option and _bordered(option) in folded and not _has_signed(option, found.values(), folded)
    }
    return [letter for letter, option in found.items() if not _is_within(option, found.values())]


def _has_signed(option: str, others: Iterable[str], text: str) -> bool:
    """Whether an option is a number that another holds behind a sign, which a text may spell: "less than 5" is `<5`."""
    signs = {other.replace(option, "", 1) for other in others if other != option and option in other}
    is_negative = "-" in signs and _NEGATIVE.search(text) is not None
    return _NUMBER.fullmatch(option) is not None and (is_negative or bool(signs & _ORDERS))


def _is_within(option: str, others: Iterable[str]) -> bool:
    """Whether an option is a part of another, in a script without spaces."""
    return bool(_UNSPACED.search(option)) and any(option in other and option != other for other in others)


def _bordered(option: str) -> str:
    """With the spaces that stand around its words, where its script has them."""
    before, after = ("" if _UNSPACED.match(end) else " " for end in (option[0], option[-1]))
    return f"{before}{option}{after}"


def _fold(text: str) -> str:
    """Its words and numbers in small letters, with the signs that make them what they are: -5, <0, 3.5, c++."""
    return " ".join("".join(word.split()) for word in _WORD.findall(text.lower().translate(_MINUS)))


def _one(found: Sequence[str]) -> str | None:
    return found[0] if len(found) == 1 else None
