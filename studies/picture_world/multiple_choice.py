"""Four-choice questions about scenes, in the layouts of MMBench and SEED-Bench."""

import base64
import csv
import io
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from c3l.storage.atomic import write_atomic
from studies.picture_world.lexicon import plural
from studies.picture_world.naming import Names, call, names_its_colour
from studies.picture_world.oracle import COLOURS
from studies.picture_world.oracle import PLACES as WHERE
from studies.picture_world.questions import QA, Asker
from studies.picture_world.scenes import Placed, Scene
from studies.picture_world.wording import NUMBERS

DIMENSIONS = {"what": "Instance Identity", "count": "Instances Counting", "colour": "Instance Attributes",
              "position": "Instance Location"}  # fmt: skip
COLUMNS = ("index", "question", "hint", "A", "B", "C", "D", "answer", "category", "l2-category", "image", "source",
           "comment", "split")  # fmt: skip
MIDDLE = "in the middle"
PLACES = ("on the left", "on the right", "at the top", "at the bottom", MIDDLE, "at the top left",
          "at the top right", "at the bottom left", "at the bottom right")  # fmt: skip
OPPOSITE = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}
# Colours that one person or another would give a thing of that colour: never a wrong option beside it.
NEAR = {"red": {"orange", "pink", "brown"}, "orange": {"red", "yellow", "brown"}, "yellow": {"orange", "brown"},
        "green": {"blue"}, "blue": {"purple", "green"}, "purple": {"blue", "pink"}, "pink": {"red", "purple"},
        "brown": {"orange", "red", "yellow", "black", "grey"}, "black": {"grey", "brown"},
        "white": {"grey"}, "grey": {"black", "white", "brown"}}  # fmt: skip
_ROTATION = 1_000_000


@dataclass(frozen=True)
class Choice:
    """A question with its right option and three wrong ones."""

    image: str
    kind: str
    question: str
    right: str
    wrong: tuple[str, ...]


def make_choices(scenes: Mapping[str, Scene], asker: Asker, names: Names) -> tuple[list[Choice], int]:
    """At most one question of every kind a picture, and how many were left out.

    Left out are those whose options the truth does not surely decide, and counts of one beyond the other counts: half
    of the things in scenes stand alone, and "one" would be a good guess.
    """
    made, undecided = [], 0
    for image, scene in scenes.items():
        for kind, make in _MAKERS.items():
            qa, wrong = make(scene, asker, names) or (None, ())
            if qa is None:
                continue
            if len(wrong) < 3 or not _is_decided(scene, qa, wrong[:3], names):
                undecided += 1
                continue
            made.append(Choice(image, kind, qa.question, qa.short, tuple(wrong[:3])))
    kept = list(_even(made))
    return kept, undecided + len(made) - len(kept)


def _is_decided(scene: Scene, qa: QA, wrong: Sequence[str], names: Names) -> bool:
    grades = [names.oracle.grade(scene, qa.question, text).grade for text in (qa.short, *wrong)]
    return grades == ["true", "false", "false", "false"]


def _even(choices: Sequence[Choice]) -> Iterator[Choice]:
    left = sum(choice.kind == "count" and choice.right != "one" for choice in choices)
    for choice in choices:
        if choice.kind == "count" and choice.right == "one":
            if left == 0:
                continue
            left -= 1
        yield choice


_Made = tuple[QA, list[str]] | None


def _what(scene: Scene, asker: Asker, names: Names) -> _Made:
    """Two of the wrong options are of the right one's kind, where that leaves enough."""
    placed = asker.rng.choice(scene.placed)
    absent = [name for name in sorted(names.called) if names.is_absent(scene, name)]
    drawn = asker.rng.sample(absent, len(absent))
    near = [name for name in drawn if names.called[name] == placed.names[-1]][:2]
    wrong = [*near, *(name for name in drawn if name not in near)]
    return QA("what", "", "What is in the picture?", call(placed), ""), wrong


