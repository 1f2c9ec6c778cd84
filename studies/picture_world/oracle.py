"""The oracle: grades a question-answer pair about a scene as true, false or ungradable, from the scene's truth.

It reads claims out of question and answer together ("How many dogs ..." + "Two." claims two dogs) and checks each.
A pair is false if any of its claims is false, true if it has claims and all hold, and ungradable if it makes no
claim that the truth decides: an unknown noun, a colour of a many-coloured thing, a count in a photograph.
"""

import re
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from studies.picture_world.claims import Grade, every, some, turn, verdict
from studies.picture_world.kinds import WHOLE
from studies.picture_world.lexicon import plural, singular
from studies.picture_world.scenes import Placed, Scene
from studies.picture_world.wording import NUMBERS, SIDES

COLOURS = frozenset(["red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white", "grey"])
NOTHING = re.compile(r"\b(nothing|none|no one|nobody)\b")
PICTURE = r"(?:image|picture|photo|photograph|scene)"
DENIALS = frozenset("no not without isn't aren't doesn't don't neither nor".split())
SEGMENT = re.compile(r"[.;,]|\bbut\b")  # a denial reaches as far as this
PLACE = re.compile(
    r"\b(?:on|at|in) the (?:far )?(left|right|top|bottom|middle)\b(?: (left|right)\b)?"
    rf"(?! of (?!(?:the |this |that )?{PICTURE}\b))"  # but "on the left of the dog" is no place in the picture
)
COUNTED = (*NUMBERS, "seven", "eight", "nine", "ten", "eleven", "twelve")
# Whether one thing stands so to another; None where the places of their centres do not tell.
BESIDE: dict[str, Callable[[Placed, Placed], bool] | None] = {
    "beside": lambda p, q: True, "next to": lambda p, q: True, "above": lambda p, q: p.y < q.y,
    "below": lambda p, q: p.y > q.y, "left of": lambda p, q: p.x < q.x, "right of": lambda p, q: p.x > q.x,
    "behind": None, "in front of": None, "under": None, "inside": None, "around": None, "near": None,
}  # fmt: skip
# Words of a place and whether a thing with that centre is there; the margins are wider than those of training.
PLACES = {
    "left": lambda p: p.x < 0.47, "right": lambda p: p.x > 0.53, "top": lambda p: p.y < 0.47,
    "bottom": lambda p: p.y > 0.53, "middle": lambda p: abs(p.x - 0.5) < 0.22 and abs(p.y - 0.5) < 0.3,
}  # fmt: skip


