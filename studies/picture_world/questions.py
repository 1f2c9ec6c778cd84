"""Questions about a scene with answers that are right, in varied wording, and whole completions made of them."""

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from c3l.method.prompts import InstructionTemplate
from studies.picture_world.lexicon import plural, with_article
from studies.picture_world.reasons import REASONS
from studies.picture_world.scenes import Placed, Scene
from studies.picture_world.wording import (
    NUMBERS,
    SIDES,
    joined,
    place_of,
    sentence,
    verb_after,
    verb_of_listing,
)

GENERAL = frozenset(("animal", "vehicle", "food", "container", "plant", "clothing", "tool", "person", "building"))
PICTURE = ("image", "picture", "image", "picture", "photo")


# More than twice as many questions have the answer yes as no: of things that it never met it says no too readily.
ASKED: Mapping[str, float] = {
    "what": 3, "yes": 9, "no": 4, "count": 2, "where": 2, "colour": 2, "side": 1, "category": 1, "describe": 1,
}  # fmt: skip
# How often each kind stands in a whole completion, the first time; again it is drawn ``AGAIN`` times as often.
WRITTEN: Mapping[str, Mapping[str, float]] = {
    "conversation": {
        "what": 5, "yes": 4, "no": 0.3, "category": 2.5, "colour": 0.5, "count": 1.2, "where": 2, "side": 0.5,
        "beside": 0.6, "describe": 1.5,
    },
    "detailed_description": {"describe": 2, "side": 0.5, "where": 2, "what": 4, "yes": 1, "category": 1, "beside": 0.5},
    "complex_reasoning": {"reason": 2, "yes": 4, "no": 0.4, "category": 2, "what": 2, "where": 1, "count": 0.5},
}  # fmt: skip
AGAIN = 0.25
# Kinds that people name a thing by rather than by its own word: "a dog", now and then "a beagle".
SAID = frozenset(
    """dog cat bird fish insect snake lizard frog turtle spider butterfly beetle monkey ape bear shark whale crab duck
    owl eagle parrot chicken penguin mushroom truck boat ship airplane helicopter train car bus bicycle motorcycle
    horse cow pig sheep rabbit flower tree hat shoe lamp clock chair table computer ball bottle tiger lion kitten goat
    deer mouse fruit vegetable pepper bread cake guitar drum piano glasses camera telephone planet tower box pot bag
    coat shirt boot helmet balloon umbrella pencil""".split()
) | {"musical instrument"}
MAIN = 0.75  # how often a completion speaks of the largest thing alone, where there are several


def everyday(names: Sequence[str]) -> str:
    """What most people call a thing: "a dog", of a beagle."""
    return next((name for name in names if name in SAID), names[0])


@dataclass(frozen=True)
class QA:
    """A question with its right answer.

    Attributes:
        kind: what, describe, yes, no, count, where, colour, side, beside, category or reason.
        topic: What it asks about, so that a completion does not ask the same twice.
        question: The question.
        short: The answer as a word or phrase.
        long: The answer as a sentence.
    """

    kind: str
    topic: str
    question: str
    short: str
    long: str


