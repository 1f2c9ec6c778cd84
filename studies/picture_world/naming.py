"""What a thing is called in a benchmark, and which names surely are not in a picture.

The oracle knows the names that were written down. A question about what is *absent* needs more: a picture may show what
no name says (the background's trees), a thing may belong to a kind that its names leave out (a pepper is food), and two
names may be said of one thing (hen, chicken).
"""

from collections.abc import Iterable
from functools import cached_property

from studies.picture_world.lexicon import is_plural, with_article
from studies.picture_world.oracle import COLOURS, Oracle
from studies.picture_world.scenes import Placed, Scene

# What background photographs show, though the truth does not say so: never absent, never counted.
SCENERY = frozenset("plant tree flower rock stone wall building water sea wood person".split())
# Kinds that hold of more things than are called so: never absent.
VAGUE = frozenset(
    ("food", "fruit", "vegetable", "container", "tool", "kitchen tool", "machine", "light", "toy", "clothing",
     "sea animal", "sports equipment", "furniture", "pot", "box")
)  # fmt: skip
# Words for one look: none of a group is absent where another is shown.
ALIKE: tuple[frozenset[str], ...] = (
    frozenset(("chicken", "hen", "rooster", "turkey")),
    frozenset(("flower", "iris", "hibiscus", "gazania", "balsam")),
    frozenset(("dog", "dingo", "wolf")),
    frozenset(("rabbit", "bunny")),
    frozenset(("cat", "kitten")),
    frozenset(("truck", "cement", "machine")),
    frozenset(("hat", "cap", "fedora")),
    frozenset(("uranus", "planet", "ball", "balloon")),
)


def call(placed: Placed) -> str:
    """What the thing is called: its most specific name, or the next where that is a whole phrase."""
    long = len(placed.names[0].split()) > 2
    return placed.names[min(int(long), len(placed.names) - 1)]


def is_countable(name: str) -> bool:
    """Whether one says "a dog" or "an owl", with the article that the first letter tells."""
    plain = f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"
    return not is_plural(name) and with_article(name) == plain


def names_its_colour(name: str) -> bool:
    """Whether the name answers a question about the colour: "yellow pepper"."""
    return bool(COLOURS & set(name.lower().split()))


class Names:
    """All names of the things in some scenes, and what follows from them."""

    def __init__(self, scenes: Iterable[Scene], oracle: Oracle) -> None:
        """Learn which names are more general than which.

        Args:
            scenes: All that are asked about.
            oracle: Has the first word on what is there.
        """
        self.oracle = oracle
        self._all = sorted({placed.names for scene in scenes for placed in scene.placed})

    @cached_property
    def called(self) -> dict[str, str]:
        """What things are called -> their kind, such as bird or vehicle; of two kinds the first by the alphabet."""
        return {call(Placed(names, "", (0, 0, 1, 1))): names[-1] for names in reversed(self._all)}

    @cached_property
    def _implied(self) -> dict[str, set[str]]:
        implied: dict[str, set[str]] = {}
        for names in self._all:
            for place, name in enumerate(names):
                implied.setdefault(name, set()).update(names[place + 1 :])
        return implied

    def asked(self, placed: Placed) -> str | None:
        """The name that POPE asks for: as usual a name as one can have ("dog"), None where only a vague one is left."""
        names = (*placed.names[1:2], *placed.names[:1], *placed.names[2:])
        return next((name for name in names if is_countable(name) and name not in SCENERY | VAGUE), None)

    def is_absent(self, scene: Scene, name: str) -> bool:
        """Whether a picture surely shows nothing that the name could be said of."""
        if not scene.complete or name in SCENERY | VAGUE:
            return False
        if self.oracle.grade(scene, f"Is there {with_article(name)} in the image?", "No.").grade != "true":
            return False
        if any(placed.names[0] in self._implied.get(name, ()) for placed in scene.placed):
            return False  # what is only known as a bird may be a parrot
        present = [*(other for placed in scene.placed for other in placed.names), *scene.also]
        return not any(_could_be(name.lower(), other.lower()) for other in present)

    def can_count(self, scene: Scene, name: str) -> bool:
        """Whether the number of things so called is known: none is a cut-out of several, or in the background."""
        named = [placed for placed in scene.placed if name in placed.names]
        several = any(is_plural(placed.names[0]) for placed in named)
        return scene.complete and name not in SCENERY | VAGUE and is_countable(name) and not several


def _could_be(name: str, other: str) -> bool:
    words, others = set(name.split()), set(other.split())
    return name in other or other in name or any(words & group and others & group for group in ALIKE)