@dataclass(frozen=True)
class Mention:
    """A known noun in a text, with the word of a colour right before it, or "", and whether it is said not to be."""

    noun: str
    colour: str
    denied: bool


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
            self.nouns[_fold(name)] = self.nouns[_fold(plural(name))] = singular(_fold(name))
        self.nouns.pop("does", None)  # the verb
        self.longest = max(len(noun.split()) for noun in self.nouns)

    def grade(self, scene: Scene, question: str, answer: str) -> Graded:
        """The grade of one pair, by the first kind of question whose form it has."""
        asked, said = _fold(question), _fold(answer)
        for kind, pattern in KINDS:
            if match := re.search(pattern, asked):
                verdicts = list(getattr(self, f"_{kind}")(scene, match, asked, said))
                return Graded(verdict(verdicts), kind)
        return Graded("ungradable", "other")

    def mentions(self, text: str) -> list[str]:
        """Known nouns in a text, the longest first at each place: "a red fire truck" -> ["fire truck"]."""
        return [mention.noun for mention in self._read(text)]

    def _read(self, text: str) -> list[Mention]:
        found = []
        for segment in SEGMENT.split(_fold(text)):
            words, denied, i = re.findall(r"[\w'-]+", segment), False, 0
            while i < len(words):
                size, noun = self._noun_at(words, i)
                colours = words[i] in COLOURS and size == 1 and self._noun_at(words, i + 1)[0] > 0  # "an orange hat"
                if noun and not colours:
                    before = words[i - 1] if i else ""
                    found.append(Mention(noun, before if before in COLOURS else "", denied))
                denied = denied or (not noun and words[i] in DENIALS)
                i += max(1, size)
        return found

    def _noun_at(self, words: Sequence[str], start: int) -> tuple[int, str]:
        """The longest known noun that begins there: how many words, and its singular; 0 and "" if there is none."""
        for size in range(min(self.longest, len(words) - start), 0, -1):
            noun = self.nouns.get(" ".join(words[start : start + size]))
            if noun is not None:
                return size, noun
        return 0, ""

    def _holds(self, scene: Scene, noun: str) -> bool | None:
        """Whether a noun names something in the scene; None where an incomplete truth cannot tell."""
        if _named(scene, noun) or _is_behind(scene, noun):
            return True
        return False if scene.complete or not scene.also else None

    def _yesno(self, scene: Scene, match: re.Match[str], asked: str, said: str) -> Iterator[bool | None]:
        answer, what = _yes_or_no(said), re.sub(rf"\b(?:in|of) (?:the|this|that) {PICTURE}\b", "", match["what"])
        mentions = self._read(what)
        if answer is None or not mentions:
            yield None
            return
        asked_for = [
            every([self._holds(scene, one.noun), *self._stated_colour(scene, one.noun, [one.colour])])
            for one in mentions
        ]
        first = mentions[0].noun
        said_already = {word for one in mentions for word in (one.colour, *one.noun.split())}
        also = [
            *self._stated_colour(scene, first, [w for w in re.findall(r"\w+", what) if w not in said_already]),
            *self._stated_place(scene, first, what),
        ]
        number = re.match(r"(?:the )?(\w+)\b", what.strip())
        if number and number[1] in COUNTED[2:]:
            also.append(self._number_of(scene, first) == COUNTED.index(number[1]) if scene.complete else None)
        if re.search(r"\b(?:more|fewer|less|least|most)\b", what) or any(f" {word} " in what for word in BESIDE):
            also.append(None)
        holds = every([some(asked_for) if " or " in what else every(asked_for), *also])
        yield None if holds is None else holds == answer
        if not answer and (colour := re.search(r"\b(?:it|they) (?:is|are) (\w+)", said)):
            yield from self._stated_colour(scene, first, [colour[1]])

    def _number_of(self, scene: Scene, noun: str) -> int | None:
        named = _named(scene, noun)
        return None if not named and _is_behind(scene, noun) else len(named)

    def _stated_place(self, scene: Scene, noun: str, text: str) -> Iterator[bool | None]:
        if place := PLACE.search(text.replace("center", "middle").replace("centre", "middle")):
            words, things = [word for word in place.groups() if word], _named(scene, noun)
            known = scene.complete and (things or not _is_behind(scene, noun))
            yield any(all(PLACES[word](p) for word in words) for p in things) if known else None

    def _stated_colour(self, scene: Scene, noun: str, words: Sequence[str]) -> Iterator[bool | None]:
        colours = [word for word in words if word in COLOURS and word not in noun.split()]
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
            there = [self._number_of(scene, noun) for noun in self.mentions(match["what"])[:1]]
            yield None if there in ([], [None]) else there == [number]

    def _where(self, scene: Scene, match: re.Match[str], asked: str, said: str) -> Iterator[bool | None]:
        nouns, told = self.mentions(match["what"]), list(_segments(said, PLACES))
        if not nouns or not told or not scene.complete:
            yield None
            return
        things = _named(scene, nouns[0])
        if not things:
            yield None if _is_behind(scene, nouns[0]) else False
            return
        for places, denied in told:
            yield any(all(PLACES[place](p) for place in places) for p in things) != denied

    def _colour(self, scene: Scene, match: re.Match[str], asked: str, said: str) -> Iterator[bool | None]:
        nouns, told = self.mentions(match["what"]), list(_segments(said, COLOURS))
        if not nouns or not told or not scene.complete:
            yield None
            return
        things = _named(scene, nouns[0])
        if not things or not all(p.colour for p in things):
            yield None if things or _is_behind(scene, nouns[0]) else False
            return
        for colours, denied in told:
            yield any(p.colour in colours for p in things) != denied

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
        inside = tuple(p for p in scene.placed if PLACES[match["side"]](p) or (side and SIDES[side](p)))
        yield from self._among(replace(scene, placed=inside), said)

    def _among(self, part: Scene, said: str) -> Iterator[bool | None]:
        """Whether each thing that is said is in this part of a scene, or is not where that is said."""
        for one in self._read(said):
            there = bool(_named(part, one.noun))
            yield None if not there and _is_behind(part, one.noun) else there != one.denied

    def _beside(self, scene: Scene, match: re.Match[str], asked: str, said: str) -> Iterator[bool | None]:
        first = self.mentions(match["what"])[:1]
        if not first or not scene.complete:
            yield None
            return
        named, stands = _named(scene, first[0]), BESIDE[match["how"]]
        if not named or stands is None:
            yield None if named or _is_behind(scene, first[0]) else False
            return
        beside = tuple(p for p in scene.placed if any(q is not p and stands(p, q) for q in named))
        # "there is a lemon beside the dog": what it is beside of is no part of the answer
        asked_of = rf"(?:the |a |an )?{re.escape(match['what'])}"
        told = re.sub(rf"\b(?:{'|'.join(BESIDE)}) {asked_of}\b|^{asked_of} (?:is|are)\b", "", said)
        yield from self._among(replace(scene, placed=beside), told)
        if NOTHING.search(said):
            yield not beside

    def _category(self, scene: Scene, match: re.Match[str], asked: str, said: str) -> Iterator[bool | None]:
        kinds, place = self.mentions(match["what"]), PLACE.search(asked)
        if place and scene.complete:
            words = [word for word in place.groups() if word]
            scene = replace(scene, placed=tuple(p for p in scene.placed if all(PLACES[word](p) for word in words)))
        told = self._read(said)
        if kinds and told and all(one.noun == kinds[0] for one in told):
            # "What kind of plant is it? A plant." says nothing; what "a thorny plant" says, the truth does not know
            bare = rf"(?:^|\b(?:an?|the|some|is|are) ){re.escape(kinds[0])}(?:e?s)?\b"
            yield False if re.search(bare, said) else None
            return
        for one in told:
            things = _named(scene, one.noun)
            if things or (scene.complete and not _is_behind(scene, one.noun)):
                of_kind = not kinds or any(kinds[0] in _lower(p) for p in things)
                yield (bool(things) and of_kind) != one.denied
            else:
                yield None

    def _because(self, scene: Scene, match: re.Match[str], asked: str, said: str) -> Iterator[bool | None]:
        shown = re.search(r"because (?:the \w+ shows|there (?:is|are)|it is) (?P<what>.*)", said)
        for noun in self.mentions(shown["what"]) if shown else ():
            yield self._holds(scene, noun)

    def _what(self, scene: Scene, match: re.Match[str], asked: str, said: str) -> Iterator[bool | None]:
        last = ""
        for clause in re.split(r"[.;]", said):
            form = r"\s*(?:it|the (?P<what>.+?)) (?:is|are) (?P<no>not )?(?P<colour>\w+)\s*"
            coloured = re.fullmatch(form, clause)
            if coloured and coloured["colour"] in COLOURS:
                for noun in self.mentions(coloured["what"] or last)[:1]:
                    found = self._stated_colour(scene, noun, [coloured["colour"]])
                    yield from (turn(one, bool(coloured["no"])) for one in found)
            else:
                yield from self._clause(scene, clause)
                last = " ".join(self.mentions(clause)[:1]) or last

    def _clause(self, scene: Scene, clause: str) -> Iterator[bool | None]:
        """A statement: "the dog is on the left", "two dogs and a red hat", "there is no cat at the top"."""
        mentions = self._read(clause)
        for one in mentions:
            claims = [self._holds(scene, one.noun), *self._stated_colour(scene, one.noun, [one.colour])]
            if one.denied:
                claims += self._stated_place(scene, one.noun, clause)
            yield turn(every(claims), one.denied)
        placed = re.search(rf"(?:is|are) (not )?{PLACE.pattern}", clause)
        if placed and mentions and not mentions[0].denied:
            found = self._stated_place(scene, mentions[0].noun, clause)
            yield from (turn(one, bool(placed[1])) for one in found)
        for count, noun in re.findall(r"\b(two|three|four|five)\s+([\w' -]+?)(?:,| and |$)", clause):
            found_nouns = self.mentions(noun)
            if found_nouns and scene.complete:
                # a list may name the others apart
                yield len(_named(scene, found_nouns[0])) >= NUMBERS.index(count)


