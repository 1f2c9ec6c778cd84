"""Nouns: WordNet's hypernyms reduced to the words people use, with articles and plurals."""

import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

# Words that people say for kinds of things; a hypernym outside this list ("placental", "artifact") is skipped.
EVERYDAY = frozenset(
    """animal bird fish insect dog cat horse bear monkey ape snake lizard frog turtle spider butterfly duck owl
    eagle parrot chicken penguin shark whale crab beetle rabbit mouse pig cow sheep goat deer fox wolf lion
    elephant fruit vegetable food flower tree plant mushroom berry nut bread cake cheese sandwich soup meat
    drink vehicle car truck boat ship airplane aircraft helicopter train locomotive bus bicycle motorcycle
    wagon building house church tower castle bridge fence wall door tool hammer saw knife spoon weapon gun
    sword guitar drum piano horn furniture chair table bed sofa shelf clothing dress shirt coat hat cap helmet
    shoe boot sock glove glasses jewelry ball bottle box bag basket cup bowl dish pot jar bucket container
    machine computer printer telephone camera television screen clock watch lamp candle light toy doll balloon
    flag book paper pen pencil key lock rope umbrella mirror comb brush person man woman child doctor soldier
    planet star moon mountain hill valley beach cliff volcano island lake sea ocean river waterfall coast rock
    cloud machine engine wheel sign mask coin egg shell feather""".split()
)
# WordNet's word (by its own lemma) -> the everyday word; only where the two differ.
RENAMED = {
    "musical_instrument": "musical instrument", "edible_fruit": "fruit", "automobile": "car", "footwear": "shoe",
    "motortruck": "truck", "plane": "airplane", "timepiece": "clock", "vesture": "clothing", "headdress": "hat",
    "firearm": "gun", "computing_machine": "computer", "telephone_set": "telephone", "seashore": "beach",
    "alp": "mountain", "lakeside": "lake", "motorbike": "motorcycle", "domestic_cat": "cat", "sailing_vessel": "boat",
    "crustacean": "sea animal", "mollusk": "sea animal", "amphibian": "animal", "reptile": "reptile",
    "mammal": "animal", "big_cat": "big cat", "baked_goods": "food", "beverage": "drink", "footgear": "shoe",
    "warplane": "airplane", "electronic_device": "machine", "soft_drink": "drink", "fungus": "mushroom",
    "sports_equipment": "sports equipment", "kitchen_utensil": "kitchen tool", "cooking_utensil": "kitchen tool",
}  # fmt: skip
VISIBLE = ("05", "06", "13", "17", "19", "20")  # lexicographer files of things that can be seen, people aside
PEOPLE = frozenset(
    """man woman boy girl baby child person doctor nurse soldier firefighter fireman cook student teacher farmer
    mechanic scientist singer artist pilot astronaut guard prince princess king queen knight police officer
    elf skier snowboarder surfer cyclist groom bride""".split()
)
UNCOUNTED = frozenset(
    """clothing food jewelry bread cheese meat furniture soup hair water grass sports equipment""".split()
)
PAIRED = ("glasses", "pants", "jeans", "scissors", "pliers", "binoculars")  # plural in form, one thing
SINGULAR_IN_S = ("ss", "us", "is", "rhinoceros", "ceratops")
MAN = re.compile(r"(?<!hu)(?<!ger)(?<!ro)(?<!otto)man$")  # a man, a woman, a fireman
MEN = re.compile(r"(?<!speci)(?<!sta)men$")
SCARF = re.compile(r"scar(f|ves)$")  # and a headscarf
TOES = re.compile(r"(pota|toma|mosqui)to$")
PLURAL_IRREGULAR = {
    "mouse": "mice", "goose": "geese", "child": "children", "person": "people",
    "sheep": "sheep", "fish": "fish", "deer": "deer", "leaf": "leaves", "knife": "knives", "wolf": "wolves",
    "aircraft": "aircraft", "tooth": "teeth", "foot": "feet", "loaf": "loaves", "ox": "oxen", "bison": "bison",
}  # fmt: skip


