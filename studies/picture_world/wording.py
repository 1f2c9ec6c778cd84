"""How pictures are spoken of: places, numbers, listings, sentences."""

from collections.abc import Callable, Sequence

from studies.picture_world.lexicon import plural, with_article
from studies.picture_world.scenes import Placed

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six")
SIDES: dict[str, Callable[[Placed], bool]] = {
    "on the left": lambda p: p.x < 0.42,
    "on the right": lambda p: p.x > 0.58,
    "at the top": lambda p: p.y < 0.4,
    "at the bottom": lambda p: p.y > 0.6,
}


def place_of(placed: Placed) -> str:
    """Where a thing is, in words: "on the left", "at the top right", "in the middle"."""
    column = "left" if placed.x < 0.4 else "right" if placed.x > 0.6 else ""
    row = "top" if placed.y < 0.36 else "bottom" if placed.y > 0.64 else ""
    if row and column:
        return f"at the {row} {column}"
    return f"at the {row}" if row else f"on the {column}" if column else "in the middle"


def sentence(phrase: str) -> str:
    """A phrase with a capital, ending in a full stop."""
    return phrase[:1].upper() + phrase[1:] + ("" if phrase.endswith(".") else ".")


def verb_after(name: str) -> str:
    """Of a name: "scissors are", "a dog is"."""
    return "are" if with_article(name) == f"some {name}" and plural(name) == name and name[-1:] == "s" else "is"


def verb_of_listing(phrase: str) -> str:
    """Of a listing: "two dogs", "some cherries", "a dog and a hat" are several."""
    return "are" if phrase.split()[0] in (*NUMBERS[2:], "some") or " and " in phrase else "is"


def joined(phrases: Sequence[str]) -> str:
    """Phrases as a list in a sentence: "a dog, a hat and a car"."""
    return phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])} and {phrases[-1]}"