KINDS: tuple[tuple[str, str], ...] = (
    ("because", r"^(?:could|how could|does what is shown|is there something (?:alive|that)|is there somebody)"),
    ("because", r"^(?:what could|where might|what is the .* (?:likely )?used)"),
    ("count", r"^how many (?P<what>.+?)(?: (?:are|can|do|is)\b|\?|$)"),
    ("where", rf"^where (?:in the {PICTURE} )?(?:is|are) (?:the |a |an )?(?P<what>.+?)\??$"),
    ("colour", r"^what colou?r (?:is|are) (?:the |this |that )?(?P<what>.+?)\??$"),
    ("beside", rf"^what (?:is|are|do you see|can you see) (?:(?:on|to) the )?(?P<how>{'|'.join(BESIDE)}) "
     rf"(?!(?:the |this |that )?{PICTURE}\b)(?:the |a |an )?(?P<what>.+?)\??$"),
    ("side", r"^what (?:is|are|do you see|can you see) (?:on|at|in) the (?P<side>left|right|top|bottom|middle)"),
    ("category", r"^(?:what kind of|which|what type of) (?P<what>.+?) (?:is|are|do|can|does)\b"),
    ("yesno", r"^(?:is|are) (?:there )?(?P<what>(?:a|an|any|some|the)? ?.+?)\??$"),
    ("yesno", rf"^(?:can you see|do you see|does the {PICTURE} (?:show|contain|have)) (?P<what>.+?)\??$"),
    ("what", r"^(?:what (?:is|are|do|does|can|would)|describe|can you describe|please describe)\b"),
)  # fmt: skip


