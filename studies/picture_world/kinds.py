"""What a thing is, where WordNet's first sense of its name is another thing, and kinds that it leaves out.

A peacock is a butterfly to WordNet, a bell pepper a vegetable and a chile pepper a plant. Lessons would teach what is
not so, and the oracle would call true answers false.
"""

from collections.abc import Iterable, Sequence

# By the first name: its other names, in place of WordNet's.
INSTEAD: dict[str, tuple[str, ...]] = {
    "antenna bars": (), "baby": ("penguin", "bird", "animal"), "balloon": ("toy",), "balloons": ("balloon", "toy"),
    "beaver": ("animal",), "blazer": ("car", "vehicle"), "block plane": ("tool",),
    "boxing glove": ("glove", "sports equipment"), "brain": (), "brown slug": ("slug", "animal"),
    "carp streamer": ("streamer", "flag"), "cattle": ("sign",), "christmas stocking": ("sock", "clothing"),
    "club suit": (), "crawfish": ("sea animal", "animal", "food"), "diamond suit": (), "dolphin": ("animal",),
    "drum kit": ("drums", "drum", "musical instrument"), "edward bear": ("teddy bear", "bear", "toy"), "electric": (),
    "f-22 raptor": ("airplane", "aircraft", "vehicle"), "french fries": ("food",), "fries": ("food",),
    "glove": ("clothing",), "gloves": ("glove", "clothing"), "house of the hunter": ("house", "building"),
    "iron": ("tool",), "ironing": (), "jack-o'-lantern": ("pumpkin", "lantern", "light"),
    "kick scooter": ("scooter", "vehicle"), "locked with pen": ("lock", "pen"), "lorry": ("sign",), "mobile": (),
    "mount fuji": ("mountain",), "no bicycles": ("sign",), "no mobile phones": ("sign",), "notebook": ("book",),
    "oil drum": ("drum", "container"), "peacock": ("bird", "animal"), "rice ball": ("food",),
    "roast turkey": ("turkey", "meat", "bird", "food"), "rubber duck": ("duck", "toy"), "shin": (),
    "silver pig tails": ("hair",), "simple": (), "slide rule": ("tool",), "snail": ("animal",), "sock": ("clothing",),
    "socks": ("sock", "clothing"), "spade suit": (), "speech balloon": (), "spoon": ("kitchen tool", "tool"),
    "submarine": ("sandwich", "food"), "teddy bear": ("bear", "toy"), "thought balloon": (), "thumbs down": (),
    "tram car": ("tram", "vehicle"), "turtle": ("reptile", "animal"), "tux": ("penguin", "bird", "animal"),
    "vw beetle": ("car", "vehicle"), "website": (),
    "woman with headscarf": ("woman", "person", "headscarf", "clothing"), "wood": (), "woodlouse": ("animal",),
    "zombie": ("person",),
}  # fmt: skip
# By any name: what follows it at once.
CALLED: dict[str, tuple[str, ...]] = {
    "airplane": ("plane",), "bell pepper": ("pepper",), "black cat": ("cat",), "bull": ("cow",),
    "chick": ("chicken",), "chimpanzee": ("monkey",), "dingo": ("dog",), "gorilla": ("monkey",),
    "green pepper": ("pepper",), "hen": ("chicken",), "hot pepper": ("pepper",), "kitten": ("cat",),
    "locomotive": ("train",), "mug": ("cup",), "beer mug": ("mug", "cup"), "beer mugs": ("beer mug", "mug", "cup"),
    "orangutan": ("monkey",), "pepper": ("vegetable",), "peahen": ("peacock",), "plane": ("airplane",),
    "rooster": ("chicken",), "sauropod": ("dinosaur",), "ship": ("boat",), "zebu": ("cow",),
    **dict.fromkeys(
        """anthurium balsam daffodil geranium hibiscus iris lavender lotus rose tulip tulips""".split(), ("flower",)
    ),
    **dict.fromkeys(("cayenne", "chile pepper", "paprika"), ("pepper", "vegetable", "food")),
    **dict.fromkeys(("corn", "garlic"), ("vegetable", "food")),
}  # fmt: skip
# By any name: what stands at the end, as the widest kind.
AT_LAST: dict[str, str] = {
    **dict.fromkeys(("bus", "train"), "vehicle"),
    **dict.fromkeys(("berry", "cake", "fruit", "nut", "pepper", "popcorn", "sandwich", "soup", "vegetable"), "food"),
    **dict.fromkeys(("tower", "windmill"), "building"),
    **dict.fromkeys(("candle", "lamp"), "light"),
}
INEDIBLE = frozenset(("acorn", "cereal spike", "horse chestnut seed", "rapeseed", "rose hip"))
# No thing of the kind that its last word names.
WHOLE = frozenset("club suit|diamond suit|hot dog|rice ball|spade suit|speech balloon|thought balloon".split("|"))
# What is eaten, which WordNet calls a plant.
EATEN = frozenset(("pepper", "corn", "garlic", "popcorn"))


def with_kinds(names: Sequence[str]) -> tuple[str, ...]:
    """All names of a thing, most specific first, given those by WordNet."""
    found = list(names[:1])
    known = INSTEAD.get(names[0].lower())
    for name in _grown(names[1:] if known is None else known, names[0]):
        if name not in found:
            found.append(name)
    if EATEN & set(found) and "plant" in found:
        found.remove("plant")
    for name in list(found):
        last = AT_LAST.get(name)
        if last is not None and last not in found and not (last == "food" and names[0] in INEDIBLE):
            found.append(last)
    return tuple(found)


def _grown(names: Sequence[str], first: str) -> Iterable[str]:
    yield from CALLED.get(first, ())
    for name in names:
        yield name
        yield from CALLED.get(name, ())