def _count(scene: Scene, asker: Asker, names: Names) -> _Made:
    """Of what there is most of."""
    found = {name: sum(name in other.names for other in scene.placed) for p in scene.placed for name in p.names}
    numbers = {name: number for name, number in found.items() if names.can_count(scene, name)}
    if not numbers:
        return None
    most = max(numbers.values())
    name = asker.rng.choice(sorted(name for name, number in numbers.items() if number == most))
    wrong = [word for word in NUMBERS[1:6] if word != NUMBERS[most]]
    question = f"How many {plural(name)} are in the picture?"
    return QA("count", name, question, NUMBERS[most], ""), asker.rng.sample(wrong, len(wrong))


def _colour(scene: Scene, asker: Asker, names: Names) -> _Made:
    qa = asker.colour(scene)
    if qa is None or names_its_colour(qa.topic):
        return None
    wrong = sorted(COLOURS - NEAR[qa.short] - {qa.short})
    return qa, asker.rng.sample(wrong, len(wrong))


def _position(scene: Scene, asker: Asker, names: Names) -> _Made:
    qa = asker.where(scene)
    if qa is None:
        return None
    placed = next(placed for placed in scene.placed if qa.topic in placed.names)
    false = [place for place in PLACES if names.oracle.grade(scene, qa.question, place).grade == "false"]
    wrong = [place for place in false if qa.short == MIDDLE or _is_elsewhere(placed, place)]
    return qa, asker.rng.sample(wrong, len(wrong))


def _is_elsewhere(placed: Placed, place: str) -> bool:
    """Whether a thing is clearly not there: on the other side than a word of the place says, far from the middle."""
    if place == MIDDLE:
        return abs(placed.x - 0.5) > 0.25 or abs(placed.y - 0.5) > 0.3
    return any(WHERE[OPPOSITE[word]](placed) for word in place.split() if word in OPPOSITE)


_MAKERS: dict[str, Callable[[Scene, Asker, Names], _Made]] = {
    "what": _what,
    "count": _count,
    "colour": _colour,
    "position": _position,
}


def _arrange(choices: Sequence[Choice], rng: random.Random) -> Iterator[tuple[Choice, list[str]]]:
    """Options in their order: in each kind of question every letter is right equally often."""
    counts = Counter(choice.kind for choice in choices)
    letters = {kind: rng.sample([n % 4 for n in range(count)], count) for kind, count in counts.items()}
    for choice in choices:
        options = rng.sample(choice.wrong, 3)
        options.insert(letters[choice.kind].pop(), choice.right)
        yield choice, options


def write_mmbench(path: Path, choices: Sequence[Choice], images: Path, rng: random.Random) -> int:
    """The TSV with four rotations of every question; returns the number of questions."""
    out = io.StringIO()
    table = csv.DictWriter(out, COLUMNS, delimiter="\t", lineterminator="\n", restval="")
    table.writeheader()
    for index, (choice, options) in enumerate(_arrange(choices, rng)):
        image = base64.b64encode((images / choice.image).read_bytes()).decode()
        for shift in range(4):
            turned = options[shift:] + options[:shift]
            row = {"index": index + shift * _ROTATION, "question": choice.question, "image": image,
                   **dict(zip("ABCD", turned, strict=True)), "answer": "ABCD"[turned.index(choice.right)],
                   "category": choice.kind, "l2-category": DIMENSIONS[choice.kind], "source": "picture world",
                   "split": "dev"}  # fmt: skip
            table.writerow(row)
    write_atomic(path, out.getvalue())
    return len(choices)


def write_seed(path: Path, choices: Sequence[Choice], rng: random.Random) -> int:
    """The JSON of questions and their dimensions; returns the number of questions."""
    numbers = {kind: number for number, kind in enumerate(DIMENSIONS, 1)}
    questions: list[dict[str, str | int]] = []
    for choice, options in _arrange(choices, rng):
        texts = {f"choice_{letter}": text for letter, text in zip("abcd", options, strict=True)}
        questions.append(
            {"answer": "ABCD"[options.index(choice.right)], **texts, "data_id": choice.image, "data_type": "image",
             "question": choice.question, "question_id": str(len(questions)),
             "question_type_id": numbers[choice.kind]}
        )  # fmt: skip
    kinds = {DIMENSIONS[kind]: number for kind, number in numbers.items()}
    write_atomic(path, json.dumps({"questions": questions, "question_type": kinds}))
    return len(questions)
