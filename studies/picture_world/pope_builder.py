"""POPE's questions built from annotated pictures, as its authors choose what is absent."""

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from c3l.errors import DataError


def build_pope(
    annotations: Mapping[str, Sequence[str]],
    strategy: Literal["random", "popular", "adversarial"],
    images: int,
    samples: int = 3,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """POPE questions from any annotated pictures, in the layout of its files.

    Each of a picture's first ``samples`` objects is asked about, and after each an object that is not there: any
    (random), the most frequent one (popular), or the one that most often stands beside the object just asked about
    (adversarial). Where no such object is left, any is taken. Articles are right, unlike in the official files,
    whose builder changes every "a" of the question before a vowel: those are to be used as they are.

    Args:
        annotations: Picture -> names of what it shows.
        strategy: How absent objects are chosen.
        images: At most so many pictures; those with fewer than ``samples`` objects are left out.
        samples: Objects asked about in a picture.
        seed: Of the choice of pictures and objects.

    Raises:
        DataError: If no picture has enough objects.
    """
    rng = random.Random(f"{seed}:{strategy}")
    unique = {image: list(dict.fromkeys(names)) for image, names in annotations.items()}
    usable = [image for image, names in unique.items() if len(names) >= samples]
    if not usable:
        raise DataError(f"no picture has {samples} different objects; lower samples")
    chosen = usable if len(usable) <= images else random.Random(seed).sample(usable, images)
    frequent = Counter(name for image in chosen for name in unique[image])
    beside: dict[str, Counter[str]] = {name: Counter() for name in frequent}
    for image in chosen:
        for name in unique[image]:
            beside[name].update(other for other in unique[image] if other != name)
    rows: list[dict[str, Any]] = []
    for image in chosen:
        for name, label in _ask(unique[image][:samples], set(unique[image]), strategy, frequent, beside, rng):
            text = f"Is there {'an' if name[0].lower() in 'aeiou' else 'a'} {name} in the image?"
            rows.append({"question_id": len(rows) + 1, "image": image, "text": text, "label": label})
    return rows


def _ask(
    asked: Sequence[str],
    present: set[str],
    strategy: str,
    frequent: Counter[str],
    beside: Mapping[str, Counter[str]],
    rng: random.Random,
) -> Iterator[tuple[str, str]]:
    used = set(present)
    for name in asked:
        yield name, "yes"
        ranked: Iterable[str] = ()
        if strategy == "popular":
            ranked = (other for other, _ in frequent.most_common())
        elif strategy == "adversarial":
            ranked = (other for other, _ in beside[name].most_common())
        absent = next((other for other in ranked if other not in used), None)
        if absent is None:
            left = sorted(set(frequent) - used)
            if not left:
                raise DataError("got pictures that show every object there is; give more of them")
            absent = rng.choice(left)
        used.add(absent)
        yield absent, "no"