@dataclass
class WordNet:
    """The noun part of WordNet's database files.

    Attributes:
        senses: Lemma (lower case, underscores) -> synset offsets, most frequent first.
        synsets: Offset -> (lexicographer file, lemmas, hypernym offsets).
    """

    senses: dict[str, list[int]] = field(default_factory=dict)
    synsets: dict[int, tuple[str, list[str], list[int]]] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> "WordNet":
        """Read ``index.noun`` and ``data.noun``."""
        net = cls()
        for line in (folder / "index.noun").read_text(encoding="utf-8").splitlines():
            if not line.startswith(" "):
                parts = line.split()
                net.senses[parts[0]] = [int(p) for p in parts[-int(parts[2]) :]]
        for line in (folder / "data.noun").read_text(encoding="utf-8").splitlines():
            if not line.startswith(" "):
                net._add(line.split(" | ")[0].split())
        return net

    def _add(self, parts: list[str]) -> None:
        count = int(parts[3], 16)
        lemmas = [parts[4 + 2 * i] for i in range(count)]
        rest = parts[5 + 2 * count :]
        hypernyms = [int(rest[i + 1]) for i in range(0, len(rest) - 3, 4) if rest[i] in ("@", "@i")]
        self.synsets[int(parts[0])] = (parts[1], lemmas, hypernyms)

    def lookup(self, noun: str) -> list[int]:
        """All senses of a noun (or of its singular), most frequent first."""
        forms = (noun.lower().replace(" ", "_"), singular(noun).lower().replace(" ", "_"))
        return next((self.senses[f] for f in forms if f in self.senses), [])

    def synset(self, noun: str, prefer: tuple[str, ...] = VISIBLE) -> int | None:
        """The first sense of a noun in a preferred lexicographer file; a person only for a word that means one."""
        if noun.split()[-1:] and singular(noun.split()[-1].lower()) in PEOPLE:
            prefer = ("18",)
        senses = [offset for offset in self.lookup(noun) if self.synsets[offset][0] in prefer]
        food = [offset for offset in senses if self.synsets[offset][0] == "13"]
        is_crop = bool(senses and food and self.synsets[senses[0]][0] == "20" and self._is_produce(food[0]))
        return food[0] if is_crop else next(iter(senses), None)

    def is_thing_first(self, noun: str) -> bool:
        """Whether a noun's most frequent sense is something to be seen (so not "blue", "sport", "target")."""
        return bool(offsets := self.lookup(noun)) and offsets[0] == self.synset(noun)

    def _is_produce(self, offset: int) -> bool:
        """Whether a synset is a fruit, vegetable or nut: those are food first, however WordNet orders senses."""
        _, lemmas, hypernyms = self.synsets[offset]
        return bool({"edible_fruit", "vegetable", "edible_nut"} & set(lemmas)) or any(map(self._is_produce, hypernyms))

    def kinds(self, offset: int) -> list[str]:
        """Everyday words for a synset and its hypernyms, the most specific first."""
        found: list[str] = []
        frontier, seen = [offset], set()
        while frontier:
            step = frontier.pop(0)
            if step in seen:
                continue
            seen.add(step)
            _, lemmas, hypernyms = self.synsets[step]
            known = [w.lower() for w in lemmas if w.lower() in EVERYDAY or w.lower() in RENAMED]
            found += [RENAMED.get(w, w) for w in known if self._is_usual(w, step)][:1]
            frontier += hypernyms
        found = [w for w in found if w != "container" or "vehicle" not in found]
        return list(dict.fromkeys(found))

    def _is_usual(self, word: str, offset: int) -> bool:
        """Whether a synset is what a word usually means: a coat of paint is no "coat", a factory no "plant"."""
        if word == "plant":
            return self.synsets[offset][0] == "20" or self.synsets[offset][0] == "03"
        return word in RENAMED or self.synset(word) in (offset, None)

    def longest_suffix(self, phrase: str, prefer: tuple[str, ...] = VISIBLE) -> tuple[str, int] | None:
        """The longest tail of a phrase that WordNet knows, with its synset: "big great blue heron"."""
        words = phrase.split()
        for start in range(len(words)):
            tail = " ".join(words[start:])
            if (offset := self.synset(tail, prefer)) is not None:
                return tail, offset
        return None


@lru_cache(maxsize=4096)
def singular(noun: str) -> str:
    """A rough singular of the last word of a noun phrase."""
    if noun.endswith(PAIRED):
        return noun
    for one, many in PLURAL_IRREGULAR.items():
        if noun.endswith(many) and many != one:
            return noun[: -len(many)] + one
    if MEN.search(noun) or SCARF.search(noun):
        return MEN.sub("man", SCARF.sub("scarf", noun))
    if noun.endswith("ies") and len(noun) > 4:
        return noun[:-3] + "y"
    if re.search(r"(ches|shes|xes|sses|toes)$", noun):
        return noun[:-2]
    if noun.endswith("s") and not noun.endswith(SINGULAR_IN_S):
        return noun[:-1]
    return noun


@lru_cache(maxsize=4096)
def plural(noun: str) -> str:
    """The plural of a noun phrase's last word."""
    if is_plural(noun) or noun in UNCOUNTED:
        return noun
    for one, many in PLURAL_IRREGULAR.items():
        if re.search(rf"(^|\s){one}$", noun):
            return noun[: -len(one)] + many
    if MAN.search(noun) or SCARF.search(noun):
        return MAN.sub("men", SCARF.sub("scarves", noun))
    if re.search(r"[^aeiou]y$", noun):
        return noun[:-1] + "ies"
    if re.search(r"(s|x|ch|sh|z)$", noun) or TOES.search(noun):
        return noun + "es"
    return noun + "s"


def is_plural(noun: str) -> bool:
    """Whether a noun phrase is already plural ("some cherries", "glasses")."""
    return singular(noun) != noun or noun.endswith(PAIRED)


def with_article(noun: str) -> str:
    """A noun phrase as an answer begins it: "a dog", "an owl", "some cherries"."""
    if noun in UNCOUNTED or noun.endswith(("clothing", "equipment")):
        return f"some {noun}"
    if noun.startswith("pair of"):
        return f"a {noun}"
    if is_plural(noun):
        return f"some {noun}"
    vowel = re.match(r"(?i)[aeiou]", noun) and not re.match(r"(?i)(uni|eu|one\b|us[ei]|ute|uk\b)", noun)
    return f"{'an' if vowel or re.match(r'(?i)(hour|x-ray|f-)', noun) else 'a'} {noun}"
