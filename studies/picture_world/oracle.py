"""The oracle: grades a question-answer pair about a scene as true, false or ungradable, from the scene's truth.

It reads claims out of question and answer together ("How many dogs ..." + "Two." claims two dogs) and checks each.
A pair is false if any of its claims is false, true if it has claims and all hold, and ungradable if it makes no
claim that the truth decides: an unknown noun, a colour of a many-coloured thing, a count in a photograph.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from studies.picture_world.lexicon import plural, singular
from studies.picture_world.questions import NUMBERS, SIDES
from studies.picture_world.scenes import Placed, Scene

Grade = Literal["true", "false", "ungradable"]

COLOURS = frozenset(["red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white", "grey"])
NOTHING = re.compile(r"\b(nothing|none|no one|nobody)\b")
PICTURE = r"(?:image|picture|photo|photograph|scene)"
# Words of a place and whether a thing with that centre is there; the margins are wider than those of training.
PLACES = {
    "left": lambda p: p.x < 0.47, "right": lambda p: p.x > 0.53, "top": lambda p: p.y < 0.47,
    "bottom": lambda p: p.y > 0.53, "middle": lambda p: abs(p.x - 0.5) < 0.22 and abs(p.y - 0.5) < 0.3,
}  # fmt: skip


@dataclass(frozen=True)
class Graded:
    """A grade with the kind of question that was read, for counting."""

    grade: Grade
    kind: str


class Oracle:
    """Knows the nouns; asks the scene for the rest."""

    def __init__(self, names: Iterable[str]) -> None:
        """Remember every name that can be recognised, singular and plural.

        Args:
            names: All names of all things that the study knows.
        """
        self.nouns: dict[str, str] = {}
        for name in names:
            self.nouns[name.lower()] = self.nouns[plural(name).lower()] = singular(name.lower())
        self.longest = max(len(noun.split()) for noun in self.nouns)

    def grade(self, scene: Scene, question: str, answer: str) -> Graded:
        """The grade of one pair, by the first kind of question whose form it has."""
        asked, said = _fold(question), _fold(answer)
        for kind, pattern in KINDS:
            if match := re.search(pattern, asked):
                verdicts = list(getattr(self, f"_{kind}")(scene, match, asked, said))
                return Graded(_verdict(verdicts), kind)
        return Graded("ungradable", "other")

    def mentions(self, text: str) -> list[str]:
        """Known nouns in a text, the longest first at each place: "a red fire truck" -> ["fire truck"]."""
        words, found, i = re.findall(r"[\w'-]+", text.lower()), [], 0
        while i < len(words):
            for size in range(min(self.longest, len(words) - i), 0, -1):
                noun = self.nouns.get(" ".join(words[i : i + size]))
                if noun is not None:
                    found.append(noun)
                    i += size - 1
                    break
            i += 1
        return found

    def _holds(self, scene: Scene, noun: str) -> bool | None:
        """Whether a noun names something in the scene; None where an incomplete truth cannot tell."""
        if _named(scene, noun):
            return True
        if any(noun in other.lower().split() or noun == other.lower() for other in scene.also):
            return True
        return False if scene.complete or not scene.also else None

    def _yesno(self, scene: Scene, match: re.Match[str], asked: str, said: str) -> Iterator[bool | None]:
        answer = _yes_or_no(said)
        nouns = self.mentions(match["what"])
        if answer is None or not nouns:
            yield None
            return
        present = [self._holds(scene, noun) for noun in nouns[:1]]
        yield None if None in present else all(present) == answer
        yield from self._stated_colour(scene, nouns[0], match["what"]) if answer else ()

    def _stated_colour(self, scene: Scene, noun: str, text: str) -> Iterator[bool | None]:
        colours = [w for w in text.split() if w in COLOURS and w not in noun.split()]
        if colours:
            things = _named(scene, noun)
            known = [p.colour for p in things if p.colour]
            yield any(c in known for c in colours) if len(known) == len(things) and things else None

    def _count(self, scene: Scene, match: re.Match[str], asked: str, said: str) -> Iterator[bool | None]:
        number = _number(said)
        if not scene.complete or number is None:
            yield None
        elif match["what"] in ("things", "objects", "items"):
            yield number == len(scene.placed)
        else:
            nouns = self.mentions(match["what"])
            yield number == len(_named(scene, nouns[0])) if nouns else None

    def _where(self, scene: Scene, match: re.Match[str], asked: str, said: str) -> Iterator[bool | None]:
        nouns = self.mentions(match["what"])
        places = [
            w for w in re.findall(r"\w+", said.replace("center", "middle").replace("centre", "middle")) if w in PLACES
        ]
        if not nouns or not places or not scene.complete:
            yield None
            return
        yield any(all(PLACES[place](p) for place in places) for p in _named(scene, nouns[0]))

    def _colour(self, scene: Scene, match: re.Match[str], asked: str, said: str) -> Iterator[bool | None]:
        nouns = self.mentions(match["what"])
        colours = [w for w in re.findall(r"\w+", said.replace("gray", "grey")) if w in COLOURS]
        if not nouns or not colours or not scene.complete:
            yield None
            return
        things = _named(scene, nouns[0])
        if not things:
            yield False
        elif all(p.colour for p in things):
            yield any(p.colour in colours for p in things)
        else:
            yield None

    def _side(self, scene: Scene, match: re.Match[str], asked: str, said: str) -> Iterator[bool | None]:
        side = {
            "left": "on the left",
            "right": "on the right",
            "top": "at the top",
            "bottom": "at the bottom",
        }.get(match["side"])
        if not scene.complete:
            yield None
            return
        inside = Scene("", tuple(p for p in scene.placed if PLACES[match["side"]](p) or (side and SIDES[side](p))))
        yield from (bool(_named(inside, noun)) for noun in self.mentions(said))

    def _beside(self, scene: Scene, match: re.Match[str], asked: str, said: str) -> Iterator[bool | None]:
        first = self.mentions(match["what"])[:1]
        if not first or not scene.complete:
            yield None
            return
        beside = [placed for placed in scene.placed if placed not in _named(scene, first[0])]
        yield bool(_named(scene, first[0]))
        nouns = [noun for noun in self.mentions(said) if noun != first[0]]
        yield from (bool(_named(Scene("", tuple(beside)), noun)) for noun in nouns)
        if NOTHING.search(said):
            yield not beside

    def _category(self, scene: Scene, match: re.Match[str], asked: str, said: str) -> Iterator[bool | None]:
        kinds = self.mentions(match["what"])
        for noun in self.mentions(said):
            things = _named(scene, noun)
            yield (
                bool(things) and (not kinds or any(kinds[0] in _lower(p) for p in things))
                if scene.complete or things
                else self._holds(scene, noun)
            )

    def _because(self, scene: Scene, match: re.Match[str], asked: str, said: str) -> Iterator[bool | None]:
        shown = re.search(r"because (?:the \w+ shows|there (?:is|are)|it is) (?P<what>.*)", said)
        for noun in self.mentions(shown["what"]) if shown else ():
            yield self._holds(scene, noun)

    def _what(self, scene: Scene, match: re.Match[str], asked: str, said: str) -> Iterator[bool | None]:
        last = ""
        for clause in re.split(r"[.;]", said):
            coloured = re.fullmatch(r"\s*(?:it|the (?P<what>.+?)) (?:is|are) (?P<colour>\w+)\s*", clause)
            if coloured and coloured["colour"] in COLOURS:
                nouns = self.mentions(coloured["what"] or last)
                yield from self._stated_colour(scene, nouns[0], coloured["colour"]) if nouns else ()
            else:
                yield from self._clause(scene, clause)
                last = " ".join(self.mentions(clause)[:1]) or last

    def _clause(self, scene: Scene, clause: str) -> Iterator[bool | None]:
        """A statement: "the dog is on the left", "two dogs and a hat", "it is red"."""
        nouns = self.mentions(clause)
        yield from (self._holds(scene, noun) for noun in nouns)
        placed = re.search(
            r"(?:is|are) (?:on|at|in) the (?P<place>left|right|top|bottom|middle)(?: (?P<more>left|right))?",
            clause,
        )
        if placed and nouns and scene.complete:
            places = [p for p in (placed["place"], placed["more"]) if p]
            yield any(all(PLACES[place](p) for place in places) for p in _named(scene, nouns[0]))
        for count, noun in re.findall(r"\b(two|three|four|five)\s+([\w' -]+?)(?:,| and |$)", clause):
            found = self.mentions(noun)
            if found and scene.complete:
                yield len(_named(scene, found[0])) >= NUMBERS.index(count)  # a list may name the others apart


KINDS: tuple[tuple[str, str], ...] = (
    ("because", r"^(?:could|how could|does what is shown|is there something (?:alive|that)|is there somebody)"),
    ("because", r"^(?:what could|where might|what is the .* (?:likely )?used)"),
    ("count", r"^how many (?P<what>.+?)(?: are| can| do| is|\?|$)"),
    ("where", rf"^where (?:in the {PICTURE} )?(?:is|are) (?:the |a |an )?(?P<what>.+?)\??$"),
    ("colour", r"^what colou?r (?:is|are) (?:the |this |that )?(?P<what>.+?)\??$"),
    ("side", r"^what (?:is|are|do you see|can you see) (?:on|at|in) the (?P<side>left|right|top|bottom|middle)"),
    ("beside", r"^what (?:is|are|do you see|can you see) (?:beside|next to) (?:the |a |an )?(?P<what>.+?)\??$"),
    ("category", r"^(?:what kind of|which|what type of) (?P<what>.+?) (?:is|are|do|can|does)\b"),
    ("yesno", r"^(?:is|are) (?:there )?(?P<what>(?:a|an|any|some|the)? ?.+?)\??$"),
    ("yesno", rf"^(?:can you see|do you see|does the {PICTURE} (?:show|contain|have)) (?P<what>.+?)\??$"),
    ("what", r"^(?:what (?:is|are|do|does|can|would)|describe|can you describe|please describe)\b"),
)  # fmt: skip


def _fold(text: str) -> str:
    return " ".join(text.lower().replace("gray", "grey").split())


def _lower(placed: Placed) -> set[str]:
    return {singular(name.lower()) for name in placed.names}


def _named(scene: Scene, noun: str) -> list[Placed]:
    """The things that a noun names; "toy car" is also a "car" by its last word."""
    return [p for p in scene.placed if noun in _lower(p) or any(name.endswith(f" {noun}") for name in _lower(p))]


def _yes_or_no(said: str) -> bool | None:
    word = re.match(r"\W*(yes|no)\b", said)
    return None if word is None else word[1] == "yes"


def _number(said: str) -> int | None:
    for word in re.findall(r"\w+", said):
        if word in NUMBERS:
            return NUMBERS.index(word)
        if word.isdigit() and len(word) < 3:
            return int(word)
    return 0 if NOTHING.search(said) or _yes_or_no(said) is False else None


def _verdict(verdicts: list[bool | None]) -> Grade:
    if False in verdicts:
        return "false"
    return "true" if True in verdicts else "ungradable"