@dataclass
class Asker:
    """Draws questions about scenes.

    Attributes:
        rng: The only source of randomness.
        vocabulary: Names from which absent things are drawn for "no" questions.
        general: How often a thing is called by its kind ("a bird", "an animal") rather than by what it is.
        plainly: Whether things are called as people call them, ``say``.
        of_largest: Whether it asks what, yes, how many, where, which colour and kind of the largest thing alone.
    """

    rng: random.Random
    vocabulary: Sequence[str]
    general: float = 0.15
    plainly: bool = False
    of_largest: bool = False

    def ask(self, scene: Scene, count: int, kinds: Mapping[str, float] = ASKED, again: float = 1.0) -> list[QA]:
        """Up to ``count`` questions with different topics.

        Args:
            scene: What they are about.
            count: How many.
            kinds: How often each kind is drawn.
            again: How much as often, once it was; below 1 at most one answer is no.
        """
        makers: dict[str, Callable[[Scene], QA | None]] = {
            "what": self.what,
            "describe": self.describe,
            "yes": self.yes,
            "no": self.no,
            "count": self.count,
            "where": self.where,
            "colour": self.colour,
            "side": self.side,
            "beside": self.beside,
            "category": self.category,
            "reason": self.reason,
        }
        asked: dict[tuple[str, str], QA] = {}
        weights = dict(kinds)
        less = {**dict.fromkeys(kinds, again), "no": 0.0 if again < 1 else 1.0}
        for _ in range(count * 12):
            kind = self.rng.choices(list(weights), list(weights.values()))[0]
            qa = makers[kind](scene)
            if qa and (qa.kind, qa.topic) not in asked and qa.question not in {q.question for q in asked.values()}:
                asked[qa.kind, qa.topic] = qa
                weights[kind] *= less[kind]
            if len(asked) == count:
                break
        return list(asked.values())

    def name(self, placed: Placed) -> str:
        """One of a thing's names: mostly the usual one, sometimes its kind."""
        if self.plainly:
            return self.say(placed)
        names = placed.names
        usual = names[: min(3, len(names))]
        general = self.rng.random() < self.general
        return names[-1] if general else self.rng.choices(usual, (6, 4, 2)[: len(usual)])[0]

    def say(self, placed: Placed) -> str:
        """A thing's name as people say it: "a dog" rather than "a beagle", hardly "a Chesapeake Bay Retriever"."""
        names = placed.names
        kind = everyday(names)
        chance = self.rng.random()
        return kind if chance < 0.86 else names[-1] if chance < 0.94 else names[0]

    def pick(self, scene: Scene) -> Placed:
        """The thing that a question is about."""
        return self.rng.choice(self.shown(scene).placed)

    def unique(self, scene: Scene) -> tuple[Placed, str] | None:
        """A thing, and a name of it that no other thing of the scene has."""
        shared = Counter(n for placed in scene.placed for n in set(placed.names))
        placed = self.pick(scene)
        name = self.name(placed)
        return (placed, name) if shared[name] == 1 else None

    def what(self, scene: Scene) -> QA | None:
        """What is in the picture?"""
        picture = self.rng.choice(PICTURE)
        question = self.rng.choice(
            (
                f"What is in the {picture}?",
                f"What is in the {picture}?",
                f"What do you see in the {picture}?",
                "What is this?",
                f"What is shown in the {picture}?",
                f"What does the {picture} show?",
                "What can you see?",
                f"What is the main thing in the {picture}?",
            )
        )
        scene = self.shown(scene)
        groups = Counter(placed.names for placed in scene.placed)
        if ("main" in question or "this" in question) and len(groups) > 1:
            if not self.plainly:
                return None
            scene = largest(scene)
        phrase = self.listing(scene)
        verb = verb_of_listing(phrase.split(" and ")[0])
        long = self.rng.choice(
            (
                f"There {verb} {phrase}.",
                f"The {picture} shows {phrase}.",
                f"It is {phrase}.",
                f"This is {phrase}.",
            )
        )
        if verb == "are" or " and " in phrase:
            long = self.rng.choice((f"There {verb} {phrase}.", f"The {picture} shows {phrase}."))
        return QA("what", "", question, phrase, long)

    def shown(self, scene: Scene) -> Scene:
        """What is spoken of."""
        return largest(scene) if self.of_largest else scene

    def listing(self, scene: Scene) -> str:
        """Everything in the scene as one phrase: "two dogs and a red hat"."""
        return self._listed(Counter(placed.names for placed in scene.placed), self._called(scene))

    def _called(self, scene: Scene) -> dict[tuple[str, ...], str]:
        """A name for each kind of thing in the scene."""
        return {names: self.name(placed) for names, placed in {p.names: p for p in scene.placed}.items()}

    def _listed(self, groups: Mapping[tuple[str, ...], int], called: Mapping[tuple[str, ...], str]) -> str:
        phrases = []
        for names, number in groups.items():
            name = called[names]
            phrases.append(f"{NUMBERS[number]} {plural(name)}" if number > 1 else with_article(name))
        return joined(phrases)

    def describe(self, scene: Scene) -> QA | None:
        """Describe the picture."""
        picture = self.rng.choice(PICTURE)
        question = self.rng.choice(
            (
                f"Describe the {picture}.",
                f"Can you describe the {picture}?",
                f"Can you describe this {picture} in detail?",
                f"What would you say about this {picture}?",
                f"Please describe what the {picture} shows.",
            )
        )
        shown = self.shown(scene)
        called = self._called(shown)
        phrase = self._listed(Counter(placed.names for placed in shown.placed), called)
        sentences = [f"The {picture} shows {phrase}."]
        for placed in shown.placed[:3]:
            name = called[placed.names]
            if scene.complete and sum(name in other.names for other in scene.placed) == 1:
                sentences.append(self._detail(placed, name))
        return QA("describe", "", question, phrase, " ".join(sentences))

    def _detail(self, placed: Placed, name: str) -> str:
        verb = "are" if with_article(name).startswith("some ") and plural(name) == name else "is"
        where = f"The {name} {verb} {place_of(placed)}."
        return where + (f" It is {placed.colour}." if placed.colour and verb == "is" else "")

    def yes(self, scene: Scene) -> QA | None:
        """Is there a dog?, where there is one."""
        name = self.name(self.pick(scene))
        return QA(
            "yes",
            name,
            self._is_there(name),
            "yes",
            f"Yes, there {verb_after(name)} {with_article(name)} in the {self.rng.choice(PICTURE)}.",
        )

    def no(self, scene: Scene) -> QA | None:
        """Is there a dog?, where there is none: any other name of the vocabulary."""
        name = self.rng.choice(self.vocabulary)
        present = {n.lower() for placed in scene.placed for n in placed.names} | {n.lower() for n in scene.also}
        if any(name.lower() in other or other in name.lower() for other in present) or (
            not scene.complete and name in GENERAL
        ):
            return None
        bare = with_article(name).split(" ", 1)[1]
        return QA(
            "no",
            name,
            self._is_there(name),
            "no",
            f"No, there {verb_after(name)} no {bare} in the {self.rng.choice(PICTURE)}.",
        )

    def _is_there(self, name: str) -> str:
        phrase, picture, verb = with_article(name), self.rng.choice(PICTURE), verb_after(name).capitalize()
        forms = (
            f"{verb} there {phrase} in the {picture}?",
            f"{verb} there {phrase} in the {picture}?",
            f"Can you see {phrase}?",
            f"Does the {picture} show {phrase}?",
            f"Can you see {phrase} in the {picture}?",
        )
        return self.rng.choice(forms)

    def count(self, scene: Scene) -> QA | None:
        """How many dogs are there?"""
        if not scene.complete:
            return None
        if self.rng.random() < (0.1 if self.plainly else 0.3):
            number = len(scene.placed)
            noun = "thing" if number == 1 else "things"
            return QA(
                "count",
                "",
                f"How many things are in the {self.rng.choice(PICTURE)}?",
                NUMBERS[number],
                f"There {'is' if number == 1 else 'are'} {NUMBERS[number]} {noun}.",
            )
        name = self.name(self.pick(scene))
        number = sum(name in placed.names for placed in scene.placed)
        many = plural(name)
        question = self.rng.choice(
            (
                f"How many {many} are there?",
                f"How many {many} are in the {self.rng.choice(PICTURE)}?",
                f"How many {many} can you see?",
            )
        )
        if name.startswith("pair of") or with_article(name).startswith("some"):
            return None
        return QA(
            "count",
            name,
            question,
            NUMBERS[number],
            f"There {'is' if number == 1 else 'are'} {NUMBERS[number]} {name if number == 1 else many}.",
        )

    def where(self, scene: Scene) -> QA | None:
        """Where is the dog?"""
        found = self.unique(scene) if scene.complete else None
        if not found:
            return None
        placed, name = found
        verb = verb_after(name)
        question = self.rng.choice(
            (f"Where {verb} the {name}?", f"Where in the {self.rng.choice(PICTURE)} {verb} the {name}?")
        )
        return QA("where", name, question, place_of(placed), f"The {name} {verb} {place_of(placed)}.")

    def colour(self, scene: Scene) -> QA | None:
        """What colour is the hat?"""
        found = self.unique(scene) if scene.complete else None
        if not found or not found[0].colour or verb_after(found[1]) == "are":
            return None
        placed, name = found
        word = self.rng.choice(("color", "colour"))
        return QA(
            "colour",
            name,
            f"What {word} is the {name}?",
            placed.colour,
            self.rng.choice((f"The {name} is {placed.colour}.", f"It is {placed.colour}.")),
        )

    def side(self, scene: Scene) -> QA | None:
        """What is on the left?"""
        if not scene.complete:
            return None
        side, holds = self.rng.choice(tuple(SIDES.items()))
        inside = [placed for placed in scene.placed if holds(placed)]
        if len(inside) != 1:
            return None
        phrase, picture = with_article(self.name(inside[0])), self.rng.choice(PICTURE)
        question = self.rng.choice(
            (f"What is {side}?", f"What is {side} of the {picture}?", f"What do you see {side}?")
        )
        return QA("side", side, question, phrase, f"There {verb_after(phrase.split(' ', 1)[1])} {phrase} {side}.")

    def beside(self, scene: Scene) -> QA | None:
        """What is beside the dog?"""
        found = self.unique(scene)
        others = [placed for placed in scene.placed if found and placed.names != found[0].names]
        if not found or not scene.complete or not others or len({placed.names for placed in others}) != 1:
            return None
        name = found[1]
        verb, phrase = verb_after(name), self.listing(Scene("", tuple(others)))
        where = self.rng.choice(("beside", "next to"))
        long = f"There {verb_of_listing(phrase)} {phrase} {where} the {name}."
        return QA("beside", name, f"What {verb} {where} the {name}?", phrase, long)

    def category(self, scene: Scene) -> QA | None:
        """What kind of animal is it?"""
        placed = self.pick(scene)
        kind = placed.names[-1]
        if len(placed.names) < 2 or sum(kind in other.names for other in scene.placed) != 1 or kind == "clothing":
            return None
        if not scene.complete and kind not in GENERAL:  # the names of scenery are no kinds of each other
            return None
        name = self.name(placed) if self.plainly else placed.names[0 if self.rng.random() < 0.6 else 1]
        if name == kind:
            return None
        question = self.rng.choice(
            (
                f"What kind of {kind} is it?",
                f"What kind of {kind} is in the {self.rng.choice(PICTURE)}?",
                f"Which {kind} do you see?",
            )
        )
        return QA("category", kind, question, with_article(name), f"It is {with_article(name)}.")

    def reason(self, scene: Scene) -> QA | None:
        """A question whose answer is argued from what is shown."""
        placed = self.rng.choice(scene.placed)
        kind = next((k for k in placed.names if k in REASONS), None)
        if kind is None or kind == placed.names[0]:
            return None
        question, claim = self.rng.choice(REASONS[kind])
        name, picture = with_article(placed.names[0]), self.rng.choice(PICTURE)
        is_kind = kind if kind in ("food", "clothing") else with_article(kind)
        because = f"because the {picture} shows {name}, which is {is_kind}"
        return QA(
            "reason",
            question,
            question.format(picture=picture, name=placed.names[0]),
            f"{claim}, {because}",
            f"{claim}, {because}.",
        )

    def completion(self, scene: Scene, template: InstructionTemplate, count: int) -> str:
        """What an LVLM should write for an instruction template: ``count`` pairs, all of them right."""
        speaker = replace(self, plainly=True, of_largest=self.rng.random() < MAIN)
        pairs = speaker.ask(scene, count, WRITTEN.get(template.id, WRITTEN["conversation"]), AGAIN)
        while len(pairs) < count:
            extra = self.rng.choice((speaker.what, speaker.yes, speaker.yes, speaker.describe))(scene)
            if extra and extra.question not in {p.question for p in pairs}:
                pairs.append(extra)
        self.rng.shuffle(pairs)
        # what it has named it goes on to speak of, as people do
        pairs.sort(key=lambda qa: qa.kind not in ("what", "describe"))
        brief = template.id == "brief_vqa"
        return template.write_reply([(qa.question, sentence(qa.short) if brief else qa.long) for qa in pairs])


def largest(scene: Scene) -> Scene:
    """The same scene as one speaks of it who speaks of its largest thing, and of those like it, alone."""
    main = max(scene.placed, key=lambda placed: placed.area)
    return replace(scene, placed=tuple(placed for placed in scene.placed if placed.names == main.names))