def _fold(text: str) -> str:
    return " ".join(text.lower().replace("gray", "grey").replace("\u2019", "'").split())


def _lower(placed: Placed) -> set[str]:
    return {singular(_fold(name)) for name in placed.names}


def _named(scene: Scene, noun: str) -> list[Placed]:
    """The things that a noun names; "toy car" is also a "car" by its last word."""
    return [p for p in scene.placed if any(_is_called(name, noun) for name in _lower(p))]


def _is_behind(scene: Scene, noun: str) -> bool:
    """Whether it names what else the picture shows, such as the background: it is there, but nobody knows where."""
    return any(_is_called(singular(_fold(other)), noun) for other in scene.also)


def _is_called(name: str, noun: str) -> bool:
    return name == noun or (name.endswith(f" {noun}") and name not in WHOLE)


def _segments(said: str, known: Container[str]) -> Iterator[tuple[list[str], bool]]:
    """The known words of each part of an answer that has any, and whether it is a denial."""
    for segment in SEGMENT.split(said.replace("center", "middle").replace("centre", "middle")):
        words = re.findall(r"[\w'-]+", segment)
        if told := [word for word in words if word in known]:
            yield told, not DENIALS.isdisjoint(words)


def _yes_or_no(said: str) -> bool | None:
    word = re.match(r"\W*(yes|no)\b", said)
    return None if word is None else word[1] == "yes"


def _number(said: str) -> int | None:
    if NOTHING.search(said):  # before the "one" of "no one"
        return 0
    for word in re.findall(r"\w+", said):
        if word in COUNTED:
            return COUNTED.index(word)
        if word.isdigit() and len(word) < 3:
            return int(word)
    return 0 if re.search(r"\b(?:no|not any)\b", said) else None
